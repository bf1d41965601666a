/** The suite must be able to fail: stores with one fault each, every one of which a case catches. */
import { describe, expect, test } from 'vitest'
import type { IdempotencyStore } from '../../src/core/store.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { storeCaseNames, storeConformance, type TestFunction } from '../../src/verification/index.ts'

type Faults = Readonly<Record<string, (store: IdempotencyStore) => Partial<IdempotencyStore>>>

const faults: Faults = {
  'every claim wins': (store) => ({
    async claim(claims) {
      const { now, replies } = await store.claim(claims)
      return { now, replies: replies.map(() => ({ kind: 'claimed' })) }
    },
  }),
  'replies in another order': (store) => ({
    async claim(claims) {
      const { now, replies } = await store.claim(claims)
      return { now, replies: replies.toReversed() }
    },
  }),
  'a claim renews the lease it finds': (store) => ({
    async claim(claims) {
      const answer = await store.claim(claims)
      for (const reply of answer.replies) {
        if (reply.kind !== 'found') continue
        const { id, token } = reply.record
        await store.renew([{ id, token, leaseMs: 5 }])
      }
      return answer
    },
  }),
  'a settlement without token': (store) => ({
    async settle(settlements) {
      const { replies } = await store.read(settlements.map(({ id }) => id))
      return await store.settle(
        settlements.map((settlement, at) => ({
          ...settlement,
          token: replies[at]?.token ?? settlement.token,
        })),
      )
    },
  }),
  'a takeover of whatever is there': (store) => ({
    async supersede(takeovers) {
      const { replies } = await store.read(takeovers.map(({ claim }) => claim.id))
      return await store.supersede(
        takeovers.map(({ seenToken, seenPhase, claim }, at) => ({
          seenToken: replies[at]?.token ?? seenToken,
          seenPhase: replies[at]?.phase ?? seenPhase,
          claim,
        })),
      )
    },
  }),
  'a takeover of what its holder has settled since': (store) => ({
    async supersede(takeovers) {
      const { replies } = await store.read(takeovers.map(({ claim }) => claim.id))
      return await store.supersede(
        takeovers.map((takeover, at) => ({
          ...takeover,
          seenPhase: replies[at]?.phase ?? takeover.seenPhase,
        })),
      )
    },
  }),
  'a renewal of a lost lease': (store) => ({
    async renew(renewals) {
      const { now } = await store.renew(renewals)
      return { now, replies: renewals.map(() => ({ kind: 'renewed' })) }
    },
  }),
  'an outcome that is cut': (store) => ({
    settle: (settlements) =>
      store.settle(
        settlements.map((settlement) =>
          settlement.to === 'completed'
            ? { ...settlement, outcome: settlement.outcome.slice(0, 1_000) }
            : settlement,
        ),
      ),
  }),
  'no tombstones': (store) => ({
    settle: (settlements) =>
      store.settle(settlements.map((settlement) => ({ ...settlement, tombstoneMs: 0 }) as typeof settlement)),
  }),
  'a retention that counts from the claim': (store) => ({
    settle: (settlements) =>
      store.settle(
        settlements.map((settlement) =>
          settlement.to === 'unknown'
            ? { ...settlement, retentionMs: settlement.retentionMs - 1 }
            : settlement,
        ),
      ),
  }),
  'a refusal without its record': (store) => ({
    async settle(settlements) {
      const { now, replies } = await store.settle(settlements)
      return { now, replies: replies.map((reply) => ({ ...reply, record: undefined }) as typeof reply) }
    },
  }),
  'a bad item that fails its neighbours': (store) => ({
    async settle(settlements) {
      const answer = await store.settle(settlements)
      const failed = answer.replies.find(({ kind }) => kind === 'failed')
      return failed === undefined ? answer : { ...answer, replies: settlements.map(() => failed) }
    },
  }),
  'a sweep without limit': (store) => ({ sweep: () => store.sweep(1_000) }),
  'a sweep that does nothing': () => ({ sweep: async () => ({ removed: 0, entombed: 0, more: false }) }),
  'reading hides what has expired': (store) => ({
    async read(ids) {
      const { now, replies } = await store.read(ids)
      return { now, replies: replies.map((found) => (found?.phase === 'tombstone' ? undefined : found)) }
    },
  }),
  'lists with the oldest first': (store) => ({
    async list(query) {
      const page = await store.list(query)
      return { ...page, records: page.records.toReversed() }
    },
  }),
  'lists without filters': (store) => ({
    list: ({ limit, after }) => store.list(after === undefined ? { limit } : { limit, after }),
  }),
  'lists without an end': (store) => ({
    async list(query) {
      return { ...(await store.list({ ...query, limit: 1_000 })), next: undefined }
    },
  }),
  'a clock that goes back': (store) => {
    let back = 0
    return {
      async read(ids) {
        back += 10
        const { now, replies } = await store.read(ids)
        return { now: now - back, replies }
      },
    }
  },
  'verbs after close': (store) => ({ close: async () => {}, [Symbol.asyncDispose]: () => store.close() }),
}

