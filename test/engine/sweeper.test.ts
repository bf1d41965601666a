import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import mysql from 'mysql2/promise'
import pg from 'pg'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { StoreError } from '../../src/core/errors.ts'
import type { IdempotencyStore, SweepReply } from '../../src/core/store.ts'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { batchMsGoal, batchRange, behindPart, startSweeper, turnPart } from '../../src/engine/sweeper.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { mysqlStore } from '../../src/stores/mysql.ts'
import { postgresStore } from '../../src/stores/postgres.ts'
import { statementsFor } from '../../src/stores/postgres/statements.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { newClaim } from '../../src/verification/store-cases/context.ts'
import { hasMariadb, hasPostgres, mariadbDatabase, postgresDatabase } from '../servers.ts'
import { type ManualRuntime, manualRuntime } from './manual-runtime.ts'

const everyMs = 60_000

let runtime: ManualRuntime
/** The limits that were asked for. */
let asked: number[]
/** How long a batch takes, and how many records are due. */
let tookMs: number
let due: number
let store: IdempotencyStore

beforeEach(() => {
  runtime = manualRuntime()
  asked = []
  tookMs = batchMsGoal
  due = 0
  store = {
    ...memoryStore(),
    sweep(limit): Promise<SweepReply> {
      asked.push(limit)
      const removed = Math.min(limit, due)
      due -= removed
      const reply = { removed, entombed: 0, more: removed === limit }
      return new Promise((resolve) => runtime.timers.after(tookMs, () => resolve(reply)))
    },
  }
})

describe('the sweeper', () => {
  test('comes once in an interval while there is nothing to do', async () => {
    const sweeper = startSweeper(store, runtime, everyMs)
    await runtime.advance(everyMs * 3.5)
    expect(asked).toEqual([500, 500, 500])
    sweeper.close()
  })

  test('works a backlog off in batches, with a pause after each', async () => {
    due = 2_200
    const sweeper = startSweeper(store, runtime, everyMs)
    await runtime.advance(everyMs)
    expect(asked).toEqual([500])
    await runtime.advance(tookMs)
    expect(asked).toEqual([500])
    await runtime.advance(tookMs)
    expect(asked).toEqual([500, 500])
    await runtime.advance(everyMs / 2)
    expect([asked.length, due]).toEqual([5, 0])
    sweeper.close()
  })

  test('ends a turn when its time is over, and comes again sooner', async () => {
    due = Number.POSITIVE_INFINITY
    const sweeper = startSweeper(store, runtime, everyMs)
    await runtime.advance(everyMs)
    await runtime.advance(everyMs * turnPart)
    // Batches of 50 ms, and as long a pause after each.
    const inTurn = asked.length
    expect(inTurn).toBeGreaterThan((everyMs * turnPart) / (2 * tookMs) - 3)
    await runtime.advance(everyMs * behindPart * 0.9)
    expect(asked.length - inTurn).toBeLessThanOrEqual(1)
    await runtime.advance(everyMs * behindPart)
    expect(asked.length).toBeGreaterThan(inTurn + 10)
    sweeper.close()
  })

  test('takes larger batches while they are quick, and smaller ones while they are slow', async () => {
    due = Number.POSITIVE_INFINITY
    tookMs = 1
    const sweeper = startSweeper(store, runtime, everyMs)
    await runtime.advance(everyMs + 100)
    expect(asked.slice(0, 6)).toEqual([500, 1_000, 2_000, 4_000, batchRange.most, batchRange.most])
    tookMs = batchMsGoal * 3
    await runtime.advance(everyMs * 0.4)
    expect(Math.min(...asked)).toBe(batchRange.least)
    sweeper.close()
  })

  test('stops at once, also in a pause', async () => {
    due = Number.POSITIVE_INFINITY
    const sweeper = startSweeper(store, runtime, everyMs)
    await runtime.advance(everyMs + tookMs)
    sweeper.close()
    const before = asked.length
    await runtime.advance(everyMs * 5)
    expect(asked.length).toBe(before)
    expect(runtime.pendingTimers()).toBe(0)
  })

  test('comes again after a failure', async () => {
    const { sweep } = store
    store.sweep = async () => {
      store.sweep = sweep
      throw new StoreError('transient', 'away')
    }
    const sweeper = startSweeper(store, runtime, everyMs)
    await runtime.advance(everyMs * 2 + tookMs)
    expect(asked).toEqual([500])
    sweeper.close()
  })

  test('spreads processes that started together', async () => {
    const starts: number[] = []
    for (const fraction of [0, 0.25, 0.999]) {
      const own = manualRuntime()
      const random = { ...own.random, fraction: () => fraction }
      const began = own.clock.monotonic()
      const seen: IdempotencyStore = {
        ...store,
        sweep: async () => {
          starts.push(own.clock.monotonic() - began)
          return { removed: 0, entombed: 0, more: false }
        },
      }
      const sweeper = startSweeper(seen, { ...own, random }, everyMs)
      await own.advance(everyMs * 1.5)
      sweeper.close()
    }
    expect(new Set(starts.map((ms) => Math.round(ms / 1_000)))).toEqual(new Set([30, 60, 45, 90]))
  })
})

