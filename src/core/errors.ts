/**
 * Every failure and misuse that Retrysafe reports, one class per cause. `code` is stable: programs branch on
 * it, HTTP problem details carry it, the documentation has a heading for it. Expected ends of an operation
 * (replay, mismatch, in progress, ..) are values first (see `attempt`); they become these errors in `run`.
 *
 * No message holds an idempotency key, a principal, a body, a stored outcome or a connection string.
 */

/** All codes, in the order of the documentation's error page. */
export const errorCodes = [
  'key-missing',
  'key-malformed',
  'key-reused',
  'key-expired',
  'in-progress',
  'outcome-unknown',
  'lease-lost',
  'request-too-large',
  'principal-invalid',
  'option-invalid',
  'input-unsupported',
  'outcome-unstorable',
  'outcome-unreadable',
  'retry-transaction',
  'not-applied',
  'schema-mismatch',
  'store-unavailable',
  'store-failed',
  'closed',
  'replayed-error',
] as const

/** A stable word for each cause. */
export type IdempotencyErrorCode = (typeof errorCodes)[number]

/** Base of all errors that Retrysafe throws; errors thrown by the user's own code are never wrapped in it. */
export abstract class IdempotencyError extends Error {
  abstract readonly code: IdempotencyErrorCode
}

/** On the prototype and in the global symbol registry, so that it is seen across two copies of the package. */
const brand = Symbol.for('retrysafe.error')
Object.defineProperty(IdempotencyError.prototype, brand, { value: true })

/**
 * Tells whether a value is an error of Retrysafe, also across two installed copies of the package.
 *
 * @example
 * if (isIdempotencyError(error, 'in-progress')) reply.code(409)
 */
export function isIdempotencyError(value: unknown, code?: IdempotencyErrorCode): value is IdempotencyError {
  if (typeof value !== 'object' || value === null || (value as Record<symbol, unknown>)[brand] !== true)
    return false
  return code === undefined || (value as IdempotencyError).code === code
}

/** A required idempotency key is absent. */
export class MissingKeyError extends IdempotencyError {
  override readonly name = 'MissingKeyError' as const
  readonly code = 'key-missing' as const
  constructor() {
    super('This operation requires an idempotency key and none was given.')
  }
}

/** The idempotency key breaks a rule of its syntax. The handler did not run. */
export class MalformedKeyError extends IdempotencyError {
  override readonly name = 'MalformedKeyError' as const
  readonly code = 'key-malformed' as const
  readonly rule: string
  constructor(rule: string) {
    super(`The idempotency key is malformed: ${rule}`)
    this.rule = rule
  }
}

/** The key was used before for a different request (other fingerprint). The handler did not run. */
export class KeyReusedError extends IdempotencyError {
  override readonly name = 'KeyReusedError' as const
  readonly code = 'key-reused' as const
  constructor() {
    super('The idempotency key was used before for a different request. Use a new key for a new request.')
  }
}

/** The key's outcome is past its retention and its tombstone refuses another run. */
export class KeyExpiredError extends IdempotencyError {
  override readonly name = 'KeyExpiredError' as const
  readonly code = 'key-expired' as const
  constructor() {
    super('The idempotency key has expired: its outcome is no longer kept, and it will not run again.')
  }
}

/** Another holder is running this key now. Try again with the same key after `retryAfterMs`. */
export class InProgressError extends IdempotencyError {
  override readonly name = 'InProgressError' as const
  readonly code = 'in-progress' as const
  readonly retryAfterMs: number
  constructor(retryAfterMs: number) {
    super(`The operation is in progress elsewhere. Try again with the same key in ${retryAfterMs} ms.`)
    this.retryAfterMs = retryAfterMs
  }
}

/**
 * Nobody knows whether the effect happened: a holder ended without settling, or its outcome could not be
 * stored. `settled` tells which: `true`, the record says unknown and stays so until it is reconciled;
 * `false`, the record could not be written or read now, and the same key may find an answer later.
 */
export class OutcomeUnknownError extends IdempotencyError {
  override readonly name = 'OutcomeUnknownError' as const
  readonly code = 'outcome-unknown' as const
  readonly settled: boolean
  constructor(settled: boolean, options?: ErrorOptions) {
    super(
      settled
        ? 'The outcome of an earlier attempt is unknown. It must be reconciled; do not send it under a new key.'
        : 'The operation may have taken effect, but its outcome could not be stored. Try again with the same key.',
      options,
    )
    this.settled = settled
  }
}

/** This holder lost its lease to another one; its result was thrown away. */
export class LeaseLostError extends IdempotencyError {
  override readonly name = 'LeaseLostError' as const
  readonly code = 'lease-lost' as const
  constructor() {
    super('The lease on this operation was lost to another holder; the result of this attempt is discarded.')
  }
}

/** The request is over the size that can be compared. The handler did not run. */
export class RequestTooLargeError extends IdempotencyError {
  override readonly name = 'RequestTooLargeError' as const
  readonly code = 'request-too-large' as const
  readonly limitBytes: number
  constructor(limitBytes: number) {
    super(`The request body is over the limit of ${limitBytes} bytes for an idempotent request.`)
    this.limitBytes = limitBytes
  }
}

