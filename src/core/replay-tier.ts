/**
 * What a tiered store asks of a fast tier: completed records, kept for a while in front of the durable store, which
 * decides everything. Why each rule is there:
 *
 * - **A tier may forget, delay, repeat or mix up anything at any time.** What it answers is checked before it counts,
 *   and only ever leads to a replay or a mismatch: everything else is the durable store's.
 * - **Durations cross, times do not.** A tier is told how long an entry may be answered and counts that by a clock of
 *   its own: a monotonic one in this process, the server's elsewhere. The times inside a record are the durable
 *   store's, which a tier neither reads nor changes.
 * - **Record ids are the keys.** An id is a digest of namespace, principal, operation and key, so that an entry of one
 *   principal is never found by another.
 */
import type { CompletedRecord, RecordId } from './record.ts'

/** A completed record as a tier keeps it. */
export interface TieredRecord {
  readonly record: CompletedRecord
  /** When the durable store last gave the record, by its clock. Kept as it is. */
  readonly seenAt: number
  /** Tells whether an entry came back as it was put. Made and checked by the tiered store; kept as it is. */
  readonly check: string
  /**
   * How long the entry may still be answered, in milliseconds; more than 0. Put: counted from the call. Got: what is
   * left of it, by the tier's own clock, or less.
   */
  readonly leftMs: number
}

/**
 * A place for completed records that answers faster than the durable store, or spares it.
 *
 * @example
 * const tiers: readonly ReplayTier[] = [lruReplayTier()]
 */
export interface ReplayTier {
  /** For people and events, such as `lru`. */
  readonly name: string
  /**
   * The entries of these ids, in their order; `undefined` where there is none, or none that is still to be answered.
   * May reject with anything: a failure counts as a miss.
   */
  get(ids: readonly RecordId[]): Promise<readonly (TieredRecord | undefined)[]>
  /**
   * Keeps the entries, each for its `leftMs` at most, in place of older ones of the same ids. An entry may be left
   * out, and where one with a later `seenAt` is there, that one may stay. Nobody waits for it; it may reject.
   */
  put(entries: readonly TieredRecord[]): Promise<void>
  /**
   * As `get`, at once: only where entries are in this process' memory, so that nothing can have damaged
   * them: `check` is not looked at then, and `get` is not called.
   */
  recall?(id: RecordId): TieredRecord | undefined
  /** Ends what the tier opened. */
  close(): Promise<void>
}
