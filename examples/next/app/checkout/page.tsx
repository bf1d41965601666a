import { connection } from 'next/server'
import type { ReactNode } from 'react'
import { PayForm } from './pay-form'

export default async function Page(): Promise<ReactNode> {
  // Rendered for each visit: a page made at build would give everybody the same key.
  await connection()
  return <PayForm initialKey={crypto.randomUUID()} />
}
