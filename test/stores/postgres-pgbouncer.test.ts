/**
 * The store behind a real PgBouncer in transaction mode, where each transaction of a client may run on another
 * connection of the server, and no session state holds.
 */
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import postgres from 'postgres'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import { type RunningServer, startPgbouncer } from '../../scripts/servers.ts'
import { createIdempotency, type Idempotency } from '../../src/engine/idempotency.ts'
import { type PostgresStore, postgresStore } from '../../src/stores/postgres.ts'
import { newClaim } from '../../src/verification/store-cases/context.ts'
import { hasPostgres, postgresDatabase } from '../servers.ts'
import { conformanceOfPg, conformanceOfPostgresJs } from './postgres-clients.ts'

/** @throws Error where servers are required and this one cannot be had */
async function bouncerOrReason(address: string): Promise<RunningServer | string> {
  if (!hasPostgres) return 'no PostgreSQL'
  try {
    return await startPgbouncer(address)
  } catch (error) {
    if (process.env['RETRYSAFE_REQUIRE_SERVERS'] === '1') throw error
    return String(error)
  }
}

const direct = hasPostgres ? await postgresDatabase() : ''
const bouncer = await bouncerOrReason(direct)

if (typeof bouncer === 'string') test.skip(`PgBouncer [not tested: ${bouncer}]`, () => undefined)
else behind(bouncer)

function behind({ url, stop }: RunningServer): void {
  const admin = new pg.Pool({ connectionString: direct, max: 1 })
  afterAll(async () => {
    await admin.end()
    await stop()
  })

  describe('conformance with pg', () => conformanceOfPg(url))
  describe('conformance with postgres.js, which must not prepare here', () =>
    conformanceOfPostgresJs(url, false))

  /** One connection to PgBouncer, one store on it, and what the server refused of its statements. */
  function watched(address: string): { store: PostgresStore<pg.PoolClient>; readonly refusals: string[] } {
    const pool = new pg.Pool({ connectionString: address, max: 1 })
    onTestFinished(() => pool.end())
    const refusals: string[] = []
    const query = pool.query.bind(pool) as (config: unknown) => Promise<unknown>
    const watching = Object.assign(pool, {
      query: async (config: unknown) =>
        await query(config).catch((error: { code: string }) => {
          refusals.push(error.code)
          throw error
        }),
    }) as pg.Pool
    return { refusals, store: postgresStore({ pool: watching }) }
  }

  interface Shop {
    readonly idem: Idempotency<unknown>
    insert(tx: unknown, key: string): Promise<unknown>
  }

  function onPg(table: string): Shop {
    const pool = new pg.Pool({ connectionString: url, max: 16 })
    onTestFinished(() => pool.end())
    return {
      idem: createIdempotency({
        store: postgresStore({ pool, table }),
        sweep: false,
      }) as Idempotency<unknown>,
      insert: (tx, key) => (tx as pg.PoolClient).query('INSERT INTO ledger (key) VALUES ($1)', [key]),
    }
  }

  function onPostgresJs(table: string): Shop {
    const sql = postgres(url, { max: 16, onnotice: () => {}, prepare: false })
    onTestFinished(() => sql.end())
    return {
      idem: createIdempotency({ store: postgresStore({ sql, table }), sweep: false }) as Idempotency<unknown>,
      insert: (tx, key) => (tx as typeof sql).unsafe('INSERT INTO ledger (key) VALUES ($1)', [key]),
    }
  }

  for (const [library, open] of Object.entries({ pg: onPg, 'postgres.js': onPostgresJs })) {
    test(`${library}: every mode takes effect once, with more clients than connections of the server`, async () => {
      await admin.query('DROP TABLE IF EXISTS ledger')
      await admin.query('CREATE TABLE ledger (key text)')
      const { idem, insert } = open(`records_${randomUUID().slice(0, 8)}`)
      interface Input {
        readonly key: string
      }
      const operations = {
        lease: idem.operation('lease', async ({ key }: Input) => key),
        transaction: idem.transaction('transaction', async ({ key }: Input, { tx }) => {
          await insert(tx, key)
          return key
        }),
        statement: idem.statement(
          'statement',
          'INSERT INTO ledger (key) VALUES ($1) RETURNING key',
          ({ key }: Input) => [key],
        ),
      }
      const keys = Array.from({ length: 40 }, (_, at) => `key ${at}`)
      for (let round = 0; round < 3; round++) {
        for (const [name, operation] of Object.entries(operations)) {
          const asked = [...keys, ...keys].map((key) => `${name} ${key}`)
          const answers = await Promise.all(
            asked.map((key) => operation.run({ key, principal: 'p', input: { key } })),
          )
          expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(round === 0 ? keys.length : 0)
        }
      }
      const { rows } = await admin.query(
        'SELECT count(*)::int AS all, count(DISTINCT key)::int AS keys FROM ledger',
      )
      expect(rows).toEqual([{ all: 80, keys: 80 }])
      await idem.close()
    })
  }

  test('a name is used where the connection of the server knows it, and otherwise not', async () => {
    // One of its own, whose connections no other test has taught any names.
    const own = await startPgbouncer(await postgresDatabase())
    onTestFinished(own.stop)
    const [one, two] = [watched(own.url), watched(own.url)]
    const holder = new pg.Client({ connectionString: own.url })
    await holder.connect()
    onTestFinished(() => holder.end())
    await one.store.claim([newClaim()])
    const noTableYet = '42P01'
    expect(one.refusals).toEqual([noTableYet])
    // PgBouncer gives out the connection that was used last: the one that has the name now.
    await holder.query('BEGIN')
    const known =
      "SELECT count(*)::int AS names FROM pg_prepared_statements WHERE statement LIKE '%ON CONFLICT%'"
    expect((await holder.query(known)).rows).toEqual([{ names: 1 }])
    expect((await one.store.claim([newClaim()])).replies).toEqual([{ kind: 'claimed' }])
    expect(one.refusals).toEqual([noTableYet, '26000'])
    await holder.query('COMMIT')
    const claim = newClaim()
    expect((await two.store.claim([claim])).replies).toEqual([{ kind: 'claimed' }])
    expect(two.refusals).toContain('42P05')
    expect((await one.store.claim([claim])).replies).toMatchObject([{ kind: 'found' }])
  })

  test('no connection of the server keeps settings or locks of the store', async () => {
    const pool = new pg.Pool({ connectionString: url, max: 4 })
    onTestFinished(() => pool.end())
    // PgBouncer itself sets application_name, as the client that it serves has it.
    const changed =
      "SELECT name, setting FROM pg_settings WHERE source = 'session' AND name <> 'application_name' ORDER BY name"
    const settings = async (): Promise<unknown> => (await pool.query(changed)).rows
    const before = await settings()
    const store = postgresStore({ pool, isolation: 'serializable', idleTimeout: '10s', table: 'tidy' })
    const idem = createIdempotency({ store, sweep: false })
    const order = idem.transaction('order', (input: number, { tx }) =>
      tx.query('SELECT $1::int', [input]).then(() => input),
    )
    const calls = Array.from({ length: 20 }, (_, at) =>
      order.run({ key: `k${at}`, principal: 'p', input: at }),
    )
    await Promise.all(calls)
    for (let at = 0; at < 10; at++) expect(await settings()).toEqual(before)
    const { rows } = await admin.query(
      "SELECT count(*)::int AS locks FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    expect(rows).toEqual([{ locks: 0 }])
    await idem.close()
  })
}
