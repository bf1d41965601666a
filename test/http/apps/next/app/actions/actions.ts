'use server'

import { cookies } from 'next/headers'
import { forbidden, notFound, redirect } from 'next/navigation'
import { idempotentAction } from 'retrysafe/http/next'
import { gate, idem, ran } from '../state'

const options = { principal: 'anonymous', required: true } as const

export const pay = idempotentAction(
  idem,
  { ...options, operation: 'pay' },
  async (form: FormData): Promise<void> => {
    const seq = ran('pay')
    ;(await cookies()).set('paid', String(seq))
    redirect(`/actions?paid=${seq}&amount=${String(form.get('amount'))}`)
  },
)

export interface PayState {
  readonly paid?: number
  readonly amount?: string
  readonly error?: string
}

export const payWithState = idempotentAction(
  idem,
  {
    ...options,
    operation: 'pay-with-state',
    previousState: true,
    onRefused: (refusal): PayState => ({ error: refusal.code }),
  },
  async (_previous: PayState, form: FormData): Promise<PayState> => ({
    paid: ran('pay-with-state'),
    amount: String(form.get('amount')),
  }),
)

export const payWithoutRefusal = idempotentAction(
  idem,
  { ...options, operation: 'pay-without-refusal' },
  async (form: FormData) => ({ paid: ran('pay-without-refusal'), amount: form.get('amount') }),
)

/** Called from a program, with the key as an argument. */
export const values = idempotentAction(
  idem,
  { ...options, operation: 'values', key: (_kind: string, key: string) => key },
  async (kind: string, _key: string) => {
    ran(`values ${kind}`)
    switch (kind) {
      case 'rich':
        return {
          date: new Date(86_400_000),
          map: new Map([['a', 1n]]),
          set: new Set([undefined, Number.NaN]),
          octets: new Uint8Array([0, 255]),
          nested: [{ none: undefined, nothing: null }],
        }
      case 'form':
        return new FormData()
      case 'not-found':
        return notFound()
      case 'forbidden':
        return forbidden()
      case 'fails':
        throw new Error('boom')
      case 'gated':
        await gate.promise
        return 'opened'
      default:
        return undefined
    }
  },
)

/** A handler that wants its attempt. */
export const attempt = idempotentAction(
  idem,
  { ...options, operation: 'attempt', key: (key: string) => key },
  async function (_key: string) {
    return { fence: this?.fence, downstream: this?.downstreamKey('pay') }
  },
)
