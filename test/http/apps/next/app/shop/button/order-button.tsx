'use client'

import type { ReactNode } from 'react'
import { useIdempotentMutation } from 'retrysafe/client/react'

interface OrderButtonProps {
  readonly cart: string
  readonly keepMs?: number
}

export function OrderButton({ cart, keepMs }: OrderButtonProps): ReactNode {
  const order = useIdempotentMutation(
    async (_: void, { fetch }) => {
      const response = await fetch(`/shop/orders/${cart}`, { method: 'POST' })
      if (!response.ok) throw new Error(`status ${response.status}`)
      return (await response.json()) as { order: number }
    },
    { parts: ['order', cart], ...(keepMs !== undefined && { keepAfterDone: keepMs }) },
  )
  const { status, data, replayed } = order
  return (
    <>
      <button id="order" onClick={() => order.mutate()}>
        Order
      </button>
      <button id="renew" onClick={order.renew}>
        New order
      </button>
      <output id="status">{status}</output>
      <output id="number">{data?.order}</output>
      <output id="replayed">{String(replayed)}</output>
    </>
  )
}
