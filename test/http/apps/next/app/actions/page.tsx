import { connection } from 'next/server'
import type { ReactNode } from 'react'
import { idempotencyKeyField } from 'retrysafe/http/next'
import { attempt, pay, payWithoutRefusal, values } from './actions'
import { StateForm } from './state-form'

export default async function Page(): Promise<ReactNode> {
  await connection()
  const field = idempotencyKeyField()
  return (
    <>
      <form id="pay" action={pay}>
        <input {...field} />
        <input name="amount" defaultValue="100" />
      </form>
      <form id="without-refusal" action={payWithoutRefusal as unknown as (form: FormData) => void}>
        <input {...field} />
      </form>
      <StateForm field={idempotencyKeyField()} calls={{ values, attempt }} />
    </>
  )
}
