/** What becomes of a call at each isolation level when two of them meet, or when Postgres gives one up. */
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createIdempotency, type Idempotency } from '../../src/engine/idempotency.ts'
import { postgresStore } from '../../src/stores/postgres.ts'
import { hasPostgres, postgresDatabase } from '../servers.ts'

const levels = ['read committed', 'repeatable read', 'serializable'] as const
const snapshotLevels: readonly string[] = ['repeatable read', 'serializable']

let pool: pg.Pool
let admin: pg.Pool

beforeAll(async () => {
  if (!hasPostgres) return
  const url = await postgresDatabase()
  pool = new pg.Pool({ connectionString: url, max: 10 })
  admin = new pg.Pool({ connectionString: url, max: 2 })
  await admin.query('CREATE TABLE ledger (key text NOT NULL)')
  await admin.query('CREATE TABLE stock (sku text PRIMARY KEY, amount int NOT NULL)')
})

afterAll(async () => {
  await pool?.end()
  await admin?.end()
})

/** Two processes on one database, and one key. */
let one: Idempotency<pg.PoolClient>
let two: Idempotency<pg.PoolClient>
let table: string
let key: string

async function open(isolation: (typeof levels)[number]): Promise<void> {
  table = `records_${randomUUID().slice(0, 8)}`
  const made = [1, 2].map(() => {
    const store = postgresStore({ pool, table, isolation })
    return createIdempotency({ store, sweep: false })
  })
  ;[one, two] = made as [typeof one, typeof two]
  key = randomUUID()
  await one.store.read([])
  await admin.query('TRUNCATE ledger, stock')
  await admin.query("INSERT INTO stock VALUES ('A', 5), ('B', 5)")
}

const call = (ofKey: string = key): { key: string; principal: string; input: string } => ({
  key: ofKey,
  principal: 'alice',
  input: 'A',
})

const place = async (tx: pg.PoolClient, ofKey: string = key): Promise<unknown> =>
  await tx.query('INSERT INTO ledger VALUES ($1)', [ofKey])

const take = (tx: pg.Pool | pg.PoolClient, sku: string): Promise<unknown> =>
  tx.query('UPDATE stock SET amount = amount - 1 WHERE sku = $1', [sku])

/** How many effects and which records there are. */
async function left(): Promise<{ effects: number; phases: readonly string[] }> {
  const { rows } = await admin.query('SELECT count(*)::int AS effects FROM ledger')
  const { records } = await one.store.list({ limit: 100 })
  return { effects: rows[0].effects, phases: records.map(({ phase }) => phase) }
}

const nothing = { effects: 0, phases: [] }
const once = { effects: 1, phases: ['completed'] }

/** The call that failed takes effect when its key is sent again. */
async function expectAgain(): Promise<void> {
  const again = one.transaction('order', async (_, { tx }) => void (await place(tx)))
  expect((await again.run(call())).replayed).toBe(false)
  expect(await left()).toEqual(once)
}

