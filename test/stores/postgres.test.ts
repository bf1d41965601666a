import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { RecordId } from '../../src/core/record.ts'
import { createIdempotency, type Idempotency } from '../../src/engine/idempotency.ts'
import { postgresMigrations, postgresSchemaSql, postgresStore } from '../../src/stores/postgres.ts'
import { statementsFor } from '../../src/stores/postgres/statements.ts'
import { startFaultProxy } from '../../src/verification/index.ts'
import { completion, newClaim, newId } from '../../src/verification/store-cases/context.ts'
import { postgresDatabase } from '../servers.ts'

const url = await postgresDatabase()
const pool = new pg.Pool({ connectionString: url, max: 10 })
const admin = new pg.Pool({ connectionString: url, max: 2 })
await admin.query('CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY, sku text NOT NULL)')
await admin.query('CREATE TABLE stock (sku text PRIMARY KEY, amount int NOT NULL)')
afterAll(async () => {
  await pool.end()
  await admin.end()
})

interface Order {
  readonly sku: string
}

let idem: Idempotency<pg.PoolClient>
let key: string
beforeEach(async () => {
  idem = createIdempotency({ store: postgresStore({ pool }), sweep: false })
  key = randomUUID()
  await admin.query('TRUNCATE orders')
})

const call = (): { key: string; principal: string; input: Order } => ({
  key,
  principal: 'alice',
  input: { sku: 'A1' },
})

async function place(tx: pg.PoolClient, { sku }: Order): Promise<Order> {
  await tx.query('INSERT INTO orders (sku) VALUES ($1)', [sku])
  return { sku }
}

async function orders(): Promise<string[]> {
  return (await admin.query('SELECT sku FROM orders')).rows.map(({ sku }: { sku: string }) => sku)
}

/** A role of its own: roles are of the whole server, which other tests use too. */
async function newRole(rights: string): Promise<string> {
  const role = `role_${randomUUID().slice(0, 8)}`
  await admin.query(`CREATE ROLE ${role} ${rights}`)
  onTestFinished(async () => {
    await admin.query(`DROP OWNED BY ${role}`)
    await admin.query(`DROP ROLE ${role}`)
  })
  return role
}

/** Ends the server's side of a connection, as a crash of its backend would. */
async function terminate(tx: pg.PoolClient): Promise<void> {
  const { rows } = await tx.query('SELECT pg_backend_pid() AS pid')
  await admin.query('SELECT pg_terminate_backend($1)', [rows[0].pid])
}

