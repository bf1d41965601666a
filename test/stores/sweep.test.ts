/**
 * Sweeps of one real store at once, one of them killed in the middle of a batch: what is over goes once, and a live
 * lease never.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import mysql from 'mysql2/promise'
import pg from 'pg'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { StoreFailure } from '../../src/core/errors.ts'
import type { IdempotencyStore } from '../../src/core/store.ts'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { mysqlStore } from '../../src/stores/mysql.ts'
import { postgresStore } from '../../src/stores/postgres.ts'
import { statementsFor } from '../../src/stores/postgres/statements.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { newClaim } from '../../src/verification/store-cases/context.ts'
import { hasMariadb, hasPostgres, mariadbDatabase, postgresDatabase } from '../servers.ts'
import type { Command } from './sqlite-worker.ts'

// Longer than the states that are waited for.
vi.setConfig({ testTimeout: 90_000 })

const [overCount, liveCount, claimsMax] = [2_000, 200, 500]

interface Rig {
  readonly stores: readonly [IdempotencyStore, IdempotencyStore]
  /** Makes the sweep look at every record, also those that are not due. */
  lookAtAll(): Promise<unknown>
  /** Starts another sweep; resolves once it is in the middle of a batch, to what kills it there. */
  staying(): Promise<() => Promise<void>>
  /** Whether others can sweep while a batch is under way; in SQLite there is one writer. */
  readonly overlaps: boolean
}

