/** A store with switches between it and the engine: verbs can fail before or after they are applied, or hang. */
import { StoreError, type StoreFailure } from '../../src/core/errors.ts'
import type { IdempotencyStore } from '../../src/core/store.ts'

type Verb = 'claim' | 'supersede' | 'renew' | 'settle' | 'read'

/** `request-lost`: not applied. `reply-lost`: applied, and the caller cannot know. `hang`: no answer at all. */
export type Fault = 'request-lost' | 'reply-lost' | 'hang' | 'hang-applied' | StoreFailure

export interface FaultyStore extends IdempotencyStore {
  /** The faults of the next calls of a verb, one a call. */
  fail(verb: Verb, ...faults: readonly Fault[]): void
  /** Every call of these verbs fails like this, until `heal`. */
  breakAll(fault: Fault, verbs?: readonly Verb[]): void
  heal(): void
  /** Calls that reached the switch, by verb. */
  readonly calls: Record<Verb, number>
}

const allVerbs: readonly Verb[] = ['claim', 'supersede', 'renew', 'settle', 'read']

export function faultyStore(inner: IdempotencyStore): FaultyStore {
  const next = new Map<Verb, Fault[]>()
  const broken = new Map<Verb, Fault>()
  const calls: Record<Verb, number> = { claim: 0, supersede: 0, renew: 0, settle: 0, read: 0 }

  async function through<Reply>(verb: Verb, call: () => Promise<Reply>): Promise<Reply> {
    calls[verb]++
    const fault = next.get(verb)?.shift() ?? broken.get(verb)
    if (fault === undefined) return await call()
    if (fault === 'reply-lost' || fault === 'hang-applied') await call()
    if (fault === 'hang' || fault === 'hang-applied') return await new Promise<Reply>(() => {})
    const failure = fault === 'request-lost' || fault === 'reply-lost' ? 'lost' : fault
    throw new StoreError(failure, `${verb} failed as told`)
  }

  return {
    name: inner.name,
    capabilities: { ...inner.capabilities, answersInProcess: false },
    calls,
    claim: (claims) => through('claim', () => inner.claim(claims)),
    supersede: (takeovers) => through('supersede', () => inner.supersede(takeovers)),
    renew: (renewals) => through('renew', () => inner.renew(renewals)),
    settle: (settlements) => through('settle', () => inner.settle(settlements)),
    read: (ids) => through('read', () => inner.read(ids)),
    sweep: (limit) => inner.sweep(limit),
    list: (query) => inner.list(query),
    close: () => inner.close(),
    [Symbol.asyncDispose]: () => inner.close(),
    fail(verb, ...faults): void {
      next.set(verb, [...(next.get(verb) ?? []), ...faults])
    },
    breakAll(fault, verbs = allVerbs): void {
      for (const verb of verbs) broken.set(verb, fault)
    },
    heal(): void {
      broken.clear()
      next.clear()
    },
  }
}
