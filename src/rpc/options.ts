/** The options that every unit of this room takes, checked once at construction. */
import { InvalidOptionError } from '../core/errors.ts'
import { choiceOption, flagOption, refuseUnknownOptions, wholeOption } from '../core/options.ts'
import { resultRule, type ResultVerdict } from '../core/result-rule.ts'
import type { Idempotency } from '../engine/idempotency.ts'
import { type Policy, type PolicyOptions, policyOptionNames } from '../engine/policy.ts'

export type { ResultVerdict } from '../core/result-rule.ts'

/** The part of an instance that calls need; any `Idempotency` fits. */
export type RpcEngine = Pick<Idempotency, 'begin' | 'digest' | 'policy'>

type Awaitable<Value> = Value | Promise<Value>

/** Options that mean the same for procedures and for mutation fields. */
export interface GuardOptions extends PolicyOptions {
  /** Refuse guarded calls without a key. Default `false`. */
  readonly required?: boolean
  /**
   * `money`: key required, a failure of the server leaves the outcome unknown, unknown outcomes are held. `stripe`: a
   * failure of the server is an outcome like any other. Default `'default'`.
   */
  readonly preset?: 'default' | 'money' | 'stripe'
  /**
   * `principal` (default): a key is one call of one procedure or field, so that its reuse for another is refused.
   * `operation`: keys are independent for each procedure or field.
   */
  readonly scope?: 'principal' | 'operation'
  /** Characters. Default 1. */
  readonly keyLengthMin?: number
  /** Default 255. */
  readonly keyLengthMax?: number
  /** Decides by the status that the framework gives to an answer what it leaves behind, instead of the preset's rule. */
  readonly result?: (status: number) => ResultVerdict
  /**
   * What happens while the store is down: `refuse` (default), or `run` unprotected, reported as the event
   * `unprotected`. Never with `required`.
   */
  readonly onStoreError?: 'refuse' | 'run'
}

/** `GuardOptions` with what is asked of a call of a procedure. */
export interface CallOptions<Call> extends GuardOptions {
  /**
   * Who asks: a function of the call that returns a tenant or user id, or `'anonymous'` written out for a scope that
   * all callers share. Nobody logged in (`undefined` or `null`) is refused as unauthorized. What it throws fails the
   * call.
   */
  readonly principal: 'anonymous' | ((call: NoInfer<Call>) => Awaitable<string | null | undefined>)
  /**
   * The idempotency key of the call, or `undefined` where it has none. A request may carry many calls, so that a key
   * belongs to the call and never to the request.
   */
  readonly key: (call: NoInfer<Call>) => Awaitable<string | null | undefined>
  /** The part of the input that makes two calls the same. Default: all of it, as the client sent it. */
  readonly fingerprint?: (call: NoInfer<Call>) => unknown
}

/** `GuardOptions`, checked and filled. */
export interface ResolvedGuard {
  readonly required: boolean
  readonly scope: 'principal' | 'operation'
  readonly keyLimits: { readonly lengthMin: number; readonly lengthMax: number }
  readonly result: (status: number) => ResultVerdict
  readonly onStoreError: 'refuse' | 'run'
  readonly policy: Policy
}

const guardNames = [
  'required',
  'preset',
  'scope',
  'keyLengthMin',
  'keyLengthMax',
  'result',
  'onStoreError',
  ...policyOptionNames,
]
const keyCharactersMax = 255

interface Preset {
  readonly required: boolean
  readonly result: (status: number) => ResultVerdict
  readonly policy: PolicyOptions
}

const presets: Readonly<Record<'default' | 'money' | 'stripe', Preset>> = {
  default: { required: false, result: resultRule('release'), policy: {} },
  money: { required: true, result: resultRule('unknown'), policy: { onUnknown: 'hold' } },
  stripe: { required: false, result: resultRule('keep'), policy: {} },
}

/**
 * Checks the options of a guard and fills what is not given. `own` are names of the unit's own options.
 *
 * @throws InvalidOptionError naming option, rule and value
 */
export function resolveGuard(
  engine: RpcEngine,
  options: GuardOptions & { readonly principal: unknown },
  own: readonly string[],
): ResolvedGuard {
  if (typeof options !== 'object' || options === null) {
    throw new InvalidOptionError('options', 'must be an object with a principal', options)
  }
  refuseUnknownOptions('idempotent', options, ['principal', ...own, ...guardNames])
  const { principal, result } = options
  if (principal !== 'anonymous' && typeof principal !== 'function') {
    const rule = "must be a function of the call that returns who asks, or 'anonymous' written out"
    throw new InvalidOptionError('principal', rule, principal)
  }
  if (result !== undefined && typeof result !== 'function') {
    const rule = "must be a function of the status that returns 'keep', 'release' or 'unknown'"
    throw new InvalidOptionError('result', rule, result)
  }
  const preset = presets[choiceOption('preset', options.preset, ['default', 'money', 'stripe']) ?? 'default']
  const required = flagOption('required', options.required) ?? preset.required
  const onStoreError = choiceOption('onStoreError', options.onStoreError, ['refuse', 'run']) ?? 'refuse'
  if (required && onStoreError === 'run') {
    throw new InvalidOptionError('onStoreError', "must not be 'run' where a key is required")
  }
  const lengthMax = wholeOption('keyLengthMax', options.keyLengthMax, 1, keyCharactersMax) ?? keyCharactersMax
  return {
    required,
    onStoreError,
    scope: choiceOption('scope', options.scope, ['principal', 'operation']) ?? 'principal',
    keyLimits: { lengthMin: wholeOption('keyLengthMin', options.keyLengthMin, 1, lengthMax) ?? 1, lengthMax },
    result: result ?? preset.result,
    policy: policyOf(engine, options, preset.policy),
  }
}

function policyOf(engine: RpcEngine, options: PolicyOptions, preset: PolicyOptions): Policy {
  const given = policyOptionNames.filter((name) => options[name] !== undefined)
  const policy = engine.policy({
    ...preset,
    ...Object.fromEntries(given.map((name) => [name, options[name]])),
  })
  if (policy.onUnknown === 'reconcile') {
    throw new InvalidOptionError('onUnknown', "must be 'hold' or 'rerun' here: there is no function to ask")
  }
  return policy
}

/** @throws InvalidOptionError when the value is given and no function */
export function checkFunction(name: string, value: unknown, rule: string): void {
  if (value !== undefined && typeof value !== 'function') throw new InvalidOptionError(name, rule, value)
}
