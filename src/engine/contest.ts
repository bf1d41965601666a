/**
 * The one claim path: from a claim to the right to run, or to the reason why not. Lease mode runs it on the
 * coalescer, transaction mode on the verbs of its open transaction; both decide by the same table.
 */
import { StoreError } from '../core/errors.ts'
import type { CompletedRecord, IdempotencyRecord, RecordId } from '../core/record.ts'
import type { Claim, IdempotencyStore, RecordVerbs } from '../core/store.ts'
import { type Claimer, decide, type OnUnknown } from '../core/transitions.ts'
import type { NotRun } from './attempt.ts'
import type { Answer, Coalescer } from './coalescer.ts'
import type { OutcomeSeal } from './outcome-seal.ts'

export type ContestVerbs = Pick<Coalescer, 'claim' | 'supersede'>

/** A stored outcome, and how old it is. */
export type Replay = Extract<NotRun, { kind: 'replay' }>

/** How a contest ends for the claimer. */
export type ContestEnd =
  /** `reconcile`: an earlier outcome is unknown and the operation wants to ask before it runs. */
  | { readonly kind: 'won'; readonly fence: number; readonly reconcile: boolean }
  | Replay
  | { readonly kind: 'mismatch' }
  | { readonly kind: 'in-progress'; readonly leaseLeftMs: number; readonly token: string }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'expired' }

/** What the sends of one claim have in common. */
export interface Contested {
  readonly claim: Claim
  /**
   * Whether an unknown outcome was, or may have been, replaced under this claim: a takeover whose answer was lost is
   * found later as the claimer's own record, which does not tell what was there before.
   */
  replacesUnknown: boolean
}

export function contested(claim: Claim): Contested {
  return { claim, replacesUnknown: false }
}

/** Rounds of claim and supersede before a key that changes hands all the time counts as in progress. */
const roundsMax = 8

/**
 * Claims, and supersedes where the table says so. Safe to call again with the same `asked` after a `StoreError`: a
 * send that had been applied is recognised by its token.
 *
 * @throws StoreError
 * @throws UnreadableOutcomeError
 */
export async function contest(
  verbs: ContestVerbs,
  asked: Contested,
  onUnknown: OnUnknown,
  seal: OutcomeSeal,
): Promise<ContestEnd> {
  const { claim } = asked
  const claimer = { fingerprint: claim.fingerprint, token: claim.token, onUnknown }
  let found: { record: IdempotencyRecord | undefined; now: number } = { record: undefined, now: 0 }

  for (let round = 0; round < roundsMax; round++) {
    const decision = decide(found.record, claimer, found.now)
    switch (decision.kind) {
      case 'claim': {
        const { reply, now } = await verbs.claim(claim)
        if (reply.kind === 'claimed') return { kind: 'won', fence: 1, reconcile: false }
        if (reply.kind === 'locked') return { kind: 'in-progress', leaseLeftMs: claim.leaseMs, token: '' }
        found = { record: reply.record, now }
        break
      }
      case 'hold':
        return { kind: 'won', fence: decision.fence, reconcile: asked.replacesUnknown }
      case 'supersede': {
        asked.replacesUnknown ||= decision.reconcile
        const { token: seenToken, phase: seenPhase } = decision.seen
        const { reply, now } = await verbs.supersede({ seenToken, seenPhase, claim })
        if (reply.kind === 'superseded') {
          return { kind: 'won', fence: reply.fence, reconcile: asked.replacesUnknown }
        }
        found = { record: reply.record, now }
        break
      }
      case 'replay':
        return replayOf(decision.record, found.now, seal)
      case 'in-progress':
        return { kind: 'in-progress', leaseLeftMs: decision.leaseLeftMs, token: found.record?.token ?? '' }
      case 'mismatch':
      case 'unknown':
      case 'expired':
        return decision
      default:
        return decision satisfies never
    }
  }
  return { kind: 'in-progress', leaseLeftMs: claim.leaseMs, token: found.record?.token ?? '' }
}

/**
 * The answer that the store has in this process, without I/O: a replay or a mismatch. Everything else is left to the
 * contest, which asks the store itself.
 *
 * @throws UnreadableOutcomeError
 */
export function recall(
  store: IdempotencyStore,
  claimer: Omit<Claimer, 'token'> & { readonly id: RecordId },
  seal: OutcomeSeal,
): Extract<ContestEnd, { kind: 'replay' | 'mismatch' }> | undefined {
  const found = store.recall?.(claimer.id)
  if (found === undefined) return undefined
  const decision = decide(found.record, { ...claimer, token: '' }, found.now)
  if (decision.kind === 'replay') {
    return replayOf(decision.record, found.now, seal)
  }
  return decision.kind === 'mismatch' ? decision : undefined
}

/**
 * The outcome of a completed record.
 *
 * @param now the store's clock in milliseconds, from the same reply as the record
 * @throws UnreadableOutcomeError
 */
export function replayOf(record: CompletedRecord, now: number, seal: OutcomeSeal): Replay {
  const { id, outcome, settledAt, retainUntil } = record
  const age = { ageMs: now - settledAt, leftMs: retainUntil - now }
  return { kind: 'replay', outcome: seal.open(id, outcome), age }
}

/** How soon a duplicate should ask again: within a second, and not after the lease has run out. */
export function retryAfterMs(leaseLeftMs: number): number {
  return Math.ceil(Math.min(1_000, Math.max(1, leaseLeftMs)))
}

/** What a caller that may not claim makes of a record: a holder that lost it, or a reader. */
export function asSeen(
  record: IdempotencyRecord | undefined,
  claimer: Claimer & { readonly id: RecordId },
  now: number,
  seal: OutcomeSeal,
): NotRun {
  const decision = decide(record, claimer, now)
  switch (decision.kind) {
    case 'replay':
      return replayOf(decision.record, now, seal)
    case 'in-progress':
      return { kind: 'in-progress', retryAfterMs: retryAfterMs(decision.leaseLeftMs) }
    case 'mismatch':
    case 'unknown':
    case 'expired':
      return decision
    case 'claim':
    case 'hold':
    case 'supersede':
      // Free for the next claimer: the caller must ask again, under the same key.
      return { kind: 'in-progress', retryAfterMs: 1 }
    default:
      return decision satisfies never
  }
}

/** The verbs of an open transaction, one item at a time. */
export function singly(records: RecordVerbs): ContestVerbs & Pick<Coalescer, 'settle'> {
  return {
    claim: (item) => only(records.claim([item])),
    supersede: (item) => only(records.supersede([item])),
    settle: (item) => only(records.settle([item])),
  }
}

async function only<Reply extends { readonly kind: string }>(
  call: Promise<{ readonly now: number; readonly replies: readonly Reply[] }>,
): Promise<Answer<Reply>> {
  const { now, replies } = await call
  const reply = replies[0]
  if (reply === undefined) throw new StoreError('unrecognised', 'The store gave no reply.')
  if (reply.kind === 'failed') throw (reply as unknown as { error: StoreError }).error
  return { now, reply: reply as Answer<Reply>['reply'] }
}
