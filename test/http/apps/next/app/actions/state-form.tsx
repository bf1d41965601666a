'use client'

import { type ReactNode, useActionState } from 'react'
import type { KeyField } from 'retrysafe/http/next'
import { type PayState, payWithState } from './actions'

type Call = (...args: never[]) => Promise<unknown>

export function StateForm({ field }: { field: KeyField; calls: Record<string, Call> }): ReactNode {
  const [state, action] = useActionState<PayState, FormData>(payWithState, {})
  return (
    <form id="state" action={action}>
      <input {...field} />
      <input name="amount" defaultValue="100" />
      <output>{JSON.stringify(state)}</output>
    </form>
  )
}
