/**
 * Records as items. What is read back is checked: a damaged item, one of a newer release or one that is none of
 * ours is an error, never an absent record.
 *
 * Times are the server's, which is known as an interval. `createdAt`, `settledAt` and `liveUntil` count from its
 * earliest end, which is what the store says its `now` is; `sureUntil` counts from the latest, so that whoever finds
 * the earliest end past it knows that the lease is over, wherever in the intervals the truth lies. A retention may
 * end early by as much as the interval is wide.
 */
import { StoreError } from '../../core/errors.ts'
import type { Fingerprint, IdempotencyRecord, Phase, RecordId } from '../../core/record.ts'
import type { Claim, Settlement } from '../../core/store.ts'
import type { AttributeValue, Item } from './client.ts'
import type { ServerTime } from './server-clock.ts'

/** The partition key. */
export const keyAttribute = 'id'
/** Whole seconds, for the server's own deletion of what is long past. */
export const timeToLiveAttribute = 'expires'

/** Form of the items that this release writes; it reads no newer one. */
export const itemVersion = 1

/** Deletion by the server's TTL decides nothing, so it may as well come late. */
const expiresLateSeconds = 3_600

/** An item may have 400 KB with its names. What is beside the outcome takes less than 4 KB; the rest is reserve. */
export const outcomeBytesMax: number = 390 * 1024

const nameCharactersMax = 255
/** 128 bits: the last of the 22 characters carries only two of them. */
const canonical128Bits = /^[\w-]{21}[AQgw]$/
const fingerprintForm = /^\d{1,2}\.[\w-]{2,84}$/
/** 300 years: further, times are no whole numbers of milliseconds any more. */
const durationMsMax = 1e13

export const text = (value: string): AttributeValue => ({ S: value })
export const number = (value: number): AttributeValue => ({ N: String(value) })

/** The key of a record. @throws StoreError `permanent` when it is no record id */
export function keyOf(id: RecordId): Item {
  if (typeof id !== 'string' || !canonical128Bits.test(id)) {
    throw new StoreError('permanent', 'A record id is not 22 characters of base64url.')
  }
  return { [keyAttribute]: text(id) }
}

/** @throws StoreError `permanent` when it is no token */
export function tokenValue(token: string): AttributeValue {
  if (typeof token !== 'string' || !canonical128Bits.test(token)) {
    throw new StoreError('permanent', 'A token is not 22 characters of base64url.')
  }
  return text(token)
}

const phases: readonly string[] = [
  'running',
  'completed',
  'released',
  'unknown',
  'tombstone',
] satisfies readonly Phase[]

/** @throws StoreError `permanent` when it is none */
export function phaseValue(phase: Phase): AttributeValue {
  if (!phases.includes(phase)) throw new StoreError('permanent', 'A takeover names no phase that it saw.')
  return text(phase)
}

/** What a claim says, without the key, the times and the fence. @throws StoreError `permanent` */
export function holderAttributes(claim: Claim): Item {
  const { fingerprint, token, operation, principalTag } = claim
  if (typeof fingerprint !== 'string' || !fingerprintForm.test(fingerprint)) {
    throw new StoreError('permanent', 'A fingerprint is not a version and base64url.')
  }
  return {
    v: number(itemVersion),
    phase: text('running'),
    fingerprint: text(fingerprint),
    token: tokenValue(token),
    operation: text(name(operation)),
    principalTag: text(name(principalTag)),
  }
}

function name(value: string): string {
  if (typeof value === 'string' && value.length <= nameCharactersMax && value.isWellFormed()) return value
  throw new StoreError(
    'permanent',
    `A name is not well-formed text of at most ${nameCharactersMax} characters.`,
  )
}

/** What is live for `liveMs` from `time` on and kept for `keptMs` more. @throws StoreError `permanent` */
export function deadlines(time: ServerTime, liveMs: number, keptMs: number): Item {
  const [live, kept] = [milliseconds(liveMs), milliseconds(keptMs)]
  const keptSeconds = Math.ceil(kept / 1_000) + expiresLateSeconds
  const until = lease(time, live)
  return {
    ...until,
    keptMs: number(kept),
    keptSeconds: number(keptSeconds),
    [timeToLiveAttribute]: number(secondsOf(until) + keptSeconds),
  }
}

/** The deadlines that a renewal moves; `expires` follows from `keptSeconds`, which is in the item. */
export function lease(time: ServerTime, liveMs: number): Item {
  const live = milliseconds(liveMs)
  return { liveUntil: number(time.earliest + live), sureUntil: number(time.latest + live) }
}

