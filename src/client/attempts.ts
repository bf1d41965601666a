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
import { type Backoff, jitteredMs, retryAfterMs } from './delays.ts'
import {
  HorizonError,
  KeyRefusedError,
  NotAppliedError,
  type StopReason,
  type StoppedCall,
  UnknownOutcomeError,
} from './errors.ts'
import { type Answer, isReplay, type Signal, signalOf, signalOfError } from './signals.ts'

/** How calls are tried. All times are in milliseconds. */
export interface Policy extends Backoff {
  /** Attempts after the first. */
  readonly retries: number
  /** Of one attempt, until its answer is whole. */
  readonly timeoutMs: number
  /** Of the whole call, waits included. */
  readonly deadlineMs: number
  /** Age of a key after which it is not sent again. */
  readonly horizonMs: number
  readonly budgetOf: (origin: string) => RetryBudget
  readonly breaker: CircuitBreaker | undefined
  /** Told of each attempt that does not end its call; ends it by throwing. */
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

type Fields = Readonly<Record<string, string>>

/** What takes other credentials after a 401: fields to send instead, or nothing. */
export type Refresh<Raw> = (
  response: Raw,
  signal: AbortSignal,
) => Promise<Fields | undefined> | Fields | undefined

export interface Call<Raw> {
  readonly origin: string
  /** In upper case. */
  readonly method: string
  readonly key: string | undefined
  /** When an earlier process, page or call may have sent it first, in milliseconds since 1970. */
  readonly sentSince: number | undefined
  readonly signal: AbortSignal | null | undefined
  /** Reads the octets that every attempt sends, before the first. What it rejects with is thrown. */
  readonly prepare?: (() => Promise<unknown>) | undefined
  /** Sends it once more. Rejects where there is no whole answer. */
  send(signal: AbortSignal): Promise<Answer<Raw>>
  /** Lets go of an answer that nobody gets, so that its connection is free. */
  discard?(raw: Raw): unknown
  /** Whether the error of an attempt says that no request was sent. */
  wasNeverSent(error: unknown): boolean
  readonly refresh: Refresh<Raw> | undefined
  /** Writes a field that all attempts from now on send. */
  setField(name: string, value: string): void
}

/** What is known of a call besides its answer. */
export interface CallReport {
  readonly key: string | undefined
  /** The answer is a stored one: a snapshot of when the operation ended, not the state of now. */
  readonly replayed: boolean
  readonly attempts: number
}

/** Whether a method changes nothing, so that no outcome can be unknown. In upper case. */
export function isSafe(method: string): boolean {
  return /^(GET|HEAD|OPTIONS|TRACE|QUERY)$/.test(method)
}

export interface Ended<Raw> {
  readonly answer: Answer<Raw>
  readonly report: CallReport
}

/** @throws ClientError, or the reason of the caller's signal */
export async function runCall<Raw>(policy: Policy, call: Call<Raw>): Promise<Ended<Raw>> {
  const { breaker } = policy
  const { origin, method, key, sentSince, signal: callers } = call
  const isSafeCall = isSafe(method)
  const isRepeatable = key !== undefined || isSafeCall || method === 'PUT' || method === 'DELETE'
  const createdAt = sentSince ?? Date.now()
  const budget = policy.budgetOf(origin)
  const deadline = performance.now() + policy.deadlineMs
  let mayHaveApplied = sentSince !== undefined && !isSafeCall
  let mayRefresh = true
  let attempts = 0
  let answer: Answer<Raw> | undefined
  let error: unknown

  const end = (last: Answer<Raw>): Ended<Raw> => ({
    answer: last,
    report: { key, attempts, replayed: isReplay(last) },
  })
  const stop = (reason: StopReason, inMs = 0): Ended<Raw> => {
    const stopped: StoppedCall = {
      ...{ reason, key, attempts, response: answer?.raw, cause: error },
      retryAt: inMs ? Date.now() + inMs : undefined,
      serverCode: answer?.code,
    }
    if (reason === 'key') throw new KeyRefusedError(stopped)
    if (mayHaveApplied) throw new (reason === 'horizon' ? HorizonError : UnknownOutcomeError)(stopped)
    if (!error && answer?.status) return end(answer)
    throw isSafeCall && error ? error : new NotAppliedError(stopped)
  }

  const reading = call.prepare?.().then(() => true)
  if (reading && !(await wait(policy.deadlineMs, callers, reading))) return stop('deadline')
  for (;;) {
    callers?.throwIfAborted()
    // An age that is no number is none that is known.
    if (key !== undefined && !(Date.now() - createdAt <= policy.horizonMs)) return stop('horizon')
    if (performance.now() >= deadline) return stop('deadline')
    const blockedMs = breaker?.blockedMs(origin) ?? 0
    if (blockedMs > 0) return stop('circuit-open', blockedMs)
    if (attempts++ === 0) budget.earn()
    answer = error = undefined
    let read: Signal
    let isFailure: boolean | undefined
    try {
      answer = await inTime(leftOf(policy, deadline), callers, (within) => call.send(within))
      read = signalOf(answer, isRepeatable)
      isFailure = read.effect !== 'told' && answer.status >= 500
    } catch (cause) {
      // The caller's own end says nothing of the service.
      callers?.throwIfAborted()
      error = cause
      read = signalOfError(call.wasNeverSent(cause))
      isFailure = true
    } finally {
      breaker?.report(origin, isFailure)
    }
    const { effect, next } = read
    mayHaveApplied ||= effect === 'unknown' && !isSafeCall
    if (next === 'refuse') return stop('key')
    if (answer && effect === 'told' && next === 'stop') return end(answer)
    if (answer && next === 'refresh' && mayRefresh) {
      mayRefresh = false
      const { raw } = answer
      try {
        const fields = await inTime(leftOf(policy, deadline), callers, (within) =>
          // It may not look at its signal.
          wait(policy.deadlineMs, within, Promise.resolve(call.refresh?.(raw, within))),
        )
        for (const name in fields) call.setField(name, fields[name] as string)
        if (fields) {
          call.discard?.(raw)
          continue
        }
      } catch (cause) {
        callers?.throwIfAborted()
        error = cause
      }
    }
    if (next !== 'retry') return stop(answer?.status === 0 ? 'redirect' : 'server')
    // Without a key only what took no effect may be sent again.
    if (!isRepeatable && effect !== 'none') return stop('no-key')
    const waitMs = waitBefore(policy, attempts, answer)
    if (attempts > policy.retries) return stop('retries', waitMs)
    if (performance.now() + waitMs > deadline) return stop('deadline', waitMs)
    if (!budget.spend()) return stop('budget', waitMs)
    try {
      policy.onRetry?.({ attempts, waitMs, status: answer?.status, error })
    } catch (cause) {
      error = cause
      return stop('listener')
    }
    if (answer) call.discard?.(answer.raw)
    await wait(waitMs, callers)
  }
}

/** A server's wish is a floor; a tenth of it at random on top keeps those who were told the same apart. */
function waitBefore(policy: Policy, retry: number, answer: Answer<unknown> | undefined): number {
  const asked = answer ? retryAfterMs(answer, Date.now()) : 0
  return Math.max(jitteredMs(policy, retry, Math.random()), asked * (1 + Math.random() / 10))
}

/** How long an attempt may take. */
function leftOf({ timeoutMs }: Policy, deadline: number): number {
  return Math.min(timeoutMs, deadline - performance.now())
}

/** The signal that the work gets is aborted when its time is over, and with the caller's, also after its end. */
async function inTime<Result>(
  ms: number,
  callers: AbortSignal | null | undefined,
  work: (signal: AbortSignal) => Promise<Result> | Result,
): Promise<Result> {
  const abort = new AbortController()
  const timer = setTimeout(() => abort.abort(new DOMException('No answer in time.', 'TimeoutError')), ms)
  try {
    return await work(callers ? AbortSignal.any([callers, abort.signal]) : abort.signal)
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Waits so long, or until the work is done where that is sooner, and gives what came of it. Rejects with the signal's
 * reason as soon as that is aborted.
 */
function wait<Result>(
  ms: number,
  signal: AbortSignal | null | undefined,
  work?: Promise<Result>,
): Promise<Result | undefined> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(end, ms)
    function end(): void {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      if (signal?.aborted) reject(signal.reason)
      // The first one that settles it counts.
      else resolve(undefined)
    }
    signal?.addEventListener('abort', end)
    work?.then(resolve, reject).finally(end)
    // A listener of retries may have aborted it.
    if (signal?.aborted) end()
  })
}