describe('transaction', () => {
  test('effect and record commit together, and duplicates replay', async () => {
    const order = idem.transaction('order', (input: Order, { tx }) => place(tx, input))
    expect(await order.run(call())).toEqual({ value: { sku: 'A1' }, replayed: false })
    expect(await order.run(call())).toEqual({ value: { sku: 'A1' }, replayed: true })
    expect(await order.attempt({ ...call(), input: { sku: 'B2' } })).toEqual({ kind: 'mismatch' })
    expect(await orders()).toEqual(['A1'])
  })

  test('a handler that deletes the record of its key is told that its effect has none', async () => {
    const order = idem.transaction('order', async (input: Order, { tx }) => {
      await tx.query('DELETE FROM retrysafe_records')
      return await place(tx, input)
    })
    await expect(order.run(call())).rejects.toMatchObject({ code: 'outcome-unknown', settled: false })
    expect(await orders()).toEqual(['A1'])
  })

  test('a large outcome is bound as octets and replays', async () => {
    const large = 'x'.repeat(100_000)
    const order = idem.transaction('order', async (input: Order, { tx }) => [await place(tx, input), large])
    await order.run(call())
    expect((await order.run(call())).value).toEqual([{ sku: 'A1' }, large])
  })

  test('a handler that throws leaves neither effect nor record', async () => {
    const order = idem.transaction('order', async (input: Order, { tx }) => {
      await place(tx, input)
      throw new Error('no stock')
    })
    await expect(order.run(call())).rejects.toThrow('no stock')
    expect(await orders()).toEqual([])
  })

  test('a handler that swallows an error of the database does not pass for success', async () => {
    const order = idem.transaction('order', async (input: Order, { tx }) => {
      await place(tx, input)
      await tx.query('SELECT 1 / 0').catch(() => {})
      return 'placed'
    })
    await expect(order.run(call())).rejects.toMatchObject({ code: 'not-applied' })
    expect(await orders()).toEqual([])
  })

  test('a handler that ends the transaction itself is told, and its key is not free', async () => {
    const order = idem.transaction('order', { wait: 0 }, async (input: Order, { tx }) => {
      await place(tx, input)
      await tx.query('COMMIT')
    })
    await expect(order.run(call())).rejects.toMatchObject({ code: 'outcome-unknown' })
    expect(await order.attempt({ ...call() })).toMatchObject({ kind: 'in-progress' })
    expect(await orders()).toEqual(['A1'])
  }, 30_000)

  test('a backend that ends while the handler works applies nothing, and the key may be sent again', async () => {
    let runs = 0
    const order = idem.transaction('order', async (input: Order, { tx }) => {
      await place(tx, input)
      if (++runs === 1) await terminate(tx)
      return 'placed'
    })
    await expect(order.run(call())).rejects.toMatchObject({ code: 'not-applied' })
    expect(await orders()).toEqual([])
    expect(await order.run(call())).toEqual({ value: 'placed', replayed: false })
    expect(await orders()).toEqual(['A1'])
  })

  test('a serialization failure in the handler is not run again in the call', async () => {
    await admin.query("INSERT INTO stock VALUES ('A1', 5) ON CONFLICT (sku) DO UPDATE SET amount = 5")
    const strict = createIdempotency({
      store: postgresStore({ pool, isolation: 'serializable' }),
      sweep: false,
    })
    let runs = 0
    const order = strict.transaction('order', async (input: Order, { tx }) => {
      runs++
      await tx.query('SELECT amount FROM stock WHERE sku = $1', [input.sku])
      await admin.query('UPDATE stock SET amount = amount - 1 WHERE sku = $1', [input.sku])
      await tx.query('UPDATE stock SET amount = amount - 1 WHERE sku = $1', [input.sku])
    })
    await expect(order.run(call())).rejects.toMatchObject({ code: 'not-applied' })
    expect(runs).toBe(1)
  })

  test('duplicates of a slow key in two processes hold no connection while they wait', async () => {
    const small = new pg.Pool({ connectionString: url, max: 2 })
    const other = createIdempotency({ store: postgresStore({ pool: small }), sweep: false })
    const inside = Promise.withResolvers<void>()
    const over = Promise.withResolvers<void>()
    const slow = idem.transaction('order', async (input: Order, { tx }) => {
      await place(tx, input)
      inside.resolve()
      await over.promise
      return 'first'
    })
    const duplicate = other.transaction('order', async (input: Order, { tx }) => {
      await place(tx, input)
      return 'second'
    })
    const first = slow.run(call())
    await inside.promise
    const waiting = Array.from({ length: 50 }, () => duplicate.run(call()))
    const unrelated = other.transaction('unrelated', async (input: Order, { tx }) => place(tx, input))
    expect((await unrelated.run({ ...call(), key: randomUUID() })).replayed).toBe(false)
    over.resolve()
    expect(await first).toEqual({ value: 'first', replayed: false })
    for (const end of await Promise.all(waiting)) expect(end).toEqual({ value: 'first', replayed: true })
    expect(await orders()).toHaveLength(2)
    await small.end()
  })
})

