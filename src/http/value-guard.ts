/**
 * Idempotency for functions that a framework calls with arguments and that answer with a value, such as server
 * actions: the key stands in a form, results may be thrown, and a refusal is an error with a code or a value of the
 * user's.
 */
import {
  type IdempotencyError,
  InvalidOptionError,
  isIdempotencyError,
  MalformedKeyError,
  MissingKeyError,
} from '../core/errors.ts'
import { refuseUnknownOptions } from '../core/options.ts'
import type { Idempotency } from '../engine/idempotency.ts'
import type { ErrorVerdict, OperationOptions, OperationResult, OperationRun } from '../engine/operation.ts'
import { type PolicyOptions, policyOptionNames } from '../engine/policy.ts'
import { comparedArguments, formOf } from './compared-arguments.ts'
import { keyFieldName } from './form-key.ts'

/** The part of an instance that guarded functions need; any `Idempotency` fits. */
export type ActionEngine = Pick<Idempotency, 'digest' | 'operation'>

/** The attempt of a running action. */
export type ActionRun = OperationRun

type Awaitable<Value> = Value | Promise<Value>

export interface ValueGuardOptions<Args extends unknown[], Refused> extends PolicyOptions {
  /** The operation's name, part of the scope: at most 255 characters, and the same in every release. */
  readonly operation: string
  /**
   * Who asks: a function of the arguments that returns a tenant or user id, or `'anonymous'` written out for a scope
   * that all callers share. What it throws, such as a redirect to a login page, goes on to the framework.
   */
  readonly principal: 'anonymous' | ((...args: Args) => Awaitable<string | null | undefined>)
  /** Refuse calls without a key. Default `false`: they run unprotected. */
  readonly required?: boolean
  /**
   * Where the key is: the name of a field of the form among the arguments, or a function of the arguments.
   * Default `'idempotency-key'`.
   */
  readonly key?: string | ((...args: Args) => Awaitable<string | null | undefined>)
  /**
   * The last argument but one is the state that `useActionState` hands in. It is no part of the request, so it is not
   * compared. Default `false`.
   */
  readonly previousState?: boolean
  /**
   * The part of the arguments that makes two calls the same. Default: all of them, without the key's field and those
   * that React adds to a form.
   */
  readonly fingerprint?: (...args: Args) => unknown
  /** What a throwing handler leaves behind. Default `'release'`; a function decides by the error. */
  readonly onError?: ErrorVerdict | ((error: unknown) => ErrorVerdict)
  /**
   * Called before a stored outcome is given back: for what belongs to each call and not to the outcome, such as
   * telling the framework which pages are out of date.
   */
  readonly onReplay?: (...args: Args) => Awaitable<void>
  /** What to return instead of an outcome, such as a state to show. Default: the error is thrown. */
  readonly onRefused?: (refusal: IdempotencyError, ...args: Args) => Awaitable<Refused>
}

const optionNames = [
  'operation',
  'principal',
  'required',
  'key',
  'previousState',
  'fingerprint',
  'onError',
  'onReplay',
  'onRefused',
  ...policyOptionNames,
]

/** How a framework marks results that are thrown. */
export interface ThrownResults {
  /** What to store of something thrown, and what it leaves behind; `undefined` where it is a failure. */
  read(thrown: unknown): { readonly stored: unknown; readonly verdict: 'keep' | 'release' } | undefined
  /** What to throw for something stored. */
  restore(stored: unknown): unknown
}

/** What a record holds: the two ways in which a function ends. */
type StoredEnd = { readonly returned: unknown } | { readonly thrown: unknown }

interface GuardedInput<Args> {
  readonly args: Args
  readonly compared: unknown
  /** What the handler failed with, to tell it from a refusal. */
  failure?: { readonly error: unknown }
}

/**
 * Guards a function.
 *
 * @throws InvalidOptionError at construction
 */
