/** From an adapter's options to what it works with: the one way in for every framework. */
import type { Policy } from '../engine/policy.ts'
import type { ProtectedOperation } from '../openapi/protected-operation.ts'
import { type HttpEngine, type IdempotentOptions, resolveOptions } from './options.ts'
import { createGuard, type HttpGuard } from './protocol.ts'

/** A layer, ready to stand in front of a route. */
export interface Mounted<Subject> {
  readonly guard: HttpGuard
  readonly principal: IdempotentOptions<Subject>['principal']
  /** What a request runs under, unless it brings one of its own. */
  readonly policy: Policy
  /** For `describeLayer`. */
  readonly operation: ProtectedOperation
}

/**
 * Checks the options of a layer and builds its guard.
 *
 * @throws InvalidOptionError naming option, rule and value
 */
export function mount<Subject>(idem: HttpEngine, options: IdempotentOptions<Subject>): Mounted<Subject> {
  const { engine, guard: guardOptions, policy, principal } = resolveOptions(idem, options)
  const { methods, required, header, keyLimits, scope, statuses, marker, transaction, documentation } =
    guardOptions
  return {
    guard: createGuard(engine, guardOptions, policy),
    principal,
    policy,
    operation: {
      methods: [...methods],
      required,
      header: header === 'idempotency-key' ? 'Idempotency-Key' : header,
      keyLengthMin: keyLimits.lengthMin,
      keyLengthMax: keyLimits.lengthMax,
      scope,
      anonymous: principal === 'anonymous',
      retentionMs: policy.retentionMs,
      tombstoneMs: policy.tombstoneMs,
      statuses,
      marker,
      transaction,
      documentation,
    },
  }
}
