/** A tiered store passes what its durable store passes. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, test } from 'vitest'
import type { Clock } from '../../src/core/runtime.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { type SqliteTx, sqliteStore } from '../../src/stores/sqlite.ts'
import { lruReplayTier, tieredStore } from '../../src/stores/tiered.ts'
import { type BusinessWrites, storeConformance } from '../../src/verification/index.ts'
import { postgresDatabase } from '../servers.ts'
import { conformanceOfPg } from './postgres-clients.ts'
import { remoteTier } from './tiered-tiers.ts'

function monotonicOf(clock: Pick<Clock, 'now'>): Pick<Clock, 'monotonic'> {
  return { monotonic: () => clock.now() }
}

storeConformance({
  name: 'lru over memory',
  test,
  joinsTransaction: false,
  async open(now) {
    const clock = monotonicOf(now)
    return {
      store: tieredStore({ fast: lruReplayTier({ clock }), durable: memoryStore({ clock: now }), clock }),
    }
  },
})

storeConformance({
  name: 'a remote tier over memory',
  test,
  joinsTransaction: false,
  async open(now) {
    const clock = monotonicOf(now)
    return { store: tieredStore({ fast: remoteTier(clock), durable: memoryStore({ clock: now }), clock }) }
  },
})

storeConformance({
  name: 'lru over sqlite',
  test,
  joinsTransaction: true,
  async open(now) {
    const folder = mkdtempSync(join(tmpdir(), 'retrysafe-tiered-'))
    const file = join(folder, 'shop.db')
    const clock = monotonicOf(now)
    const durable = sqliteStore({ file, clock: now, busyMsMax: '1s' })
    const db = new DatabaseSync(file)
    db.exec('PRAGMA busy_timeout = 0; PRAGMA journal_mode = WAL; CREATE TABLE orders (text TEXT) STRICT')
    return {
      store: tieredStore({ fast: lruReplayTier({ clock }), durable, clock }),
      business: businessOn(db, file),
      dispose(): void {
        db.close()
        rmSync(folder, { recursive: true })
      },
    }
  },
})

const url = await postgresDatabase()

describe('postgres', () => {
  conformanceOfPg(url, 'lru over postgres', (durable) => tieredStore({ fast: lruReplayTier(), durable }))
})

function businessOn(db: DatabaseSync, file: string): BusinessWrites {
  return {
    async write(tx, text): Promise<void> {
      ;(tx as SqliteTx).prepare('INSERT INTO orders (text) VALUES (?)').run(text)
    },
    async written(): Promise<readonly string[]> {
      return db
        .prepare('SELECT text FROM orders ORDER BY text')
        .all()
        .map((row) => String(row['text']))
    },
    async begin() {
      const tx = new DatabaseSync(file)
      tx.exec('BEGIN IMMEDIATE')
      const end = async (how: string): Promise<void> => {
        tx.exec(how)
        tx.close()
      }
      return { tx, commit: () => end('COMMIT'), rollBack: () => end('ROLLBACK') }
    },
  }
}
