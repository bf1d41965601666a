import { connection } from 'next/server'
import type { ReactNode } from 'react'
import { type PageProps, parametersOf } from '../parameters'
import { OrderAgain } from './order-again'

export default async function Page(props: PageProps): Promise<ReactNode> {
  await connection()
  const { order } = await props.searchParams
  return (
    <>
      <output id="thanks">{order}</output>
      <OrderAgain {...(await parametersOf(props))} />
    </>
  )
}
