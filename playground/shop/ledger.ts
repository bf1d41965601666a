/** The ledger: each row is money that a customer has lost. One SQLite file for each of the two sides. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { SqliteTx } from 'retrysafe/stores/sqlite'
import type { Charge, Side } from '../happenings.ts'

export function ledgerFiles(folder: string): Readonly<Record<Side, string>> {
  return { without: join(folder, 'plain.db'), with: join(folder, 'protected.db') }
}

/** Opens a ledger, and makes it where there is none. */
export function openLedger(file: string): DatabaseSync {
  const ledger = new DatabaseSync(file, { timeout: 4_000 })
  ledger.exec(`PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS charges (
      id INTEGER PRIMARY KEY, order_id TEXT NOT NULL, customer TEXT NOT NULL, cents INTEGER NOT NULL,
      key TEXT, fence INTEGER NOT NULL, at INTEGER NOT NULL, pid INTEGER NOT NULL)`)
  return ledger
}

export interface NewCharge {
  readonly order: string
  readonly customer: string
  readonly cents: number
  readonly key: string | null
  /** Of the holder that charges; 0 where there are no holders. */
  readonly fence: number
}

/**
 * Writes a charge and returns its id; `undefined` where a holder with a higher fence has charged for this key already:
 * the one that asks had lost its lease and does not know it.
 */
export function writeCharge(ledger: SqliteTx, charge: NewCharge): number | undefined {
  const { order, customer, cents, key, fence } = charge
  const row = ledger
    .prepare(`INSERT INTO charges (order_id, customer, cents, key, fence, at, pid)
      SELECT ?, ?, ?, ?, ?, ?, ?
      WHERE NOT EXISTS (SELECT 1 FROM charges WHERE key = ? AND fence > ?)
      RETURNING id`)
    .get(order, customer, cents, key, fence, Date.now(), process.pid, key, fence) as
    | { id: number }
    | undefined
  return row?.id
}

export function readCharges(ledger: SqliteTx): Charge[] {
  return ledger
    .prepare('SELECT id, order_id AS "order", customer, cents, key, at, pid FROM charges ORDER BY id')
    .all() as Charge[]
}
