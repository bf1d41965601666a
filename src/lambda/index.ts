/** AWS Lambda: HTTP events, events of any other kind, and batches of records. */
export { type ApiHandler, type ApiOptions, idempotentApi } from './api.ts'
export type { ApiEvent, ApiEventV1, ApiEventV2 } from './api-event.ts'
export type { ApiAnswer } from './api-result.ts'
export type { LambdaContext, LambdaOptions } from './invocation.ts'
export type { HttpEngine, IdempotentOptions } from '../http/options.ts'
export type { IdempotencyContext } from '../http/protocol.ts'
export { type BatchOptions, type BatchResponse, idempotentBatch, type RecordFailure } from './batch.ts'
export type {
  BatchRecord,
  DynamodbStreamRecord,
  KeyOfRecord,
  KinesisRecord,
  SqsRecord,
} from './batch-record.ts'
export { type HandlerOptions, idempotentHandler } from './handler.ts'
export type { KeySource } from './key-source.ts'
export type { CallOptions, LambdaEngine } from './protected-call.ts'
