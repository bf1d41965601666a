import { connection } from 'next/server'
import type { ReactNode } from 'react'
import { type PageProps, parametersOf } from '../parameters'
import { TakenOver } from '../taken-over'
import { OrderButton } from './order-button'

export default async function Page(props: PageProps): Promise<ReactNode> {
  await connection()
  return (
    <>
      <OrderButton {...(await parametersOf(props))} />
      <TakenOver />
    </>
  )
}
