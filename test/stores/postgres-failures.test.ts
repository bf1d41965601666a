/** A server that is stopped at once while calls run, and disks that get full. */
import { randomBytes, randomUUID } from 'node:crypto'
import pg from 'pg'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { isIdempotencyError } from '../../src/core/errors.ts'
import { createIdempotency, type Idempotency } from '../../src/engine/idempotency.ts'
import type { Operation } from '../../src/engine/operation.ts'
import { type PostgresStore, postgresStore } from '../../src/stores/postgres.ts'
import { startFaultProxy } from '../../src/verification/index.ts'
import { completion, newClaim } from '../../src/verification/store-cases/context.ts'
import { hasPostgres } from '../servers.ts'
import { MortalPostgres, type MortalOptions } from './mortal-postgres.ts'

const transactionEnds = ['executed', 'not-applied', 'outcome-unknown', 'store-unavailable', 'handler failed']
const leaseEnds = ['executed', 'outcome-unknown', 'lease-lost', 'store-unavailable']
const isRoot = process.getuid?.() === 0
const callsPerRound = 20

interface Rig {
  readonly server: MortalPostgres
  readonly pool: pg.Pool
  readonly store: PostgresStore<pg.PoolClient>
  readonly idem: Idempotency<pg.PoolClient>
  /** How often a key stands in the ledger, which has no index that would keep a second one out. */
  effects(key: string): Promise<number>
}

async function rigOf(options: MortalOptions = {}): Promise<Rig> {
  const server = await MortalPostgres.make(options)
  const pool = new pg.Pool({ connectionString: server.url, max: callsPerRound })
  const store = postgresStore({ pool })
  const idem = createIdempotency({ store, sweep: false, lease: '2s' })
  onTestFinished(async () => {
    await pool.end()
    await server.dispose()
  })
  await store.ready()
  await pool.query('CREATE TABLE ledger (key text NOT NULL, filling bytea)')
  await pool.query('ALTER TABLE ledger ALTER COLUMN filling SET STORAGE EXTERNAL')
  const effects = async (key: string): Promise<number> => {
    const { rows } = await pool.query('SELECT count(*)::int AS count FROM ledger WHERE key = $1', [key])
    return rows[0].count
  }
  return { server, pool, store, idem, effects }
}

/** How a call ended: a kind, the code of its error, or that the handler's own statement failed. */
async function endOf(operation: Operation<string, unknown>, key: string): Promise<string> {
  try {
    return (await operation.attempt({ key, principal: 'alice', input: key })).kind
  } catch (error) {
    return isIdempotencyError(error) ? error.code : 'handler failed'
  }
}

const newKeys = (): string[] => Array.from({ length: callsPerRound }, () => randomUUID())

/** A promise that a counter opens. */
function countdown(from: number): { readonly over: Promise<void>; count(): void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  let left = from
  const count = (): void => {
    left -= 1
    if (left === 0) resolve()
  }
  return { over: promise, count }
}

beforeEach(({ skip }) => skip(!hasPostgres, 'no server of postgres'))

describe('a COMMIT that is never answered', () => {
  test.each(['before', 'after'] as const)(
    'held %s the server has it: its connection is given up, and nobody else gets it',
    async (when) => {
      const { server, store, effects } = await rigOf()
      await store.close()
      const proxy = await startFaultProxy({ target: { port: server.port } })
      const address = new URL(server.url)
      address.port = `${proxy.port}`
      const pool = new pg.Pool({ connectionString: address.href, max: 2 })
      onTestFinished(async () => {
        await proxy.close()
        await pool.end()
      })
      const idem = createIdempotency({ store: postgresStore({ pool }), sweep: false })
      const order = idem.transaction('order', async (key: string, { tx }) => {
        await tx.query(insertText, [key])
        return key
      })
      await endOf(order, 'first')
      let removed = 0
      pool.on('remove', () => (removed += 1))
      proxy.holdOn(';COMMIT', when)
      const key = randomUUID()
      expect(await endOf(order, key)).toBe(when === 'after' ? 'executed' : 'not-applied')
      expect(removed).toBeGreaterThan(0)
      expect(await endOf(order, randomUUID())).toBe('executed')
      expect(await effects(key)).toBe(when === 'after' ? 1 : 0)
    },
  )
})

const insertText = 'INSERT INTO ledger (key) VALUES ($1)'