describe('a COMMIT without an answer', () => {
  test.each(['before', 'after'] as const)(
    'cut %s it reached the server, ends as what happened',
    async (when) => {
      const proxy = await startFaultProxy({ target: { port: Number(new URL(url).port) } })
      const address = new URL(url)
      address.port = `${proxy.port}`
      const through = new pg.Pool({ connectionString: address.href, max: 4 })
      const cut = createIdempotency({ store: postgresStore({ pool: through }), sweep: false })
      const order = cut.transaction('order', (input: Order, { tx }) => place(tx, input))
      await cut.store.read([newId()])
      proxy.cutOn(';COMMIT', when)
      const end = await order.attempt(call()).catch((error: { code: string }) => error.code)
      expect(end).toEqual(when === 'after' ? { kind: 'executed', value: { sku: 'A1' } } : 'not-applied')
      expect(await orders()).toHaveLength(when === 'after' ? 1 : 0)
      expect((await order.run(call())).replayed).toBe(when === 'after')
      expect(await orders()).toEqual(['A1'])
      await through.end()
      await proxy.close()
    },
  )
})

describe('within', () => {
  test('commits and rolls back with the transaction of the user', async () => {
    for (const end of ['ROLLBACK', 'COMMIT']) {
      const tx = await pool.connect()
      await tx.query('BEGIN')
      const result = await idem.within(tx, { operation: 'order', ...call() }, () => place(tx, call().input))
      expect(result).toEqual({ value: { sku: 'A1' }, replayed: false })
      await tx.query(end)
      tx.release()
    }
    expect(await orders()).toEqual(['A1'])
  })

  test('a key that another transaction holds is refused at once and leaves the transaction usable', async () => {
    const [one, two] = [await pool.connect(), await pool.connect()]
    await one.query('BEGIN')
    await two.query('BEGIN')
    await idem.within(one, { operation: 'order', ...call() }, () => place(one, call().input))
    const refused = idem.within(two, { operation: 'order', ...call() }, () => place(two, call().input))
    await expect(refused).rejects.toMatchObject({ code: 'in-progress' })
    await two.query("INSERT INTO orders (sku) VALUES ('other')")
    await two.query('COMMIT')
    await one.query('COMMIT')
    one.release()
    two.release()
    expect((await orders()).sort()).toEqual(['A1', 'other'])
  })
})

describe('statement', () => {
  const text = 'INSERT INTO orders (sku) VALUES ($1) RETURNING sku -- the effect'

  test('applies once, in one statement, and replays', async () => {
    const order = idem.statement('order', text, (input: Order) => [input.sku])
    expect(await order.run(call())).toEqual({ value: [{ sku: 'A1' }], replayed: false })
    expect(await order.run(call())).toEqual({ value: [{ sku: 'A1' }], replayed: true })
    expect(await orders()).toEqual(['A1'])
  })

  test('50 callers in two processes at once: one effect, one answer', async () => {
    const other = createIdempotency({ store: postgresStore({ pool }), sweep: false })
    const both = [idem, other].map((it) => it.statement('order', text, (input: Order) => [input.sku]))
    const ends = await Promise.all(
      both.flatMap((order) => Array.from({ length: 25 }, () => order.run(call()))),
    )
    expect(ends.filter(({ replayed }) => !replayed)).toHaveLength(1)
    expect(await orders()).toEqual(['A1'])
  })

  test('its own error comes out and leaves nothing', async () => {
    const order = idem.statement('order', 'INSERT INTO orders (sku) VALUES (NULL) RETURNING sku', () => [])
    await expect(order.run(call())).rejects.toMatchObject({ code: '23502' })
    expect(await orders()).toEqual([])
  })

  test.each(['effect', 'body', 'clock', 'head', 'now', 'rows', 'ord'])(
    'may return a column named %s, in one round trip and in a transaction',
    async (name) => {
      const order = idem.statement(
        'order',
        `INSERT INTO orders (sku) VALUES ($1) RETURNING sku AS ${name}`,
        (input: Order) => [input.sku],
      )
      const value = [{ [name]: 'A1' }]
      expect(await order.run(call())).toEqual({ value, replayed: false })
      expect(await order.run(call())).toEqual({ value, replayed: true })
      // Released before, so that it takes a transaction.
      const again = { ...call(), key: `again ${name}` }
      await idem
        .operation('order', () => Promise.reject(new Error('released')))
        .run(again)
        .catch(() => {})
      expect(await order.run(again)).toEqual({ value, replayed: false })
    },
  )

  test('data that looks like a tag of the codec stays data', async () => {
    const order = idem.statement('order', `SELECT '{"$retrysafe": ["bigint", "5"]}'::json AS data`, () => [])
    const value = [{ data: { $retrysafe: ['bigint', '5'] } }]
    expect((await order.run(call())).value).toEqual(value)
    expect((await order.run(call())).value).toEqual(value)
  })
})

