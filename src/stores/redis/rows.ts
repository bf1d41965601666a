/**
 * Records as octets, one string for each key. Big-endian; times in milliseconds, 48 bits.
 *
 *   0       version 1 in the high half, the phase in the low half
 *   1..6    when it was last written: claimed, renewed or settled
 *   7..12   when it was first claimed
 *   13..16  fence
 *   17..32  token
 *   33..38  how long it is live from then on: its lease, its retention or its marker
 *   39..44  how long it is kept after that
 *   45      length of the fingerprint, then the fingerprint: its version and its digest
 *           2 octets, length of the operation's name, then the name, UTF-8
 *           length of the principal's tag, then the tag, UTF-8
 *   rest    the outcome
 *
 * Durations come from callers and the time from the server, so that no script needs to read one to write another.
 * What is read back is checked: what is damaged, or of a newer release, is an error, never an absent record.
 */
import { StoreError } from '../../core/errors.ts'
import type { Fingerprint, IdempotencyRecord, RecordId } from '../../core/record.ts'
import type { Claim } from '../../core/store.ts'
import { phaseOf } from '../sql/phases.ts'

const version = 1
const writtenAt = 1
const claimedAt = 7
const fenceAt = 13
const tokenAt = 17
const liveAt = 33
const keptAt = 39
const fingerprintAt = 45

export const tokenBytes = 16
export const durationBytes = 6
const timeBytes = 6
const durationMsMax = 2 ** 48 - 1
const operationCharactersMax = 255
const tagBytesMax = 255

/** 128 bits: the last of the 22 characters carries only two of them. */
const canonical128Bits = /^[\w-]{21}[AQgw]$/
const fingerprintForm = /^(\d{1,2})\.([\w-]{2,86})$/

/** @throws StoreError `permanent` when it is no record id */
export function checkId(id: RecordId): RecordId {
  if (typeof id !== 'string' || !canonical128Bits.test(id)) {
    throw new StoreError('permanent', 'A record id is not 22 characters of base64url.')
  }
  return id
}

/** The first octet of a record in a phase, by the phase's number. */
export function formOf(phase: number): number {
  return version * 16 + phase
}

/** Writes a token. @throws StoreError `permanent` when it is none */
export function writeToken(octets: Buffer, at: number, token: string): number {
  if (typeof token !== 'string' || !canonical128Bits.test(token)) {
    throw new StoreError('permanent', 'A token is not 22 characters of base64url.')
  }
  octets.write(token, at, tokenBytes, 'base64url')
  return at + tokenBytes
}

/** Writes a duration in milliseconds. @throws StoreError `permanent` when it is none */
export function writeDuration(octets: Buffer, at: number, ms: number): number {
  const whole = Math.ceil(ms)
  if (!(whole >= 0 && whole <= durationMsMax)) {
    throw new StoreError('permanent', 'A duration is not a number of milliseconds from 0.')
  }
  return octets.writeUIntBE(whole, at, durationBytes)
}

/** Most octets that `writeClaim` needs. */
export function claimBytesMax({ operation, principalTag }: Claim): number {
  return tokenBytes + 2 * durationBytes + 1 + 66 + 2 + 3 * operation.length + 1 + 3 * principalTag.length
}

/**
 * Writes what a claim says of its record: everything from the token on. The place after it.
 *
 * @throws StoreError `permanent` when a part of it cannot be kept
 */
export function writeClaim(octets: Buffer, start: number, claim: Claim): number {
  const { token, leaseMs, retentionMs, fingerprint, operation, principalTag } = claim
  let at = writeToken(octets, start, token)
  at = writeDuration(octets, at, leaseMs)
  at = writeDuration(octets, at, retentionMs)
  at = writeFingerprint(octets, at, fingerprint)
  const operationBytes = writeText(octets, at + 2, operation)
  at = octets.writeUInt16BE(operationBytes, at) + operationBytes
  const tagBytes = writeText(octets, at + 1, principalTag)
  if (tagBytes > tagBytesMax) throw new StoreError('permanent', 'A principal’s tag is too long.')
  octets[at] = tagBytes
  return at + 1 + tagBytes
}

