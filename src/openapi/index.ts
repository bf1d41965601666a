/** OpenAPI documents that say which operations take an idempotency key, and tools that check that they do. */
export { documentOperation } from './document-operation.ts'
export { describeLayer, descriptionOf, type ProtectedOperation } from './protected-operation.ts'
export type { IdempotencyExtension } from './terms.ts'
export type { OpenApiVersion } from './version.ts'
