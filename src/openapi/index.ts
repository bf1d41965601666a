/** OpenAPI documents that say which operations take an idempotency key, and tools that check that they do. */
export { documentOperation } from './document-operation.ts'
export { type LintCode, type LintFinding, type LintOptions, lintDocument } from './lint.ts'
export { type PatchOptions, patchDocument } from './patch.ts'
export { descriptionOf, type ProtectedOperation } from './protected-operation.ts'
export { documentIdempotency, type ProtectedRoute } from './routes.ts'
export type { IdempotencyExtension } from './terms.ts'
export type { OpenApiVersion } from './version.ts'
