/**
 * The time of one invocation. AWS Lambda ends a function at its deadline, in the middle of whatever it does, and
 * freezes the process between invocations, where no timer runs. So an attempt's lease covers what is left of the
 * invocation and is not renewed, and every timer made here is gone before the answer leaves.
 */
import { type Duration, toMilliseconds } from '../core/duration.ts'
import type { Policy } from '../engine/policy.ts'

/** The part of Lambda's context that is used. Without it the lease of the options counts, and is renewed. */
export interface LambdaContext {
  getRemainingTimeInMillis?(): number
}

/** Options of every handler that runs in Lambda. */
export interface LambdaOptions {
  /**
   * How long before the end of the invocation the attempt's signal aborts, so that the handler can stop while its
   * outcome can still be stored; at most half of the time that is left at the start. Default `'500ms'`.
   */
  readonly abortBefore?: Duration
}

const abortBeforeMsDefault = 500

/** The lease outlives the process that holds it, so that nobody takes over while the handler may still run. */
const leaseMarginMs = 1_000

/** @throws InvalidOptionError */
export function abortBeforeMsOf(options: LambdaOptions): number {
  const { abortBefore } = options
  return abortBefore === undefined ? abortBeforeMsDefault : toMilliseconds('abortBefore', abortBefore)
}

/** The time from now to the end of one invocation. `end` it before the answer leaves. */
export class Invocation {
  /** Aborted shortly before the invocation ends; never, where nobody knows when that is. */
  readonly signal: AbortSignal
  readonly #abort = new AbortController()
  readonly #endsAt: number | undefined
  readonly #abortAt: number | undefined
  readonly #timer: NodeJS.Timeout | undefined

  constructor(context: LambdaContext | undefined, abortBeforeMs: number) {
    this.signal = this.#abort.signal
    const leftMs = remainingMs(context)
    if (leftMs === undefined) return
    const now = performance.now()
    const untilAbortMs = leftMs - Math.min(abortBeforeMs, leftMs / 2)
    this.#endsAt = now + leftMs
    this.#abortAt = now + untilAbortMs
    this.#timer = setTimeout(() => {
      this.#abort.abort(new DOMException('The invocation is about to end.', 'TimeoutError'))
    }, untilAbortMs)
    this.#timer.unref()
  }

  /** Whether too little time is left to start a handler. */
  get isEnding(): boolean {
    return this.signal.aborted || (this.#abortAt !== undefined && performance.now() >= this.#abortAt)
  }

  /** The policy of an attempt that begins now. */
  policy(given: Policy): Policy {
    if (this.#endsAt === undefined || this.#abortAt === undefined) return given
    const now = performance.now()
    const leaseMs = Math.ceil(Math.max(0, this.#endsAt - now)) + leaseMarginMs
    return {
      ...given,
      leaseMs,
      timeoutMs: Math.min(given.timeoutMs, leaseMs),
      waitMs: Math.min(given.waitMs, Math.max(0, Math.floor(this.#abortAt - now))),
    }
  }

  /** The signal of an attempt, aborted also when the invocation is about to end. */
  joined(signal: AbortSignal): AbortSignal {
    return this.#timer === undefined ? signal : AbortSignal.any([signal, this.signal])
  }

  end(): void {
    clearTimeout(this.#timer)
  }
}

/** Whole milliseconds, `undefined` where a local stand-in for Lambda does not tell. */
function remainingMs(context: LambdaContext | undefined): number | undefined {
  const leftMs = context?.getRemainingTimeInMillis?.()
  return typeof leftMs === 'number' && Number.isFinite(leftMs) ? Math.max(0, leftMs) : undefined
}