describe('two sweeps of one store at once, one of them killed', () => {
  const count = 2_000
  const expired = () => newClaim({ leaseMs: 1, retentionMs: 1 })

  interface Opened {
    readonly store: IdempotencyStore
    /** Ends the connection that sweeps. */
    kill?(): Promise<unknown>
  }

  const stores: Record<string, { available: boolean; open(): Promise<Opened> }> = {
    SQLite: {
      available: true,
      async open() {
        const folder = mkdtempSync(join(tmpdir(), 'retrysafe-sweep-'))
        onTestFinished(() => rmSync(folder, { recursive: true }))
        return { store: sqliteStore({ file: join(folder, 'records.db') }) }
      },
    },
    Postgres: {
      available: hasPostgres,
      async open() {
        const pool = new pg.Pool({ connectionString: await postgresDatabase(), max: 4 })
        onTestFinished(() => pool.end())
        const kill = () =>
          pool.query(
            `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%SKIP LOCKED%'`,
          )
        return { store: postgresStore({ pool }), kill }
      },
    },
    MariaDB: {
      available: hasMariadb,
      async open() {
        const pool = mysql.createPool({ uri: await mariadbDatabase(), connectionLimit: 4 })
        onTestFinished(() => pool.end())
        return { store: mysqlStore({ pool }) }
      },
    },
  }

  for (const [name, { available, open }] of Object.entries(stores)) {
    test.skipIf(!available)(`${name}: all that is over goes once, and no live lease`, async () => {
      const { store: real, kill } = await open()
      const idem = createIdempotency({ store: real, sweep: false })
      onTestFinished(() => idem.close())
      const live = newClaim({ leaseMs: 60_000, retentionMs: 60_000 })
      await real.claim([live])
      for (let at = 0; at < count; at += 500) await real.claim(Array.from({ length: 500 }, expired))
      const killed = kill === undefined ? undefined : [real.sweep(1_000).catch(() => {}), kill()]
      await Promise.all(killed ?? [])
      // A record is swept in the minute after it was due.
      let removed = 0
      await expect
        .poll(
          async () => {
            const [one, two] = await Promise.all([idem.sweep(), idem.sweep()])
            removed += (one ?? 0) + (two ?? 0)
            return (await real.list({ limit: 1_000 })).records.length
          },
          { timeout: 60_000 },
        )
        .toBe(1)
      expect(removed).toBeLessThanOrEqual(count)
      expect((await real.read([live.id])).replies[0]?.phase).toBe('running')
    })
  }
})

test.skipIf(!hasPostgres)('Postgres finds what is due by the index', async () => {
  const pool = new pg.Pool({ connectionString: await postgresDatabase(), max: 1 })
  onTestFinished(() => pool.end())
  const real = postgresStore({ pool })
  await real.ready()
  await pool.query(
    `INSERT INTO retrysafe_records
     SELECT 1, 1, 1, 1, 1, CASE WHEN n % 100 = 0 THEN 1 ELSE 2000000000 END, 2, gen_random_uuid(), gen_random_uuid(),
            '\\x01', '', '', '' FROM generate_series(1, 50000) AS n`,
  )
  await pool.query('ANALYZE retrysafe_records')
  const { sweep } = statementsFor({ schema: undefined, table: 'retrysafe_records' })
  await pool.query(`PREPARE sweep AS ${sweep.text}`)
  const { rows } = await pool.query('EXPLAIN EXECUTE sweep(100)')
  const plan = rows.map((row) => row['QUERY PLAN']).join('\n')
  expect(plan).toMatch(/Index Scan using retrysafe_records_sweep/)
  expect(plan).not.toMatch(/Seq Scan on retrysafe_records/)
  expect((await real.sweep(100)).removed).toBe(100)
})
