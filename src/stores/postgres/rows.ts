/**
 * Records as rows. A row travels as one `bytea`, Postgres' own binary form of the whole row (`record_send`):
 * no client library's idea of a bigint, a date or a name comes in between. What is read back is checked: a
 * damaged row is an error, never an absent record.
 *
 *   int32 number of columns; for each: int32 type, int32 length, octets. In the order of `CREATE TABLE`.
 */
import { StoreError } from '../../core/errors.ts'
import type { Fingerprint, IdempotencyRecord, RecordId } from '../../core/record.ts'
import { phaseOf } from '../sql/phases.ts'

/** 128 bits: the last of the 22 characters carries only two of them. */
const canonical128Bits = /^[\w-]{21}[AQgw]$/
const fingerprintForm = /^(\d{1,2})\.([\w-]{2,86})$/

/**
 * The hexadecimal digits of a record id.
 *
 * @throws StoreError `permanent` when it is no record id
 */
export function idHex(id: RecordId): string {
  if (typeof id !== 'string' || !canonical128Bits.test(id)) {
    throw new StoreError('permanent', 'A record id is not 22 characters of base64url.')
  }
  return Buffer.from(id, 'base64url').toString('hex')
}

/**
 * The hexadecimal digits of a token.
 *
 * @throws StoreError `permanent` when it is none
 */
export function tokenHex(token: string): string {
  if (typeof token !== 'string' || !canonical128Bits.test(token)) {
    throw new StoreError('permanent', 'A token is not 22 characters of base64url.')
  }
  return Buffer.from(token, 'base64url').toString('hex')
}

/**
 * A fingerprint as hexadecimal octets: its version and then its digest.
 *
 * @throws StoreError `permanent` when it is none
 */
export function fingerprintHex(fingerprint: Fingerprint): string {
  const parts = typeof fingerprint === 'string' ? fingerprintForm.exec(fingerprint) : null
  const [, version, text] = parts ?? []
  const digest = Buffer.from(text ?? '', 'base64url')
  if (version === undefined || digest.toString('base64url') !== text) {
    throw new StoreError('permanent', 'A fingerprint is not a version and base64url.')
  }
  return Number(version).toString(16).padStart(2, '0') + digest.toString('hex')
}

/**
 * A text as hexadecimal UTF-8.
 *
 * @throws StoreError `permanent` when Postgres cannot keep it
 */
export function textHex(text: string, charactersMax: number): string {
  if (
    typeof text !== 'string' ||
    text.length > charactersMax ||
    text.includes('\0') ||
    !text.isWellFormed()
  ) {
    throw new StoreError(
      'permanent',
      `A name is not well-formed text of at most ${charactersMax} characters.`,
    )
  }
  return Buffer.from(text, 'utf8').toString('hex')
}

/** Columns of the first version of the table; later ones come after them. */
const columnsMin = 13

/** The record of a row. @throws StoreError `permanent` when the row is damaged */
export function recordOf(value: unknown): IdempotencyRecord {
  const octets = asOctets(value)
  const view = new DataView(octets.buffer, octets.byteOffset, octets.length)
  try {
    return readRecord(octets, view)
  } catch (error) {
    if (error instanceof StoreError) throw error
    throw damaged('it is cut off')
  }
}

function readRecord(octets: Buffer, view: DataView): IdempotencyRecord {
  if (view.getInt32(0) < columnsMin) throw damaged('it has too few columns')
  let at = 4
  const next = (length?: number): number => {
    const start = at + 8
    const found = view.getInt32(at + 4)
    if (found < 0 || (length !== undefined && found !== length)) throw damaged('a column has another type')
    at = start + found
    return start
  }
  const time = (): number => Number(view.getBigInt64(next(8)))
  const createdAt = time()
  const settledAt = time()
  const liveUntil = time()
  const keptUntil = time()
  const fence = view.getInt32(next(4))
  next(4)
  const phase = phaseOf(view.getInt16(next(2)))
  const idAt = next(16)
  const tokenAt = next(16)
  const fingerprintAt = next()
  const fingerprintEnd = at
  const principalTagAt = next()
  const principalTagEnd = at
  const operationAt = next()
  const operationEnd = at
  const outcomeAt = next()
  if (fence < 1) throw damaged('its fence is below 1')
  const version = octets[fingerprintAt] ?? 0
  const head = {
    id: octets.toString('base64url', idAt, idAt + 16) as RecordId,
    fingerprint:
      `${version}.${octets.toString('base64url', fingerprintAt + 1, fingerprintEnd)}` as Fingerprint,
    token: octets.toString('base64url', tokenAt, tokenAt + 16),
    fence,
    operation: octets.toString('utf8', operationAt, operationEnd),
    principalTag: octets.toString('utf8', principalTagAt, principalTagEnd),
    createdAt,
  }
  switch (phase) {
    case 'running':
      return { phase, ...head, leaseUntil: liveUntil, retentionMs: keptUntil - liveUntil }
    case 'completed': {
      const outcome = octets.subarray(outcomeAt, at)
      return { phase, ...head, settledAt, retainUntil: liveUntil, tombstoneUntil: keptUntil, outcome }
    }
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

/** `bytea` as client libraries and ORMs give it: octets, or Postgres' text form of them. */
function asOctets(value: unknown): Buffer {
  if (Buffer.isBuffer(value)) return value
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.length)
  if (typeof value === 'string' && value.startsWith('\\x')) return Buffer.from(value.slice(2), 'hex')
  throw damaged('it is not octets')
}

function damaged(what: string): StoreError {
  return new StoreError('permanent', `A stored record is damaged: ${what}. It is not treated as absent.`)
}