async function openSqlite(): Promise<Rig> {
  const folder = mkdtempSync(join(tmpdir(), 'retrysafe-sweep-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'records.db')
  return {
    stores: [sqliteStore({ file }), sqliteStore({ file })],
    // It does so anyway.
    lookAtAll: async () => {},
    async staying() {
      const command: Command = { do: 'stay in a sweep', file }
      const worker = fileURLToPath(new URL('sqlite-worker.ts', import.meta.url))
      const child = spawn(process.execPath, [worker, JSON.stringify(command)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const ended = once(child, 'close')
      const [line] = await Promise.race([once(child.stdout, 'data'), ended])
      expect(String(line)).toBe('"inside"\n')
      return async () => {
        child.kill('SIGKILL')
        await ended
      }
    },
    overlaps: false,
  }
}

async function openPostgres(): Promise<Rig> {
  const url = await postgresDatabase()
  const pool = new pg.Pool({ connectionString: url })
  const doomed = new pg.Pool({ connectionString: url, options: '-c retrysafe.stays=yes' })
  const admin = new pg.Client({ connectionString: url })
  await admin.connect()
  // The connection that is killed shows there once more.
  doomed.on('error', () => {})
  onTestFinished(async () => {
    await admin.end()
    await Promise.all([pool.end(), doomed.end()])
  })
  const stores = [postgresStore({ pool }), postgresStore({ pool })] as const
  await stores[0].ready()
  return {
    stores,
    lookAtAll: () => pool.query('UPDATE retrysafe_records SET sweep_minute = 0'),
    async staying() {
      await pool.query(`
        CREATE FUNCTION stay() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF current_setting('retrysafe.stays', true) = 'yes' THEN PERFORM pg_advisory_xact_lock(1); END IF;
          RETURN NULL;
        END $$;
        CREATE TRIGGER stay AFTER DELETE ON retrysafe_records FOR EACH ROW EXECUTE FUNCTION stay()`)
      await admin.query('SELECT pg_advisory_lock(1)')
      const end = postgresStore({ pool: doomed })
        .sweep(claimsMax)
        .catch((error: { failure: StoreFailure }) => error.failure)
      const waiting = `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
      await expect.poll(async () => (await pool.query(waiting)).rowCount, { timeout: 30_000 }).toBe(1)
      return async () => {
        await pool.query(`SELECT pg_terminate_backend(pid) FROM (${waiting}) AS waiting`)
        expect(await end).toBe('lost')
        await admin.query('SELECT pg_advisory_unlock(1)')
      }
    },
    overlaps: true,
  }
}

async function openMariadb(): Promise<Rig> {
  const uri = await mariadbDatabase()
  const [pool, doomed] = [mysql.createPool({ uri }), mysql.createPool({ uri })]
  const admin = await mysql.createConnection(uri)
  onTestFinished(async () => {
    await Promise.all([pool.end(), doomed.end(), admin.end()])
  })
  const stores = [mysqlStore({ pool }), mysqlStore({ pool })] as const
  await stores[0].ready()
  return {
    stores,
    lookAtAll: () => admin.query('UPDATE retrysafe_records SET sweep_at = 0'),
    async staying() {
      await admin.query(`
        CREATE TRIGGER stay AFTER DELETE ON retrysafe_records FOR EACH ROW
        IF @removed IS NOT NULL THEN
          SET @removed = @removed + 1;
          IF @removed = 50 THEN DO GET_LOCK(DATABASE(), 60); END IF;
        END IF`)
      await admin.query('DO GET_LOCK(DATABASE(), 60)')
      doomed.on('connection', (connection) => void connection.query('SET @removed = 0'))
      const end = mysqlStore({ pool: doomed })
        .sweep(claimsMax)
        .catch((error: { failure: StoreFailure }) => error.failure)
      const waiting = `SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND state = 'User lock'`
      const ids = async (): Promise<number[]> =>
        (await admin.query<mysql.RowDataPacket[]>(waiting))[0].map(({ id }) => id as number)
      await expect.poll(async () => (await ids()).length, { timeout: 30_000 }).toBe(1)
      return async () => {
        await admin.query(`KILL ${(await ids())[0]}`)
        expect(await end).toBe('lost')
        await admin.query('DO RELEASE_LOCK(DATABASE())')
      }
    },
    overlaps: true,
  }
}

describe('sweeps at once, one of them killed in the middle of a batch', () => {
  const rigs = [
    ['SQLite', true, openSqlite],
    ['Postgres', hasPostgres, openPostgres],
    ['MariaDB', hasMariadb, openMariadb],
  ] as const
  for (const [name, isThere, open] of rigs) {
    test.skipIf(!isThere)(`${name}: all that is over goes once, and no live lease`, async () => {
      const { stores, lookAtAll, staying, overlaps } = await open()
      const both = stores.map((store) => createIdempotency({ store, sweep: false }))
      onTestFinished(async () => {
        for (const idem of both) await idem.close()
      })
      const [store] = stores
      const live = Array.from({ length: liveCount }, () =>
        newClaim({ leaseMs: 600_000, retentionMs: 600_000 }),
      )
      await store.claim(live)
      const over = Array.from({ length: overCount }, () => newClaim({ leaseMs: 1, retentionMs: 0 }))
      for (let at = 0; at < overCount; at += claimsMax) await store.claim(over.slice(at, at + claimsMax))
      await lookAtAll()

      let removed = 0
      const sweepBoth = async (): Promise<number> => {
        const counts = await Promise.all(both.map((idem) => idem.sweep()))
        for (const count of counts) removed += count
        return removed
      }
      const kill = await staying()
      if (overlaps) {
        await sweepBoth()
        expect(removed).toBeGreaterThan(0)
        expect(removed).toBeLessThan(overCount)
      }
      await kill()
      // The server lets go of the locks of a connection once it has noticed that it is gone.
      await expect.poll(sweepBoth, { timeout: 30_000 }).toBe(overCount)
      const { replies } = await store.read(live.map(({ id }) => id))
      expect(replies.map((record) => record?.phase)).toEqual(live.map(() => 'running'))
      expect(await sweepBoth()).toBe(overCount)
    })
  }
})

describe.skipIf(!hasPostgres)('the statement of Postgres', () => {
  /** Whether the values are known when the plan is made, and how much of the table is due. */
  test.each([
    ['force_custom_plan', 0.01],
    ['force_generic_plan', 0.01],
    ['force_custom_plan', 1],
    ['force_generic_plan', 1],
  ])('finds what is due by the index: %s, %d of the table', async (planning, part) => {
    const pool = new pg.Pool({ connectionString: await postgresDatabase(), max: 1 })
    onTestFinished(() => pool.end())
    const store = postgresStore({ pool })
    await store.ready()
    await pool.query(
      `INSERT INTO retrysafe_records
       SELECT 1, 1, 1, 1, 1, CASE WHEN n % ${1 / part} = 0 THEN 1 ELSE 2000000000 END, 2, gen_random_uuid(),
              gen_random_uuid(), '\\x01', '', '', '' FROM generate_series(1, 50000) AS n`,
    )
    await pool.query('ANALYZE retrysafe_records')
    await pool.query(`SET plan_cache_mode = ${planning}`)
    const { sweep } = statementsFor({ schema: undefined, table: 'retrysafe_records' })
    await pool.query(`PREPARE sweep AS ${sweep.text}`)
    const { rows } = await pool.query('EXPLAIN EXECUTE sweep(100)')
    const plan = rows.map((row) => row['QUERY PLAN']).join('\n')
    expect(plan).toMatch(/Index Scan using retrysafe_records_sweep/)
    expect(plan).not.toMatch(/Seq Scan on retrysafe_records/)
    expect(await store.sweep(100)).toEqual({ removed: 100, entombed: 0, more: true })
  })
})