describe('the table', () => {
  test.each(['', 'a.b.c', 'x"; DROP TABLE orders; --', 'é', 'a'.repeat(49), '1a', 'a.', '.a'])(
    'is not named %j',
    (table) => {
      expect(() => postgresStore({ pool, table })).toThrow(/Option table/)
    },
  )

  test('may lie in a schema and be named by a reserved word', async () => {
    await admin.query('CREATE SCHEMA IF NOT EXISTS billing')
    const store = postgresStore({ pool, table: 'billing.user' })
    expect((await store.claim([newClaim()])).replies).toEqual([{ kind: 'claimed' }])
  })

  test('that is missing, of another version or not ours to use fails at the start, with what mends it', async () => {
    const missing = postgresStore({ pool, table: 'missing_records', migrate: 'check' })
    await expect(missing.ready()).rejects.toThrow(/missing.*postgresMigrations/)
    const noSchema = postgresStore({ pool, table: 'nowhere.records' })
    await expect(noSchema.ready()).rejects.toThrow(/CREATE SCHEMA "nowhere"/)
    await postgresStore({ pool, table: 'newer_records' }).ready()
    await admin.query("UPDATE retrysafe_schema SET version = 99 WHERE name = 'newer_records'")
    await expect(postgresStore({ pool, table: 'newer_records' }).ready()).rejects.toMatchObject({
      code: 'schema-mismatch',
    })
    const role = await newRole('LOGIN')
    await admin.query(`GRANT SELECT ON retrysafe_schema TO ${role}`)
    const address = new URL(url)
    address.username = role
    const clerk = new pg.Pool({ connectionString: address.href, max: 1 })
    await postgresStore({ pool }).ready()
    await expect(postgresStore({ pool: clerk }).ready()).rejects.toThrow(
      /GRANT SELECT, INSERT, UPDATE, DELETE/,
    )
    await clerk.end()
  })

  test('is described for other migration tools, and the steps can be run from there', async () => {
    const steps = postgresMigrations({ pool, table: 'stepped_records' })
    expect(await steps.status()).toEqual({ version: 0, latest: 1 })
    expect(await steps.pending()).toBe(postgresSchemaSql({ table: 'stepped_records' }))
    await Promise.all([steps.apply(), steps.apply()])
    expect(await steps.pending()).toBe('')
  })

  test('is looked up by its index from the first row on, by plans that are kept', async () => {
    const table = 'young_records'
    await postgresStore({ pool, table }).ready()
    const { claimOne, claim, supersede, renew, settleOne, settleInserted, settle, read } = statementsFor({
      schema: undefined,
      table,
    })
    const client = await pool.connect()
    onTestFinished(() => client.release(true))
    await client.query('SET plan_cache_mode = force_generic_plan')
    for (const state of ['new', 'vacuumed']) {
      if (state === 'vacuumed') await client.query(`VACUUM (ANALYZE) ${table}`)
      const statements = { claimOne, claim, supersede, renew, settleOne, settleInserted, settle, read }
      for (const [name, { text }] of Object.entries(statements)) {
        const nulls = [...new Set(text.match(/\$\d+/g))].map(() => 'NULL').join()
        await client.query(`PREPARE plan AS ${text}`)
        const { rows } = await client.query(`EXPLAIN EXECUTE plan(${nulls})`)
        await client.query('DEALLOCATE plan')
        const plan = rows.map((row) => row['QUERY PLAN']).join('\n')
        expect(plan, `${name} on a ${state} table`).not.toMatch(/Seq Scan on young_records/)
        expect(plan, `${name} on a ${state} table`).toMatch(/young_records_pkey|Conflict Arbiter/)
      }
    }
  })

  test('settling changes no index entry while there is room on the page', async () => {
    const single = new pg.Pool({ connectionString: url, max: 1 })
    const store = postgresStore({ pool: single, table: 'hot_records' })
    for (let at = 0; at < 20; at++) {
      const claim = newClaim()
      await store.claim([claim])
      await store.settle([completion(claim)])
    }
    await single.query('SELECT pg_stat_force_next_flush()')
    await single.end()
    const stats = 'SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = $1'
    const { rows } = await admin.query(stats, ['hot_records'])
    expect(rows).toEqual([{ n_tup_upd: '20', n_tup_hot_upd: '20' }])
  })
})

