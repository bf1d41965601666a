/**
 * What the Redis store costs and saves: against the two commands written by hand on ioredis, and against peers from
 * npm, each with the client that it documents.
 */
import { randomUUID } from 'node:crypto'
import { makeIdempotent, IdempotencyConfig } from '@aws-lambda-powertools/idempotency'
import { CachePersistenceLayer } from '@aws-lambda-powertools/idempotency/cache'
import { Idempotency as NodeIdempotency } from '@node-idempotency/core'
import { RedisStorageAdapter } from '@node-idempotency/storage-adapter-redis'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { provideServer } from '../scripts/servers.ts'
import { createIdempotency } from '../src/index.ts'
import { redisStore } from '../src/stores/redis.ts'
import { lruReplayTier, tieredStore } from '../src/stores/tiered.ts'
import { type Case, drive, inRounds, type Pace, type Question, type Row } from './rounds.ts'

interface Charge {
  readonly amount: number
  readonly currency: string
}

const input: Charge = { amount: 4_200, currency: 'EUR' }
const principal = 'merchant-7'
const retentionMs = 3_600_000
/** Keys that have an answer. */
const settledKeys = 1_000

/** One key of one way of working, run once or again. */
type Run = (key: string) => Promise<unknown>

/** Claim and look in one command, and store the answer, as one would write it without more. */
function byHand(redis: Redis): Run {
  return async (key) => {
    const found = await redis.set(`hand:${key}`, 'running', 'PX', retentionMs, 'NX', 'GET')
    if (found !== null) return JSON.parse(found)
    await redis.set(`hand:${key}`, JSON.stringify(input), 'PX', retentionMs)
    return input
  }
}

async function nodeIdempotency(url: string): Promise<{ run: Run; close(): Promise<void> }> {
  const storage = new RedisStorageAdapter({ url })
  await storage.connect()
  const peer = new NodeIdempotency(storage, { cacheTTLMS: retentionMs })
  return {
    async run(key) {
      const request = {
        headers: { 'idempotency-key': key },
        path: '/charges',
        method: 'POST',
        body: { ...input },
      }
      const replayed = await peer.onRequest(request)
      if (replayed !== undefined) return replayed.body
      await peer.onResponse(request, { body: input })
      return input
    },
    close: () => storage.disconnect(),
  }
}

async function powertools(url: string): Promise<{ run: Run; close(): void }> {
  const client = await createClient({ url }).connect()
  const config = new IdempotencyConfig({ expiresAfterSeconds: retentionMs / 1_000 })
  // Without it, a call that is under way counts as given up.
  config.registerLambdaContext({ getRemainingTimeInMillis: () => 30_000 } as never)
  const run = makeIdempotent(async (_payload: Charge & { key: string }) => ({ ...input }), {
    persistenceStore: new CachePersistenceLayer({ client }),
    config,
    keyPrefix: 'charge',
  })
  return { run: (key) => run({ key, ...input }), close: () => client.destroy() }
}

async function measureOn(url: string, pace: Pace): Promise<readonly Row[]> {
  const redis = new Redis(url, { enableAutoPipelining: true })
  const own = new Redis(url)
  const store = redisStore({ client: own, onReady: () => {} })
  const idem = createIdempotency({ store, retention: retentionMs })
  const charge = idem.operation('charge', () => input)
  const tiered = createIdempotency({
    store: tieredStore({ fast: lruReplayTier(), durable: redisStore({ client: own, onReady: () => {} }) }),
    retention: retentionMs,
    namespace: 'tiered',
  })
  const chargeTiered = tiered.operation('charge', () => input)
  const [core, cache] = [await nodeIdempotency(url), await powertools(url)]
  try {
    const ways = {
      hand: byHand(redis),
      store: (key: string) => charge.run({ key, principal, input }),
      tiered: (key: string) => chargeTiered.run({ key, principal, input }),
      core: core.run,
      cache: cache.run,
    }
    return await inRounds(await casesOf(ways), pace)
  } finally {
    await idem.close()
    await tiered.close()
    await core.close()
    cache.close()
    own.disconnect()
    redis.disconnect()
  }
}

async function casesOf(
  ways: Readonly<Record<'hand' | 'store' | 'tiered' | 'core' | 'cache', Run>>,
): Promise<Case[]> {
  const keys = Array.from({ length: settledKeys }, () => randomUUID())
  for (const run of Object.values(ways)) await Promise.all(keys.map((key) => run(key)))
  let at = 0
  const fresh =
    (run: Run): Case['measure'] =>
    (concurrency, ms) =>
      drive(concurrency, ms, () => run(randomUUID()))
  const replay =
    (run: Run): Case['measure'] =>
    (concurrency, ms) =>
      drive(concurrency, ms, () => run(keys[at++ % keys.length] as string))
  const peers = [
    ['@node-idempotency/core', ways.core, 1.3],
    ['Powertools', ways.cache, 2],
  ] as const
  const ofTier: Case = {
    name: 'replay, tieredStore in this process',
    floor: 'replay, by hand',
    bars: { 1: 10, 64: 10 },
    measure: replay(ways.tiered),
  }
  return (['fresh', 'replay'] as const).flatMap((what): Case[] => {
    const measure = what === 'fresh' ? fresh : replay
    const hand = `${what}, by hand`
    return [
      { name: hand, floor: hand, measure: measure(ways.hand) },
      {
        name: `${what}, redisStore`,
        floor: hand,
        bars: { 1: 0.85, 64: what === 'fresh' ? 1.2 : 1 },
        measure: measure(ways.store),
      },
      ...(what === 'replay' ? [ofTier] : []),
      ...peers.flatMap(([name, run, bar]): Case[] => [
        { name: `${what}, ${name}`, floor: `${what}, ${name}`, measure: measure(run) },
        {
          name: `${what}, redisStore to ${name}`,
          floor: `${what}, ${name}`,
          bars: { 1: bar, 64: bar },
          measure: measure(ways.store),
        },
      ]),
    ]
  })
}

export const question: Question = {
  asks: 'operations on the Redis store against the same commands by hand (ioredis, auto-pipelining) and peers',
  async measure(pace) {
    const server = await provideServer('redis')
    if (server.kind === 'none') throw new Error(`There is no Redis: ${server.reason}`)
    try {
      return await measureOn(server.url, pace)
    } finally {
      await server.stop()
    }
  },
}