function writeFingerprint(octets: Buffer, at: number, fingerprint: string): number {
  const [, digestVersion, digest] = fingerprintForm.exec(fingerprint) ?? []
  const digestBytes = digest === undefined ? 0 : octets.write(digest, at + 2, 'base64url')
  const isCanonical =
    digest !== undefined &&
    (canonical128Bits.test(digest) || octets.toString('base64url', at + 2, at + 2 + digestBytes) === digest)
  if (!isCanonical) throw new StoreError('permanent', 'A fingerprint is not a version and base64url.')
  octets[at] = digestBytes + 1
  octets[at + 1] = Number(digestVersion)
  return at + digestBytes + 2
}

function writeText(octets: Buffer, at: number, text: string): number {
  if (typeof text !== 'string' || text.length > operationCharactersMax || !text.isWellFormed()) {
    throw new StoreError(
      'permanent',
      `A name is not well-formed text of at most ${operationCharactersMax} characters.`,
    )
  }
  return octets.write(text, at)
}

/** The record of a key. @throws StoreError `permanent` when it is damaged or of a newer release */
export function recordOf(id: RecordId, octets: Buffer): IdempotencyRecord {
  if (octets.length <= fingerprintAt) throw damaged('it is cut off')
  const form = octets[0] as number
  if (form >> 4 !== version) throw damaged('its form is not known to this release')
  const phase = phaseOf(form & 15)
  const at = octets.readUIntBE(writtenAt, timeBytes)
  const fence = octets.readUInt32BE(fenceAt)
  if (fence < 1) throw damaged('its fence is below 1')
  const liveUntil = at + octets.readUIntBE(liveAt, durationBytes)
  const keptMs = octets.readUIntBE(keptAt, durationBytes)
  const { fingerprint, operation, principalTag, end } = readNames(octets)
  const head = {
    id,
    fingerprint,
    token: octets.toString('base64url', tokenAt, tokenAt + tokenBytes),
    fence,
    operation,
    principalTag,
    createdAt: octets.readUIntBE(claimedAt, timeBytes),
  }
  switch (phase) {
    case 'running':
      return { phase, ...head, leaseUntil: liveUntil, retentionMs: keptMs }
    case 'completed': {
      const outcome = octets.subarray(end)
      return {
        phase,
        ...head,
        settledAt: at,
        retainUntil: liveUntil,
        tombstoneUntil: liveUntil + keptMs,
        outcome,
      }
    }
    case 'released':
      return { phase, ...head, settledAt: at, markerUntil: liveUntil }
    case 'unknown':
      return { phase, ...head, settledAt: at, retainUntil: liveUntil }
    case 'tombstone':
      return { phase, ...head, settledAt: at, tombstoneUntil: liveUntil + keptMs }
    case undefined:
      throw damaged('its phase is not known')
    default:
      return phase satisfies never
  }
}

function readNames(octets: Buffer): {
  readonly fingerprint: Fingerprint
  readonly operation: string
  readonly principalTag: string
  readonly end: number
} {
  const fingerprintEnd = fingerprintAt + 1 + (octets[fingerprintAt] ?? 0)
  if (fingerprintEnd + 2 > octets.length) throw damaged('it is cut off')
  const operationAt = fingerprintEnd + 2
  const operationEnd = operationAt + octets.readUInt16BE(fingerprintEnd)
  const tagAt = operationEnd + 1
  const end = tagAt + (octets[operationEnd] ?? octets.length)
  if (end > octets.length) throw damaged('it is cut off')
  return {
    fingerprint:
      `${octets[fingerprintAt + 1]}.${octets.toString('base64url', fingerprintAt + 2, fingerprintEnd)}` as Fingerprint,
    operation: octets.toString('utf8', operationAt, operationEnd),
    principalTag: octets.toString('utf8', tagAt, end),
    end,
  }
}

/** The server's time as scripts give it. @throws StoreError `unrecognised` when it is none */
export function timeOf(octets: Buffer | undefined): number {
  if (octets?.length !== timeBytes)
    throw new StoreError('unrecognised', 'The server gave no answer that can be read.')
  return octets.readUIntBE(0, timeBytes)
}

function damaged(what: string): StoreError {
  return new StoreError('permanent', `A stored record is damaged: ${what}. It is not treated as absent.`)
}
