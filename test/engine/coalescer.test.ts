import { beforeEach, describe, expect, test } from 'vitest'
import { StoreError } from '../../src/core/errors.ts'
import type { Fingerprint, RecordId } from '../../src/core/record.ts'
import type { Claim, ClaimReply, IdempotencyStore, Replies } from '../../src/core/store.ts'
import { type Coalescer, createCoalescer, flightMsMax } from '../../src/engine/coalescer.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { type ManualRuntime, manualRuntime } from './manual-runtime.ts'

let runtime: ManualRuntime
/** Each claim call that is under way, to be answered by the test. */
let flights: { claims: readonly Claim[]; land(): void; crash(error: unknown): void }[]
let coalescer: Coalescer

function coalescerOf(capabilities: Partial<IdempotencyStore['capabilities']>): Coalescer {
  const inner = memoryStore()
  const store: IdempotencyStore = {
    ...inner,
    capabilities: { ...inner.capabilities, answersInProcess: false, flightsMax: 1, ...capabilities },
    claim(claims) {
      const { promise, resolve, reject } = Promise.withResolvers<Replies<ClaimReply>>()
      const land = (): void =>
        resolve({ now: 1, replies: claims.map((): ClaimReply => ({ kind: 'claimed' })) })
      flights.push({ claims, land, crash: reject })
      return promise
    },
  }
  return createCoalescer(store, runtime)
}

beforeEach(() => {
  runtime = manualRuntime()
  flights = []
  coalescer = coalescerOf({})
})

function claimOf(id: string): Claim {
  return {
    id: id as RecordId,
    fingerprint: '1.f' as Fingerprint,
    token: id,
    leaseMs: 1_000,
    retentionMs: 1_000,
    operation: 'charge',
    principalTag: 'tag',
  }
}

const idsOf = (flight: { claims: readonly Claim[] } | undefined) => flight?.claims.map((claim) => claim.id)

