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
