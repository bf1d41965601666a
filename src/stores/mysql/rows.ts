/**
 * Records as rows. Everything that is compared is octets: MySQL's collations make `a` equal to `A`, and text
 * equal to itself with a space behind it. What is read back is checked: a damaged row is an error, never an
 * absent record.
 */
import { StoreError } from '../../core/errors.ts'
import type { Fingerprint, IdempotencyRecord, RecordId } from '../../core/record.ts'
import { phaseOf } from '../sql/phases.ts'
import type { Row } from './client.ts'

/** The columns of a record, in any order: rows come by name. */
export const columns: readonly string[] = [
  'id',
  'token',
  'fingerprint',
  'principal_tag',
  'operation',
  'phase',
  'fence',
  'created_at',
  'settled_at',
  'live_until',
  'kept_ms',
  'outcome',
]

/** 128 bits: the last of the 22 characters carries only two of them. */
const canonical128Bits = /^[\w-]{21}[AQgw]$/
const fingerprintForm = /^(0|[1-9]\d?)\.([\w-]{2,84})$/

/** Width of the columns of names, in octets: 255 characters of at most 4. */
const nameCharactersMax = 255

/**
 * The octets of a record id.
 *
 * @throws StoreError `permanent` when it is no record id
 */
export function idOctets(id: RecordId): Buffer {
  if (typeof id !== 'string' || !canonical128Bits.test(id)) {
    throw new StoreError('permanent', 'A record id is not 22 characters of base64url.')
  }
  return Buffer.from(id, 'base64url')
}

/**
 * The octets of a token.
 *
 * @throws StoreError `permanent` when it is none
 */
export function tokenOctets(token: string): Buffer {
  if (typeof token !== 'string' || !canonical128Bits.test(token)) {
    throw new StoreError('permanent', 'A token is not 22 characters of base64url.')
  }
  return Buffer.from(token, 'base64url')
}

/**
 * A fingerprint as octets: its version and then its digest.
 *
 * @throws StoreError `permanent` when it is none
 */
export function fingerprintOctets(fingerprint: Fingerprint): Buffer {
  const [, version, text] = (typeof fingerprint === 'string' && fingerprintForm.exec(fingerprint)) || []
  const digest = Buffer.from(text ?? '', 'base64url')
  if (version === undefined || digest.toString('base64url') !== text) {
    throw new StoreError('permanent', 'A fingerprint is not a version and base64url.')
  }
  return Buffer.concat([Buffer.of(Number(version)), digest])
}

/**
 * A name as octets of UTF-8.
 *
 * @throws StoreError `permanent` when it is too long or not well-formed: what the server would cut or replace
 * without a word where its sql_mode is not strict
 */
export function nameOctets(name: string): Buffer {
  if (typeof name !== 'string' || name.length > nameCharactersMax || !name.isWellFormed()) {
    throw new StoreError(
      'permanent',
      `A name is not well-formed text of at most ${nameCharactersMax} characters.`,
    )
  }
  return Buffer.from(name, 'utf8')
}

/** The record id of octets read back. */
export function idText(octets: unknown): RecordId {
  return base64url(octets, 'id') as RecordId
}

/**
 * The record of a row.
 *
 * @throws StoreError `permanent` when the row is damaged
 */
export function recordOf(row: Row): IdempotencyRecord {
  const phase = phaseOf(integer(row.phase, 'phase'))
  const fence = integer(row.fence, 'fence')
  if (fence < 1) throw damaged('its fence is below 1')
  const fingerprint = octetsOf(row.fingerprint, 'fingerprint')
  const head = {
    id: idText(row.id),
    fingerprint: `${fingerprint[0]}.${fingerprint.toString('base64url', 1)}` as Fingerprint,
    token: base64url(row.token, 'token'),
    fence,
    operation: octetsOf(row.operation, 'operation').toString('utf8'),
    principalTag: octetsOf(row.principal_tag, 'principal_tag').toString('utf8'),
    createdAt: integer(row.created_at, 'created_at'),
  }
  const liveUntil = integer(row.live_until, 'live_until')
  const keptMs = integer(row.kept_ms, 'kept_ms')
  const settledAt = integer(row.settled_at, 'settled_at')
  switch (phase) {
    case 'running':
      return { phase, ...head, leaseUntil: liveUntil, retentionMs: keptMs }
    case 'completed': {
      const outcome = octetsOf(row.outcome, 'outcome')
      return {
        phase,
        ...head,
        settledAt,
        retainUntil: liveUntil,
        tombstoneUntil: liveUntil + keptMs,
        outcome,
      }
    }
    case 'released':
      return { phase, ...head, settledAt, markerUntil: liveUntil }
    case 'unknown':
      return { phase, ...head, settledAt, retainUntil: liveUntil }
    case 'tombstone':
      return { phase, ...head, settledAt, tombstoneUntil: liveUntil + keptMs }
    case undefined:
      throw damaged('its phase is not known')
    default:
      return phase satisfies never
  }
}

/** A whole number, in whatever form the client library, or the user's settings of it, gives a BIGINT. */
export function integer(value: unknown, column: string): number {
  const isText = typeof value === 'string' && /^-?\d{1,16}$/.test(value)
  const number = isText || typeof value === 'bigint' ? Number(value) : value
  if (!Number.isSafeInteger(number)) throw damaged(`its ${column} is not an integer`)
  return number as number
}

function octetsOf(value: unknown, column: string): Buffer {
  if (Buffer.isBuffer(value)) return value
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  throw damaged(`its ${column} is not octets`)
}

function base64url(value: unknown, column: string): string {
  const octets = octetsOf(value, column)
  if (octets.length !== 16) throw damaged(`its ${column} is not 16 octets`)
  return octets.toString('base64url')
}

function damaged(what: string): StoreError {
  return new StoreError('permanent', `A stored record is damaged: ${what}. It is not treated as absent.`)
}
