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
  refresh?(answer: Answer<Raw>): Promise<boolean>
}

interface Attempt<Raw> {
  readonly answer: Answer<Raw> | undefined
  readonly error: unknown
  readonly signal: Signal
}

export interface Ended<Raw> {
  readonly answer: Answer<Raw>
  readonly attempts: number
}

/** @throws ClientError, or the reason of the caller's signal */
export async function runCall<Raw>(policy: Policy, call: Call<Raw>): Promise<Ended<Raw>> {
  const { breaker } = policy
  const { origin, key, signal: callers } = call
  const budget = policy.budgetOf(origin)
  const deadline = performance.now() + policy.deadlineMs
  let mayHaveApplied = call.mayHaveBeenSent
  let mayRefresh = true
  let attempts = 0
  let answer: Answer<Raw> | undefined
  let error: unknown

  const stopped = (reason: StopReason, inMs?: number): StoppedCall => ({
    ...{ reason, key, attempts, response: answer?.raw, cause: error },
    retryAt: inMs === undefined ? inMs : Date.now() + inMs,
  })
  const stop = (reason: StopReason, inMs?: number): Ended<Raw> => {
    if (mayHaveApplied) throw new UnknownOutcomeError(stopped(reason, inMs))
    if (answer !== undefined && answer.status > 0) return { answer, attempts }
    throw call.isSafe && error !== undefined ? error : new NotAppliedError(stopped(reason, inMs))
  }

  budget.earn()
  for (;;) {
    callers?.throwIfAborted()
    if (Date.now() - call.createdAt > policy.horizonMs) throw new HorizonError(stopped('horizon'))
    const blockedMs = breaker?.blockedMs(origin) ?? 0
    if (blockedMs > 0) return stop('circuit-open', blockedMs)
    attempts += 1
    let signal: Signal
    ;({ answer, error, signal } = await attempt(policy, call, deadline))
    const { effect, next } = signal
    breaker?.report(origin, effect !== 'told' && (answer?.status ?? 500) >= 500)
    if (next === 'refuse') throw new KeyRefusedError(stopped('server'), answer?.code as string)
    mayHaveApplied ||= effect === 'unknown' && !call.isSafe
    if (answer !== undefined && effect === 'told' && next === 'stop') return { answer, attempts }
    if (answer !== undefined && next === 'refresh' && mayRefresh) {
      mayRefresh = false
      if ((await call.refresh?.(answer)) === true) continue
    }
    if (next !== 'retry') return stop(answer?.status === 0 ? 'redirect' : 'server')
    // Without a key only what took no effect may be sent again.
    if (!call.isRepeatable && effect !== 'none') return stop('no-key')
    if (attempts > policy.retries) return stop('retries')
    const waitMs = waitBefore(policy, attempts, answer)
    if (performance.now() + waitMs > deadline) return stop('deadline', waitMs)
    if (!budget.spend()) return stop('budget', waitMs)
    policy.onRetry?.({ attempts, waitMs, status: answer?.status, error })
    await pause(waitMs, callers)
  }
}

/** A server's wish is a floor; a tenth of it at random on top keeps those who were told the same apart. */
function waitBefore({ backoff }: Policy, retry: number, answer: Answer<unknown> | undefined): number {
  const jittered = backoffMs(backoff, retry, Math.random())
  const asked = answer === undefined ? 0 : retryAfterMs(answer, Date.now())
  return Math.max(jittered, asked * (1 + Math.random() / 10))
}

async function attempt<Raw>(
  { timeoutMs }: Policy,
  { signal: callers, send, wasNeverSent }: Call<Raw>,
  deadline: number,
): Promise<Attempt<Raw>> {
  const abort = new AbortController()
  const onAbort = (): void => abort.abort(callers?.reason)
  callers?.addEventListener('abort', onAbort)
  const timer = setTimeout(
    () => abort.abort(new DOMException('No answer in time.', 'TimeoutError')),
    Math.min(timeoutMs, deadline - performance.now()),
  )
  try {
    const answer = await send(abort.signal)
    return { answer, error: undefined, signal: signalOf(answer) }
  } catch (error) {
    // The caller's own end says nothing of the service.
    callers?.throwIfAborted()
    return { answer: undefined, error, signal: signalOfError(wasNeverSent(error)) }
  } finally {
    clearTimeout(timer)
    callers?.removeEventListener('abort', onAbort)
  }
}

/** Rejects with the signal's reason as soon as that is aborted. */
function pause(ms: number, signal: AbortSignal | null | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    }, ms)
    signal?.addEventListener('abort', onAbort)
  })
}
