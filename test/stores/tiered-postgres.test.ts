/** Two instances with a tier of their own each, on one real Postgres. */
import pg from 'pg'
import { afterAll, expect, test } from 'vitest'
import { KeyReusedError } from '../../src/core/errors.ts'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { onEvent } from '../../src/engine/events.ts'
import { postgresStore } from '../../src/stores/postgres.ts'
import { lruReplayTier, tieredStore } from '../../src/stores/tiered.ts'
import { postgresDatabase } from '../servers.ts'
import { remoteTier } from './tiered-tiers.ts'

const pool = new pg.Pool({ connectionString: await postgresDatabase(), max: 10 })
afterAll(() => pool.end())
await pool.query('CREATE TABLE orders (sku text NOT NULL)')

const host = { monotonic: () => performance.now() }
const shared = remoteTier(host)

function instance(fast = lruReplayTier()) {
  const store = tieredStore({ fast: [fast, shared], durable: postgresStore({ pool }) })
  return createIdempotency({ store, sweep: false, retention: '2s' })
}

/** Queries that reach the server while `work` runs. */
async function queriesOf(work: () => Promise<unknown>): Promise<number> {
  const client = pg.Client.prototype
  const query = client.query as (...given: unknown[]) => unknown
  let queries = 0
  client.query = function counted(this: unknown, ...given: unknown[]): unknown {
    queries++
    return query.apply(this, given)
  } as never
  try {
    await work()
    return queries
  } finally {
    client.query = query as never
  }
}

test('lease mode: one run, replays without the server, and a new run after the retention', async () => {
  let runs = 0
  const [a, b] = [instance(), instance()]
  const handler = async (input: { cents: number }) => ({ ...input, run: ++runs })
  const chargeA = a.operation('charge', handler)
  const chargeB = b.operation('charge', handler)
  const call = { key: 'lease-1', principal: 'alice', input: { cents: 5 } }
  const race = await Promise.all([chargeA.run(call), chargeB.run(call), chargeA.run(call), chargeB.run(call)])
  expect(race.filter(({ replayed }) => !replayed)).toHaveLength(1)
  expect(new Set(race.map(({ value }) => value.run))).toEqual(new Set([1]))
  await Promise.all([chargeA.run(call), chargeB.run(call)])
  const queries = await queriesOf(async () => {
    for (let replays = 0; replays < 20; replays++) {
      expect(await chargeA.run(call)).toEqual({ value: { cents: 5, run: 1 }, replayed: true })
      expect(await chargeB.run(call)).toEqual({ value: { cents: 5, run: 1 }, replayed: true })
      await expect(chargeB.run({ ...call, input: { cents: 6 } })).rejects.toThrow(KeyReusedError)
    }
  })
  expect(queries).toBe(0)
  expect((await chargeA.run({ ...call, principal: 'bob' })).replayed).toBe(false)
  await new Promise((resolve) => setTimeout(resolve, 2_100))
  expect(await chargeB.run(call)).toEqual({ value: { cents: 5, run: 3 }, replayed: false })
  expect(await chargeA.run(call)).toEqual({ value: { cents: 5, run: 3 }, replayed: true })
  await Promise.all([a.close(), b.close()])
})

test('transaction mode: one effect, and from the second replay on no transaction', async () => {
  const idem = instance()
  let replayed = 0
  const stop = onEvent('replayed', () => replayed++)
  const order = idem.transaction('order', async (input: { sku: string }, { tx }) => {
    await tx.query('INSERT INTO orders (sku) VALUES ($1)', [input.sku])
    return { placed: input.sku }
  })
  const call = { key: 'transaction-1', principal: 'alice', input: { sku: 'A1' } }
  expect(await order.run(call)).toEqual({ value: { placed: 'A1' }, replayed: false })
  expect(await queriesOf(() => order.run(call))).toBeGreaterThan(0)
  const queries = await queriesOf(async () => {
    for (let replays = 0; replays < 20; replays++) {
      expect(await order.run(call)).toEqual({ value: { placed: 'A1' }, replayed: true })
    }
    await expect(order.run({ ...call, input: { sku: 'B2' } })).rejects.toThrow(KeyReusedError)
  })
  expect(queries).toBe(0)
  expect(replayed).toBe(21)
  const { rows } = await pool.query('SELECT sku FROM orders')
  expect(rows).toEqual([{ sku: 'A1' }])
  stop()
  await idem.close()
})
