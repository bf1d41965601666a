import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { KeyReusedError, StoreError, StoreUnavailableError } from '../../src/core/errors.ts'
import type { RecordId } from '../../src/core/record.ts'
import type { ReplayTier, TieredRecord } from '../../src/core/replay-tier.ts'
import type { IdempotencyStore } from '../../src/core/store.ts'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { type SqliteStore, type SqliteTx, sqliteStore } from '../../src/stores/sqlite.ts'
import { lruReplayTier, tieredStore } from '../../src/stores/tiered.ts'
import { completion, newClaim, newId } from '../../src/verification/store-cases/context.ts'
import { remoteTier } from './tiered-tiers.ts'

let time: number
const clock = { monotonic: (): number => time, now: (): number => 1_700_000_000_000 + time }

beforeEach(() => {
  time = 0
})

/** The same store, which counts its calls and can be away. */
function watched(store: IdempotencyStore): IdempotencyStore & { calls: string[]; away: boolean } {
  const calls: string[] = []
  const state = { away: false }
  return new Proxy(store, {
    get(target, name) {
      if (name === 'calls') return calls
      if (name === 'away') return state.away
      const value = Reflect.get(target, name) as unknown
      if (typeof value !== 'function') return value
      return (...given: unknown[]): unknown => {
        calls.push(String(name))
        if (state.away) return Promise.reject(new StoreError('permanent', 'The store is away.'))
        return value.apply(target, given) as unknown
      }
    },
    set(_, name, value) {
      state[name as 'away'] = value as boolean
      return true
    },
  }) as IdempotencyStore & { calls: string[]; away: boolean }
}

async function completed(
  store: IdempotencyStore,
  parts: { retentionMs?: number; bytes?: number } = {},
): Promise<RecordId> {
  const claim = newClaim()
  await store.claim([claim])
  const { retentionMs = 60_000, bytes = 7 } = parts
  await store.settle([completion(claim, { retentionMs, outcome: new Uint8Array(bytes) })])
  return claim.id
}

describe('operations', () => {
  function shop(fast: ReplayTier | readonly ReplayTier[]) {
    const durable = watched(memoryStore({ clock }))
    const store = tieredStore({ fast, durable, clock })
    const idem = createIdempotency({ store, sweep: false, retention: '10s', compression: false })
    let runs = 0
    const charge = idem.operation('charge', async ({ cents }: { cents: number }) => ({ cents, run: ++runs }))
    return { durable, charge, store }
  }
  const call = { key: 'k1', principal: 'alice', input: { cents: 5 } }

  test('a replay asks the durable store nothing', async () => {
    for (const fast of [lruReplayTier({ clock }), remoteTier(clock)]) {
      const { durable, charge } = shop(fast)
      expect(await charge.run(call)).toEqual({ value: { cents: 5, run: 1 }, replayed: false })
      const before = durable.calls.length
      expect(await charge.run(call)).toEqual({ value: { cents: 5, run: 1 }, replayed: true })
      expect(durable.calls.slice(before)).toEqual([])
    }
  })

  test('another request under the key is a mismatch, also from a fast tier', async () => {
    for (const fast of [lruReplayTier({ clock }), remoteTier(clock)]) {
      const { durable, charge } = shop(fast)
      await charge.run(call)
      const before = durable.calls.length
      await expect(charge.run({ ...call, input: { cents: 6 } })).rejects.toThrow(KeyReusedError)
      expect(durable.calls.slice(before)).toEqual([])
    }
  })

  test('another principal runs for itself', async () => {
    const { charge } = shop(lruReplayTier({ clock }))
    await charge.run(call)
    expect(await charge.run({ ...call, principal: 'bob' })).toEqual({
      value: { cents: 5, run: 2 },
      replayed: false,
    })
  })

  test('what is no longer retained runs again', async () => {
    for (const fast of [lruReplayTier({ clock }), remoteTier(clock)]) {
      const { charge } = shop(fast)
      await charge.run(call)
      time += 9_000
      expect((await charge.run(call)).replayed).toBe(true)
      time += 1_000
      expect(await charge.run(call)).toEqual({ value: { cents: 5, run: 2 }, replayed: false })
      expect((await charge.run(call)).replayed).toBe(true)
    }
  })

  test('replays go on while the durable store is away; new keys are refused', async () => {
    const { durable, charge } = shop(remoteTier(clock))
    await charge.run(call)
    durable.away = true
    const [replay, fresh] = await Promise.allSettled([charge.run(call), charge.run({ ...call, key: 'k2' })])
    expect(replay).toMatchObject({ status: 'fulfilled', value: { replayed: true } })
    expect(fresh).toMatchObject({ status: 'rejected', reason: expect.any(StoreUnavailableError) as unknown })
  })

  test('a process that has heard nothing of the durable store asks it first', async () => {
    const remote = remoteTier(clock)
    await shop(remote).charge.run(call)
    const other = shop(remote)
    await other.charge.run({ ...call, key: 'k2' })
    expect(other.durable.calls).toEqual(['claim', 'settle'])
    expect((await other.charge.run(call)).replayed).toBe(true)
    expect(other.durable.calls).toEqual(['claim', 'settle'])
  })

  test('the nearer tier takes over what the farther one had', async () => {
    const far = remoteTier(clock)
    const first = shop([lruReplayTier({ clock }), far])
    await first.charge.run(call)
    const near = lruReplayTier({ clock })
    const second = shop([near, far])
    await second.charge.run({ ...call, key: 'k2' })
    await second.charge.run(call)
    const gets = far.gets
    expect((await second.charge.run(call)).replayed).toBe(true)
    expect(far.gets).toBe(gets)
  })
})

