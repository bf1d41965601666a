/** Redis in front of Postgres, both real; Redis may lose anything, or be away. */
import { Redis } from 'ioredis'
import pg from 'pg'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import type { TransactionalStore } from '../../src/core/store.ts'
import { createIdempotency } from '../../src/index.ts'
import { postgresStore } from '../../src/stores/postgres.ts'
import { redisReplayTier } from '../../src/stores/redis.ts'
import { tieredStore } from '../../src/stores/tiered.ts'
import { startFaultProxy } from '../../src/verification/index.ts'
import { eventually } from '../eventually.ts'
import { hasRedis, newPrefix, postgresDatabase, redisUrl } from '../servers.ts'
import { MortalRedis } from './mortal-redis.ts'
import { conformanceOfPg } from './postgres-clients.ts'

const url = await postgresDatabase()
const client = new Redis(redisUrl, { lazyConnect: true })
const pool = new pg.Pool({ connectionString: url, max: 10 })
afterAll(async () => {
  client.disconnect()
  await pool.end()
})

describe.runIf(hasRedis)('Redis over Postgres', () => {
  conformanceOfPg(url, 'redis over postgres', (durable) => {
    const fast = redisReplayTier({ client, prefix: newPrefix() })
    return tieredStore({ fast, durable, fastMsMax: 1_000 }) as TransactionalStore<unknown>
  })

  /** Two processes would share Redis and Postgres and nothing else, as these two instances do. */
  function instance(redis: Redis, table: string, errors: unknown[] = []) {
    const fast = redisReplayTier({ client: redis })
    const durable = postgresStore({ pool, table })
    const store = tieredStore({ fast, durable, fastMsMax: 200, onFastError: (error) => errors.push(error) })
    return createIdempotency({ store, sweep: false })
  }

  test('what one instance completed, another replays from Redis, byte for byte', async () => {
    const server = await MortalRedis.make({ persists: false })
    onTestFinished(() => server.dispose())
    const redis = new Redis(server.port)
    onTestFinished(() => redis.disconnect())
    const [a, b] = [instance(redis, 'shared'), instance(redis, 'shared')]
    let runs = 0
    const handler = (input: { cents: number }) => ({ ...input, run: ++runs, text: 'é\u0000\n' })
    const [chargeA, chargeB] = [a.operation('charge', handler), b.operation('charge', handler)]
    const call = { key: 'k', principal: 'alice', input: { cents: 5 } }
    const first = await chargeA.run(call)
    // The other instance learns the durable store's clock with a key of its own.
    await chargeB.run({ ...call, key: 'other' })
    await eventually(async () => expect(await redis.dbsize()).toBe(2))
    await pool.query('ALTER TABLE shared RENAME TO hidden')
    try {
      expect(await chargeB.run(call)).toEqual({ value: first.value, replayed: true })
      await expect(chargeB.run({ ...call, input: { cents: 6 } })).rejects.toThrow('different request')
      await expect(chargeB.run({ ...call, principal: 'bob' })).rejects.toThrow(
        expect.objectContaining({ code: 'store-unavailable' }),
      )
    } finally {
      await pool.query('ALTER TABLE hidden RENAME TO shared')
    }
    expect(runs).toBe(2)
  })

  test('Redis flushed, killed, cut off or stalled never makes an operation run again', async () => {
    const server = await MortalRedis.make({ persists: false })
    onTestFinished(() => server.dispose())
    const proxy = await startFaultProxy({ target: { port: server.port } })
    onTestFinished(() => proxy.close())
    const redis = new Redis(proxy.port)
    redis.on('error', () => {})
    onTestFinished(() => redis.disconnect())
    const errors: unknown[] = []
    const idem = instance(redis, 'faulty', errors)
    let runs = 0
    const charge = idem.operation('charge', () => ++runs)
    const ask = async (key: string): Promise<number> =>
      (await charge.run({ key, principal: 'alice', input: {} })).value
    const keys = Array.from({ length: 20 }, (_, at) => `key-${at}`)
    const all = (): Promise<number[]> => Promise.all(keys.map(ask))
    const first = await all()
    await redis.flushall()
    expect(await all()).toEqual(first)
    proxy.cutOn('EVALSHA', 'after', 3)
    expect(await all()).toEqual(first)
    const release = proxy.stall()
    expect(await all()).toEqual(first)
    release()
    await server.kill()
    expect(await all()).toEqual(first)
    await server.start()
    expect(await all()).toEqual(first)
    expect(runs).toBe(20)
    expect(errors.length).toBeGreaterThan(0)
  })
})