export function guardFunction<Args extends unknown[], Value, Refused = never>(
  idem: ActionEngine,
  options: ValueGuardOptions<Args, Refused>,
  thrownResults: ThrownResults,
  handler: (this: ActionRun | undefined, ...args: Args) => Awaitable<Value>,
): (...args: Args) => Promise<Value | Refused> {
  checkOptions(options)
  const { principal, required, onReplay, onRefused, key = keyFieldName } = options
  const operation = idem.operation(
    options.operation,
    operationOptions<Args>(options, thrownResults),
    async (input: GuardedInput<Args>, run): Promise<StoredEnd> => {
      try {
        return { returned: await handler.apply(run, input.args) }
      } catch (error) {
        const result = thrownResults.read(error)
        if (result?.verdict === 'keep') return { thrown: result.stored }
        input.failure = { error }
        throw error
      }
    },
  )

  async function refuse(refusal: IdempotencyError, args: Args): Promise<Refused> {
    if (onRefused === undefined) throw refusal
    return await onRefused(refusal, ...args)
  }

  return async (...args: Args) => {
    const found = typeof key === 'function' ? await key(...args) : keyIn(args, key)
    if (found instanceof MalformedKeyError) return await refuse(found, args)
    if (found === undefined || found === null) {
      if (required === true) return await refuse(new MissingKeyError(), args)
      return await handler.apply(undefined, args)
    }
    const who = principal === 'anonymous' ? principal : await principal(...args)
    const compared = await comparedOf(idem, options, args)
    const input: GuardedInput<Args> = { args, compared }
    let ended: OperationResult<StoredEnd>
    try {
      ended = await operation.run({ key: found, principal: who as string, input })
    } catch (error) {
      if (error === input.failure?.error || !isIdempotencyError(error)) throw error
      return await refuse(error, args)
    }
    if (ended.replayed) await onReplay?.(...args)
    if ('thrown' in ended.value) throw thrownResults.restore(ended.value.thrown)
    return ended.value.returned as Value
  }
}

function checkOptions<Args extends unknown[]>(options: ValueGuardOptions<Args, unknown>): void {
  if (typeof options !== 'object' || options === null) {
    throw new InvalidOptionError('options', 'must be an object with an operation and a principal', options)
  }
  refuseUnknownOptions('action', options, optionNames)
  const { principal, key, onUnknown } = options
  if (principal !== 'anonymous' && typeof principal !== 'function') {
    const rule = "must be a function of the arguments that returns who asks, or 'anonymous' written out"
    throw new InvalidOptionError('principal', rule, principal)
  }
  if (key !== undefined && typeof key !== 'function' && (typeof key !== 'string' || key === '')) {
    throw new InvalidOptionError(
      'key',
      'must be the name of a form field, or a function of the arguments',
      key,
    )
  }
  if (onUnknown === 'reconcile') {
    throw new InvalidOptionError('onUnknown', "must be 'hold' or 'rerun' here: there is no function to ask")
  }
  for (const name of ['required', 'previousState'] as const) {
    const value: unknown = options[name]
    if (value !== undefined && typeof value !== 'boolean') {
      throw new InvalidOptionError(name, 'must be true or false', value)
    }
  }
  for (const name of ['fingerprint', 'onReplay', 'onRefused'] as const) {
    const value: unknown = options[name]
    if (value !== undefined && typeof value !== 'function') {
      throw new InvalidOptionError(name, 'must be a function', value)
    }
  }
}

function operationOptions<Args extends unknown[]>(
  options: ValueGuardOptions<Args, unknown>,
  thrownResults: ThrownResults,
): OperationOptions<GuardedInput<Args>, StoredEnd> {
  const { onError = 'release' } = options
  const given = policyOptionNames.filter((name) => options[name] !== undefined)
  return {
    ...(Object.fromEntries(given.map((name) => [name, options[name]])) as PolicyOptions),
    fingerprint: ({ compared }) => compared,
    onError: (error) => {
      if (thrownResults.read(error) !== undefined) return 'release'
      return typeof onError === 'function' ? onError(error) : onError
    },
  }
}

function comparedOf<Args extends unknown[]>(
  idem: ActionEngine,
  options: ValueGuardOptions<Args, unknown>,
  args: Args,
): unknown {
  const { fingerprint, previousState = false, key = keyFieldName } = options
  if (fingerprint !== undefined) return fingerprint(...args)
  const request = previousState ? args.toSpliced(-2, 1) : args
  return comparedArguments(idem.digest, request, typeof key === 'string' ? key : undefined)
}

/** The value of the key's field; the rule that the field breaks where it cannot be a key. */
function keyIn(args: readonly unknown[], field: string): string | MalformedKeyError | undefined {
  const values = formOf(args)?.getAll(field) ?? []
  if (values.length > 1) return new MalformedKeyError('There is more than one value.')
  const [value] = values
  return value === undefined || typeof value === 'string' ? value : new MalformedKeyError('It is a file.')
}
