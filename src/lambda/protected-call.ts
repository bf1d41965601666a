/** One piece of work under a key and under the time of its invocation: what single events and batches share. */
import { InvalidOptionError, InvalidPrincipalError, UnsupportedInputError } from '../core/errors.ts'
import { valueFingerprint } from '../core/fingerprint.ts'
import { refuseUnknownOptions } from '../core/options.ts'
import type { Outcome } from '../core/outcome.ts'
import { checkName } from '../engine/arguments.ts'
import type { Reconcile } from '../engine/attempt.ts'
import type { Idempotency } from '../engine/idempotency.ts'
import {
  type AttemptResult,
  type ErrorVerdict,
  execute,
  type OperationRun,
  type Reconciliation,
  resultOfNotRun,
} from '../engine/operation.ts'
import { type Policy, type PolicyOptions, policyOptionNames } from '../engine/policy.ts'
import type { Invocation, LambdaOptions } from './invocation.ts'

/** The part of an instance that is needed; any `Idempotency` fits. */
export type LambdaEngine = Pick<Idempotency, 'begin' | 'digest' | 'policy'>

/** Options that single events and batches share. */
export interface CallOptions<Subject, Output> extends PolicyOptions, LambdaOptions {
  /** The operation's name, part of the scope: a function that is renamed keeps it. */
  readonly operation: string
  /** Who asks: a function that returns a tenant or an account, or `'anonymous'` written out for one shared scope. */
  readonly principal: 'anonymous' | ((subject: Subject) => string)
  /** The part that makes two calls the same. */
  readonly fingerprint?: (subject: Subject) => unknown
  /**
   * What a throwing handler leaves behind. Default `'release'`, and `'unknown'` once its signal has aborted because
   * the invocation is about to end.
   */
  readonly onError?: ErrorVerdict | ((error: unknown) => ErrorVerdict)
  /** Asked when the outcome of an earlier attempt is unknown; required by `onUnknown: 'reconcile'`. */
  readonly reconcile?: (subject: Subject, run: OperationRun) => Promise<Reconciliation<Output>>
}

/** Names of `CallOptions`. */
const callOptionNames = [
  'operation',
  'principal',
  'fingerprint',
  'onError',
  'reconcile',
  'abortBefore',
  ...policyOptionNames,
]

/** Calls with one set of options. */
export interface ProtectedCall<Subject, Output> {
  /**
   * Runs the handler once for the key.
   *
   * @throws what the handler throws; coded errors where it did not run for another reason than a decided key
   */
  attempt(
    subject: Subject,
    key: string,
    invocation: Invocation,
    handler: (run: OperationRun) => Output | Promise<Output>,
  ): Promise<AttemptResult<Output>>
}

/**
 * Checks options.
 *
 * @param where the exported function's name, for messages
 * @param ownNames options beside `CallOptions`
 * @param compared what is compared where the options give no `fingerprint`
 * @throws InvalidOptionError naming option, rule and value
 */
export function protectedCall<Subject, Output>(
  idem: LambdaEngine,
  where: string,
  options: CallOptions<Subject, Output>,
  ownNames: readonly string[],
  compared: (subject: Subject) => unknown,
): ProtectedCall<Subject, Output> {
  refuseUnknownOptions(where, options, [...callOptionNames, ...ownNames])
  const { operation, principal, fingerprint = compared, onError, reconcile } = options
  checkName('operation', operation)
  if (principal !== 'anonymous' && typeof principal !== 'function') {
    const rule = "must be a function that returns who asks, or 'anonymous' written out"
    throw new InvalidOptionError('principal', rule, principal)
  }
  const policy = policyOf(idem, options)
  if (policy.onUnknown === 'reconcile' && reconcile === undefined) {
    throw new InvalidOptionError('reconcile', "is required by onUnknown: 'reconcile'")
  }

  return {
    async attempt(subject, key, invocation, handler) {
      const made = valueFingerprint(idem.digest, operation, fingerprint(subject))
      if (made.kind === 'unsupported') throw new UnsupportedInputError(made.path)
      const begun = await idem.begin({
        key,
        principal: principal === 'anonymous' ? principal : askWho(principal, subject),
        scope: operation,
        fingerprint: made.fingerprint,
        policy: invocation.policy(policy),
        ...(reconcile === undefined ? {} : { reconcile: reconcileWith(reconcile, subject) }),
      })
      if (begun.kind !== 'run') return resultOfNotRun(begun)
      const { attempt } = begun
      if (invocation.isEnding) {
        const settled = await attempt.release()
        return settled.kind === 'lost' ? resultOfNotRun(settled.instead) : notStarted
      }
      const run: OperationRun = {
        fence: attempt.fence,
        signal: invocation.joined(attempt.signal),
        downstreamKey: (name) => attempt.downstreamKey(name),
      }
      const verdict = onError ?? ((): ErrorVerdict => (invocation.signal.aborted ? 'unknown' : 'release'))
      return await execute(attempt, undefined, () => handler(run), verdict)
    },
  }
}

/** Waiting for another attempt, or a slow store, has used the time up: the next delivery runs it. */
const notStarted = { kind: 'in-progress', retryAfterMs: 1 } as const

function policyOf(idem: LambdaEngine, options: PolicyOptions): Policy {
  const given = policyOptionNames.filter((name) => options[name] !== undefined)
  return idem.policy(Object.fromEntries(given.map((name) => [name, options[name]])))
}

function askWho<Subject>(principal: (subject: Subject) => string, subject: Subject): string {
  const asked: unknown = principal(subject)
  if (typeof asked !== 'string') throw new InvalidPrincipalError('must be a string')
  return asked
}

function reconcileWith<Subject, Output>(
  reconcile: (subject: Subject, run: OperationRun) => Promise<Reconciliation<Output>>,
  subject: Subject,
): Reconcile {
  return async (attempt): Promise<Outcome | undefined> => {
    const found = await reconcile(subject, attempt)
    return found.kind === 'applied' ? { kind: 'value', value: found.value } : undefined
  }
}