/** Runs the suite on stores and gives the names of the cases that failed. */
async function failedCases(open: () => IdempotencyStore, clock: { now: number }): Promise<string[]> {
  const cases: { name: string; run: () => Promise<void> }[] = []
  const collect: TestFunction = (name, run) => cases.push({ name, run })
  const advance = async (ms: number): Promise<void> => void (clock.now += ms)
  storeConformance({
    name: 'store',
    test: collect,
    joinsTransaction: false,
    open: async () => ({ store: open() }),
    advance,
  })
  const failed: string[] = []
  for (const { name, run } of cases) {
    await run().catch(() => failed.push(name))
  }
  return failed
}

function faultyOpen(
  fault: (store: IdempotencyStore) => Partial<IdempotencyStore>,
  clock: { now: number },
): IdempotencyStore {
  const store = memoryStore({ clock: { now: () => clock.now } })
  const sound: IdempotencyStore = {
    name: store.name,
    capabilities: store.capabilities,
    claim: (claims) => store.claim(claims),
    supersede: (takeovers) => store.supersede(takeovers),
    settle: (settlements) => store.settle(settlements),
    renew: (renewals) => store.renew(renewals),
    read: (ids) => store.read(ids),
    sweep: (limit) => store.sweep(limit),
    list: (query) => store.list(query),
    close: () => store.close(),
    [Symbol.asyncDispose]: () => store.close(),
  }
  return { ...sound, ...fault(store) }
}

describe('the store conformance suite', () => {
  test('passes a sound store', async () => {
    const clock = { now: 1_800_000_000_000 }
    expect(await failedCases(() => faultyOpen(() => ({}), clock), clock)).toEqual([])
  })

  test.each(Object.keys(faults))('catches a store with %s', async (name) => {
    const clock = { now: 1_800_000_000_000 }
    const fault = faults[name] as Faults[string]
    expect((await failedCases(() => faultyOpen(fault, clock), clock)).length).toBeGreaterThan(0)
  })

  test('has a name of its own for each case', () => {
    expect(new Set(storeCaseNames).size).toBe(storeCaseNames.length)
  })

  test('shows a skipped case with its reason, and refuses a skip without one or of no case', () => {
    const skipped: string[] = []
    const ran: string[] = []
    const collect: TestFunction = Object.assign((name: string) => ran.push(name), {
      skip: (name: string) => skipped.push(name),
    })
    const open = async (): Promise<{ store: IdempotencyStore }> => ({ store: memoryStore() })
    const options = { name: 'x', test: collect, joinsTransaction: true, open }
    const [name] = storeCaseNames as [string]
    storeConformance({ ...options, skip: { [name]: 'the server has no clock' } })
    expect(skipped).toEqual([`x: ${name} [the server has no clock]`])
    expect(ran.length).toBe(storeCaseNames.length - 1)
    expect(() => storeConformance({ ...options, skip: { [name]: ' ' } })).toThrow(/reason/)
    expect(() => storeConformance({ ...options, skip: { no: 'why' } })).toThrow(/no case/)
  })
})
