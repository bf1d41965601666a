import { createIdempotency } from 'retrysafe'
import { sqliteStore } from 'retrysafe/stores/sqlite'

export const idem = createIdempotency({ store: sqliteStore({ file: process.env.DB ?? './idempotency.db' }) })

let charges = 0

export function charge(amount: number): { id: number; amount: number } {
  charges += 1
  return { id: charges, amount }
}

export function countCharges(): number {
  return charges
}
