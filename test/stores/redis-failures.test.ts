/** What goes wrong with a real server, and that none of it is taken for an absent record. */
import { createServer } from 'node:net'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { createIdempotency, type Idempotency, type Operation } from '../../src/index.ts'
import { type RedisClient, redisStore } from '../../src/stores/redis.ts'
import { asStoreError } from '../../src/stores/redis/errors.ts'
import { startFaultProxy } from '../../src/verification/index.ts'
import { eventually } from '../eventually.ts'
import { hasRedis } from '../servers.ts'
import { MortalRedis } from './mortal-redis.ts'

const input = { cents: 5 }

/** An operation on a client, which counts its runs. */
function shop(client: RedisClient): {
  charge: Operation<typeof input, string>
  runs: () => number
  idem: Idempotency
} {
  const store = redisStore({ client, onReady: () => {} })
  const idem = createIdempotency({ store, lease: '2s', wait: '2s' })
  let runs = 0
  const charge = idem.operation('charge', { onUnknown: 'hold' }, (_input: typeof input) => `run ${++runs}`)
  return { charge, runs: () => runs, idem }
}

const ask = (key: string) => ({ key, principal: 'alice', input })

function quiet(client: Redis): Redis {
  client.on('error', () => {})
  onTestFinished(() => client.disconnect())
  return client
}

