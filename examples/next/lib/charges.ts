import { DatabaseSync } from 'node:sqlite'
import { createIdempotency } from 'retrysafe'
import { sqliteStore } from 'retrysafe/stores/sqlite'

const file = process.env.DB ?? './idempotency.db'

export const idem = createIdempotency({ store: sqliteStore({ file }) })

// A table, because each route of Next has a copy of this module.
const db = new DatabaseSync(file, { timeout: 5_000 })
db.exec('CREATE TABLE IF NOT EXISTS charges (id INTEGER PRIMARY KEY, amount INTEGER NOT NULL)')

export function charge(amount: number): { id: number; amount: number } {
  const { lastInsertRowid } = db.prepare('INSERT INTO charges (amount) VALUES (?)').run(amount)
  return { id: Number(lastInsertRowid), amount }
}

export function countCharges(): number {
  return Number(db.prepare('SELECT count(*) AS charges FROM charges').get()?.['charges'])
}