describe.each(levels)('at %s', (level) => {
  beforeEach(async ({ skip }) => {
    skip(!hasPostgres, 'no server of postgres')
    await open(level)
  })

  describe.each(['commits', 'rolls back'])('a duplicate whose winner %s', (end) => {
    test('waits for it, and runs where it has to', async () => {
      const inside = Promise.withResolvers<void>()
      const over = Promise.withResolvers<void>()
      const winner = one.transaction('order', async (_, { tx }) => {
        await place(tx)
        inside.resolve()
        await over.promise
        if (end === 'rolls back') throw new Error('no stock')
        return 'first'
      })
      const loser = two.transaction('order', async (_, { tx }) => {
        await place(tx)
        return 'second'
      })
      const first = winner.run(call())
      await inside.promise
      const second = loser.run(call())
      over.resolve()
      if (end === 'commits') {
        expect(await first).toEqual({ value: 'first', replayed: false })
        expect(await second).toEqual({ value: 'first', replayed: true })
      } else {
        await expect(first).rejects.toThrow('no stock')
        expect(await second).toEqual({ value: 'second', replayed: false })
      }
      expect(await left()).toEqual(once)
    })
  })

  test('many duplicates at once in two processes: one effect', async () => {
    const operations = [one, two].map((idem) =>
      idem.transaction('order', async (_, { tx }) => void (await place(tx))),
    )
    const ends = await Promise.all(
      operations.flatMap((operation) => Array.from({ length: 10 }, () => operation.run(call()))),
    )
    expect(ends.filter(({ replayed }) => !replayed)).toHaveLength(1)
    expect(await left()).toEqual(once)
  })

  test('a row that changed under the handler', async () => {
    let runs = 0
    const order = one.transaction('order', async (_, { tx }) => {
      runs += 1
      await place(tx)
      await tx.query('SELECT amount FROM stock')
      await take(admin, 'A')
      await take(tx, 'A')
    })
    if (!snapshotLevels.includes(level)) {
      expect((await order.run(call())).replayed).toBe(false)
      expect(await left()).toEqual(once)
      return
    }
    await expect(order.run(call())).rejects.toMatchObject({ code: 'not-applied', cause: { code: '40001' } })
    expect(runs).toBe(1)
    expect(await left()).toEqual(nothing)
    await expectAgain()
  })

  test('two handlers that read what the other one writes', async () => {
    const both = Promise.withResolvers<void>()
    let readers = 0
    const orders = [
      [one, 'A', 'B'],
      [two, 'B', 'A'],
    ] as const
    const calls = orders.map(([idem, read, written]) =>
      idem
        .transaction('order', async (_, { tx }) => {
          await place(tx)
          await tx.query('SELECT amount FROM stock WHERE sku = $1', [read])
          readers += 1
          if (readers === 2) both.resolve()
          await both.promise
          await take(tx, written)
        })
        .attempt(call(written))
        .then(
          ({ kind }) => kind,
          ({ code, cause }) => `${code} ${cause.cause?.code ?? cause.code}`,
        ),
    )
    const ends = (await Promise.all(calls)).sort()
    if (level === 'serializable') {
      // One of them may be refused before its COMMIT or at it.
      expect(ends).toEqual(['executed', 'not-applied 40001'])
      expect(await left()).toEqual(once)
    } else {
      expect(ends).toEqual(['executed', 'executed'])
      expect(await left()).toEqual({ effects: 2, phases: ['completed', 'completed'] })
    }
  })

  test('two handlers that wait for one another', async () => {
    const both = Promise.withResolvers<void>()
    let holders = 0
    const orders = [
      [one, 'A', 'B'],
      [two, 'B', 'A'],
    ] as const
    const calls = orders.map(([idem, first, second]) =>
      idem
        .transaction('order', async (_, { tx }) => {
          await tx.query("SET LOCAL deadlock_timeout = '10ms'")
          await place(tx)
          await take(tx, first)
          holders += 1
          if (holders === 2) both.resolve()
          await both.promise
          await take(tx, second)
        })
        .attempt(call(first))
        .then(
          ({ kind }) => kind,
          ({ code, cause }) => `${code} ${cause.code}`,
        ),
    )
    const ends = (await Promise.all(calls)).sort()
    expect(ends).toEqual(['executed', 'not-applied 40P01'])
    expect(await left()).toEqual(once)
  })

  test.each([
    ['lock_timeout', '55P03'],
    ['statement_timeout', '57014'],
  ])('a statement of the handler over %s is the handler’s own error', async (setting, code) => {
    const holder = await admin.connect()
    await holder.query('BEGIN')
    await take(holder as pg.PoolClient, 'A')
    const order = one.transaction('order', async (_, { tx }) => {
      await tx.query(`SET LOCAL ${setting} = '20ms'`)
      await place(tx)
      await take(tx, 'A')
    })
    await expect(order.run(call())).rejects.toMatchObject({ code })
    await holder.query('ROLLBACK')
    holder.release()
    expect(await left()).toEqual(nothing)
    await expectAgain()
  })

  test('a handler that lets its transaction idle for too long', async () => {
    const idle = createIdempotency({
      store: postgresStore({ pool, table, isolation: level, idleTimeout: '90s' }),
      sweep: false,
    })
    const order = idle.transaction('order', async (_, { tx }) => {
      const { rows } = await tx.query('SHOW idle_in_transaction_session_timeout')
      expect(rows).toEqual([{ idle_in_transaction_session_timeout: '90s' }])
      await place(tx)
      const ended = new Promise((resolve) => tx.once('error', resolve))
      // The last thing before it idles: a slow machine must not be ended in between.
      await tx.query("SET LOCAL idle_in_transaction_session_timeout = '10ms'")
      expect(await ended).toMatchObject({ code: '25P03' })
    })
    await expect(order.run(call())).rejects.toMatchObject({ code: 'not-applied' })
    // Its COMMIT got no answer; the claim that found that out gave the key back.
    expect(await left()).toEqual({ effects: 0, phases: ['released'] })
    await expectAgain()
  })

  test('a handler that swallows the error of its statement does not pass for success', async () => {
    for (const failing of [
      'SELECT 1 / 0',
      "INSERT INTO stock VALUES ('A', 1)",
      'INSERT INTO nowhere VALUES (1)',
    ]) {
      const order = one.transaction('order', async (_, { tx }) => {
        await place(tx)
        await tx.query(failing).catch(() => {})
        return 'placed'
      })
      await expect(order.run(call())).rejects.toMatchObject({ code: 'not-applied' })
      expect(await left()).toEqual(nothing)
    }
    await expectAgain()
  })

  describe('within a transaction of the user', () => {
    /** Runs `work` within a transaction of its own, which commits where `work` resolves. */
    async function inOwn<Value>(work: (tx: pg.PoolClient) => Promise<Value>): Promise<Value> {
      const tx = await pool.connect()
      let end = 'ROLLBACK'
      try {
        await tx.query(`BEGIN ISOLATION LEVEL ${level}; SET LOCAL deadlock_timeout = '10ms'`)
        const value = await work(tx)
        end = 'COMMIT'
        return value
      } finally {
        await tx.query(end)
        tx.release()
      }
    }
    const within = (tx: pg.PoolClient, work: () => Promise<unknown>, ofKey: string = key): Promise<unknown> =>
      two.within(tx, { operation: 'order', ...call(ofKey) }, work)
    const placed = (tx: pg.PoolClient): Promise<unknown> =>
      within(tx, async () => {
        await place(tx)
        return 'second'
      })

    test('a key that was completed after its snapshot asks for the transaction to be tried again', async () => {
      const first = one.transaction('order', async (_, { tx }) => {
        await place(tx)
        return 'first'
      })
      const asked = inOwn(async (tx) => {
        await tx.query('SELECT count(*) FROM stock')
        await first.run(call())
        return await placed(tx)
      })
      if (snapshotLevels.includes(level)) {
        await expect(asked).rejects.toMatchObject({ code: 'retry-transaction' })
      } else expect(await asked).toEqual({ value: 'first', replayed: true })
      expect(await inOwn(placed)).toEqual({ value: 'first', replayed: true })
      expect(await left()).toEqual(once)
    })

    test('a row that changed under the work', async () => {
      const asked = inOwn(async (tx) => {
        await tx.query('SELECT amount FROM stock')
        await take(admin, 'A')
        return await within(tx, async () => {
          await place(tx)
          await take(tx, 'A')
        })
      })
      if (snapshotLevels.includes(level)) {
        await expect(asked).rejects.toMatchObject({ code: 'retry-transaction', cause: { code: '40001' } })
        expect(await left()).toEqual(nothing)
      } else {
        expect(await asked).toMatchObject({ replayed: false })
        expect(await left()).toEqual(once)
      }
    })

    test('two that wait for one another', async () => {
      const both = Promise.withResolvers<void>()
      let holders = 0
      const asked = [
        ['A', 'B'],
        ['B', 'A'],
      ].map(([first, second]) =>
        inOwn((tx) =>
          within(
            tx,
            async () => {
              await place(tx)
              await take(tx, String(first))
              holders += 1
              if (holders === 2) both.resolve()
              await both.promise
              await take(tx, String(second))
            },
            String(first),
          ),
        ).then(
          () => 'executed',
          ({ code, cause }) => `${code} ${cause.code}`,
        ),
      )
      expect((await Promise.all(asked)).sort()).toEqual(['executed', 'retry-transaction 40P01'])
      expect(await left()).toEqual(once)
    })

    test('work that swallows the error of its statement cannot be settled', async () => {
      const asked = inOwn((tx) =>
        within(tx, async () => {
          await place(tx)
          await tx.query('SELECT 1 / 0').catch(() => {})
        }),
      )
      await expect(asked).rejects.toMatchObject({ code: 'retry-transaction' })
      expect(await left()).toEqual(nothing)
    })

    test('its own errors come out as they are', async () => {
      const asked = inOwn((tx) => within(tx, () => tx.query("INSERT INTO stock VALUES ('A', 1)")))
      await expect(asked).rejects.toMatchObject({ code: '23505' })
      expect(await left()).toEqual(nothing)
    })
  })
})
