/**
 * What each verb of the store contract makes of one record, as pure functions: for stores that hold records in
 * memory, and for the model of a store in the simulator. They guard by token, lease and clock; what a claimer does
 * with what it finds is decided in `transitions.ts`.
 */
import type { CompletedRecord, IdempotencyRecord, RunningRecord, TombstoneRecord } from './record.ts'
import { removableFrom } from './record.ts'
import type {
  Claim,
  ClaimReply,
  FailedItem,
  Renewal,
  RenewalReply,
  Settlement,
  SettlementReply,
  Takeover,
  TakeoverReply,
} from './store.ts'

/** The answer of a verb, and the record to write in the place of the one found, if any. */
export interface Change<Reply> {
  readonly reply: Exclude<Reply, FailedItem>
  readonly write?: IdempotencyRecord
}

/** Inserts where nothing is. */
export function claimRecord(
  found: IdempotencyRecord | undefined,
  claim: Claim,
  now: number,
): Change<ClaimReply> {
  if (found !== undefined) return { reply: { kind: 'found', record: found } }
  return { reply: { kind: 'claimed' }, write: runningRecord(claim, 1, now, now) }
}

/** Replaces the record that the claimer saw, unless its lease is live. */
export function supersedeRecord(
  found: IdempotencyRecord | undefined,
  { seenToken, seenPhase, claim }: Takeover,
  now: number,
): Change<TakeoverReply> {
  if (found?.token !== seenToken || found.phase !== seenPhase || isLive(found, now)) {
    return { reply: { kind: 'refused', record: found } }
  }
  const fence = found.fence + 1
  return { reply: { kind: 'superseded', fence }, write: runningRecord(claim, fence, found.createdAt, now) }
}

/** Extends the lease of its holder. */
export function renewRecord(
  found: IdempotencyRecord | undefined,
  { token, leaseMs }: Renewal,
  now: number,
): Change<RenewalReply> {
  if (found?.phase !== 'running' || found.token !== token) return { reply: { kind: 'lost' } }
  return { reply: { kind: 'renewed' }, write: { ...found, leaseUntil: now + leaseMs } }
}

/** Ends the attempt of its holder. */
export function settleRecord(
  found: IdempotencyRecord | undefined,
  settlement: Settlement,
  now: number,
): Change<SettlementReply> {
  if (found?.phase !== 'running' || found.token !== settlement.token) {
    return { reply: { kind: 'refused', record: found } }
  }
  return { reply: { kind: 'settled' }, write: settledRecord(found, settlement, now) }
}

/** What the sweep makes of a record: keep it, remove it, or put a tombstone in its place. */
export function sweepRecord(found: IdempotencyRecord, now: number): 'keep' | 'remove' | TombstoneRecord {
  if (now >= removableFrom(found)) return 'remove'
  return found.phase === 'completed' && now >= found.retainUntil ? tombstoneOf(found) : 'keep'
}

function isLive(record: IdempotencyRecord, now: number): boolean {
  return record.phase === 'running' && now < record.leaseUntil
}

function runningRecord(claim: Claim, fence: number, createdAt: number, now: number): RunningRecord {
  const { id, fingerprint, token, operation, principalTag, leaseMs, retentionMs } = claim
  return {
    phase: 'running',
    id,
    fingerprint,
    token,
    fence,
    operation,
    principalTag,
    createdAt,
    leaseUntil: now + leaseMs,
    retentionMs,
  }
}

function settledRecord(running: RunningRecord, settlement: Settlement, now: number): IdempotencyRecord {
  const { id, fingerprint, token, fence, operation, principalTag, createdAt } = running
  const head = { id, fingerprint, token, fence, operation, principalTag, createdAt, settledAt: now }
  switch (settlement.to) {
    case 'completed': {
      const retainUntil = now + settlement.retentionMs
      return {
        phase: 'completed',
        ...head,
        retainUntil,
        tombstoneUntil: retainUntil + settlement.tombstoneMs,
        outcome: new Uint8Array(settlement.outcome),
      }
    }
    case 'released':
      return { phase: 'released', ...head, markerUntil: now + settlement.markerMs }
    case 'unknown':
      return { phase: 'unknown', ...head, retainUntil: now + settlement.retentionMs }
    default:
      return settlement satisfies never
  }
}

/** A completed record without its outcome. */
function tombstoneOf(completed: CompletedRecord): TombstoneRecord {
  const { outcome: _, retainUntil: __, phase: ___, ...head } = completed
  return { phase: 'tombstone', ...head }
}
