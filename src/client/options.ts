/** Options of the client, read once. */
import { type Duration, toMilliseconds } from '../core/duration.ts'
import { wholeOption } from '../core/options.ts'
import type { Policy, Refresh, Retry } from './attempts.ts'
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
  /** Told before each wait. What it throws ends the call, and is the `cause` of the error. */
  readonly onRetry?: (retry: Retry) => void
}

export interface IdempotentFetchOptions extends RetryOptions {
  /** What sends the requests. Default: the global `fetch`, as it is at each call. */
  readonly fetch?: (input: string | Request, init: RequestInit) => Promise<Response>
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
  readonly refresh?: Refresh<Response>
}

export interface ReadOptions extends Exchange, Policy {
  readonly methods: readonly string[]
  readonly keyFormat: KeyFormat
  readonly refresh: IdempotentFetchOptions['refresh']
}

const durations = { backoff: 100, backoffMax: '20s', timeout: '30s', deadline: '2m' } as const

type DurationName = keyof typeof durations

/** @throws InvalidOptionError */
export function readOptions(platform: Platform, options: IdempotentFetchOptions): ReadOptions {
  const { methods = ['POST', 'PATCH'], keyHeader = 'idempotency-key', keyFormat = 'quoted' } = options
  const { refresh, fetch = (input, init) => globalThis.fetch(input, init) } = options
  const { retries = 4, lifetime = '24h', budget, breaker, onRetry } = options
  wholeOption('retries', retries, 0, 100)
  // Said now, not at the first call.
  if (budget) retryBudget(budget)
  const times = {} as Record<`${DurationName}Ms`, number>
  for (const name in durations) {
    const value = options[name as DurationName] ?? durations[name as DurationName]
    // Longer timers fire at once.
    times[`${name as DurationName}Ms`] = toMilliseconds(name, value, { min: '1ms', max: '24d' })
  }
  return {
    ...{ platform, fetch, keyHeader, keyFormat, refresh, retries, breaker, onRetry },
    ...times,
    methods: methods.map((method) => method.toUpperCase()),
    horizonMs: toMilliseconds('lifetime', lifetime, { min: '1ms' }) / 2,
    budgetOf: budget ? eachOrigin(() => retryBudget(budget)) : sharedBudgets,
  }
}
