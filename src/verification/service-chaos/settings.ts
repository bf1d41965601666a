/** The options of a run on a service, checked once and filled. */
import { InvalidOptionError } from '../../core/errors.ts'
import { refuseUnknownOptions } from '../../core/options.ts'

export interface ServiceChaosOptions {
  /** Where requests go, `http:` or `https:`. Each must take effect when it is sent alone. */
  readonly url: string | URL
  /** Default `POST`. */
  readonly method?: string
  /** Sent with every request; `content-type` is `application/json` unless it is given here. */
  readonly headers?: Readonly<Record<string, string>>
  /**
   * Template of the body: `{key}` and `{request}` are replaced. Default `{"request":"{request}"}`. Without
   * `{request}` no key is sent with another request.
   */
  readonly body?: string
  /** Name of the field that carries the key. Default `idempotency-key`. */
  readonly keyHeader?: string
  /** Sends keys in quotes, as services demand that take structured fields only. Default `false`. */
  readonly quotedKeys?: boolean
  /** Asks the ledger which effects a key had: one name for each. */
  effects(key: string): Promise<readonly string[]>
  /** A whole number that determines which faults come when and which keys are asked for; the keys are random. */
  readonly seed: number
  /** One fault in each. Default 40. */
  readonly rounds?: number
  /** Clients at one time. Default 8. */
  readonly concurrency?: number
  /** New keys in each round. Default 4. */
  readonly keys?: number
  /** What clients ask for in a round, each up to 5 times until it has an answer. Default 24. */
  readonly callsPerRound?: number
  /** How long a key may take until it has an answer when the faults are over. Default 35,000. */
  readonly recoveryMs?: number
  /** Of the service: the longest pause is longer than it, a later duplicate is a late one. Default 30,000. */
  readonly leaseMs?: number
  /** Until a client takes a request for lost. Default 10,000. */
  readonly timeoutMs?: number
  /**
   * What the service promises: `once` (default), or `held` where it may hold a key for good whose outcome nobody
   * knows, as Retrysafe does by default when its process was killed in an effect elsewhere.
   */
  readonly promise?: 'once' | 'held'
  /** No proxy: requests are given up and doubled by the client only. Always so for `https:`. Default `false`. */
  readonly clientFaultsOnly?: boolean
  /** Restarts the service; resolves when it listens again. */
  restart?(): Promise<void>
  /** Stops the service for a time, as SIGSTOP does; resolves when it goes on. */
  pause?(ms: number): Promise<void>
  /** Called after each round. */
  onProgress?(progress: ServiceChaosProgress): void
  /** Ends the run; its promise rejects with the reason. */
  readonly signal?: AbortSignal
}

export interface ServiceChaosProgress {
  readonly round: number
  readonly rounds: number
  /** Requests so far. */
  readonly calls: number
  /** Faults so far, by name. */
  readonly faults: Readonly<Record<string, number>>
}

export interface Settings {
  readonly url: URL
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly keyHeader: string
  readonly quotedKeys: boolean
  readonly seed: number
  readonly rounds: number
  readonly concurrency: number
  readonly keys: number
  readonly callsPerRound: number
  readonly recoveryMs: number
  readonly leaseMs: number
  readonly timeoutMs: number
  readonly promise: 'once' | 'held'
  readonly clientFaultsOnly: boolean
  readonly signal: AbortSignal
  effects(key: string): Promise<readonly string[]>
  readonly restart: (() => Promise<void>) | undefined
  readonly pause: ((ms: number) => Promise<void>) | undefined
  onProgress(progress: ServiceChaosProgress): void
}

const names = [
  'url',
  'method',
  'headers',
  'body',
  'keyHeader',
  'quotedKeys',
  'effects',
  'seed',
  'rounds',
  'concurrency',
  'keys',
  'callsPerRound',
  'recoveryMs',
  'leaseMs',
  'timeoutMs',
  'promise',
  'clientFaultsOnly',
  'restart',
  'pause',
  'onProgress',
  'signal',
]

const where = 'runServiceChaos'
const timerMsMax = 2 ** 31 - 1
const counts = {
  rounds: { usual: 40, most: 100_000 },
  concurrency: { usual: 8, most: 1_000 },
  keys: { usual: 4, most: 1_000 },
  callsPerRound: { usual: 24, most: 100_000 },
  recoveryMs: { usual: 35_000, most: timerMsMax },
  leaseMs: { usual: 30_000, most: timerMsMax },
  timeoutMs: { usual: 10_000, most: timerMsMax },
} as const

/** @throws InvalidOptionError */
export function settingsOf(options: ServiceChaosOptions): Settings {
  refuseUnknownOptions(where, options, names)
  const { method = 'POST', headers = {}, body = '{"request":"{request}"}', promise = 'once', seed } = options
  if (!Number.isSafeInteger(seed))
    throw new InvalidOptionError(`${where}.seed`, 'must be a whole number', seed)
  if (typeof options.effects !== 'function')
    throw new InvalidOptionError(`${where}.effects`, 'must be a function', options.effects)
  if (promise !== 'once' && promise !== 'held')
    throw new InvalidOptionError(`${where}.promise`, "must be 'once' or 'held'", promise)
  const url = urlOf(options.url)
  return {
    url,
    method,
    headers,
    body,
    promise,
    seed,
    keyHeader: options.keyHeader ?? 'idempotency-key',
    quotedKeys: options.quotedKeys ?? false,
    clientFaultsOnly: options.clientFaultsOnly === true || url.protocol === 'https:',
    rounds: countOf(options, 'rounds'),
    concurrency: countOf(options, 'concurrency'),
    keys: countOf(options, 'keys'),
    callsPerRound: countOf(options, 'callsPerRound'),
    recoveryMs: countOf(options, 'recoveryMs'),
    leaseMs: countOf(options, 'leaseMs'),
    timeoutMs: countOf(options, 'timeoutMs'),
    signal: options.signal ?? new AbortController().signal,
    effects: (key) => options.effects(key),
    restart: options.restart && (() => options.restart?.() ?? Promise.resolve()),
    pause: options.pause && ((ms) => options.pause?.(ms) ?? Promise.resolve()),
    onProgress: (progress) => options.onProgress?.(progress),
  }
}

function urlOf(given: string | URL): URL {
  const url = URL.parse(String(given))
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url
  // What was given may hold a password.
  throw new InvalidOptionError(`${where}.url`, 'must be an http or https URL')
}

function countOf(options: ServiceChaosOptions, name: keyof typeof counts): number {
  const { usual, most } = counts[name]
  const count = options[name] ?? usual
  if (Number.isSafeInteger(count) && count >= 1 && count <= most) return count
  throw new InvalidOptionError(`${where}.${name}`, `must be a whole number from 1 to ${most}`, count)
}