describe('the tiered store', () => {
  test('answers a record that was removed by hand no longer than confirmAfter', async () => {
    const durable = memoryStore({ clock, recordsMax: 1 })
    const store = tieredStore({ fast: lruReplayTier({ clock }), durable, confirmAfter: '1m', clock })
    const id = await completed(store, { retentionMs: 600_000 })
    // The durable store drops what it settled first.
    await durable.claim([newClaim()])
    expect((await durable.read([id])).replies).toEqual([undefined])
    time += 59_000
    expect(store.recall?.(id)?.record.id).toBe(id)
    time += 1_000
    expect(store.recall?.(id)).toBeUndefined()
    expect((await store.read([id])).replies).toEqual([undefined])
  })

  test('asks the durable store for what is missing, in one call and in order', async () => {
    const durable = watched(memoryStore({ clock }))
    const store = tieredStore({ fast: remoteTier(clock), durable, clock })
    const known = await completed(store)
    const claims = [newClaim(), newClaim({ id: known }), newClaim()]
    durable.calls.length = 0
    const { replies, now } = await store.claim(claims)
    expect(replies.map(({ kind }) => kind)).toEqual(['claimed', 'found', 'claimed'])
    expect(now).toBe(clock.now())
    expect(durable.calls).toEqual(['claim'])
    expect((await store.read([newId(), known])).replies.map((record) => record?.id)).toEqual([
      undefined,
      known,
    ])
  })

  test('a batch is answered where it can be when the durable store is away', async () => {
    const durable = watched(memoryStore({ clock }))
    const store = tieredStore({ fast: remoteTier(clock), durable, clock })
    const known = await completed(store)
    durable.away = true
    const { replies } = await store.claim([newClaim(), newClaim({ id: known })])
    expect(replies.map(({ kind }) => kind)).toEqual(['failed', 'found'])
  })

  test('has the capabilities of the durable store, and answers in process only where all of it does', () => {
    const near = tieredStore({ fast: lruReplayTier(), durable: memoryStore() })
    const far = tieredStore({ fast: remoteTier(clock), durable: memoryStore() })
    expect(near.capabilities).toEqual(memoryStore().capabilities)
    expect(far.capabilities).toEqual({ ...memoryStore().capabilities, answersInProcess: false })
    expect([near.name, far.name]).toEqual(['lru-memory', 'remote-memory'])
    expect([typeof near.recall, typeof far.recall]).toEqual(['function', 'undefined'])
  })

  test('checks its options', () => {
    const durable = memoryStore()
    expect(() => tieredStore({ fast: [], durable })).toThrow('fast')
    expect(() => tieredStore({ durable } as never)).toThrow('fast')
    expect(() => tieredStore({ fast: lruReplayTier() } as never)).toThrow('durable')
    expect(() => tieredStore({ fast: lruReplayTier(), durable, onFastError: 1 } as never)).toThrow(
      'onFastError',
    )
    expect(() => tieredStore({ fast: lruReplayTier(), durable: {} as IdempotencyStore })).toThrow('durable')
    expect(() => tieredStore({ fast: lruReplayTier(), durable, fastMsMax: 0 })).toThrow('fastMsMax')
    expect(() => tieredStore({ fast: lruReplayTier(), durable, slow: 1 } as never)).toThrow('slow')
  })

  test('close closes the tiers and the durable store, and a tier that hangs delays nobody', async () => {
    let closed = 0
    const durable = memoryStore()
    const tier: ReplayTier = { ...remoteTier(clock), close: async () => void closed++ }
    await tieredStore({ fast: tier, durable }).close()
    expect(closed).toBe(1)
    await expect(durable.read([newId()])).rejects.toThrow('closed')
    const errors: string[] = []
    const hanging: ReplayTier = { ...remoteTier(clock), close: () => new Promise(() => {}) }
    const store = tieredStore({
      fast: hanging,
      durable: memoryStore(),
      timers: {
        background(_, run) {
          setImmediate(run)
          return () => {}
        },
      },
      onFastError: (_, tier) => errors.push(tier),
    })
    await store.close()
    expect(errors).toEqual(['remote'])
    await expect(store.claim([newClaim()])).rejects.toThrow('closed')
  })
})