describe.runIf(hasRedis)('redisStore on a server of its own', () => {
  let server: MortalRedis
  beforeAll(async () => {
    server = await MortalRedis.make({ settings: ['--enable-debug-command', 'yes'] })
  })
  afterAll(() => server.dispose())

  test.each([
    ['ioredis', (port: number) => quiet(new Redis(port))],
    [
      'redis',
      async (port: number) => {
        const client = createClient({ url: `redis://127.0.0.1:${port}` })
        client.on('error', () => {})
        onTestFinished(() => client.destroy())
        return await client.connect()
      },
    ],
  ])('on %s, a claim or a settlement whose answer is lost is recognised by its token', async (_, open) => {
    const proxy = await startFaultProxy({ target: { port: server.port } })
    onTestFinished(() => proxy.close())
    const { charge, runs } = shop(await open(proxy.port))
    await charge.run(ask(`${_} warm`))
    for (const when of ['before', 'sent', 'after'] as const) {
      proxy.cutOn('EVALSHA', when)
      const { value, replayed } = await charge.run(ask(`${_} claim ${when}`))
      expect({ value, replayed }).toEqual({ value: `run ${runs()}`, replayed: false })
      // The first is the claim, the second the settlement.
      const key = `${_} settle ${when}`
      const cut = charge.attempt(ask(key))
      await cut
      expect((await charge.run(ask(key))).value).toBe(`run ${runs()}`)
    }
    expect(runs()).toBe(7)
  })

  test('a settlement whose answer is lost is sent again, and is no second one', async () => {
    const proxy = await startFaultProxy({ target: { port: server.port } })
    onTestFinished(() => proxy.close())
    const store = redisStore({ client: quiet(new Redis(proxy.port)) })
    const idem = createIdempotency({ store })
    let runs = 0
    const charge = idem.operation('charge', (_input: typeof input) => {
      proxy.cutOn('EVALSHA', 'after')
      return ++runs
    })
    expect(await charge.run(ask('lost settlement'))).toEqual({ value: 1, replayed: false })
    proxy.disarm()
    expect(await charge.run(ask('lost settlement'))).toEqual({ value: 1, replayed: true })
  })

  test.each([
    ['OOM', ['maxmemory', '1'], ['maxmemory', '0'], 'transient'],
    ['NOREPLICAS', ['min-replicas-to-write', '1'], ['min-replicas-to-write', '0'], 'transient'],
  ])('%s: nothing runs, and it goes on when the server does', async (_, sick, sound, failure) => {
    const admin = quiet(new Redis(server.port))
    const { charge, runs, idem } = shop(quiet(new Redis(server.port)))
    await charge.run(ask(`${_} before`))
    await admin.config('SET', ...(sick as [string, string]))
    onTestFinished(async () => void (await admin.config('SET', ...(sound as [string, string]))))
    const one = { leaseMs: 1_000, retentionMs: 1_000, operation: 'o', principalTag: 't' }
    const claim = {
      ...one,
      id: 'AAAAAAAAAAAAAAAAAAAAAA',
      token: 'AAAAAAAAAAAAAAAAAAAAAA',
      fingerprint: '1.AAAA',
    }
    const { replies } = await idem.store.claim([claim, { ...claim, id: 'AAAAAAAAAAAAAAAAAAAAAQ' }] as never)
    expect(replies).toMatchObject([
      { kind: 'failed', error: { failure } },
      { kind: 'failed', error: { failure } },
    ])
    // What is there is still read, so that a replay needs no write.
    expect((await charge.run(ask(`${_} before`))).replayed).toBe(true)
    const waiting = charge.attempt(ask(`${_} after`))
    await admin.config('SET', ...(sound as [string, string]))
    expect(await waiting).toMatchObject({ kind: 'executed' })
    expect(runs()).toBe(2)
  })

  test('a read-only replica is the wrong node', async () => {
    const replica = await MortalRedis.make({ settings: ['--replicaof', '127.0.0.1', `${server.port}`] })
    onTestFinished(() => replica.dispose())
    const store = redisStore({ client: quiet(new Redis(replica.port)) })
    await expect(store.ready()).rejects.toThrow(expect.objectContaining({ failure: 'wrong-node' }))
  })

  test('a password that is wrong, or missing, is a permanent error without the password in it', async () => {
    const guarded = await MortalRedis.make({ settings: ['--requirepass', 'open-sesame'] })
    onTestFinished(() => guarded.dispose())
    for (const client of [
      quiet(new Redis(guarded.port)),
      quiet(new Redis(guarded.port, { password: 'canary-password' })),
    ]) {
      const error = await redisStore({ client })
        .ready()
        .catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ code: 'store-failed', failure: 'permanent' })
      expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('canary')
    }
  })

  test('a server that speaks no Redis, or TLS to one that speaks none, is unavailable in bounded time', async () => {
    const deaf = createServer((socket) => socket.on('error', () => {}))
    deaf.listen(0, '127.0.0.1')
    await once(deaf, 'listening')
    onTestFinished(() => void deaf.close())
    const { port } = deaf.address() as AddressInfo
    const clients = [
      quiet(new Redis(port, { enableOfflineQueue: false, lazyConnect: true })),
      quiet(new Redis(server.port, { tls: {}, retryStrategy: null })),
    ]
    const ends = clients.map(async (client) => {
      const { charge, runs } = shop(client)
      const unavailable = expect.objectContaining({ code: 'store-unavailable' })
      await expect(charge.run(ask('nobody'))).rejects.toThrow(unavailable)
      expect(runs()).toBe(0)
    })
    await Promise.all(ends)
  })

  test('a server that is killed while a handler runs: the outcome is stored once it is back', async () => {
    const { charge } = shop(quiet(new Redis(server.port)))
    const store = redisStore({ client: quiet(new Redis(server.port)) })
    const idem = createIdempotency({ store })
    let runs = 0
    const slow = idem.operation('slow', async (_input: typeof input) => {
      await server.kill()
      void server.start()
      return ++runs
    })
    await charge.run(ask('warm'))
    expect(await slow.run(ask('killed'))).toEqual({ value: 1, replayed: false })
    expect(await slow.run(ask('killed'))).toEqual({ value: 1, replayed: true })
    expect((await charge.run(ask('warm'))).replayed).toBe(true)
  })

  test('without persistence a killed server forgets every key, as its sentence says', async () => {
    const forgetful = await MortalRedis.make({ persists: false })
    onTestFinished(() => forgetful.dispose())
    const { charge, idem } = shop(quiet(new Redis(forgetful.port)))
    expect(
      (await redisStore({ client: quiet(new Redis(forgetful.port)), onReady: () => {} }).ready()).sentence,
    ).toMatch(/a restart of the server loses every key/)
    await charge.run(ask('kept?'))
    await forgetful.kill()
    await forgetful.start()
    expect((await eventually(() => charge.run(ask('kept?')))).replayed).toBe(false)
    await idem.close()
  })
})

