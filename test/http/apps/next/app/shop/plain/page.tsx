import { connection } from 'next/server'
import type { ReactNode } from 'react'
import { IdempotencyKeyField } from 'retrysafe/client/react'
import { keys } from '../../state'
import { orderAndThank } from '../actions'
import { type PageProps, parametersOf } from '../parameters'
import { TakenOver } from '../taken-over'

/** A component of the server with the field in it, and a key that is kept with the cart. */
export default async function Page(props: PageProps): Promise<ReactNode> {
  await connection()
  const { cart } = await parametersOf(props)
  const initialKey = keys.get(cart) ?? crypto.randomUUID()
  keys.set(cart, initialKey)
  return (
    <>
      <form action={orderAndThank}>
        <IdempotencyKeyField parts={['order', cart]} initialKey={initialKey} />
        <input type="hidden" name="cart" value={cart} />
        <button id="order">Order</button>
      </form>
      <TakenOver />
    </>
  )
}
