'use client'

import { type ReactNode, useActionState } from 'react'
import { IdempotencyKeyField } from 'retrysafe/client/react'
import { payHere } from '../pay'

/** Stays where it is and shows how it ended; the next payment has another key. */
export function PayForm({ initialKey }: { initialKey: string }): ReactNode {
  const [payment, pay, isPaying] = useActionState(payHere, null)
  const isCharged = payment !== null && 'charged' in payment
  return (
    <form action={pay}>
      {/* A refusal is no end: the payment may be under way. */}
      <IdempotencyKeyField parts={['pay']} ended={isCharged ? payment : null} initialKey={initialKey} />
      <input name="amount" defaultValue="100" />
      <button type="submit" disabled={isPaying}>
        Pay
      </button>
      {payment !== null && (
        <output>{isCharged ? `Charge ${payment.charged}` : `Not now: ${payment.refused}`}</output>
      )}
    </form>
  )
}