describe('a fast tier that fails', () => {
  function failing(get: ReplayTier['get'], put: ReplayTier['put'] = async () => {}) {
    const errors: unknown[] = []
    let gets = 0
    const tier: ReplayTier = {
      name: 'failing',
      get(ids) {
        gets++
        return get(ids)
      },
      put,
      close: async () => {},
    }
    const durable = memoryStore({ clock })
    const store = tieredStore({
      fast: tier,
      durable,
      clock,
      onFastError: (error) => errors.push(error),
      fastMsMax: 30,
    })
    return { store, errors, gets: () => gets }
  }

  test('by hanging delays a verb no longer than fastMsMax', async () => {
    const { store, errors } = failing(() => new Promise(() => {}))
    const id = await completed(store)
    const startedAt = performance.now()
    expect((await store.read([id])).replies[0]?.phase).toBe('completed')
    expect(performance.now() - startedAt).toBeGreaterThan(25)
    expect(performance.now() - startedAt).toBeLessThan(500)
    expect(errors).toHaveLength(1)
  })

  test('is left alone after three failures, and asked by one call a second later', async () => {
    let isDown = true
    const remote = remoteTier(clock)
    const { store, errors, gets } = failing(
      (ids) => (isDown ? Promise.reject(new Error('down')) : remote.get(ids)),
      (entries) => remote.put(entries),
    )
    await store.renew([])
    for (let reads = 0; reads < 10; reads++) await store.read([newId()])
    expect(gets()).toBe(3)
    expect(errors).toHaveLength(3)
    time += 1_000
    await Promise.all([store.read([newId()]), store.read([newId()]), store.read([newId()])])
    expect(gets()).toBe(4)
    isDown = false
    time += 1_000
    await Promise.all([store.read([newId()]), store.read([newId()])])
    expect(gets()).toBe(5)
    await store.read([newId()])
    expect(gets()).toBe(6)
    expect(errors).toHaveLength(4)
  })

  test('has no more puts under way than are bounded', async () => {
    let puts = 0
    const { store } = failing(
      async (ids) => ids.map(() => undefined),
      () => {
        puts++
        return new Promise(() => {})
      },
    )
    for (let records = 0; records < 50; records++) await completed(store)
    expect(puts).toBe(32)
  })

  test('by giving an entry of another record is told, and that is not answered', async () => {
    let other: TieredRecord | undefined
    const { store, errors } = failing(
      async (ids) => ids.map(() => other),
      async (entries) => void (other = structuredClone(entries[0])),
    )
    await completed(store)
    expect((await store.read([newId()])).replies).toEqual([undefined])
    expect(String(errors[0])).toMatch('of another record')
  })

  test('with an onFastError that throws fails nothing', async () => {
    const fast: ReplayTier = { ...remoteTier(clock), get: () => Promise.reject(new Error('down')) }
    const onFastError = (): never => {
      throw new Error('thrown by a listener')
    }
    const store = tieredStore({ fast, durable: memoryStore({ clock }), clock, onFastError })
    const id = await completed(store)
    expect((await store.read([id])).replies[0]?.phase).toBe('completed')
  })
})

