/**
 * One logical call: as many attempts as it takes, all with the same key and the same octets. Every transport runs its
 * calls through here.
 *
 * A call ends in one of these ways:
 *   answered   the server gave the operation's answer, or turned every attempt away: the answer is returned
 *   refused    the server says that the key is at fault: `KeyRefusedError`
 *   unapplied  no attempt can have taken effect: `NotAppliedError`
 *   unknown    some attempt may have taken effect, and no later one told: `UnknownOutcomeError`
 *   aborted    the caller's signal: its reason is thrown
 */
import type { CircuitBreaker } from './breaker.ts'
import type { RetryBudget } from './budget.ts'
import { backoffMs, type Backoff, retryAfterMs } from './delays.ts'
import {
  HorizonError,
  KeyRefusedError,
  NotAppliedError,
  type StopReason,
  type StoppedCall,
  UnknownOutcomeError,
} from './errors.ts'
import { type Answer, type Signal, signalOf, signalOfError } from './signals.ts'

/** How calls are tried. All times are in milliseconds. */
export interface Policy {
  /** Attempts after the first. */
  readonly retries: number
  readonly backoff: Backoff
  /** Of one attempt, until its answer is whole. */
  readonly timeoutMs: number
  /** Of the whole call, waits included. */
  readonly deadlineMs: number
  /** Age of a key after which it is not sent again. */
  readonly horizonMs: number
  readonly budgetOf: (origin: string) => RetryBudget
  readonly breaker: CircuitBreaker | undefined
  /** Told of each attempt that does not end its call. */
  readonly onRetry: ((retry: Retry) => void) | undefined
}

/** What a listener is told before a wait. */
export interface Retry {
  /** Attempts so far. */
  readonly attempts: number
  readonly waitMs: number
  /** Of the answer, where there was one. */
  readonly status: number | undefined
  readonly error: unknown
}

export interface Call<Raw> {
  readonly origin: string
  readonly key: string | undefined
  /** Whether sending it twice has the effect of sending it once: it has a key, or an idempotent method. */
  readonly isRepeatable: boolean
  /** Whether sending it changes nothing (GET), so that no outcome can be unknown. */
  readonly isSafe: boolean
  /** When the key was made, in milliseconds since 1970. */
  readonly createdAt: number
  /** Whether an earlier process, page or call may have sent it already. */
  readonly mayHaveBeenSent: boolean
  readonly signal: AbortSignal | null | undefined
  /** Sends it once more. Rejects where there is no whole answer. */
  send(signal: AbortSignal): Promise<Answer<Raw>>
  /** Whether the error of an attempt says that no request was sent. */
  wasNeverSent(error: unknown): boolean
  /** Takes other credentials after a 401, once. `false` where there are none. */
  refresh?(answer: Answer<Raw>, signal: AbortSignal): Promise<boolean>
}

interface Attempt<Raw> extends Signal {
  readonly answer?: Answer<Raw>
  readonly error?: unknown
}

export interface Ended<Raw> {
  readonly answer: Answer<Raw>
  readonly attempts: number
}