describe('a server that is stopped at once', () => {
  test.each([
    [1, 'comes back at once'],
    [7, 'comes back at once'],
    [14, 'comes back at once'],
    [7, 'stays away until all have ended'],
  ])(
    'after %i of 20 transactions, and %s: each has happened or not, and its key says which',
    async (endedBefore, comesBack) => {
      const { server, idem, effects } = await rigOf()
      const keys = newKeys()
      const ended = countdown(endedBefore)
      const stopped = Promise.withResolvers<void>()
      // These are inside when the server stops, and commit into the stop.
      const held = new Set(keys.slice(-3))
      const inside = countdown(held.size)
      const place = idem.transaction('place', async (key: string, { tx }) => {
        await tx.query(insertText, [key])
        if (held.has(key)) {
          inside.count()
          await stopped.promise
        }
        return key
      })
      const calls = keys.map((key) => endOf(place, key).finally(() => ended.count()))
      await Promise.all([ended.over, inside.over])
      await server.stopAtOnce()
      stopped.resolve()
      if (comesBack === 'comes back at once') await server.start()
      const ends = await Promise.all(calls)
      if (comesBack !== 'comes back at once') await server.start()
      for (const [at, key] of keys.entries()) {
        const end = ends[at] as string
        expect(transactionEnds).toContain(end)
        const count = await effects(key)
        if (end === 'executed') expect(count, end).toBe(1)
        else if (end === 'outcome-unknown') expect(count, end).toBeLessThanOrEqual(1)
        else expect(count, end).toBe(0)
        const again = await place.run({ key, principal: 'alice', input: key })
        expect(again).toEqual({ value: key, replayed: count === 1 })
        expect(await effects(key)).toBe(1)
      }
      expect(ends).toContain('executed')
      expect(ends.every((end) => end === 'executed')).toBe(false)
    },
    60_000,
  )

  test.each(['comes back at once', 'stays away until all have ended'])(
    'while statements run, and %s: each has happened or not, and its key says which',
    async (comesBack) => {
      const { server, idem, effects } = await rigOf()
      const place = idem.statement('place', `${insertText} RETURNING key`, (key: string) => [key])
      const run = (key: string): Promise<unknown> => place.run({ key, principal: 'alice', input: key })
      await run(randomUUID())
      const keys = Array.from({ length: 10 }, newKeys).flat()
      const ended = countdown(keys.length / 4)
      const calls = keys.map((key) => endOf(place, key).finally(() => ended.count()))
      await ended.over
      await server.stopAtOnce()
      if (comesBack === 'comes back at once') await server.start()
      const ends = await Promise.all(calls)
      if (comesBack !== 'comes back at once') await server.start()
      for (const [at, key] of keys.entries()) {
        const end = ends[at] as string
        expect(transactionEnds).toContain(end)
        const count = await effects(key)
        if (end === 'executed') expect(count, end).toBe(1)
        else if (end === 'outcome-unknown') expect(count, end).toBeLessThanOrEqual(1)
        else expect(count, end).toBe(0)
        expect(await run(key)).toEqual({ value: [{ key }], replayed: count === 1 })
        expect(await effects(key)).toBe(1)
      }
      expect(ends).toContain('executed')
    },
    60_000,
  )

  test.each(['comes back at once', 'stays away until all have ended'])(
    'and %s, while 20 operations in lease mode run: none runs twice, and each is found out',
    async (comesBack) => {
      const isBackAtOnce = comesBack === 'comes back at once'
      const { server, idem } = await rigOf()
      const keys = newKeys()
      // Their effects are elsewhere, where the stop does not reach.
      const ledger = new Map<string, number>()
      const some = countdown(5)
      const stopped = Promise.withResolvers<void>()
      const charge = idem.operation(
        'charge',
        {
          onUnknown: 'reconcile',
          reconcile: async (key: string) =>
            ledger.has(key) ? { kind: 'applied' as const, value: key } : { kind: 'not-applied' as const },
        },
        async (key: string) => {
          ledger.set(key, (ledger.get(key) ?? 0) + 1)
          some.count()
          if (ledger.size > 3) await stopped.promise
          return key
        },
      )
      const calls = keys.map((key) => endOf(charge, key))
      await some.over
      await server.stopAtOnce()
      const refused = newKeys()
        .slice(0, 5)
        .map((key) => endOf(charge, key))
      stopped.resolve()
      for (const end of await Promise.all(refused)) expect(end).toBe('store-unavailable')
      if (isBackAtOnce) await server.start()
      const ends = await Promise.all(calls)
      if (!isBackAtOnce) {
        expect(ends).toContain('outcome-unknown')
        await server.start()
      }
      for (const [at, key] of keys.entries()) {
        const end = ends[at] as string
        expect(leaseEnds).toContain(end)
        expect(ledger.get(key) ?? 0, end).toBe(end === 'store-unavailable' ? 0 : 1)
        expect((await charge.run({ key, principal: 'alice', input: key })).value).toBe(key)
        expect(ledger.get(key)).toBe(1)
      }
    },
    60_000,
  )
})

