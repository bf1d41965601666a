/** The ends of a call that no handler produced, as the coded error and the status that each framework makes its own. */
import {
  type IdempotencyError,
  InProgressError,
  isIdempotencyError,
  KeyExpiredError,
  KeyReusedError,
  OutcomeUnknownError,
  UnstorableOutcomeError,
} from '../core/errors.ts'
import type { NotRun } from '../engine/attempt.ts'

/** Why a call was not run, or its answer not given. */
export interface Refusal {
  readonly error: IdempotencyError
  /** The status of HTTP that says the same. */
  readonly status: 400 | 401 | 409 | 422 | 500 | 503
  /** When to send the call again, with the same key. */
  readonly retryAfterMs?: number
}

/** What clients read of a refusal, beside its message. */
export interface RefusalData {
  /** Stable: a code of the errors page. */
  readonly code: string
  readonly retryAfterMs?: number
}

const retryAfterMs = 1_000

/** A replay's value, or the refusal that each other end stands for. */
export function endOf(
  end: NotRun,
):
  | { readonly kind: 'replay'; readonly value: unknown }
  | { readonly kind: 'refused'; readonly refusal: Refusal } {
  switch (end.kind) {
    case 'replay':
      if (end.outcome.kind === 'value') return { kind: 'replay', value: end.outcome.value }
      return refused(unstorable(end.outcome.kind === 'unstorable' ? end.outcome.reason : 'it is no value'))
    case 'mismatch':
      return refused({ error: new KeyReusedError(), status: 422 })
    case 'in-progress':
      return refused({
        error: new InProgressError(end.retryAfterMs),
        status: 409,
        retryAfterMs: end.retryAfterMs,
      })
    case 'unknown':
      return refused({ error: new OutcomeUnknownError(true), status: 409 })
    case 'expired':
      return refused({ error: new KeyExpiredError(), status: 422 })
    default:
      return end satisfies never
  }
}

/** The effect took place; its value is not kept. */
export function unstorable(reason: string): Refusal {
  return { error: new UnstorableOutcomeError(reason), status: 500 }
}

export function refused(refusal: Refusal): { readonly kind: 'refused'; readonly refusal: Refusal } {
  return { kind: 'refused', refusal }
}

/** The refusal for an error of the engine. Every other error is thrown on. */
export function refusalOf(error: unknown): Refusal {
  if (!isIdempotencyError(error)) throw error
  switch (error.code) {
    case 'key-missing':
    case 'key-malformed':
      return { error, status: 400 }
    case 'principal-invalid':
    case 'input-unsupported':
    case 'outcome-unreadable':
      return { error, status: 500 }
    case 'store-unavailable':
    case 'closed':
      return { error, status: 503, retryAfterMs }
    case 'outcome-unknown': {
      const { settled } = error as { settled?: boolean }
      return settled === true ? { error, status: 409 } : { error, status: 503, retryAfterMs }
    }
    default:
      throw error
  }
}

export function refusalData({ error, retryAfterMs: afterMs }: Refusal): RefusalData {
  return { code: error.code, ...(afterMs === undefined ? {} : { retryAfterMs: afterMs }) }
}