/** The principal is missing or no usable string: without it one caller's answer could reach another. */
export class InvalidPrincipalError extends IdempotencyError {
  override readonly name = 'InvalidPrincipalError' as const
  readonly code = 'principal-invalid' as const
  readonly rule: string
  constructor(rule: string) {
    super(`The principal ${rule}. Return who asks (tenant or user id); write 'anonymous' for a shared scope.`)
    this.rule = rule
  }
}

/** An option is wrong. Thrown at construction, never in mid-request. */
export class InvalidOptionError extends IdempotencyError {
  override readonly name = 'InvalidOptionError' as const
  readonly code = 'option-invalid' as const
  readonly option: string
  readonly rule: string
  constructor(option: string, rule: string, value?: unknown) {
    super(`Option ${option} ${rule}${value === undefined ? '' : `, got ${describeValue(value)}`}.`)
    this.option = option
    this.rule = rule
  }
}

/** The input holds something that cannot be compared (a function, a cycle, ..). The handler did not run. */
export class UnsupportedInputError extends IdempotencyError {
  override readonly name = 'UnsupportedInputError' as const
  readonly code = 'input-unsupported' as const
  readonly path: string
  constructor(path: string) {
    super(
      `The input cannot be fingerprinted at ${path}. Pass plain data, or give the operation a fingerprint option.`,
    )
    this.path = path
  }
}

/** The handler's value cannot be stored. The effect took place (lease mode) or was rolled back (transaction). */
export class UnstorableOutcomeError extends IdempotencyError {
  override readonly name = 'UnstorableOutcomeError' as const
  readonly code = 'outcome-unstorable' as const
  readonly reason: string
  constructor(reason: string) {
    super(`The outcome of the operation cannot be stored: ${reason}. Return plain data.`)
    this.reason = reason
  }
}

/** A stored outcome is damaged or of a newer version. It is never treated as absent: nothing runs again. */
export class UnreadableOutcomeError extends IdempotencyError {
  override readonly name = 'UnreadableOutcomeError' as const
  readonly code = 'outcome-unreadable' as const
  constructor(reason: string) {
    super(`A stored outcome cannot be read: ${reason}. The operation is not run again.`)
  }
}

/** Inside the caller's own transaction nothing can be retried or waited for: retry the whole transaction. */
export class RetryTransactionError extends IdempotencyError {
  override readonly name = 'RetryTransactionError' as const
  readonly code = 'retry-transaction' as const
  constructor(reason: string, options?: ErrorOptions) {
    super(`${reason} Roll back and retry the whole transaction with the same key.`, options)
  }
}

/** The transaction did not commit: there is no effect and no record. The same key may be sent again. */
export class NotAppliedError extends IdempotencyError {
  override readonly name = 'NotAppliedError' as const
  readonly code = 'not-applied' as const
  constructor(options?: ErrorOptions) {
    super('The transaction did not commit; nothing was applied. Try again with the same key.', options)
  }
}

/** The store's schema is missing or of a version that this release does not know. */
export class SchemaMismatchError extends IdempotencyError {
  override readonly name = 'SchemaMismatchError' as const
  readonly code = 'schema-mismatch' as const
}

/** How a store failed, as a class and not as a message (`unrecognised` is handled like `lost`). */
export type StoreFailure = 'transient' | 'permanent' | 'wrong-node' | 'lost' | 'unrecognised'

/**
 * A store's verb failed. `failure` says what is known: `transient`, nothing happened and a retry may work;
 * `permanent`, nothing happened and a retry will fail alike; `wrong-node`, this node cannot write;
 * `lost` and `unrecognised`, the verb may or may not have been applied.
 */
export class StoreError extends IdempotencyError {
  override readonly name = 'StoreError' as const
  readonly code = 'store-failed' as const
  readonly failure: StoreFailure
  constructor(failure: StoreFailure, message: string, options?: ErrorOptions) {
    super(message, options)
    this.failure = failure
  }
}

/** The store could not be asked before the handler started. The handler did not run. */
export class StoreUnavailableError extends IdempotencyError {
  override readonly name = 'StoreUnavailableError' as const
  readonly code = 'store-unavailable' as const
  constructor(options?: ErrorOptions) {
    super('The store of idempotency records cannot be reached. The operation was not run.', options)
  }
}

/** The instance was closed. */
export class ClosedError extends IdempotencyError {
  override readonly name = 'ClosedError' as const
  readonly code = 'closed' as const
  constructor(what: string) {
    super(`This ${what} is closed.`)
  }
}

/** The error that the first attempt ended with, read back from its record. */
export class ReplayedError extends IdempotencyError {
  override readonly name = 'ReplayedError' as const
  readonly code = 'replayed-error' as const
  /** `name` of the error that the handler threw. */
  readonly originalName: string
  /** `code` of the error that the handler threw, where it had one. */
  readonly originalCode: string | undefined
  constructor(original: { name: string; message: string; code?: string | undefined }) {
    super(original.message)
    this.originalName = original.name
    this.originalCode = original.code
  }
}

const holdsSecret = /:\/\/|password|secret/i

function describeValue(value: unknown): string {
  if (typeof value === 'string') {
    // A connection string in the place of a pool has a password in it.
    if (holdsSecret.test(value)) return 'a connection string'
    return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}..` : value)
  }
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return String(value)
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}
