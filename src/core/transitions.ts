/**
 * The one transition table: what a claimer does with the record it finds. A pure function; the time is the
 * store's own `now`, sent with the record. Stores contain none of it, and no other file decides by phase.
 *
 * | found, by the store's clock              | same fingerprint          | other fingerprint |
 * | ---------------------------------------- | ------------------------- | ----------------- |
 * | absent                                   | claim                     | claim             |
 * | past everything it was kept for          | supersede                 | supersede         |
 * | running, own token (a resent claim)      | hold                      | -                 |
 * | running, lease live                      | in-progress               | mismatch          |
 * | running, lease over; settled unknown     | by `onUnknown`            | mismatch          |
 * | released, marker live                    | supersede                 | mismatch          |
 * | completed, retained                      | replay                    | mismatch          |
 * | completed, tombstone live; tombstone     | expired                   | expired           |
 *
 * Mismatch is decided before in-progress, so that a client's bug is told at once and never retried.
 */
import type { CompletedRecord, Fingerprint, IdempotencyRecord } from './record.ts'
import { removableFrom } from './record.ts'

/** What an operation does with a key whose earlier attempt ended without a known outcome. */
export type OnUnknown = 'hold' | 'rerun' | 'reconcile'

export interface Claimer {
  readonly fingerprint: Fingerprint
  readonly token: string
  readonly onUnknown: OnUnknown
}

export type Decision =
  /** Nothing is there: insert the running record. */
  | { readonly kind: 'claim' }
  /** The record is this attempt's own: run. */
  | { readonly kind: 'hold'; readonly fence: number }
  /** Replace the record seen, then run; with `reconcile`, ask the user's function before running. */
  | { readonly kind: 'supersede'; readonly seen: IdempotencyRecord; readonly reconcile: boolean }
  | { readonly kind: 'replay'; readonly record: CompletedRecord }
  | { readonly kind: 'mismatch' }
  | { readonly kind: 'in-progress'; readonly leaseLeftMs: number }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'expired' }

/**
 * Decides what `claimer` does with `found`.
 *
 * @param now the store's clock in milliseconds, from the same reply as the record
 */
export function decide(found: IdempotencyRecord | undefined, claimer: Claimer, now: number): Decision {
  if (found === undefined) return { kind: 'claim' }
  if (found.phase === 'running' && found.token === claimer.token) return { kind: 'hold', fence: found.fence }
  if (now >= removableFrom(found)) return { kind: 'supersede', seen: found, reconcile: false }

  if (found.phase === 'tombstone' || (found.phase === 'completed' && now >= found.retainUntil)) {
    return { kind: 'expired' }
  }
  if (found.fingerprint !== claimer.fingerprint) return { kind: 'mismatch' }

  switch (found.phase) {
    case 'completed':
      return { kind: 'replay', record: found }
    case 'released':
      return { kind: 'supersede', seen: found, reconcile: false }
    case 'running':
      if (now < found.leaseUntil) return { kind: 'in-progress', leaseLeftMs: found.leaseUntil - now }
      return decideUnknown(found, claimer.onUnknown)
    case 'unknown':
      return decideUnknown(found, claimer.onUnknown)
    default:
      return found satisfies never
  }
}

function decideUnknown(seen: IdempotencyRecord, onUnknown: OnUnknown): Decision {
  switch (onUnknown) {
    case 'hold':
      return { kind: 'unknown' }
    case 'rerun':
      return { kind: 'supersede', seen, reconcile: false }
    case 'reconcile':
      return { kind: 'supersede', seen, reconcile: true }
    default:
      return onUnknown satisfies never
  }
}

/** How a settle ended for the holder of `token`, read from the record that refused it. */
export type RefusedSettle =
  /** An earlier, unanswered send of this very settle had been applied. */
  | { readonly kind: 'already-settled' }
  /** Another holder took over, or the record is gone: this attempt's result must be thrown away. */
  | { readonly kind: 'lost' }

/** Tells a settle that was applied before (its answer got lost) from one that lost its record. */
export function judgeRefusedSettle(
  record: IdempotencyRecord | undefined,
  token: string,
  to: 'completed' | 'released' | 'unknown',
): RefusedSettle {
  if (record !== undefined && record.token === token && record.phase === to)
    return { kind: 'already-settled' }
  return { kind: 'lost' }
}