describe('a disk that is full', () => {
  beforeEach(({ skip }) => skip(!isRoot, 'mounting a disk takes root'))

  const filling = (): Buffer => randomBytes(400_000)

  test('for tables: each call fails by itself, leaves nothing, and the same key works later', async () => {
    const { server, pool, store, idem, effects } = await rigOf({ disk: { holds: 'tables', mib: 96 } })
    const key = randomUUID()
    const [small, large, statement] = [
      idem.transaction('small outcome', async (input: string, { tx }) => {
        await tx.query('INSERT INTO ledger VALUES ($1, $2)', [input, filling()])
        return input
      }),
      idem.transaction('large outcome', async (input: string, { tx }) => {
        await tx.query('INSERT INTO ledger VALUES ($1)', [input])
        return filling().toString('base64')
      }),
      idem.statement('statement', 'INSERT INTO ledger VALUES ($1, $2) RETURNING key', (input: string) => [
        input,
        filling(),
      ]),
    ] as const
    // Their tables have a page by now.
    await small.run({ key: randomUUID(), principal: 'alice', input: 'first' })
    const held = newClaim()
    await store.claim([held])
    server.fillDisk()

    const full = { cause: expect.objectContaining({ code: '53100' }) }
    await expect(small.run({ key, principal: 'alice', input: key })).rejects.toMatchObject({ code: '53100' })
    await expect(statement.run({ key, principal: 'alice', input: key })).rejects.toMatchObject({
      code: '53100',
    })
    await expect(large.run({ key, principal: 'alice', input: key })).rejects.toMatchObject({
      code: 'not-applied',
      cause: { code: 'store-failed', failure: 'transient', ...full },
    })
    expect(await effects(key)).toBe(0)
    const settlement = { ...completion(held), outcome: filling() }
    await expect(store.settle([settlement])).rejects.toMatchObject({
      code: 'store-failed',
      failure: 'transient',
      ...full,
    })
    expect((await store.read([held.id])).replies).toMatchObject([{ phase: 'running', token: held.token }])
    const many = Array.from({ length: 500 }, () => newClaim({ operation: 'x'.repeat(255) }))
    await expect(
      (async () => {
        for (let batch = 0; batch < 20; batch++) {
          await store.claim(many.map((claim) => ({ ...claim, id: newClaim().id })))
        }
      })(),
    ).rejects.toMatchObject({ code: 'store-failed', failure: 'transient', ...full })

    server.freeDisk()
    for (const operation of [small, large, statement]) {
      expect((await operation.run({ key, principal: 'alice', input: key })).replayed).toBe(false)
      expect((await operation.run({ key, principal: 'alice', input: key })).replayed).toBe(true)
    }
    expect(await effects(key)).toBe(3)
    expect((await store.settle([settlement])).replies).toEqual([{ kind: 'settled' }])
    expect((await store.claim(many)).replies.every(({ kind }) => kind === 'claimed')).toBe(true)
    await pool.query('SELECT 1')
  }, 60_000)

  test('for the log: the server dies in a commit, and what it had acknowledged is there', async () => {
    const { server, idem, effects } = await rigOf({
      disk: { holds: 'log', mib: 8 },
      settings: ['min_wal_size=2MB', 'max_wal_size=4MB'],
    })
    const place = idem.transaction('place', async (key: string, { tx }) => {
      await tx.query('INSERT INTO ledger VALUES ($1, $2)', [key, filling()])
      return key
    })
    server.fillDisk()
    const ends = new Map<string, string>()
    const triesMax = 100
    for (let tries = 0; tries < triesMax; tries++) {
      const key = randomUUID()
      const end = await endOf(place, key)
      ends.set(key, end)
      if (end !== 'executed') break
    }
    expect(Array.from(ends.values()).pop()).not.toBe('executed')
    await server.stopAtOnce()
    server.freeDisk()
    await server.start()
    for (const [key, end] of ends) {
      const count = await effects(key)
      if (end === 'executed') expect(count).toBe(1)
      const again = await place.run({ key, principal: 'alice', input: key })
      expect(again).toEqual({ value: key, replayed: count === 1 })
      expect(await effects(key)).toBe(1)
    }
  }, 60_000)
})
