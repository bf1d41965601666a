/**
 * Keepers of unfinished calls: what is written before a call is first sent, so that a reload, another tab or a new
 * process sends the same key and the same octets.
 *
 * absent   nothing is kept for the intent
 * kept     written before the first send, and given to its maker alone. Leaves by settle, forget or withdraw, or when an
 *          edited request takes its place
 * shared   kept, and given to somebody else, too: nobody can say any more that it was never sent, so no withdraw ends
 *          it. Leaves by settle, by forget, or when an edited request takes its place
 * done     the outcome is known; stays for `keepAfterDone`, so that the same request repeats the key and gets the
 *          stored answer. Leaves by time and by forget; a repeat makes it shared until that has its answer, too
 */
import { type Duration, toMilliseconds } from '../../core/duration.ts'
import { InvalidOptionError } from '../../core/errors.ts'
import { refuseUnknownOptions } from '../../core/options.ts'

/** A call as it was first sent. Credentials are not part of it. */
export interface KeptCall {
  /** What is meant. One call is kept for each. */
  readonly intent: string
  readonly key: string
  readonly method: string
  readonly url: string
  readonly contentType: string | null
  /** Other fields that say how to read the octets, such as `content-encoding`. */
  readonly fields?: Readonly<Record<string, string>> | undefined
  readonly body: string | Uint8Array | undefined
  /** Milliseconds since 1970. */
  readonly createdAt: number
}

/** What a keeper answers to `keep`. */
export interface Kept {
  /** The call to send. */
  readonly call: KeptCall
  /** Whether it was kept just now. Where it was not, it is shared from now on. */
  readonly isNew: boolean
  /** The call that an edited request took the place of: it may have taken effect. */
  readonly replaced?: KeptCall | undefined
}

/** What a keeper answers to `find`. */
export interface Found {
  readonly call: KeptCall
  /** Whether others than its maker were given it, so that it may have been sent. */
  readonly isShared: boolean
  /** Whether its outcome is known, and it is there for `keepAfterDone` alone. */
  readonly isDone: boolean
}

/**
 * Keeps one call for each intent, from before it is first sent until its outcome is known.
 *
 * Each verb is atomic: of two callers that keep one intent and one request at once, both get the same call, and one of
 * them is told that it is new. `keep` and `share` are durable when they resolve. All reject with a `KeeperError`.
 */
export interface KeyKeeper {
  /**
   * Keeps `fresh`, or gives back what is kept for its intent if that is the same request (`isSameRequest`), which is
   * shared then.
   */
  keep(fresh: KeptCall): Promise<Kept>
  /** What is kept for an intent, by one look. */
  find(intent: string): Promise<Found | undefined>
  /** One more is about to send the call: it is shared from now on. Whether it is still there, and not done. */
  share(call: KeptCall): Promise<boolean>
  /** The outcome is known: the call goes, at once or after `keepAfterDone`, unless its intent has another one by now. */
  settle(call: KeptCall): Promise<void>
  /** The call goes at once, unless its intent has another one by now. */
  forget(call: KeptCall): Promise<void>
  /** The call was not sent, or took no effect: it goes, unless it is shared, or its intent has another one by now. */
  withdraw(call: KeptCall): Promise<void>
  /** The calls whose outcome is not known, oldest first. */
  list(): Promise<readonly KeptCall[]>
  /**
   * Sends while no other tab sends that call. Absent where a keeper cannot tell: the same key is then sent by two at
   * once, which the server sorts out.
   */
  hold?<Result>(call: KeptCall, signal: AbortSignal | undefined, send: () => Promise<Result>): Promise<Result>
}

/** What all keepers take. */
export interface KeeperOptions {
  /** Calls that are kept at once. Default 1,000. */
  readonly callsMax?: number
  /** Octets of a call's body. Default 1 MiB. */
  readonly bodyBytesMax?: number
  /**
   * How long the server keeps outcomes, as the client's `lifetime`. A call older than half of it is not sent again and
   * makes room where room is needed. Default 24 h.
   */
  readonly lifetime?: Duration
  /**
   * How long a call whose outcome is known is remembered: the same request under the same intent then repeats its key
   * and gets the stored answer. At most half of `lifetime`. Default 0: not at all.
   */
  readonly keepAfterDone?: Duration
  /** Told of each call that went to make room: too old to be sent again, and its outcome was never known. */
  readonly onDropped?: (call: KeptCall) => void
  /** Told of each entry that cannot be read. It is left out. */
  readonly onDamaged?: (error: KeeperError) => void
  /** Where times come from. Default: this host's clock. */
  readonly clock?: { now(): number }
}

