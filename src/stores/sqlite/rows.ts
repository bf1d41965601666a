/** Records as rows. What is read back is checked: a damaged row is an error, never an absent record. */
import { StoreError } from '../../core/errors.ts'
import type { Fingerprint, IdempotencyRecord, RecordId } from '../../core/record.ts'
import { phaseOf } from '../sql/phases.ts'

/** The columns of a record in the order in which `recordOf` takes them. */
export const columns: string =
  'phase, fingerprint, token, fence, operation, principal_tag, created_at, settled_at, live_until, kept_until, outcome'

/** The values of `columns`, as an array: rows as objects take half as long again to read. */
export type Row = readonly unknown[]

/** A row as an array, also from a driver that only gives objects; these keep the order of the columns. */
export function asRow(row: unknown): Row | undefined {
  if (row === undefined || row === null) return undefined
  return Array.isArray(row) ? row : Object.values(row)
}

/** 128 bits: the last of the 22 characters carries only two of them. */
const canonicalId = /^[\w-]{21}[AQgw]$/

/**
 * The octets of a record id.
 *
 * @throws StoreError `permanent` when it is no record id
 */
export function idOctets(id: RecordId): Uint8Array {
  if (typeof id !== 'string' || !canonicalId.test(id)) {
    throw new StoreError('permanent', 'A record id is not 22 characters of base64url.')
  }
  return Buffer.from(id, 'base64url')
}

/** The record id of octets read back. */
export function idText(octets: unknown): RecordId {
  if (!(octets instanceof Uint8Array) || octets.length !== 16) throw damaged('its id is not 16 octets')
  return Buffer.from(octets.buffer, octets.byteOffset, octets.length).toString('base64url') as RecordId
}

/**
 * The record of a row.
 *
 * @throws StoreError `permanent` when the row is damaged
 */
export function recordOf(id: RecordId, row: Row): IdempotencyRecord {
  const [phaseCode, fingerprint, token, fenceValue, operation, principalTag, createdAt] = row
  const [, , , , , , , settledValue, liveValue, keptValue, outcome] = row
  const phase = phaseOf(integer(phaseCode, 'phase'))
  const fence = integer(fenceValue, 'fence')
  if (fence < 1) throw damaged('its fence is below 1')
  const head = {
    id,
    fingerprint: text(fingerprint, 'fingerprint') as Fingerprint,
    token: text(token, 'token'),
    fence,
    operation: text(operation, 'operation'),
    principalTag: text(principalTag, 'principal_tag'),
    createdAt: integer(createdAt, 'created_at'),
  }
  const liveUntil = integer(liveValue, 'live_until')
  const keptUntil = integer(keptValue, 'kept_until')
  if (phase === 'running') {
    return { phase, ...head, leaseUntil: liveUntil, retentionMs: keptUntil - liveUntil }
  }
  const settledAt = integer(settledValue, 'settled_at')
  switch (phase) {
    case 'completed':
      if (!(outcome instanceof Uint8Array)) throw damaged('its outcome is missing')
      return { phase, ...head, settledAt, retainUntil: liveUntil, tombstoneUntil: keptUntil, outcome }
    case 'released':
      return { phase, ...head, settledAt, markerUntil: liveUntil }
    case 'unknown':
      return { phase, ...head, settledAt, retainUntil: liveUntil }
    case 'tombstone':
      return { phase, ...head, settledAt, tombstoneUntil: keptUntil }
    case undefined:
      throw damaged('its phase is not known')
    default:
      return phase satisfies never
  }
}

function integer(value: unknown, column: string): number {
  // A connection of the user's may be set to read every integer as a bigint.
  const number = typeof value === 'bigint' ? Number(value) : value
  if (!Number.isSafeInteger(number)) throw damaged(`its ${column} is not an integer`)
  return number as number
}

function text(value: unknown, column: string): string {
  if (typeof value !== 'string') throw damaged(`its ${column} is not text`)
  return value
}

function damaged(what: string): StoreError {
  return new StoreError('permanent', `A stored record is damaged: ${what}. It is not treated as absent.`)
}