describe('a session that lost its statements, as behind a transaction pooler', () => {
  test('is answered all the same', async () => {
    const single = new pg.Pool({ connectionString: url, max: 1 })
    const store = postgresStore({ pool: single })
    const [one, two] = [newClaim(), newClaim()]
    await store.claim([one])
    await single.query('DEALLOCATE ALL')
    expect((await store.claim([two])).replies).toEqual([{ kind: 'claimed' }])
    expect((await store.claim([newClaim({ id: one.id })])).replies[0]?.kind).toBe('found')
    await single.end()
  })

  test('runs each transaction once', async () => {
    const single = new pg.Pool({ connectionString: url, max: 1 })
    const lone = createIdempotency({ store: postgresStore({ pool: single }), sweep: false })
    let runs = 0
    const order = lone.transaction('order', (input: Order, { tx }) => {
      runs += 1
      return place(tx, input)
    })
    const named =
      "SELECT count(*)::int AS count FROM pg_prepared_statements WHERE from_sql AND name LIKE 'retrysafe%'"
    await order.run(call())
    expect((await single.query(named)).rows).toEqual([{ count: 2 }])
    await single.query('DEALLOCATE ALL')
    expect((await order.run({ ...call(), key: randomUUID() })).replayed).toBe(false)
    expect((await order.run({ ...call(), key: randomUUID() })).replayed).toBe(false)
    expect((await order.run(call())).replayed).toBe(true)
    expect([runs, await orders()]).toEqual([3, ['A1', 'A1', 'A1']])
    // It has learned that names do not last here.
    expect((await single.query(named)).rows).toEqual([{ count: 0 }])
    await lone.close()
    await single.end()
  })

  test('that knows the names already is as good', async () => {
    const single = new pg.Pool({ connectionString: url, max: 1 })
    const [one, two] = [1, 2].map(() =>
      createIdempotency({ store: postgresStore({ pool: single }), sweep: false }),
    )
    for (const each of [one, two]) {
      const order = (each as typeof idem).transaction('order', (input: Order, { tx }) => place(tx, input))
      expect((await order.run({ ...call(), key: randomUUID() })).replayed).toBe(false)
    }
    expect(await orders()).toHaveLength(2)
    await single.end()
  })
})

describe('a list', () => {
  test('goes on past damaged rows, which it leaves out', async () => {
    const store = postgresStore({ pool, table: 'damaged_records' })
    const kept = newClaim()
    await store.claim([kept])
    await admin.query('UPDATE damaged_records SET created_at = created_at - 1000')
    await store.claim([newClaim(), newClaim()])
    await admin.query(
      'UPDATE damaged_records SET phase = 9 WHERE created_at > (SELECT min(created_at) FROM damaged_records)',
    )
    const seen: string[] = []
    let after: string | undefined
    for (let page = 0; page < 10; page++) {
      const { records, next } = await store.list({ limit: 1, ...(after !== undefined && { after }) })
      seen.push(...records.map(({ id }) => id))
      if (next === undefined) break
      after = next
    }
    expect(seen).toEqual([kept.id])
  })
})

