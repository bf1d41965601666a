import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'vitest'
import { type SqliteDatabase, type SqliteStore, type SqliteTx, sqliteStore } from '../../src/stores/sqlite.ts'
import { type BusinessWrites, storeConformance } from '../../src/verification/index.ts'

const require = createRequire(import.meta.url)
const BetterSqlite = require('better-sqlite3') as new (file: string) => SqliteDatabase

const drivers: Readonly<Record<string, (file: string) => SqliteDatabase>> = {
  'node:sqlite': (file) => new DatabaseSync(file),
  'better-sqlite3': (file) => new BetterSqlite(file),
}

for (const [driver, connect] of Object.entries(drivers)) {
  storeConformance({
    name: `sqlite on ${driver}`,
    test,
    joinsTransaction: true,
    async open(clock) {
      const folder = mkdtempSync(join(tmpdir(), 'retrysafe-sqlite-'))
      const file = join(folder, 'shop.db')
      const store: SqliteStore =
        driver === 'node:sqlite'
          ? sqliteStore({ file, clock, busyMsMax: '1s' })
          : sqliteStore({ open: () => connect(file), clock, busyMsMax: '1s' })
      const db = connect(file)
      db.exec('PRAGMA busy_timeout = 0; PRAGMA journal_mode = WAL; CREATE TABLE orders (text TEXT) STRICT')
      return {
        store,
        business: businessOn(db, () => connect(file)),
        dispose(): void {
          db.close()
          rmSync(folder, { recursive: true })
        },
      }
    },
  })
}

function businessOn(db: SqliteDatabase, connect: () => SqliteDatabase): BusinessWrites {
  return {
    async write(tx, text): Promise<void> {
      ;(tx as SqliteTx).prepare('INSERT INTO orders (text) VALUES (?)').run(text)
    },
    async written(): Promise<readonly string[]> {
      const rows = db.prepare('SELECT text FROM orders ORDER BY text').all() as { text: string }[]
      return rows.map(({ text }) => text)
    },
    async begin() {
      const tx = connect()
      tx.exec('BEGIN IMMEDIATE')
      const end = async (how: string): Promise<void> => {
        tx.exec(how)
        tx.close()
      }
      return { tx, commit: () => end('COMMIT'), rollBack: () => end('ROLLBACK') }
    },
  }
}
