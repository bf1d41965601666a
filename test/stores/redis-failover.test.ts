/** What a failover keeps: a replica that lags takes over, by hand and by sentinels, while calls run. */
import { Redis } from 'ioredis'
import { createSentinel } from 'redis'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { type FaultProxy, startFaultProxy } from '../../src/verification/index.ts'
import type { RunningServer } from '../../scripts/servers/process.ts'
import { hasRedis } from '../servers.ts'
import { clientOf, startMaster, startReplica, startSentinel } from './redis-replicas.ts'
import { counted, type Runs } from './counted-operation.ts'
import type { MortalRedis } from './mortal-redis.ts'

// Calls are given up when the budgets of the engine are over, and a sentinel that finds time to have jumped does
// nothing for 30 seconds.
vi.setConfig({ testTimeout: 180_000 })

const acknowledged = 100

interface Pair {
  readonly master: MortalRedis
  readonly replica: MortalRedis
  /** What the replica hears of its master comes through it. */
  readonly link: FaultProxy
  /** The master ends without a word, and the replica takes its place. */
  failOver(): Promise<void>
}

async function pairOf(): Promise<Pair> {
  const master = await startMaster()
  const link = await startFaultProxy({ target: { port: master.port } })
  onTestFinished(() => link.close())
  const replica = await startReplica(link)
  return {
    master,
    replica,
    link,
    async failOver() {
      await master.kill()
      link.refuses = true
      link.dropAll()
      await clientOf(replica).replicaof('NO', 'ONE')
    },
  }
}

/** All that the master has written so far is on the replica. */
async function untilReplicated(master: MortalRedis): Promise<void> {
  const client = clientOf(master)
  await client.set('mark', '1')
  expect(await client.wait(1, 10_000)).toBe(1)
}

const keysOf = (name: string, count: number): string[] =>
  Array.from({ length: count }, (_, at) => `${name}-${at}`)

describe.skipIf(!hasRedis)('a replica that lags takes over', () => {
  test('nothing is waited for: what the replica had not heard of runs again', async () => {
    const { master, replica, link, failOver } = await pairOf()
    const runs: Runs = new Map()
    const before = counted(clientOf(master), runs)
    expect(await before.ask('heard')).toBe('heard, run 1')
    await untilReplicated(master)
    link.stall()
    expect(await before.ask('not heard')).toBe('not heard, run 1')
    await failOver()
    const after = counted(clientOf(replica), runs)
    expect(await after.ask('heard')).toBe('heard, run 1')
    expect(await after.ask('not heard')).toBe('not heard, run 2')
  })

  test('minReplicas 1: what was acknowledged is there, the rest was refused or said to be unknown', async () => {
    const { master, replica, link, failOver } = await pairOf()
    const runs: Runs = new Map()
    const goOn = Promise.withResolvers<void>()
    const options = { minReplicas: 1, replicaTimeout: 200 }
    const running = keysOf('running', acknowledged / 2)
    const before = counted(clientOf(master), runs, options, (key) =>
      key.startsWith('running') ? goOn.promise : undefined,
    )
    const done = keysOf('done', acknowledged)
    expect(await Promise.all(done.map((key) => before.ask(key)))).toEqual(done.map((key) => `${key}, run 1`))
    const ends = running.map((key) => before.ask(key))
    await expect.poll(() => runs.size).toBe(done.length + running.length)

    link.stall()
    goOn.resolve()
    const late = keysOf('late', acknowledged / 2)
    const lateEnds = await Promise.all(late.map((key) => before.ask(key)))
    const runningEnds = await Promise.all(ends)
    await failOver()
    expect(new Set(lateEnds)).toEqual(new Set(['store-unavailable']))
    expect(new Set(runningEnds)).toEqual(new Set(['outcome-unknown']))
    // Nobody was told that they may run, so none of them did.
    expect(late.filter((key) => runs.has(key))).toEqual([])

    const after = counted(clientOf(replica), runs)
    expect(await Promise.all(done.map((key) => after.ask(key)))).toEqual(done.map((key) => `${key}, run 1`))
    const held = await Promise.all(running.map((key) => after.ask(key)))
    expect(new Set(held)).toEqual(new Set(['outcome-unknown']))
    expect(await after.ask('late-0')).toBe('late-0, run 1')
    expect([...runs.values()].filter((count) => count > 1)).toEqual([])
  })
})

describe.skipIf(!hasRedis)('sentinels fail over', () => {
  const name = 'shop'

  async function watched(): Promise<{
    readonly master: MortalRedis
    readonly sentinels: readonly RunningServer[]
  }> {
    const master = await startMaster()
    await startReplica(master)
    const sentinel = [
      `sentinel monitor ${name} 127.0.0.1 ${master.port} 2`,
      `sentinel down-after-milliseconds ${name} 500`,
      `sentinel failover-timeout ${name} 3000`,
    ]
    const sentinels = await Promise.all(Array.from({ length: 3 }, () => startSentinel(sentinel)))
    // Each must know the two others and the replica, or none can be elected.
    for (const one of sentinels) {
      await expect
        .poll(async () => String(await clientOf(one).call('SENTINEL', 'MASTER', name)))
        .toMatch(/num-slaves,1,num-other-sentinels,2/)
    }
    return { master, sentinels }
  }

  test('ioredis and node-redis go on with the new master, and what it has heard of is replayed', async () => {
    const { master, sentinels } = await watched()
    const ports = sentinels.map(({ port }) => ({ host: '127.0.0.1', port }))
    const ioredis = new Redis({ name, sentinels: ports, maxRetriesPerRequest: 1, retryStrategy: () => 50 })
    ioredis.on('error', () => {})
    onTestFinished(() => ioredis.disconnect())
    const sentinel = createSentinel({ name, sentinelRootNodes: ports, scanInterval: 200 })
    sentinel.on('error', () => {})
    await sentinel.connect()
    onTestFinished(() => sentinel.destroy())

    const runs: Runs = new Map()
    const clients = [counted(ioredis, runs), counted(sentinel, runs)] as const
    const done = keysOf('done', acknowledged)
    const asked = await Promise.all(done.flatMap((key) => clients.map(({ ask }) => ask(key))))
    expect(asked).toEqual(done.flatMap((key) => [`${key}, run 1`, `${key}, run 1`]))
    await untilReplicated(master)

    await master.kill()
    for (const [at, { ask }] of clients.entries()) {
      let attempts = 0
      // A new key each time: one whose claim was given up may be held.
      await expect
        .poll(() => ask(`new-${at}-${++attempts}`), { timeout: 150_000, interval: 100 })
        .toMatch(/, run 1$/)
      expect(await Promise.all(done.map((one) => ask(one)))).toEqual(done.map((one) => `${one}, run 1`))
    }
    expect([...runs.values()].filter((count) => count > 1)).toEqual([])
  })
})
