import { randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'
import { afterAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { createIdempotency } from '../../src/index.ts'
import type { RecordId } from '../../src/core/record.ts'
import type { Claim } from '../../src/core/store.ts'
import {
  redisReplayTier,
  type RedisStore,
  redisStore,
  type RedisStoreOptions,
} from '../../src/stores/redis.ts'
import { hasRedis, newPrefix, redisUrl } from '../servers.ts'
import { MortalRedis } from './mortal-redis.ts'
import { openRedisStore, redisClients } from './redis-clients.ts'

const client = new Redis(redisUrl, { lazyConnect: true })
afterAll(() => client.disconnect())

let prefix = ''
let store: RedisStore

function open(options: Partial<RedisStoreOptions> = {}): RedisStore {
  return redisStore({ client, prefix, ...options })
}

beforeEach(() => {
  prefix = newPrefix()
  store = open()
})

function newClaim(parts: Partial<Claim> = {}): Claim {
  const random = (): string => randomBytes(16).toString('base64url')
  return {
    id: random() as RecordId,
    fingerprint: `1.${random()}` as Claim['fingerprint'],
    token: random(),
    leaseMs: 60_000,
    retentionMs: 60_000,
    operation: 'charge',
    principalTag: 'tag',
    ...parts,
  }
}

describe.runIf(hasRedis)('redisStore', () => {
  test.each([
    [{ client: undefined }, 'client must be a client of'],
    [{ client: { get: () => {} } }, 'client must be a client of'],
    [{ client: 'redis://:password@localhost' }, 'client must be a client of ioredis'],
    [{ prefix: '' }, 'prefix must be 1 to 64'],
    [{ prefix: 'a*' }, 'prefix must be 1 to 64'],
    [{ prefix: '{slot}' }, 'prefix must be 1 to 64'],
    [{ prefix: 7 }, 'prefix must be 1 to 64'],
    [{ minReplicas: -1 }, 'minReplicas must be a whole number from 0'],
    [{ minReplicas: 0.5 }, 'minReplicas must be a whole number from 0'],
    [{ replicaTimeout: '0ms' }, 'replicaTimeout'],
    [{ prefixes: 'x' }, 'redisStore.prefixes is not known. Did you mean prefix?'],
  ])('refuses %j', (options, message) => {
    const given = { client, ...options } as unknown as RedisStoreOptions
    expect(() => redisStore(given)).toThrow(expect.objectContaining({ code: 'option-invalid' }))
    expect(() => redisStore(given)).toThrow(message)
    expect(() => redisStore(given)).not.toThrow('password')
  })

  test('refuses a client with a keyPrefix, of which SCAN knows nothing', () => {
    const prefixed = new Redis(redisUrl, { lazyConnect: true, keyPrefix: 'app:' })
    expect(() => redisStore({ client: prefixed })).toThrow('must have no keyPrefix')
  })

  test('one key for each record, kept longer than it means anything, and nothing else', async () => {
    const claim = newClaim()
    await store.claim([claim])
    expect(await client.keys(`${prefix}*`)).toEqual([prefix + claim.id])
    const { id, token } = claim
    const outcome = Buffer.from('outcome')
    await store.settle([{ id, token, to: 'completed', outcome, retentionMs: 100_000, tombstoneMs: 50_000 }])
    const leftMs = await client.pttl(prefix + id)
    expect(leftMs).toBeGreaterThan(150_000)
    expect(leftMs).toBeLessThanOrEqual(210_000)
    await store.claim([newClaim()])
    expect(await client.keys(`${prefix}*`)).toHaveLength(2)
  })

  test('a renewal over and over keeps the record for its retention after the lease', async () => {
    const claim = newClaim({ leaseMs: 1_000, retentionMs: 1_000 })
    await store.claim([claim])
    await store.renew([{ id: claim.id, token: claim.token, leaseMs: 500_000 }])
    expect(await client.pttl(prefix + claim.id)).toBeGreaterThan(501_000)
  })

  test.each([
    ['a list', list, /Something else is stored/],
    ['nothing that can be read', async (key: string) => void (await client.set(key, 'x')), /damaged/],
    ['a cut record', cut, /damaged/],
    ['a record of a newer form', newer, /form is not known/],
  ])('%s under the key of a record is an error of that key alone, and never absent', async (_, put, says) => {
    const [bad, good] = [newClaim(), newClaim()]
    await store.claim([bad])
    await put(prefix + bad.id)
    const { replies } = await store.claim([bad, good])
    expect(replies[0]).toMatchObject({ kind: 'failed', error: { failure: 'permanent' } })
    expect(replies[0]).toMatchObject({ error: { message: expect.stringMatching(says) as string } })
    expect(replies[1]).toEqual({ kind: 'claimed' })
    await expect(store.read([bad.id])).rejects.toThrow(says)
    const settled = await store.settle([
      { id: good.id, token: good.token, to: 'released', markerMs: 1_000 },
      { id: bad.id, token: bad.token, to: 'released', markerMs: 1_000 },
    ])
    expect(settled.replies.map(({ kind }) => kind)).toEqual(['settled', 'failed'])
    // People who look for it still see all others, and a sweep leaves it alone.
    expect((await store.list({ limit: 10 })).records.map(({ id }) => id)).toEqual([good.id])
    await store.sweep(10)
    expect(await client.exists(prefix + bad.id)).toBe(1)
  })

  async function list(key: string): Promise<void> {
    await client.del(key)
    await client.rpush(key, 'x')
  }

  async function cut(key: string): Promise<void> {
    const octets = (await client.getBuffer(key)) as Buffer
    await client.set(key, octets.subarray(0, 44))
  }

  async function newer(key: string): Promise<void> {
    const octets = (await client.getBuffer(key)) as Buffer
    octets[0] = 0x21
    await client.set(key, octets)
  }

  test('something else under a key hides no record from lists and sweeps, also where it comes alone', async () => {
    const good = newClaim()
    await store.claim([good])
    for (let count = 0; count < 20; count++) await client.rpush(prefix + newClaim().id, 'x')
    expect((await store.list({ limit: 10 })).records.map(({ id }) => id)).toEqual([good.id])
    expect(await store.sweep(10)).toEqual({ removed: 0, entombed: 0, more: false })
    await client.del(prefix + good.id)
    expect((await store.list({ limit: 10 })).records).toEqual([])
  })

  test('a record that was evicted or flushed while its holder ran is not made again', async () => {
    const claim = newClaim()
    await store.claim([claim])
    await client.del(prefix + claim.id)
    const { id, token } = claim
    const outcome = Buffer.from('late')
    const { replies } = await store.settle([
      { id, token, to: 'completed', outcome, retentionMs: 1_000, tombstoneMs: 0 },
    ])
    expect(replies).toEqual([{ kind: 'refused', record: undefined }])
    expect((await store.renew([{ id, token, leaseMs: 1_000 }])).replies).toEqual([{ kind: 'lost' }])
    expect(await client.exists(prefix + id)).toBe(0)
  })

  test('an operation whose record was flushed while it ran ends as lost, and is told so', async () => {
    const idem = createIdempotency({ store })
    const charge = idem.operation('charge', async () => {
      await client.del(await client.keys(`${prefix}*`))
      return 'charged'
    })
    const call = { key: 'k', principal: 'p', input: {} }
    await expect(charge.run(call)).rejects.toThrow(expect.objectContaining({ code: 'in-progress' }))
    expect(await client.keys(`${prefix}*`)).toEqual([])
  })

  test('scripts that the server forgot are sent again, whole', async () => {
    await store.claim([newClaim()])
    await client.script('FLUSH')
    expect((await store.claim([newClaim()])).replies).toEqual([{ kind: 'claimed' }])
    await client.script('FLUSH')
    const { replies } = await store.claim([newClaim(), newClaim()])
    expect(replies).toEqual([{ kind: 'claimed' }, { kind: 'claimed' }])
  })

  test.each(Object.keys(redisClients))('on %s an operation runs once and is replayed', async (library) => {
    const opened = await openRedisStore(library)
    onTestFinished(() => opened.close())
    const idem = createIdempotency({ store: opened.store })
    let runs = 0
    const charge = idem.operation('charge', (input: { cents: number }) => ({ ...input, run: ++runs }))
    const call = (key: string) => ({ key, principal: 'alice', input: { cents: 5 } })
    const keys = Array.from({ length: 40 }, (_, at) => `key-${at}`)
    const first = await Promise.all([...keys, ...keys].map((key) => charge.run(call(key))))
    expect(runs).toBe(40)
    const again = await Promise.all(keys.map((key) => charge.run(call(key))))
    expect(again.map(({ value }) => value)).toEqual(first.slice(0, 40).map(({ value }) => value))
    expect(again.every(({ replayed }) => replayed)).toBe(true)
    await expect(charge.run({ ...call('key-1'), input: { cents: 6 } })).rejects.toThrow('different request')
  })

  test('it is not swept unless somebody asks', async () => {
    const idem = createIdempotency({ store, retention: '1s' })
    onTestFinished(() => idem.close())
    expect(store.capabilities.expiresByItself).toBe(true)
    expect(await idem.sweep()).toBe(0)
  })
})

describe.runIf(hasRedis)('ready() of redisStore', () => {
  test.each([
    [['--appendonly', 'yes'], 'synced-each-second', /synced each second/],
    [['--appendonly', 'yes', '--appendfsync', 'always'], 'synced-always', /survive a crash and a power loss/],
    [['--appendonly', 'yes', '--appendfsync', 'no'], 'synced-by-system', /when the system likes/],
    [['--save', '60 1'], 'snapshots', /since the last one/],
    [[], 'none', /loses every key/],
  ])('tells what %j promises', async (settings, persistence, says) => {
    const server = await MortalRedis.make({ persists: false, settings })
    onTestFinished(() => server.dispose())
    const own = new Redis(server.url)
    onTestFinished(() => own.disconnect())
    const told: unknown[] = []
    const durability = await redisStore({ client: own, onReady: (all) => told.push(all) }).ready()
    expect(durability).toMatchObject({ persistence, replicas: 0, evictionPolicy: 'noeviction' })
    expect(durability.sentence).toMatch(says)
    expect(durability.server).toMatch(/^redis \d/)
    expect(told).toEqual([durability])
  })

  test('refuses a server that evicts, before anything is stored, unless its policy is accepted by name', async () => {
    const server = await MortalRedis.make({ settings: ['--maxmemory-policy', 'volatile-ttl'] })
    onTestFinished(() => server.dispose())
    const own = new Redis(server.url)
    onTestFinished(() => own.disconnect())
    const evicting = redisStore({ client: own })
    await expect(evicting.ready()).rejects.toThrow(/maxmemory-policy volatile-ttl.*acceptEviction/)
    await expect(evicting.claim([newClaim()])).rejects.toThrow(
      expect.objectContaining({ code: 'option-invalid' }),
    )
    expect(await own.dbsize()).toBe(0)
    await expect(redisStore({ client: own, acceptEviction: 'allkeys-lru' }).ready()).rejects.toThrow(
      'volatile-ttl',
    )
    const accepted = await redisStore({ client: own, acceptEviction: 'volatile-ttl' }).ready()
    expect(accepted.sentence).toContain('may evict keys (volatile-ttl)')
  })

  test('says what it cannot know, where an ACL allows no more than the store needs', async () => {
    const server = await MortalRedis.make()
    onTestFinished(() => server.dispose())
    const admin = new Redis(server.url)
    onTestFinished(() => admin.disconnect())
    // As the documentation of the store gives it.
    const rules = '~retrysafe:* +evalsha +eval +get +set +del +time +scan +info'.split(' ')
    await admin.call('ACL', 'SETUSER', 'retrysafe', 'on', '>secret', ...rules)
    const own = new Redis(server.url, { username: 'retrysafe', password: 'secret' })
    onTestFinished(() => own.disconnect())
    const limited = redisStore({ client: own })
    expect(await limited.ready()).toMatchObject({ persistence: 'append-only' })
    expect((await limited.claim([newClaim()])).replies).toEqual([{ kind: 'claimed' }])
    expect((await limited.list({ limit: 5 })).records).toHaveLength(1)
    const elsewhere = redisStore({ client: own, prefix: 'elsewhere:' })
    await expect(elsewhere.claim([newClaim()])).rejects.toThrow(
      expect.objectContaining({ failure: 'permanent' }),
    )
  })
})

describe.runIf(hasRedis)('redisReplayTier', () => {
  const entry = (leftMs: number, outcome = Buffer.from([0, 255, 10, 13])) => {
    const { id, fingerprint, token, operation, principalTag } = newClaim()
    const times = { createdAt: 1, settledAt: 2, retainUntil: 3, tombstoneUntil: 4 }
    const head = { id, fingerprint, token, fence: 1, operation, principalTag }
    return {
      record: { phase: 'completed' as const, ...head, ...times, outcome },
      seenAt: 5,
      check: 'c',
      leftMs,
    }
  }

  test.each(Object.keys(redisClients))(
    'keeps entries as they were put, for their time, on %s',
    async (library) => {
      const opened = await (redisClients[library] as (typeof redisClients)[string])()
      onTestFinished(async () => await opened.close())
      const tier = redisReplayTier({ client: opened.client, prefix, outcomeBytesMax: 100 })
      const [a, b, gone, large] = [entry(60_000), entry(50_000), entry(0.5), entry(60_000, Buffer.alloc(101))]
      await tier.put([a, gone, large, b])
      const ids = [b, newEntryOf(a), gone, large, a].map(({ record }) => record.id)
      const [gotB, none, gotGone, gotLarge, gotA] = await tier.get(ids)
      expect([none, gotGone, gotLarge]).toEqual([undefined, undefined, undefined])
      expect({ ...gotA, leftMs: 60_000 }).toEqual(a)
      expect({ ...gotB, leftMs: 50_000 }).toEqual(b)
      expect(gotA?.leftMs).toBeLessThanOrEqual(60_000)
      expect(gotA?.leftMs).toBeGreaterThan(1_000)
      expect(await tier.get([])).toEqual([])
    },
  )

  const newEntryOf = (of: ReturnType<typeof entry>): ReturnType<typeof entry> => ({
    ...of,
    record: entry(1).record,
  })

  test('fails where there is no entry under the key, so that the durable store is asked', async () => {
    const tier = redisReplayTier({ client, prefix })
    const { record } = entry(1)
    await client.set(prefix + record.id, 'damaged')
    await expect(tier.get([record.id])).rejects.toThrow()
  })
})
