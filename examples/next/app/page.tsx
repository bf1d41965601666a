import Link from 'next/link'
import { connection } from 'next/server'
import type { ReactNode } from 'react'
import { idempotencyKeyField } from 'retrysafe/http/next'
import { pay } from './pay'

export default async function Page(): Promise<ReactNode> {
  // Rendered for each visit: a page made at build would give everybody the same key.
  await connection()
  return (
    <>
      <form action={pay}>
        <input {...idempotencyKeyField()} />
        <input name="amount" defaultValue="100" />
        <button type="submit">Pay</button>
      </form>
      <Link href="/checkout">Pay and stay on the page</Link>
    </>
  )
}