export type KeeperFailure =
  /** As many calls are kept as may be, or the storage has no room. */
  | 'full'
  /** The body is larger than `bodyBytesMax`. */
  | 'too-large'
  /** The storage is forbidden, gone or broken. */
  | 'unavailable'
  /** One entry cannot be read. */
  | 'damaged'

const rules: Readonly<Record<KeeperFailure, string>> = {
  full: 'There is no room for another call',
  'too-large': 'The body is larger than `bodyBytesMax`',
  unavailable: 'The storage cannot be used',
  damaged: 'An entry cannot be read',
}

/**
 * A call could not be kept or settled. Where `keep` fails, nothing was sent.
 *
 * @example
 * if (error instanceof KeeperError && error.reason === 'full') await resumeKept({ fetch, keeper })
 */
export class KeeperError extends Error {
  override readonly name = 'KeeperError'
  readonly code = 'keeper-failed'
  readonly reason: KeeperFailure
  constructor(reason: KeeperFailure, cause?: unknown) {
    super(`${rules[reason]}.`, { cause })
    this.reason = reason
  }
}

/** Options after they were checked. */
export interface KeeperLimits {
  readonly callsMax: number
  readonly bodyBytesMax: number
  readonly horizonMs: number
  readonly keepAfterDoneMs: number
  readonly onDropped: (call: KeptCall) => void
  readonly onDamaged: (error: KeeperError) => void
  readonly now: () => number
}

const optionNames = [
  'callsMax',
  'bodyBytesMax',
  'lifetime',
  'keepAfterDone',
  'onDropped',
  'onDamaged',
  'clock',
] as const

/** @throws InvalidOptionError */
export function readLimits(
  owner: string,
  options: KeeperOptions,
  more: readonly string[] = [],
): KeeperLimits {
  refuseUnknownOptions(owner, options, [...optionNames, ...more])
  const { callsMax = 1_000, bodyBytesMax = 2 ** 20, clock = Date } = options
  const { onDropped = () => {}, onDamaged = () => {} } = options
  for (const [option, value] of Object.entries({ callsMax, bodyBytesMax })) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new InvalidOptionError(option, 'must be a whole number from 1', value)
    }
  }
  const horizonMs = toMilliseconds('lifetime', options.lifetime ?? '24h', { min: '1ms' }) / 2
  const keepAfterDoneMs = toMilliseconds('keepAfterDone', options.keepAfterDone ?? 0)
  if (keepAfterDoneMs > horizonMs) {
    throw new InvalidOptionError('keepAfterDone', 'must be at most half of `lifetime`', options.keepAfterDone)
  }
  return {
    ...{ callsMax, bodyBytesMax, horizonMs, keepAfterDoneMs, onDropped, onDamaged },
    now: () => clock.now(),
  }
}

/** What lies in the storage. */
export interface Entry {
  readonly call: KeptCall
  readonly isShared?: boolean | undefined
  /** When its outcome was first known. */
  readonly doneAt?: number | undefined
}

/** What `keep` does with what it finds; with `afterEnd`, the one table that all keepers follow. */
export function verdictOn(
  entry: Entry | undefined,
  fresh: KeptCall,
  limits: KeeperLimits,
): 'keep' | 'repeat' | 'replace' {
  if (entry === undefined || isOver(entry, limits)) return 'keep'
  if (isSameRequest(entry.call, fresh)) return 'repeat'
  return entry.doneAt === undefined ? 'replace' : 'keep'
}

/** What an end leaves of what it finds: the entry as it was, another one, or none. */
export function afterEnd(
  verb: 'settle' | 'forget' | 'withdraw',
  entry: Entry | undefined,
  { key }: KeptCall,
  limits: KeeperLimits,
): Entry | undefined {
  if (entry?.call.key !== key || isOver(entry, limits)) return entry
  switch (verb) {
    case 'forget':
      return undefined
    case 'withdraw':
      return entry.isShared === true || entry.doneAt !== undefined ? entry : undefined
    case 'settle': {
      if (!isOpen(entry)) return entry
      const done = { call: entry.call, doneAt: entry.doneAt ?? limits.now() }
      return isOver(done, limits) ? undefined : done
    }
  }
}

/** The entry after it was given to one more, which is itself where nothing changes. */
export function afterShare(entry: Entry): Entry {
  return entry.isShared === true ? entry : { ...entry, isShared: true }
}

