import { connection } from 'next/server'
import type { ReactNode } from 'react'
import { type PageProps, parametersOf } from '../parameters'
import { TakenOver } from '../taken-over'
import { OrderForm } from './order-form'

export default async function Page(props: PageProps): Promise<ReactNode> {
  await connection()
  return (
    <>
      <OrderForm {...(await parametersOf(props))} initialKey={crypto.randomUUID()} />
      <TakenOver />
    </>
  )
}