describe('lruReplayTier', () => {
  const bytesMax = 64 * 1024

  test('stays within its bytes, and what was used least recently goes first', async () => {
    const tier = lruReplayTier({ bytesMax, clock })
    const store = tieredStore({ fast: tier, durable: memoryStore({ clock }), clock })
    const first = await completed(store, { bytes: 1_024 })
    const second = await completed(store, { bytes: 1_024 })
    for (let records = 0; records < 30; records++) await completed(store, { bytes: 1_024 })
    // 32 entries of 2,048 bytes fill it.
    expect(tier.recall?.(first)).toBeDefined()
    await completed(store, { bytes: 1_024 })
    expect(tier.recall?.(second)).toBeUndefined()
    expect(tier.recall?.(first)).toBeDefined()
  })

  test('keeps no outcome of more than a sixteenth', async () => {
    const tier = lruReplayTier({ bytesMax, clock })
    const store = tieredStore({ fast: tier, durable: memoryStore({ clock }), clock })
    const small = await completed(store, { bytes: 3_072 })
    const large = await completed(store, { bytes: 3_073 })
    expect(tier.recall?.(small)).toBeDefined()
    expect(tier.recall?.(large)).toBeUndefined()
  })

  test('keeps of an outcome that is a view only what the view shows', async () => {
    const tier = lruReplayTier({ clock })
    const whole = new Uint8Array(100_000)
    const record = { ...(await entry()), outcome: whole.subarray(10, 20) }
    await tier.put([{ record, seenAt: 1, check: '', leftMs: 1_000 }])
    expect(tier.recall?.(record.id)?.record.outcome.buffer.byteLength).toBe(10)
    whole[10] = 1
    expect(tier.recall?.(record.id)?.record.outcome[0]).toBe(0)
  })

  test('keeps the entry that was seen last, for its time', async () => {
    const tier = lruReplayTier({ clock })
    const record = await entry()
    await tier.put([{ record, seenAt: 5, check: 'later', leftMs: 1_000 }])
    await tier.put([{ record, seenAt: 4, check: 'earlier', leftMs: 9_000 }])
    expect(tier.recall?.(record.id)).toMatchObject({ check: 'later', leftMs: 1_000 })
    time += 400
    expect(tier.recall?.(record.id)?.leftMs).toBe(600)
    time += 600
    expect(await tier.get([record.id])).toEqual([undefined])
  })

  test('checks its options', () => {
    expect(() => lruReplayTier({ bytesMax: 100 })).toThrow('bytesMax')
    expect(() => lruReplayTier({ bytes: 1 } as never)).toThrow('bytesMax')
  })

  async function entry() {
    const durable = memoryStore({ clock })
    const id = await completed(durable)
    const found = (await durable.read([id])).replies[0]
    if (found?.phase !== 'completed') throw new Error('it is not completed')
    return found
  }
})

describe('over a store that joins transactions', () => {
  let folder: string
  let db: DatabaseSync
  let durable: SqliteStore

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'retrysafe-tiered-'))
    const file = join(folder, 'shop.db')
    durable = sqliteStore({ file })
    db = new DatabaseSync(file)
    db.exec('PRAGMA journal_mode = WAL; CREATE TABLE orders (sku TEXT NOT NULL) STRICT')
  })
  afterEach(async () => {
    db.close()
    await durable.close()
    rmSync(folder, { recursive: true })
  })

  test('the first replay brings a record to the tiers, and the next opens no transaction', async () => {
    let transactions = 0
    const counted: typeof durable = new Proxy(durable, {
      get(target, name) {
        if (name === 'transaction') transactions++
        const value = Reflect.get(target, name) as unknown
        return typeof value === 'function' ? (value.bind(target) as unknown) : value
      },
    })
    const idem = createIdempotency({
      store: tieredStore({ fast: lruReplayTier(), durable: counted }),
      sweep: false,
    })
    const place = idem.transaction('order', (input: { sku: string }, { tx }) => {
      tx.prepare('INSERT INTO orders (sku) VALUES (?)').run(input.sku)
      return input.sku
    })
    const call = { key: 'k1', principal: 'alice', input: { sku: 'A1' } }
    const ends = [await place.run(call), await place.run(call), await place.run(call)]
    expect(ends.map(({ replayed }) => replayed)).toEqual([false, true, true])
    expect(transactions).toBe(2)
    await expect(place.run({ ...call, input: { sku: 'B2' } })).rejects.toThrow(KeyReusedError)
    expect(transactions).toBe(2)
    expect(db.prepare('SELECT sku FROM orders').all()).toHaveLength(1)
    await idem.close()
  })

  test('what a transaction wrote and rolled back is never answered', async () => {
    const store = tieredStore({ fast: lruReplayTier(), durable })
    await store.read([newId()])
    const claim = newClaim()
    const again = newClaim({ id: claim.id })
    const end = await store.transaction(async (_: SqliteTx, records) => {
      await records.claim([claim])
      await records.settle([completion(claim)])
      expect((await records.claim([again])).replies[0]).toMatchObject({
        kind: 'found',
        record: { phase: 'completed' },
      })
      return { kind: 'roll-back', value: 'undone' }
    }, claim)
    expect(end.kind).toBe('rolled-back')
    expect(store.recall?.(claim.id)).toBeUndefined()
    expect((await store.read([claim.id])).replies).toEqual([undefined])
  })

  test('an operation that is one statement replays from the tier too', async () => {
    const store = tieredStore({ fast: lruReplayTier(), durable })
    const idem = createIdempotency({ store, sweep: false })
    const insert = idem.statement(
      'order',
      'INSERT INTO orders (sku) VALUES (?) RETURNING sku',
      (sku: string) => [sku],
    )
    const call = { key: 'k1', principal: 'alice', input: 'A1' }
    const ends = [await insert.run(call), await insert.run(call), await insert.run(call)]
    expect(ends.map(({ replayed }) => replayed)).toEqual([false, true, true])
    expect(ends[2]?.value).toEqual([{ sku: 'A1' }])
    await idem.close()
  })
})
