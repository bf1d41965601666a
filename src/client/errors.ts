/**
 * How a call of the client ends when no answer can be given. What matters is whether the operation may have taken
 * effect: `NotAppliedError` says no, `UnknownOutcomeError` says that nobody knows, which is no failure.
 *
 * No message holds a key, a body or a URL.
 */

/** All codes of the client. */
export const clientErrorCodes = ['outcome-unknown', 'horizon-passed', 'not-applied', 'key-refused'] as const

export type ClientErrorCode = (typeof clientErrorCodes)[number]

/** Why a call was not tried again. */
export type StopReason =
  /** As often as `retries` allows. */
  | 'retries'
  /** The next attempt would begin after `deadline`. */
  | 'deadline'
  /** Retries to this origin are used up; see `RetryBudget`. */
  | 'budget'
  /** The origin has failed again and again and is left alone; see `CircuitBreaker`. */
  | 'circuit-open'
  /** The call has no key and its method is not idempotent. */
  | 'no-key'
  /** The key is older than half of the server's `lifetime`. */
  | 'horizon'
  /** A browser was redirected and does not say where to, so that the key could not follow. */
  | 'redirect'
  /** The server says so: a hint not to retry, or that it does not know the outcome itself. */
  | 'server'
  /** The server refuses the key. */
  | 'key'
  /** `onRetry` threw; what it threw is the cause. */
  | 'listener'

/** What an error says of its call. */
export interface StoppedCall {
  readonly reason: StopReason
  /** Absent where the call has none. */
  readonly key: string | undefined
  /** How often it was sent. */
  readonly attempts: number
  /** The last answer, where there is one; a `Response` for fetch. */
  readonly response?: unknown
  /** `code` of the problem document that the server answered with. */
  readonly serverCode?: string | undefined
  /** The earliest time for another attempt, in milliseconds since 1970, where the server or the client has one. */
  readonly retryAt?: number | undefined
  /** The error of the last attempt. */
  readonly cause?: unknown
}

/** On the prototype and in the global symbol registry, so that it is seen across two copies of the package. */
const brand = Symbol.for('retrysafe.client-error')

/** Base of all errors that the client throws by itself. An abort by the caller is thrown as the caller's reason. */
export abstract class ClientError extends Error {
  abstract readonly code: ClientErrorCode
  declare readonly reason: StopReason
  declare readonly key: string | undefined
  declare readonly attempts: number
  declare readonly response: unknown
  /** `code` of the problem document that the server answered with, such as `in-progress`. */
  declare readonly serverCode: string | undefined
  declare readonly retryAt: number | undefined
  constructor(message: string, call: StoppedCall) {
    super(`${message} (${call.reason}, ${call.attempts} sent)`)
    // The cause, too.
    Object.assign(this, call, { [brand]: true })
  }
}

/**
 * Tells whether a value is an error of the client, also across two installed copies of the package.
 *
 * @example
 * if (isClientError(error, 'outcome-unknown')) showPending(error.key)
 */
export function isClientError(value: unknown, code?: ClientErrorCode): value is ClientError {
  const error = value as (ClientError & Record<symbol, unknown>) | null | undefined
  return typeof error === 'object' && error?.[brand] === true && (code === undefined || error.code === code)
}

/**
 * The operation may have taken effect or not. Not a failure: ask again later with the same key and the same
 * octets, or look the operation up by its business id. Never send it under a new key.
 */
export class UnknownOutcomeError extends ClientError {
  override readonly name: string = 'UnknownOutcomeError'
  readonly code: ClientErrorCode = 'outcome-unknown'
  constructor(call: StoppedCall) {
    super('Nobody knows whether the operation took effect.', call)
  }
}

/** The key is too old to be sent again: the server may have forgotten it. Look the operation up by its business id. */
export class HorizonError extends UnknownOutcomeError {
  override readonly name = 'HorizonError'
  override readonly code = 'horizon-passed'
}

/** The operation did not take effect: nothing was sent, or all that was sent was turned away. */
export class NotAppliedError extends ClientError {
  override readonly name = 'NotAppliedError'
  readonly code = 'not-applied'
  constructor(call: StoppedCall) {
    super('The operation took no effect.', call)
  }
}

/** The server refuses the key: it is malformed, missing, or was used for another request. A fault of the caller. */
export class KeyRefusedError extends ClientError {
  override readonly name = 'KeyRefusedError'
  readonly code = 'key-refused'
  constructor(call: StoppedCall) {
    super(`The server refuses the key: ${call.serverCode}.`, call)
  }
}
