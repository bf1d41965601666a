'use server'

import { redirect } from 'next/navigation'
import { idempotentAction } from 'retrysafe/http/next'
import { idem } from '../state'
import { order } from './order'

export type Ended = { readonly order: number } | { readonly refused: string }

const options = { principal: 'anonymous', required: true } as const

export const orderByForm = idempotentAction(
  idem,
  {
    ...options,
    operation: 'order by form',
    previousState: true,
    onRefused: (refusal): Ended => ({ refused: refusal.code }),
  },
  async (_before: Ended | null, form: FormData): Promise<Ended> => ({
    order: await order(String(form.get('cart'))),
  }),
)

export const orderAndThank = idempotentAction(
  idem,
  { ...options, operation: 'order and thank' },
  async (form: FormData): Promise<void> => {
    const cart = String(form.get('cart'))
    redirect(`/shop/thanks?cart=${cart}&order=${await order(cart)}`)
  },
)
