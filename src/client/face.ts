/** What `retrysafe/client` has on every platform. */
export { callOf } from './fetch.ts'
export type { CallOptions, CallReport, IdempotentFetch, IdempotentInit } from './fetch.ts'
export type { IdempotentFetchOptions, RetryOptions } from './options.ts'
export type { Retry } from './attempts.ts'
export { type CircuitBreaker, circuitBreaker, type CircuitBreakerOptions } from './breaker.ts'
export type { RetryBudgetOptions } from './budget.ts'
export { hedgedFetch, type HedgeOptions } from './hedge.ts'
export {
  ClientError,
  type ClientErrorCode,
  clientErrorCodes,
  HorizonError,
  isClientError,
  KeyRefusedError,
  NotAppliedError,
  type StopReason,
  UnknownOutcomeError,
} from './errors.ts'
export { type KeyFormat, newKey } from './key.ts'
export { keyFor, type KeyPart, type KeySecret, secretKeyFor } from './key-for.ts'
