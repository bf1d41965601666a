'use client'

import Link from 'next/link'
import { type ReactNode, useActionState } from 'react'
import { IdempotencyKeyField } from 'retrysafe/client/react'
import { orderByForm } from '../actions'

interface OrderFormProps {
  readonly cart: string
  readonly initialKey: string
  readonly keepMs?: number
}

export function OrderForm({ cart, initialKey, keepMs }: OrderFormProps): ReactNode {
  const [state, order] = useActionState(orderByForm, null)
  return (
    <form action={order}>
      <IdempotencyKeyField
        parts={['order', cart]}
        // A refusal is no end: the order may be under way.
        ended={state !== null && 'order' in state ? state : undefined}
        initialKey={initialKey}
        {...(keepMs !== undefined && { keepAfterDone: keepMs })}
      />
      <input type="hidden" name="cart" value={cart} />
      <input name="amount" id="amount" defaultValue="100" />
      <button id="order">Order</button>
      <output id="ended">{JSON.stringify(state)}</output>
      <Link id="leave" href={`/shop/thanks?cart=${cart}`}>
        Leave
      </Link>
    </form>
  )
}
