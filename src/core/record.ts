/**
 * The record of one idempotency key and its phases.
 *
 *   absent -> running -> completed | released | unknown
 *   completed -> (retention over) tombstone | absent
 *
 * running    a holder has the right to run until `leaseUntil`; `token` is the holder's.
 * completed  the outcome is fixed and replayed until `retainUntil`; afterwards, until `tombstoneUntil`, the key
 *            is refused as expired; then the record counts as absent, swept or not.
 * released   the attempt ended without an outcome; the next one may run. Until `markerUntil` the record still
 *            holds the key to its fingerprint.
 * unknown    the effect may have happened; only the operation's `onUnknown` leads out of it.
 * tombstone  a completed record whose outcome the sweep has taken away.
 *
 * All times are milliseconds since 1970 by the store's clock.
 */

declare const recordIdBrand: unique symbol
declare const fingerprintBrand: unique symbol

/** 128 bits of the digest of the length-prefixed scope and key, 22 base64url characters. */
export type RecordId = string & { readonly [recordIdBrand]: 'RecordId' }

/** Versioned digest of a request: `1.` and 22 base64url characters. */
export type Fingerprint = string & { readonly [fingerprintBrand]: 'Fingerprint' }

export type Phase = 'running' | 'completed' | 'released' | 'unknown' | 'tombstone'

interface RecordHead {
  readonly id: RecordId
  readonly fingerprint: Fingerprint
  /** Random, one per attempt: whoever has it is the holder. */
  readonly token: string
  /** Integer, 1 for the first holder and one more at every change of holder. */
  readonly fence: number
  /** Name of the operation, for people. */
  readonly operation: string
  /** Digest of namespace and principal, so that a list can be narrowed to one principal. */
  readonly principalTag: string
  /** When the key was first claimed. */
  readonly createdAt: number
}

export interface RunningRecord extends RecordHead {
  readonly phase: 'running'
  readonly leaseUntil: number
  /** How long the record is kept after its lease if its holder never settles. */
  readonly retentionMs: number
}

export interface CompletedRecord extends RecordHead {
  readonly phase: 'completed'
  readonly settledAt: number
  readonly retainUntil: number
  /** Equal to `retainUntil` where the operation keeps no tombstones. */
  readonly tombstoneUntil: number
  /** Written by the outcome codec. */
  readonly outcome: Uint8Array
}

export interface ReleasedRecord extends RecordHead {
  readonly phase: 'released'
  readonly settledAt: number
  readonly markerUntil: number
}

export interface UnknownRecord extends RecordHead {
  readonly phase: 'unknown'
  readonly settledAt: number
  readonly retainUntil: number
}

export interface TombstoneRecord extends RecordHead {
  readonly phase: 'tombstone'
  readonly settledAt: number
  readonly tombstoneUntil: number
}

export type IdempotencyRecord =
  | RunningRecord
  | CompletedRecord
  | ReleasedRecord
  | UnknownRecord
  | TombstoneRecord

/** The time after which a record means nothing any more and the sweep may remove it. */
export function removableFrom(record: IdempotencyRecord): number {
  switch (record.phase) {
    case 'running':
      return record.leaseUntil + record.retentionMs
    case 'completed':
    case 'tombstone':
      return record.tombstoneUntil
    case 'released':
      return record.markerUntil
    case 'unknown':
      return record.retainUntil
    default:
      return record satisfies never
  }
}
