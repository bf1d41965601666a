/**
 * What a record takes in the memory of Redis, against one string under the same key and expiry: of the outcome alone,
 * and of as many octets as the record. And what compression makes of a long outcome.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { provideServer } from '../scripts/servers.ts'
import type { Fingerprint, RecordId } from '../src/core/record.ts'
import { createIdempotency } from '../src/index.ts'
import { redisStore } from '../src/stores/redis.ts'
import { median, type Pace, type Question, quantile, type Row, rounded } from './rounds.ts'

const recordsFull = 100_000
const recordsQuick = 2_000
const longRecordsPart = 1 / 50
const chunk = 500
const outcomeBytes = 100
const longOutcomeBytes = 10_000
const retentionMs = 24 * 3_600_000
/** A record within 1.3 times the string. */
const bar = rounded(1 / 1.3, 2)
/** The server writes its file and frees what it answered. */
const restMs = 300

interface Loaded {
  readonly bytesEach: number
  readonly perSecond: number
  /** Of one chunk. */
  readonly latenciesMs: readonly number[]
}

/** A database of the server's own for each case: its tables grow from nothing, as those of the others did. */
async function loadInto(
  redis: Redis,
  database: number,
  records: number,
  loadSome: (ids: readonly RecordId[]) => Promise<unknown>,
): Promise<Loaded> {
  await redis.select(database)
  const before = await usedMemory(redis)
  const latenciesMs: number[] = []
  const startedAt = performance.now()
  for (let done = 0; done < records; done += chunk) {
    const ids = Array.from({ length: Math.min(chunk, records - done) }, newId)
    const sentAt = performance.now()
    await loadSome(ids)
    latenciesMs.push(performance.now() - sentAt)
  }
  const perSecond = (records * 1_000) / (performance.now() - startedAt)
  return { bytesEach: ((await usedMemory(redis)) - before) / records, perSecond, latenciesMs }
}

async function usedMemory(redis: Redis): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, restMs))
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1])
}

/** As long as the default one, and of this run only: the server may be somebody's. */
const prefix = `b${randomUUID().slice(0, 8)}:`

const newId = (): RecordId => randomBytes(16).toString('base64url') as RecordId

/** Strings of the same octets, each under the key that a record would have. */
function strings(redis: Redis, octets: Buffer): (ids: readonly RecordId[]) => Promise<unknown> {
  return (ids) => {
    const pipeline = redis.pipeline()
    for (const id of ids) pipeline.set(prefix + id, octets, 'PX', retentionMs)
    return pipeline.exec()
  }
}

/** Completed records. */
function records(redis: Redis): (ids: readonly RecordId[]) => Promise<unknown> {
  const store = redisStore({ client: redis, prefix, onReady: () => {} })
  return async (ids) => {
    const claims = ids.map((id) => ({
      id,
      fingerprint: `1.${newId()}` as Fingerprint,
      token: newId() as string,
      leaseMs: 30_000,
      retentionMs,
      operation: 'charge',
      principalTag: 'aBcDeFgHiJkL',
    }))
    await store.claim(claims)
    const settlements = claims.map(({ id, token }) => {
      const outcome = randomBytes(outcomeBytes)
      return { id, token, to: 'completed', outcome, retentionMs, tombstoneMs: 0 } as const
    })
    await store.settle(settlements)
  }
}

/** What an API gives for a list: names that come again and values that do not. */
function longValue(): unknown {
  const items: unknown[] = []
  for (let length = 0; length < longOutcomeBytes; length = JSON.stringify(items).length) {
    const amount = Math.floor(Math.random() * 100_000)
    items.push({ id: `ch_${randomUUID()}`, amount, currency: 'EUR', status: 'succeeded', refunded: false })
  }
  return items
}

/** Operations whose outcome is long. */
function longOutcomes(
  redis: Redis,
  compression: false | undefined,
): (ids: readonly string[]) => Promise<unknown> {
  const store = redisStore({ client: redis, prefix, onReady: () => {} })
  const idem = createIdempotency({
    store,
    retention: retentionMs,
    ...(compression === undefined ? {} : { compression }),
  })
  const list = idem.operation('list', longValue)
  return (ids) => Promise.all(ids.map((key) => list.run({ key, principal: 'merchant-7', input: {} })))
}

/** The octets of any record of the database. */
async function oneRecord(redis: Redis): Promise<Buffer> {
  for (let cursor = '0'; ; ) {
    const [next, [key]] = await redis.scan(cursor, 'MATCH', `${prefix}*`, 'COUNT', 1_000)
    const octets = key === undefined ? null : await redis.getBuffer(key)
    if (octets !== null) return octets
    if (next === '0') throw new Error('There is no record.')
    cursor = next
  }
}

async function removeAll(redis: Redis, databases: number): Promise<void> {
  for (let database = 1; database <= databases; database++) {
    await redis.select(database)
    let cursor = '0'
    do {
      const [next, keys] = await redis.scan(cursor, 'MATCH', `${prefix}*`, 'COUNT', 1_000)
      if (keys.length > 0) await redis.unlink(...keys)
      cursor = next
    } while (cursor !== '0')
  }
}

async function measureOn(url: string, pace: Pace): Promise<readonly Row[]> {
  const redis = new Redis(url)
  const count = pace.quick ? recordsQuick : recordsFull
  const longCount = count * longRecordsPart
  let database = 0
  const load = (each: number, loadSome: (ids: readonly RecordId[]) => Promise<unknown>): Promise<Loaded> =>
    loadInto(redis, ++database, each, loadSome)
  try {
    const own = await load(count, records(redis))
    const octets = await oneRecord(redis)
    const outcome = await load(count, strings(redis, randomBytes(outcomeBytes)))
    const same = await load(count, strings(redis, octets))
    const plain = await load(longCount, longOutcomes(redis, false))
    const packed = await load(longCount, longOutcomes(redis, undefined))

    const ofOutcome = `string of an outcome of ${outcomeBytes} octets`
    const ofRecord = 'string of the octets of its record'
    const long = `outcome of ${longOutcomeBytes} octets of JSON, not compressed`
    return [
      row(ofOutcome, ofOutcome, outcome, outcome),
      row('record', ofOutcome, own, outcome, true),
      row(ofRecord, ofRecord, same, same, false, `${octets.length} octets`),
      row('record to its own octets', ofRecord, own, same, true),
      row(long, long, plain, plain),
      row(`outcome of ${longOutcomeBytes} octets of JSON, as by default`, long, packed, plain),
    ]
  } finally {
    await removeAll(redis, database)
    redis.disconnect()
  }
}

function row(
  name: string,
  floor: string,
  own: Loaded,
  floorLoaded: Loaded,
  hasBar = false,
  note?: string,
): Row {
  const sorted = own.latenciesMs.toSorted((a, b) => a - b)
  const times = rounded(own.bytesEach / floorLoaded.bytesEach, 2)
  return {
    case: name,
    floor,
    concurrency: chunk,
    medianPerSecond: rounded(own.perSecond, 0),
    ratioToFloor: own === floorLoaded ? 1 : rounded(floorLoaded.bytesEach / own.bytesEach, 3),
    p50Ms: rounded(median(sorted), 3),
    p99Ms: rounded(quantile(sorted, 0.99), 3),
    ...(hasBar && { bar }),
    note: [`${own.bytesEach.toFixed(0)} bytes each, ${times} times its floor`, note]
      .filter(Boolean)
      .join('; '),
  }
}

export const question: Question = {
  asks: `bytes of a record in the memory of Redis, over ${recordsFull} of them, against a string`,
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
