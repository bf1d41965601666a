/**
 * Operations: a named piece of work with a handler. `run` resolves to the value or throws a coded error;
 * `attempt` resolves to a closed union and throws only for failures and misuse.
 */
import {
  IdempotencyError,
  InProgressError,
  KeyExpiredError,
  KeyReusedError,
  OutcomeUnknownError,
  ReplayedError,
  UnstorableOutcomeError,
} from '../core/errors.ts'
import type { Outcome } from '../core/outcome.ts'
import type { Attempt, NotRun, Settled } from './attempt.ts'
import type { PolicyOptions } from './policy.ts'

/** What a handler gets beside its input. */
export interface OperationRun {
  /** Integer, +1 at every change of holder: hand it to systems that can refuse a smaller one. */
  readonly fence: number
  /** Aborted when the lease is lost: the result would be thrown away. */
  readonly signal: AbortSignal
  /** A stable idempotency key for a call to another system, equal for every attempt of this key. */
  downstreamKey(name: string): string
}

/** What a handler in a transaction gets beside its input. */
export interface TransactionRun<Tx> extends Omit<OperationRun, 'signal'> {
  /** The open transaction: what is written through it commits together with the record. */
  readonly tx: Tx
}

/** What an attempt leaves behind when its handler throws. */
export type ErrorVerdict =
  /** Nothing took effect: the next attempt runs. */
  | 'release'
  /** The error is the outcome, and is thrown again to every duplicate. */
  | 'keep'
  /** The effect may have happened: `onUnknown` decides. */
  | 'unknown'

/** What `reconcile` found out about an earlier attempt. */
export type Reconciliation<Output> =
  | { readonly kind: 'applied'; readonly value: Output }
  | { readonly kind: 'not-applied' }

export interface OperationOptions<Input, Output> extends PolicyOptions {
  /** What a throwing handler leaves behind. Default `'release'`; a function decides by the error. */
  readonly onError?: ErrorVerdict | ((error: unknown) => ErrorVerdict)
  /** The part of the input that makes two requests the same. Default: all of it. */
  readonly fingerprint?: (input: Input) => unknown
  /** Asked when the outcome of an earlier attempt is unknown; required by `onUnknown: 'reconcile'`. */
  readonly reconcile?: (input: Input, run: OperationRun) => Promise<Reconciliation<Output>>
}

export interface OperationCall<Input> {
  /** The idempotency key: 1 to 255 characters. */
  readonly key: string
  /** Who asks: tenant or user id. Write `'anonymous'` for a scope that all share. */
  readonly principal: string
  readonly input: Input
  /** Ends this caller's waiting; never the attempt of another caller. */
  readonly signal?: AbortSignal
}

export interface OperationResult<Output> {
  readonly value: Output
  /** Whether the value was stored by an earlier attempt. */
  readonly replayed: boolean
}

/** Every expected end of an operation. */
export type AttemptResult<Output> =
  | { readonly kind: 'executed'; readonly value: Output }
  | { readonly kind: 'replayed'; readonly value: Output }
  /** The outcome is an error, kept by `onError: 'keep'`, or the value could not be stored. */
  | { readonly kind: 'failed'; readonly error: ReplayedError | UnstorableOutcomeError }
  | { readonly kind: 'mismatch' }
  | { readonly kind: 'in-progress'; readonly retryAfterMs: number }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'expired' }

export interface Operation<Input, Output> {
  readonly name: string
  /**
   * Runs the operation once for this key and resolves to its value, first or replayed.
   *
   * @throws KeyReusedError, InProgressError, OutcomeUnknownError, KeyExpiredError, ReplayedError,
   * StoreUnavailableError, MalformedKeyError, InvalidPrincipalError; and what the handler throws
   */
  run(call: OperationCall<Input>): Promise<OperationResult<Output>>
  /** As `run`, with every expected end as a value. */
  attempt(call: OperationCall<Input>): Promise<AttemptResult<Output>>
}