/** @throws ClientError, or the reason of the caller's signal */
export async function runCall<Raw>(policy: Policy, call: Call<Raw>): Promise<Ended<Raw>> {
  const { breaker } = policy
  const { origin, key, signal: callers, isSafe } = call
  const budget = policy.budgetOf(origin)
  const deadline = performance.now() + policy.deadlineMs
  let mayHaveApplied = call.mayHaveBeenSent
  let mayRefresh = true
  let attempts = 0
  let answer: Answer<Raw> | undefined
  let error: unknown

  const stop = (reason: StopReason, inMs = 0): Ended<Raw> => {
    const stopped: StoppedCall = {
      ...{ reason, key, attempts, response: answer?.raw, cause: error },
      retryAt: inMs > 0 ? Date.now() + inMs : undefined,
      serverCode: answer?.code,
    }
    if (reason === 'key') throw new KeyRefusedError(stopped)
    if (mayHaveApplied) throw new (reason === 'horizon' ? HorizonError : UnknownOutcomeError)(stopped)
    if (!error && answer?.status) return { answer, attempts }
    throw isSafe && error ? error : new NotAppliedError(stopped)
  }

  budget.earn()
  for (;;) {
    callers?.throwIfAborted()
    if (key !== undefined && Date.now() - call.createdAt > policy.horizonMs) return stop('horizon')
    if (performance.now() >= deadline) return stop('deadline')
    const blockedMs = breaker?.blockedMs(origin) ?? 0
    if (blockedMs > 0) return stop('circuit-open', blockedMs)
    attempts += 1
    const tried = await attempt(policy, call, deadline)
    const { effect, next } = tried
    ;({ answer, error } = tried)
    breaker?.report(origin, effect !== 'told' && (answer?.status ?? 500) >= 500)
    mayHaveApplied ||= effect === 'unknown' && !isSafe
    if (next === 'refuse') return stop('key')
    if (answer && effect === 'told' && next === 'stop') return { answer, attempts }
    if (answer && next === 'refresh' && mayRefresh) {
      mayRefresh = false
      const refused = answer
      try {
        if (await inTime(policy, call, deadline, (within) => call.refresh?.(refused, within))) continue
      } catch (cause) {
        callers?.throwIfAborted()
        error = cause
      }
    }
    if (next !== 'retry') return stop(answer?.status === 0 ? 'redirect' : 'server')
    // Without a key only what took no effect may be sent again.
    if (!call.isRepeatable && effect !== 'none') return stop('no-key')
    const waitMs = waitBefore(policy, attempts, answer)
    if (attempts > policy.retries) return stop('retries', waitMs)
    if (performance.now() + waitMs > deadline) return stop('deadline', waitMs)
    if (!budget.spend()) return stop('budget', waitMs)
    policy.onRetry?.({ attempts, waitMs, status: answer?.status, error })
    await pause(waitMs, callers)
  }
}

/** A server's wish is a floor; a tenth of it at random on top keeps those who were told the same apart. */
function waitBefore({ backoff }: Policy, retry: number, answer: Answer<unknown> | undefined): number {
  const asked = answer ? retryAfterMs(answer, Date.now()) : 0
  return Math.max(backoffMs(backoff, retry, Math.random()), asked * (1 + Math.random() / 10))
}

async function attempt<Raw>(policy: Policy, call: Call<Raw>, deadline: number): Promise<Attempt<Raw>> {
  try {
    const answer = await inTime(policy, call, deadline, (signal) => call.send(signal))
    return { answer, ...signalOf(answer, call.isRepeatable) }
  } catch (error) {
    // The caller's own end says nothing of the service.
    call.signal?.throwIfAborted()
    return { error, ...signalOfError(call.wasNeverSent(error)) }
  }
}

/** The signal that the work gets is aborted when its time is over, and with the caller's, also after its end. */
async function inTime<Result>(
  { timeoutMs }: Policy,
  { signal: callers }: Call<unknown>,
  deadline: number,
  work: (signal: AbortSignal) => Promise<Result> | undefined,
): Promise<Result> {
  const abort = new AbortController()
  const timer = setTimeout(
    () => abort.abort(new DOMException('No answer in time.', 'TimeoutError')),
    Math.min(timeoutMs, deadline - performance.now()),
  )
  try {
    return (await work(callers ? AbortSignal.any([callers, abort.signal]) : abort.signal)) as Result
  } finally {
    clearTimeout(timer)
  }
}

/** Rejects with the signal's reason as soon as that is aborted. */
function pause(ms: number, signal: AbortSignal | null | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(end, ms)
    function end(): void {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      if (signal?.aborted) reject(signal.reason)
      else resolve()
    }
    signal?.addEventListener('abort', end)
    // A listener of retries may have aborted it.
    if (signal?.aborted) end()
  })
}