describe('coalescer', () => {
  /** Overlapping calls in one turn, after which a whole turn leaves as one batch. */
  async function becomeBusy(): Promise<void> {
    const asked = ['w', 'x', 'y', 'z'].map((id) => coalescer.claim(claimOf(id)))
    for (let landed = 0; landed < 3; landed++) {
      await runtime.settle()
      flights[landed]?.land()
    }
    for (const flight of flights) flight.land()
    await Promise.all(asked)
    flights = []
  }

  test('idle, a verb leaves at once and alone', () => {
    void coalescer.claim(claimOf('a'))
    expect(flights.map(idsOf)).toEqual([['a']])
  })

  test('idle, the third verb of a turn and what follows leave together at its end', async () => {
    coalescer = coalescerOf({ flightsMax: 10 })
    const asked = ['e', 'd', 'c', 'b', 'a'].map((id) => coalescer.claim(claimOf(id)))
    expect(flights.map(idsOf)).toEqual([['e'], ['d']])
    await runtime.settle()
    expect(flights.map(idsOf)).toEqual([['e'], ['d'], ['a', 'b', 'c']])
    for (const flight of flights) flight.land()
    await Promise.all(asked)
  })

  test('busy, one turn leaves as one batch, sorted by id', async () => {
    coalescer = coalescerOf({ flightsMax: 10 })
    await becomeBusy()
    const asked = ['c', 'a', 'b'].map((id) => coalescer.claim(claimOf(id)))
    expect(flights).toEqual([])
    await runtime.settle()
    expect(flights.map(idsOf)).toEqual([['a', 'b', 'c']])
    flights[0]?.land()
    expect((await Promise.all(asked)).map(({ reply }) => reply.kind)).toEqual(Array(3).fill('claimed'))
  })

  test('busy, a batch that is large enough leaves before the end of the turn, where flights are free', async () => {
    for (const [flightsMax, early] of [
      [10, [24, 24]],
      [1, []],
    ] as const) {
      runtime = manualRuntime()
      flights = []
      coalescer = coalescerOf({ flightsMax })
      await becomeBusy()
      const asked = Array.from({ length: 60 }, (_, at) => coalescer.claim(claimOf(`id ${at}`)))
      expect(flights.map((flight) => flight.claims.length)).toEqual(early)
      await runtime.settle()
      expect(flights.reduce((sum, flight) => sum + flight.claims.length, 0)).toBe(60)
      // What left early counts: the next turn is busy too.
      const before = flights.length
      const next = ['a', 'b'].map((id) => coalescer.claim(claimOf(id)))
      expect(flights.length).toBe(before)
      for (const flight of flights) flight.land()
      await runtime.settle()
      for (const flight of flights) flight.land()
      await Promise.all([...asked, ...next])
    }
  })

  test('idle again after a turn whose end had one verb', async () => {
    coalescer = coalescerOf({ flightsMax: 10 })
    await becomeBusy()
    void coalescer.claim(claimOf('a'))
    await runtime.settle()
    void coalescer.claim(claimOf('b'))
    expect(flights.map(idsOf)).toEqual([['a'], ['b']])
  })

  test('what arrives during a flight leaves as the next batch', async () => {
    const first = coalescer.claim(claimOf('a'))
    await runtime.settle()
    const later = ['b', 'c'].map((id) => coalescer.claim(claimOf(id)))
    await runtime.settle()
    expect(flights.map(idsOf)).toEqual([['a']])
    flights[0]?.land()
    await first
    await runtime.settle()
    expect(flights.map(idsOf)).toEqual([['a'], ['b', 'c']])
    flights[1]?.land()
    await Promise.all(later)
  })

  test('a batch is no larger than the store takes', async () => {
    coalescer = coalescerOf({ batchMax: 2, flightsMax: 10 })
    const asked = ['a', 'b', 'c', 'd', 'e'].map((id) => coalescer.claim(claimOf(id)))
    await runtime.settle()
    expect(flights.map((flight) => flight.claims.length)).toEqual([1, 1, 2, 1])
    for (const flight of flights) flight.land()
    await Promise.all(asked)
  })

  test('a flight without an answer is lost after its time, and the next one leaves', async () => {
    const lost = expect(coalescer.claim(claimOf('a'))).rejects.toMatchObject({ failure: 'lost' })
    await runtime.settle()
    const next = coalescer.claim(claimOf('b'))
    await runtime.advance(flightMsMax)
    await lost
    expect(flights.map(idsOf)).toEqual([['a'], ['b']])
    flights[0]?.land()
    flights[1]?.land()
    expect((await next).reply.kind).toBe('claimed')
    await runtime.advance(flightMsMax)
    expect(runtime.pendingTimers()).toBe(0)
  })

  test('an error that is no StoreError counts as unrecognised, for every item', async () => {
    coalescer = coalescerOf({ flightsMax: 10 })
    await becomeBusy()
    const asked = ['a', 'b'].map((id) => coalescer.claim(claimOf(id)))
    await runtime.settle()
    flights[0]?.crash(new TypeError('bug'))
    for (const result of await Promise.allSettled(asked)) {
      expect(result).toMatchObject({ status: 'rejected', reason: { failure: 'unrecognised' } })
    }
  })

  test('a failed item rejects alone', async () => {
    const failing = createCoalescer(
      {
        ...memoryStore(),
        capabilities: memoryStore().capabilities,
        claim: (claims) =>
          Promise.resolve({
            now: 1,
            replies: claims.map((claim): ClaimReply => {
              if (claim.id !== 'b') return { kind: 'claimed' }
              return { kind: 'failed', error: new StoreError('permanent', 'too large') }
            }),
          }),
      },
      runtime,
    )
    const results = await Promise.allSettled(['a', 'b', 'c'].map((id) => failing.claim(claimOf(id))))
    expect(results.map((result) => result.status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  })

  test('a store that answers with another number of replies is not believed', async () => {
    const wrong = createCoalescer(
      {
        ...memoryStore(),
        capabilities: memoryStore().capabilities,
        claim: () => Promise.resolve({ now: 1, replies: [] }),
      },
      runtime,
    )
    await expect(wrong.claim(claimOf('a'))).rejects.toMatchObject({ failure: 'unrecognised' })
  })
})