/** `sureUntil` in whole seconds, rounded up. */
export function secondsOf(item: Item): number {
  return Math.ceil(Number(item['sureUntil']?.N) / 1_000)
}

/** A settlement as attributes. @throws StoreError `permanent` */
export function settledAttributes(settlement: Settlement, time: ServerTime): Item {
  const head = { phase: text(settlement.to), settledAt: number(time.earliest) }
  switch (settlement.to) {
    case 'completed': {
      const { retentionMs, tombstoneMs, outcome } = settlement
      return { ...head, ...deadlines(time, retentionMs, tombstoneMs), outcome: { B: octets(outcome) } }
    }
    case 'released':
      return { ...head, ...deadlines(time, settlement.markerMs, 0) }
    case 'unknown':
      return { ...head, ...deadlines(time, settlement.retentionMs, 0) }
    default:
      return settlement satisfies never
  }
}

/** A copy: the octets may be sent again, and by then be the caller's for something else. */
function octets(outcome: Uint8Array): Uint8Array {
  if (!(outcome instanceof Uint8Array)) throw new StoreError('permanent', 'An outcome is not octets.')
  if (outcome.byteLength > outcomeBytesMax) {
    throw new StoreError('permanent', `An outcome is over ${outcomeBytesMax} bytes.`)
  }
  return new Uint8Array(outcome)
}

function milliseconds(ms: number): number {
  const whole = typeof ms === 'number' ? Math.round(ms) : Number.NaN
  if (whole >= 0 && whole <= durationMsMax) return whole
  throw new StoreError('permanent', 'A duration is no number, negative or too long.')
}

/**
 * The record of an item, as one sees it at `now`: a lease that is past its `liveUntil` and not past its `sureUntil`
 * is still live.
 *
 * @throws StoreError `permanent` when the item is damaged, newer or foreign
 */
export function recordOf(item: Item, now: number): IdempotencyRecord {
  const version = integer(item, 'v')
  if (version > itemVersion) {
    throw new StoreError('permanent', 'A stored record is of a newer release. It is not treated as absent.')
  }
  const fence = integer(item, 'fence')
  if (fence < 1) throw damaged('its fence is below 1')
  const phase = string(item, 'phase')
  const head = {
    id: string(item, keyAttribute) as RecordId,
    fingerprint: string(item, 'fingerprint') as Fingerprint,
    token: string(item, 'token'),
    fence,
    operation: string(item, 'operation'),
    principalTag: string(item, 'principalTag'),
    createdAt: integer(item, 'createdAt'),
  }
  const keptMs = integer(item, 'keptMs')
  const [live, sure] = [integer(item, 'liveUntil'), integer(item, 'sureUntil')]
  const liveUntil = phase === 'running' && live <= now && now < sure ? sure : live
  const settledAt = phase === 'running' ? 0 : integer(item, 'settledAt')
  switch (phase as Phase) {
    case 'running':
      return { phase: 'running', ...head, leaseUntil: liveUntil, retentionMs: keptMs }
    case 'completed': {
      const outcome = item['outcome']?.B
      if (!(outcome instanceof Uint8Array)) throw damaged('its outcome is not octets')
      const until = { retainUntil: liveUntil, tombstoneUntil: liveUntil + keptMs }
      return { phase: 'completed', ...head, settledAt, ...until, outcome }
    }
    case 'released':
      return { phase: 'released', ...head, settledAt, markerUntil: liveUntil }
    case 'unknown':
      return { phase: 'unknown', ...head, settledAt, retainUntil: liveUntil }
    case 'tombstone':
      return { phase: 'tombstone', ...head, settledAt, tombstoneUntil: liveUntil + keptMs }
    default:
      throw damaged('its phase is not known')
  }
}

/** A whole number of an item. @throws StoreError `permanent` */
export function integer(item: Item, attribute: string): number {
  const value = item[attribute]?.N
  const read = value === undefined || value === '' ? Number.NaN : Number(value)
  if (!Number.isSafeInteger(read)) throw damaged(`its ${attribute} is not an integer`)
  return read
}

/** A text of an item. @throws StoreError `permanent` */
export function string(item: Item, attribute: string): string {
  const value = item[attribute]?.S
  if (typeof value !== 'string') throw damaged(`its ${attribute} is not a text`)
  return value
}

function damaged(what: string): StoreError {
  return new StoreError('permanent', `A stored record is damaged: ${what}. It is not treated as absent.`)
}
