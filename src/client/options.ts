/** Options of the client, read once. */
import { type Duration, toMilliseconds } from '../core/duration.ts'
import { wholeOption } from '../core/options.ts'
import type { Policy, Retry } from './attempts.ts'
import type { CircuitBreaker } from './breaker.ts'
import { eachOrigin, retryBudget, type RetryBudgetOptions, sharedBudgets } from './budget.ts'
import type { Exchange, Platform } from './exchange.ts'
import type { KeyFormat } from './key.ts'

/** How calls are tried, whatever sends them. */
export interface RetryOptions {
  /** Attempts after the first. Default 4. */
  readonly retries?: number
  /** The first wait is a random part of it, each one after that of twice as much. Default 100 ms. */
  readonly backoff?: Duration
  /** No wait is longer, unless the server asks for more. Default 20 s. */
  readonly backoffMax?: Duration
  /** Of one attempt, until its answer is whole. Default 30 s. */
  readonly timeout?: Duration
  /** Of the whole call, waits included. Default 2 m. */
  readonly deadline?: Duration
  /** How long the server keeps outcomes. A key is not sent again after half of it. Default 24 h. */
  readonly lifetime?: Duration
  /** Of retries to each origin. Default: one that all clients of this process share. */
  readonly budget?: RetryBudgetOptions
  /** A `circuitBreaker()`. Default: none. */
  readonly breaker?: CircuitBreaker
  /** Told before each wait. */
  readonly onRetry?: (retry: Retry) => void
}

type Fields = Readonly<Record<string, string>>

export interface IdempotentFetchOptions extends RetryOptions {
  /** What sends the requests. Default: the global `fetch`, as it is at each call. */
  readonly fetch?: (input: RequestInfo, init: RequestInit) => Promise<Response>
  /** Methods that get a key. Default `['POST', 'PATCH']`. */
  readonly methods?: readonly string[]
  /** Name of the key's field. Default `'idempotency-key'`. */
  readonly keyHeader?: string
  /** Default `'quoted'`, as the draft of the field demands. */
  readonly keyFormat?: KeyFormat
  /**
   * Asked once after a 401: fields to send instead, or nothing. The key and the octets stay. The signal is that of
   * an attempt.
   */
  readonly refresh?: (
    response: Response,
    signal: AbortSignal,
  ) => Promise<Fields | undefined> | Fields | undefined
}

export interface ReadOptions extends Exchange {
  readonly policy: Policy
  readonly methods: readonly string[]
  readonly keyFormat: KeyFormat
  readonly refresh: IdempotentFetchOptions['refresh']
}

/** @throws InvalidOptionError */
export function readPolicy(options: RetryOptions): Policy {
  const { retries = 4, budget, breaker, onRetry } = options
  wholeOption('retries', retries, 0, 100)
  // Said now, not at the first call.
  if (budget !== undefined) retryBudget(budget)
  const duration = (name: keyof typeof durations): number =>
    toMilliseconds(name, options[name] ?? durations[name], { min: 1, max: timerMsMax })
  return {
    ...{ retries, breaker, onRetry },
    backoff: { baseMs: duration('backoff'), capMs: duration('backoffMax') },
    timeoutMs: duration('timeout'),
    deadlineMs: duration('deadline'),
    horizonMs: toMilliseconds('lifetime', options.lifetime ?? '24h', { min: 1 }) / 2,
    budgetOf: budget === undefined ? sharedBudgets : eachOrigin(() => retryBudget(budget)),
  }
}

const durations = { backoff: 100, backoffMax: '20s', timeout: '30s', deadline: '2m' } as const

/** Longer timers fire at once. */
const timerMsMax = 2 ** 31 - 1

/** @throws InvalidOptionError */
export function readOptions(platform: Platform, options: IdempotentFetchOptions): ReadOptions {
  const { methods = ['POST', 'PATCH'], keyHeader = 'idempotency-key', keyFormat = 'quoted' } = options
  const { refresh, fetch = (input, init) => globalThis.fetch(input, init) } = options
  return {
    platform,
    policy: readPolicy(options),
    ...{ fetch, keyHeader, keyFormat, refresh },
    methods: methods.map((method) => method.toUpperCase()),
  }
}