/** Whether the entry is that call, and whoever sends it does not know its outcome. */
export function isOpenCall(
  entry: Entry | undefined,
  { key }: KeptCall,
  limits: KeeperLimits,
): entry is Entry {
  return entry?.call.key === key && isOpen(entry) && !isOver(entry, limits)
}

export function foundOf(entry: Entry | undefined, limits: KeeperLimits): Found | undefined {
  if (entry === undefined || isOver(entry, limits)) return undefined
  return { call: entry.call, isShared: entry.isShared === true, isDone: !isOpen(entry) }
}

/** Whether somebody may have sent it, or is about to, and does not know the outcome. */
export function isOpen({ doneAt, isShared }: Entry): boolean {
  return doneAt === undefined || isShared === true
}

/** Whether the entry says nothing any more: its call is done, and nobody may repeat its key. */
export function isOver(entry: Entry, limits: KeeperLimits): boolean {
  const { call, doneAt } = entry
  if (doneAt === undefined) return false
  const isLate = !isOpen(entry) && limits.now() - doneAt >= limits.keepAfterDoneMs
  return isLate || isPastHorizon(call, limits)
}

/**
 * The entries that go so that one more finds room: those that are over; then, the oldest first, those that are done
 * and those that are too old to be sent again. A call that can still be sent never goes: its key would be lost, and the
 * next press of the button would be a second charge.
 *
 * @throws KeeperError where all others can still be sent
 */
export function roomAmong<Found extends Entry>(entries: readonly Found[], limits: KeeperLimits): Found[] {
  const over = entries.filter((entry) => isOver(entry, limits))
  const excess = entries.length - over.length - limits.callsMax + 1
  if (excess <= 0) return over
  const dispensable = entries
    .filter((entry) => !over.includes(entry))
    .filter((entry) => !isOpen(entry) || isPastHorizon(entry.call, limits))
    .sort(
      (one, other) =>
        Number(one.doneAt === undefined) - Number(other.doneAt === undefined) || age(one, other),
    )
    .slice(0, excess)
  if (dispensable.length < excess) throw new KeeperError('full')
  for (const { call, doneAt } of dispensable) if (doneAt === undefined) limits.onDropped(call)
  return [...over, ...dispensable]
}

function isPastHorizon({ createdAt }: KeptCall, { now, horizonMs }: KeeperLimits): boolean {
  return now() - createdAt > horizonMs
}

function age(one: Entry, other: Entry): number {
  return one.call.createdAt - other.call.createdAt
}

/** The calls whose outcome is not known, oldest first. */
export function unsettled(entries: readonly Entry[], limits: KeeperLimits): KeptCall[] {
  return entries
    .filter((entry) => isOpen(entry) && !isOver(entry, limits))
    .sort(age)
    .map(({ call }) => call)
}

/** @throws KeeperError for a body that is larger than allowed */
export function checkSize({ body }: KeptCall, { bodyBytesMax }: KeeperLimits): void {
  if (body !== undefined && octetsOf(body).length > bodyBytesMax) throw new KeeperError('too-large')
}

/** Runs what a storage may refuse. @throws KeeperError */
export async function guarded<Result>(run: () => Result | Promise<Result>): Promise<Result> {
  try {
    return await run()
  } catch (error) {
    if (error instanceof KeeperError) throw error
    throw new KeeperError(isQuota(error) ? 'full' : 'unavailable', error)
  }
}

/** What browsers, file systems and SQLite say when there is no room. */
function isQuota(error: unknown): boolean {
  const { name, code, errcode } = error as Record<string, unknown>
  return name === 'QuotaExceededError' || code === 'ENOSPC' || code === 'EDQUOT' || errcode === sqliteFull
}

const sqliteFull = 13

/** Whether both would send the same octets to the same place. */
export function isSameRequest(one: KeptCall, other: KeptCall): boolean {
  return (
    one.method === other.method &&
    one.url === other.url &&
    one.contentType === other.contentType &&
    isSameBody(one.body, other.body)
  )
}

function isSameBody(one: KeptCall['body'], other: KeptCall['body']): boolean {
  if (typeof one === typeof other && typeof one !== 'object') return one === other
  if (one === undefined || other === undefined) return false
  const [octets, others] = [octetsOf(one), octetsOf(other)]
  return octets.length === others.length && octets.every((octet, at) => octet === others[at])
}

function octetsOf(body: string | Uint8Array): Uint8Array {
  return typeof body === 'string' ? new TextEncoder().encode(body) : body
}