describe('errors', () => {
  test('a statement whose login was refused has not been sent, and is not called unknown', async () => {
    const role = await newRole('LOGIN SUPERUSER')
    const address = new URL(url)
    address.username = role
    const leaver = new pg.Pool({ connectionString: address.href, max: 1 })
    const left = createIdempotency({ store: postgresStore({ pool: leaver }), sweep: false })
    await left.store.read([newId()])
    await admin.query(`ALTER ROLE ${role} NOLOGIN`)
    await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1', [role])
    await expect.poll(() => leaver.totalCount).toBe(0)
    const order = left.statement('order', 'INSERT INTO orders (sku) VALUES ($1) RETURNING sku', () => ['A1'])
    await expect(order.run(call())).rejects.toMatchObject({ code: 'store-unavailable' })
    await leaver.end()
  })

  test('a transaction of an ORM that cannot be opened has not run', async () => {
    const transactions = {
      transaction: () => Promise.reject(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })),
      join: () => {
        throw new Error('never joined')
      },
    }
    const closed = createIdempotency({ store: postgresStore({ pool, transactions }), sweep: false })
    const order = closed.transaction('order', () => 'placed')
    await expect(order.run(call())).rejects.toMatchObject({ code: 'store-unavailable' })
  })

  test('a store that is not ready does not wait for a connection that its caller holds', async () => {
    const single = new pg.Pool({ connectionString: url, max: 1 })
    const late = createIdempotency({ store: postgresStore({ pool: single }), sweep: false })
    const tx = await single.connect()
    await tx.query('BEGIN')
    const refused = late.within(tx, { operation: 'order', ...call() }, () => place(tx, call().input))
    await expect(refused).rejects.toMatchObject({ code: 'retry-transaction' })
    await tx.query('ROLLBACK')
    tx.release()
    await single.end()
  })

  test('an id or a token that is none fails its item alone', async () => {
    const store = postgresStore({ pool })
    const ids = ['', "'; DROP TABLE orders; --", `${'A'.repeat(21)}B`]
    const claims = [
      ...ids.map((id) => newClaim({ id: id as RecordId })),
      newClaim({ token: 'x' }),
      newClaim(),
    ]
    const { replies } = await store.claim(claims)
    expect(replies.map(({ kind }) => kind)).toEqual(['failed', 'failed', 'failed', 'failed', 'claimed'])
  })

  test.each([
    ['a refused connection', 'postgres://postgres@127.0.0.1:1/postgres', 'transient'],
    ['a database that is not there', url.replace(/[^/]+$/, 'nowhere'), 'permanent'],
  ])('%s is a class, and no address is in its message', async (_what, address, failure) => {
    const away = new pg.Pool({ connectionString: address, max: 1 })
    const error = await postgresStore({ pool: away })
      .read([newId()])
      .then(
        () => undefined,
        (it: Error) => it,
      )
    expect(error).toMatchObject({ code: 'store-failed', failure })
    expect(error?.message).not.toContain('127.0.0.1')
    await away.end()
  })

  test('a read-only server is the wrong node', async () => {
    const readOnly = new pg.Pool({
      connectionString: `${url}?options=${encodeURIComponent('-c default_transaction_read_only=on')}`,
      max: 1,
    })
    await postgresStore({ pool }).ready()
    const store = postgresStore({ pool: readOnly, migrate: 'check' })
    await expect(store.claim([newClaim()])).rejects.toMatchObject({ failure: 'wrong-node' })
    await readOnly.end()
  })
})