/** Makes `run` out of `attempt`. */
export function operationOf<Input, Output>(
  name: string,
  attempt: (call: OperationCall<Input>) => Promise<AttemptResult<Output>>,
): Operation<Input, Output> {
  return {
    name,
    attempt,
    async run(call): Promise<OperationResult<Output>> {
      return asOperationResult(await attempt(call))
    },
  }
}

/** The value, or the coded error that each other end stands for. */
export function asOperationResult<Output>(result: AttemptResult<Output>): OperationResult<Output> {
  switch (result.kind) {
    case 'executed':
      return { value: result.value, replayed: false }
    case 'replayed':
      return { value: result.value, replayed: true }
    case 'failed':
      throw result.error
    case 'mismatch':
      throw new KeyReusedError()
    case 'in-progress':
      throw new InProgressError(result.retryAfterMs)
    case 'unknown':
      throw new OutcomeUnknownError(true)
    case 'expired':
      throw new KeyExpiredError()
    default:
      return result satisfies never
  }
}

/** A stored or just settled outcome as the end of an operation. */
export function resultOf<Output>(kind: 'executed' | 'replayed', outcome: Outcome): AttemptResult<Output> {
  switch (outcome.kind) {
    case 'value':
      return { kind, value: outcome.value as Output }
    case 'error':
      return { kind: 'failed', error: new ReplayedError(outcome) }
    case 'unstorable':
      return { kind: 'failed', error: new UnstorableOutcomeError(outcome.reason) }
    case 'response':
      return { kind: 'failed', error: new UnstorableOutcomeError('it is an HTTP response, not a value') }
    default:
      return outcome satisfies never
  }
}

/** The end of a call that did not run. */
export function resultOfNotRun<Output>(end: NotRun): AttemptResult<Output> {
  return end.kind === 'replay' ? resultOf('replayed', end.outcome) : end
}

/** Runs the handler of a won attempt and settles what it leaves behind. */
export async function execute<Input, Output>(
  attempt: Attempt,
  input: Input,
  handler: (input: Input, run: OperationRun) => Promise<Output> | Output,
  onError: OperationOptions<Input, Output>['onError'],
): Promise<AttemptResult<Output>> {
  let value: Output
  try {
    value = await handler(input, attempt)
  } catch (error) {
    const settled = await settleError(attempt, error, onError)
    if (settled.kind === 'lost') return resultOfNotRun(settled.instead)
    throw error
  }
  const settled = await attempt.complete({ kind: 'value', value })
  if (settled.kind === 'lost') return resultOfNotRun(settled.instead)
  return resultOf('executed', settled.outcome ?? { kind: 'value', value })
}

async function settleError(
  attempt: Attempt,
  error: unknown,
  onError: ErrorVerdict | ((error: unknown) => ErrorVerdict) = 'release',
): Promise<Settled> {
  const verdict = typeof onError === 'function' ? judge(onError, error) : onError
  try {
    switch (verdict) {
      case 'release':
        return await attempt.release()
      case 'keep':
        return await attempt.complete(asErrorOutcome(error))
      case 'unknown':
        return await attempt.unknown()
      default:
        return verdict satisfies never
    }
  } catch (settleError) {
    // What the handler threw is what its author needs to see; that it could not be settled rides along.
    if (!(settleError instanceof IdempotencyError)) throw settleError
    throw new OutcomeUnknownError(false, { cause: new AggregateError([error, settleError]) })
  }
}

/** A verdict that throws says nothing about the effect. */
function judge(onError: (error: unknown) => ErrorVerdict, error: unknown): ErrorVerdict {
  try {
    const verdict = onError(error)
    return verdict === 'release' || verdict === 'keep' ? verdict : 'unknown'
  } catch {
    return 'unknown'
  }
}

function asErrorOutcome(error: unknown): Outcome {
  if (!(error instanceof Error))
    return { kind: 'error', name: 'Error', message: String(error), code: undefined }
  const { code } = error as { code?: unknown }
  return {
    kind: 'error',
    name: error.name,
    message: error.message,
    code: typeof code === 'string' ? code : undefined,
  }
}
