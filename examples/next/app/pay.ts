'use server'

import { redirect } from 'next/navigation'
import { idempotentAction } from 'retrysafe/http/next'
import { charge, idem } from '../lib/charges'

export const pay = idempotentAction(
  idem,
  { operation: 'pay', principal: 'anonymous', required: true },
  async (form: FormData): Promise<void> => {
    const { id } = charge(Number(form.get('amount')))
    redirect(`/?charged=${id}`)
  },
)

export type Payment = { readonly charged: number } | { readonly refused: string }

export const payHere = idempotentAction(
  idem,
  {
    operation: 'pay here',
    principal: 'anonymous',
    required: true,
    previousState: true,
    onRefused: (refusal): Payment => ({ refused: refusal.code }),
  },
  async (_before: Payment | null, form: FormData): Promise<Payment> => ({
    charged: charge(Number(form.get('amount'))).id,
  }),
)
