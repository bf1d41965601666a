import { describe, expect, test } from 'vitest'
import type { Claim, IdempotencyStore } from '../../src/core/store.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { storeConformance } from '../../src/verification/index.ts'
import { completion, newClaim } from '../../src/verification/store-cases/context.ts'

storeConformance({
  name: 'memory',
  test,
  joinsTransaction: false,
  open: async (clock) => ({ store: memoryStore({ clock }) }),
})

async function claimed(store: IdempotencyStore, parts: Partial<Claim> = {}): Promise<Claim> {
  const claim = newClaim(parts)
  expect((await store.claim([claim])).replies).toEqual([{ kind: 'claimed' }])
  return claim
}

async function present(store: IdempotencyStore, claims: readonly Claim[]): Promise<boolean[]> {
  const { replies } = await store.read(claims.map(({ id }) => id))
  return replies.map((record) => record !== undefined)
}

describe('a full memory store', () => {
  test('drops what has expired before anything that is still kept', async () => {
    let now = 1_000
    const store = memoryStore({ recordsMax: 3, clock: { now: () => now } })
    const oldest = await claimed(store)
    const expired = await claimed(store)
    const tombstoned = await claimed(store)
    await store.settle([
      completion(oldest),
      completion(expired, { retentionMs: 10 }),
      completion(tombstoned, { retentionMs: 10, tombstoneMs: 10_000 }),
    ])
    now += 20
    const next = await claimed(store)
    expect(await present(store, [oldest, expired, tombstoned, next])).toEqual([true, false, true, true])
  })

  test('then drops the record that was settled first, never a running or unknown one', async () => {
    const store = memoryStore({ recordsMax: 4 })
    const running = await claimed(store)
    const unknown = await claimed(store)
    const second = await claimed(store)
    const first = await claimed(store)
    await store.settle([{ ...unknown, to: 'unknown', retentionMs: 10_000 }])
    await store.settle([{ ...first, to: 'released', markerMs: 10_000 }])
    await store.settle([completion(second)])
    const next = await claimed(store)
    expect(await present(store, [running, unknown, second, first, next])).toEqual([
      true,
      true,
      true,
      false,
      true,
    ])
    const last = await claimed(store)
    expect(await present(store, [running, unknown, second, next, last])).toEqual([
      true,
      true,
      false,
      true,
      true,
    ])
  })

  test('a superseded record is running again and is not dropped', async () => {
    const store = memoryStore({ recordsMax: 1 })
    const first = await claimed(store)
    await store.settle([{ ...first, to: 'released', markerMs: 10_000 }])
    await store.supersede([
      { seenToken: first.token, seenPhase: 'released', claim: newClaim({ id: first.id }) },
    ])
    const { replies } = await store.claim([newClaim()])
    expect(replies[0]).toMatchObject({
      kind: 'failed',
      error: { code: 'store-failed', failure: 'transient' },
    })
    expect(await present(store, [first])).toEqual([true])
  })

  test('refuses new keys where it was told so, and goes on answering known ones', async () => {
    const store = memoryStore({ recordsMax: 1, whenFull: 'refuse' })
    const first = await claimed(store)
    await store.settle([completion(first)])
    const { replies } = await store.claim([newClaim(), newClaim({ id: first.id })])
    expect(replies.map(({ kind }) => kind)).toEqual(['failed', 'found'])
  })

  test('holds no more than its bound over many keys with different retentions', async () => {
    let now = 1_000
    const recordsMax = 50
    const store = memoryStore({ recordsMax, clock: { now: () => now } })
    for (let count = 0; count < 2_000; count++) {
      const claim = await claimed(store, { leaseMs: 5, retentionMs: (count * 7919) % 100 })
      if (count % 3 !== 0) await store.settle([completion(claim, { retentionMs: (count * 104_729) % 300 })])
      if (count % 11 === 0) await store.sweep(5)
      now += 1 + (count % 5)
    }
    expect((await store.list({ limit: 1_000 })).records.length).toBeLessThanOrEqual(recordsMax)
    now += 1_000
    for (let sweeps = 0; (await store.sweep(10)).more; sweeps++) expect(sweeps).toBeLessThan(100)
    expect((await store.list({ limit: 1_000 })).records).toEqual([])
  })
})

test.each([
  [{ recordsMax: 0 }, 'recordsMax'],
  [{ recordsMax: 1.5 }, 'recordsMax'],
  [{ recordsMax: Number.NaN }, 'recordsMax'],
  [{ whenFull: 'drop' as never }, 'whenFull'],
])('wrong options are refused: %o', (options, option) => {
  expect(() => memoryStore(options)).toThrow(expect.objectContaining({ code: 'option-invalid', option }))
})
