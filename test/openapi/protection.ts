/** A layer's description, as `mount` makes it with all defaults. */
import type { ProtectedOperation } from '../../src/openapi/protected-operation.ts'

export function protection(changes: Partial<ProtectedOperation> = {}): ProtectedOperation {
  return {
    methods: ['POST', 'PATCH'],
    required: false,
    header: 'Idempotency-Key',
    keyLengthMin: 1,
    keyLengthMax: 255,
    scope: 'principal',
    anonymous: false,
    transaction: false,
    retentionMs: 86_400_000,
    tombstoneMs: 0,
    statuses: { mismatch: 422, inProgress: 409, unknown: 409, expired: 422 },
    marker: 'Idempotent-Replayed',
    documentation: 'https://example.com/errors',
    ...changes,
  }
}