describe.runIf(hasRedis)('minReplicas', () => {
  test('a write counts once a replica has it, and not before', async () => {
    const master = await MortalRedis.make()
    onTestFinished(() => master.dispose())
    const replica = await MortalRedis.make({ settings: ['--replicaof', '127.0.0.1', `${master.port}`] })
    onTestFinished(() => replica.dispose())
    const admin = quiet(new Redis(master.port))
    await eventually(async () => expect(await admin.info('replication')).toMatch(/slave0:.*state=online/))
    const store = redisStore({
      client: quiet(new Redis(master.port)),
      minReplicas: 1,
      replicaTimeout: '200ms',
    })
    const idem = createIdempotency({ store })
    let runs = 0
    const charge = idem.operation('charge', (_input: typeof input) => ++runs)
    expect(await charge.run(ask('replicated'))).toEqual({ value: 1, replayed: false })
    const copy = quiet(new Redis(replica.port))
    expect(await copy.keys('retrysafe:*')).toHaveLength(1)
    // Scripts that the server forgot are sent again: what then writes is waited for as well.
    await admin.script('FLUSH')
    expect((await charge.run(ask('whole script'))).value).toBe(2)
    expect(await copy.keys('retrysafe:*')).toHaveLength(2)

    await replica.kill()
    await expect(charge.run(ask('alone'))).rejects.toThrow(
      expect.objectContaining({ code: 'store-unavailable' }),
    )
    expect(runs).toBe(2)
    await replica.start()
    await eventually(async () => expect(await admin.info('replication')).toMatch(/slave0:.*state=online/))
    await expect(charge.run(ask('replicated'))).resolves.toEqual({ value: 1, replayed: true })
  })

  test('a claim that is sent again is written again, so that there is something to wait for', async () => {
    const master = await MortalRedis.make()
    onTestFinished(() => master.dispose())
    const client = quiet(new Redis(master.port))
    const hasty = redisStore({ client, minReplicas: 1, replicaTimeout: '50ms' })
    const patient = redisStore({ client, minReplicas: 1, replicaTimeout: '15s' })
    const claim = {
      leaseMs: 60_000,
      retentionMs: 1_000,
      operation: 'o',
      principalTag: 't',
      fingerprint: '1.AAAA',
    }
    const asked = { ...claim, id: 'AAAAAAAAAAAAAAAAAAAAAA', token: 'AAAAAAAAAAAAAAAAAAAAAA' } as never
    await expect(hasty.claim([asked])).rejects.toThrow(expect.objectContaining({ failure: 'lost' }))
    const replica = await MortalRedis.make({ settings: ['--replicaof', '127.0.0.1', `${master.port}`] })
    onTestFinished(() => replica.dispose())
    const admin = quiet(new Redis(master.port))
    await eventually(async () => expect(await admin.info('replication')).toMatch(/slave0:.*state=online/))
    const offset = async (): Promise<number> =>
      Number(/master_repl_offset:(\d+)/.exec(await admin.info('replication'))?.[1])
    const before = await offset()
    expect((await patient.claim([asked])).replies).toMatchObject([
      { kind: 'found', record: { phase: 'running' } },
    ])
    expect(await offset()).toBeGreaterThan(before)
  })

  test('is refused for clients that have more than one connection', () => {
    const cluster = { isCluster: true, evalshaBuffer: () => {} } as never
    expect(() => redisStore({ client: cluster, minReplicas: 1 })).toThrow('one connection to one master')
  })
})

describe('the table of errors', () => {
  test.each([
    ["OOM command not allowed when used memory > 'maxmemory'.", 'transient'],
    ['-OOM command not allowed', 'transient'],
    ['MISCONF Redis is configured to save RDB snapshots', 'transient'],
    ['LOADING Redis is loading the dataset in memory', 'transient'],
    ['BUSY Redis is busy running a script.', 'transient'],
    ['CLUSTERDOWN Hash slot not served', 'transient'],
    ['TRYAGAIN Multiple keys request during rehashing of slot', 'transient'],
    ['NOREPLICAS Not enough good replicas to write.', 'transient'],
    ['NOSCRIPT No matching script. Please use EVAL.', 'transient'],
    ['ERR max number of clients reached', 'transient'],
    ["READONLY You can't write against a read only replica.", 'wrong-node'],
    ["MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", 'wrong-node'],
    ['MOVED 3999 127.0.0.1:6381', 'wrong-node'],
    ['WRONGTYPE Operation against a key holding the wrong kind of value', 'permanent'],
    ["NOPERM this user has no permissions to run the 'set' command", 'permanent'],
    ['NOAUTH Authentication required.', 'permanent'],
    ['WRONGPASS invalid username-password pair or user is disabled.', 'permanent'],
    ["ERR The user executing the script can't run this command or subcommand script: 6073", 'permanent'],
    ["ERR ACL failure in script: User shop has no permissions to run the 'set' command", 'permanent'],
    ["ERR unknown command 'EVALSHA'", 'permanent'],
    ['CROSSSLOT Keys in request don’t hash to the same slot', 'permanent'],
    ['ERR something that no table knows', 'unrecognised'],
    ['NEWCODE of a later release', 'unrecognised'],
  ])('%s', (message, failure) => {
    const error = Object.assign(new Error(`${message} secret-key-canary`), { name: 'ReplyError' })
    const translated = asStoreError(error)
    expect(translated).toMatchObject({ code: 'store-failed', failure })
    expect(String(translated.cause)).not.toContain('canary')
  })

  test.each([
    [Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:1'), { code: 'ECONNREFUSED' }), 'transient'],
    [new Error("Stream isn't writeable and enableOfflineQueue options is false"), 'transient'],
    [Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }), 'lost'],
    [new Error('Connection is closed.'), 'lost'],
    [new Error('Command timed out'), 'lost'],
    [new Error('Socket closed unexpectedly'), 'lost'],
    ['not even an error', 'lost'],
  ])('%s', (error, failure) => {
    expect(asStoreError(error)).toMatchObject({ code: 'store-failed', failure })
  })
})
