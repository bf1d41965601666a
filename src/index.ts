/** The public face: an instance, the memory store, errors and types. Everything else has its own subpath. */
export * from './core/errors.ts'
export type { Duration } from './core/duration.ts'
export type { KeySyntax } from './core/key.ts'
export type { HeaderLine, Outcome } from './core/outcome.ts'
export type * from './core/record.ts'
export type * from './core/register.ts'
export type { Clock, Runtime, Sealing } from './core/runtime.ts'
export type * from './core/store.ts'
export type { OnUnknown } from './core/transitions.ts'
export type {
  Attempt,
  BeginRequest,
  Begun,
  BegunInTransaction,
  NotRun,
  OutcomeAge,
  Reconcile,
  Settled,
  TransactionalBegin,
  TransactionAttempt,
} from './engine/attempt.ts'
export { type EngineEventName, type EngineEvents, onEvent } from './engine/events.ts'
export {
  createIdempotency,
  type Idempotency,
  type IdempotencyOptions,
  type WithinCall,
} from './engine/idempotency.ts'
export type {
  AttemptResult,
  ErrorVerdict,
  Operation,
  OperationCall,
  OperationOptions,
  OperationResult,
  OperationRun,
  Reconciliation,
  TransactionRun,
} from './engine/operation.ts'
export type { OwnTransactions } from './engine/own-transactions.ts'
export type { CompressionOptions, EncryptionOptions } from './engine/outcome-seal.ts'
export type { Policy, PolicyOptions } from './engine/policy.ts'
export { type MemoryStoreOptions, memoryStore } from './stores/memory.ts'
