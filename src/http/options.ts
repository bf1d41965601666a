/** The options that every adapter takes, checked once at construction. */
import { InvalidOptionError } from '../core/errors.ts'
import type { BodyComparison } from '../core/fingerprint.ts'
import type { KeySyntax } from '../core/key.ts'
import { choiceOption, flagOption, refuseUnknownOptions, wholeOption } from '../core/options.ts'
import { resultRule, type ResultVerdict } from '../core/result-rule.ts'
import type { Idempotency } from '../engine/idempotency.ts'
import type { OwnTransactions } from '../engine/own-transactions.ts'
import { type Policy, type PolicyOptions, policyOptionNames } from '../engine/policy.ts'
import type { TransactionOption } from './context.ts'
import { errorsPage } from './problem.ts'

/** The part of an instance that HTTP needs; any `Idempotency` fits. `Tx` is its store's transaction handle. */
export type HttpEngine<Tx = unknown> = Pick<Idempotency<Tx>, 'begin' | 'digest' | 'policy' | 'inTransactions'>

export type { ResultVerdict } from '../core/result-rule.ts'

/** Statuses that may differ between APIs. */
export interface ProblemStatuses {
  /** Another request under the key. Default 422. */
  readonly mismatch: 422 | 409 | 400
  /** The first request is still running. Default 409. */
  readonly inProgress: 409 | 423 | 425
  /** An earlier attempt ended without a known outcome. Default 409. */
  readonly unknown: 409 | 503
  /** The key's outcome is gone and its tombstone refuses another run. Default 422. */
  readonly expired: 422 | 410 | 412
}

export type Preset = 'default' | 'money' | 'ietf' | 'stripe'

type Awaitable<Value> = Value | Promise<Value>

export interface IdempotentOptions<
  Request,
  Transaction extends TransactionOption | undefined = TransactionOption | undefined,
> extends PolicyOptions {
  /**
   * Who asks: a function of the request that returns a tenant or user id, or `'anonymous'` written out for a
   * scope that all callers share. Nobody logged in (`undefined` or `null`) is answered 401; anything else that is
   * no usable string, 500.
   */
  readonly principal: 'anonymous' | ((request: Request) => Awaitable<string | null | undefined>)
  /** Refuse guarded requests without a key. Default `false`. */
  readonly required?: boolean
  /**
   * `money`: key required, a 5xx leaves the outcome unknown, unknown outcomes are held. `ietf`: keys are
   * structured-field strings only. `stripe`: a 5xx is an outcome like any other. Default `'default'`.
   */
  readonly preset?: Preset
  /** Guarded methods. Default `['POST', 'PATCH']`; PUT and DELETE may be added, safe methods may not. */
  readonly methods?: readonly string[]
  /**
   * `principal` (default): a key is one request anywhere, so that its reuse on another endpoint is refused.
   * `endpoint`: keys are independent for each method and path.
   */
  readonly scope?: 'principal' | 'endpoint'
  /** Name of the request field. Default `'Idempotency-Key'`. */
  readonly header?: string
  /** Default `'lenient'`: quoted (RFC 9651) and bare keys, `"k"` and `k` being one key. */
  readonly keySyntax?: KeySyntax
  /** Characters after decoding. Default 1. */
  readonly keyLengthMin?: number
  /** Default 255. */
  readonly keyLengthMax?: number
  /** How bodies are compared. Default `'auto'`: JSON by value, forms by their parts, otherwise octets. */
  readonly bodyCompare?: BodyComparison
  /** Largest request body, in bytes. Default 1 MiB. */
  readonly requestBytesMax?: number
  /**
   * Largest answer that is stored, in bytes. Of a larger one the head is kept; in transaction mode it is refused,
   * and its request rolled back. Default 1 MiB.
   */
  readonly responseBytesMax?: number
  readonly statuses?: Partial<ProblemStatuses>
  /** Name of the field that marks a replay, or `false` for none. Default `'Idempotent-Replayed'`. */
  readonly marker?: string | false
  /** Decides what an answer leaves behind, instead of the preset's rule. */
  readonly result?: (status: number) => ResultVerdict
  /**
   * What happens while the store is down: `refuse` with 503 (default), or `run` unprotected, marked in the answer by
   * `Idempotency-Unprotected` and reported as the event `unprotected`. Never with `required`.
   */
  readonly onStoreError?: 'refuse' | 'run'
  /**
   * Transaction mode: the handler gets a transaction as `idempotency.tx`, what it writes through that commits
   * together with the record, and its answer leaves only after the commit. `true`: the store opens the transaction.
   * Or what opens your own: `drizzleTransactions(db)` and its like. Default `false`: the handler runs under a lease.
   */
  readonly transaction?: Transaction
  /** Page whose `#<code>` anchors explain the errors. Default: the errors page of this package. */
  readonly documentation?: string
}

/** What the protocol works with: options, checked and filled. */
export interface GuardOptions {
  readonly required: boolean
  readonly methods: ReadonlySet<string>
  readonly scope: 'principal' | 'endpoint'
  /** In lower case. */
  readonly header: string
  readonly keySyntax: KeySyntax
  readonly keyLimits: { readonly lengthMin: number; readonly lengthMax: number }
  readonly bodyCompare: BodyComparison
  readonly requestBytesMax: number
  readonly responseBytesMax: number
  readonly statuses: ProblemStatuses
  readonly marker: string | false
  readonly result: (status: number) => ResultVerdict
  readonly onStoreError: 'refuse' | 'run'
  /** Nothing of an answer may leave before its attempt is settled: that commits the transaction. */
  readonly transaction: boolean
  readonly documentation: string
}

const mebibyte = 1024 * 1024
const bodyBytesMax = 256 * mebibyte

export const defaultGuardOptions: GuardOptions = {
  required: false,
  methods: new Set(['POST', 'PATCH']),
  scope: 'principal',
  header: 'idempotency-key',
  keySyntax: 'lenient',
  keyLimits: { lengthMin: 1, lengthMax: 255 },
  bodyCompare: 'auto',
  requestBytesMax: mebibyte,
  responseBytesMax: mebibyte,
  statuses: { mismatch: 422, inProgress: 409, unknown: 409, expired: 422 },
  marker: 'Idempotent-Replayed',
  result: resultRule('release'),
  onStoreError: 'refuse',
  transaction: false,
  documentation: errorsPage,
}

interface PresetOptions {
  readonly guard: Partial<GuardOptions>
  readonly policy: PolicyOptions
}

const presets: Readonly<Record<Preset, PresetOptions>> = {
  default: { guard: {}, policy: {} },
  money: { guard: { required: true, result: resultRule('unknown') }, policy: { onUnknown: 'hold' } },
  ietf: { guard: { keySyntax: 'strict' }, policy: {} },
  stripe: { guard: { result: resultRule('keep') }, policy: {} },
}

const optionNames = [
  'principal',
  'required',
  'preset',
  'methods',
  'scope',
  'header',
  'keySyntax',
  'keyLengthMin',
  'keyLengthMax',
  'bodyCompare',
  'requestBytesMax',
  'responseBytesMax',
  'statuses',
  'marker',
  'result',
  'onStoreError',
  'transaction',
  'documentation',
  ...policyOptionNames,
]

const statusChoices: Readonly<Record<keyof ProblemStatuses, readonly number[]>> = {
  mismatch: [422, 409, 400],
  inProgress: [409, 423, 425],
  unknown: [409, 503],
  expired: [422, 410, 412],
}

const guardableMethods = ['POST', 'PATCH', 'PUT', 'DELETE']
const fieldName = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}$/

/** Checked options, with the policy that they and the instance make. */
export interface ResolvedOptions<Request> {
  /** Begins attempts: under a lease, or in a transaction. */
  readonly engine: Pick<HttpEngine, 'begin' | 'digest'>
  readonly guard: GuardOptions
  readonly policy: Policy
  readonly principal: IdempotentOptions<Request>['principal']
}

/**
 * Checks options and fills what is not given.
 *
 * @throws InvalidOptionError naming option, rule and value
 */
export function resolveOptions<Request>(
  engine: HttpEngine,
  options: IdempotentOptions<Request>,
): ResolvedOptions<Request> {
  if (typeof options !== 'object' || options === null) {
    throw new InvalidOptionError('options', 'must be an object with a principal', options)
  }
  refuseUnknownOptions('idempotent', options, optionNames)
  const { principal } = options
  if (principal !== 'anonymous' && typeof principal !== 'function') {
    const rule = "must be a function of the request that returns who asks, or 'anonymous' written out"
    throw new InvalidOptionError('principal', rule, principal)
  }
  const preset =
    presets[choiceOption('preset', options.preset, ['default', 'money', 'ietf', 'stripe']) ?? 'default']
  const guard = guardOf(options, preset.guard)
  return {
    engine: engineOf(engine, options.transaction, guard),
    guard,
    policy: policyOf(engine, options, preset.policy),
    principal,
  }
}

function guardOf<Request>(options: IdempotentOptions<Request>, preset: Partial<GuardOptions>): GuardOptions {
  const base = { ...defaultGuardOptions, ...preset }
  const required = flagOption('required', options.required) ?? base.required
  const onStoreError =
    choiceOption('onStoreError', options.onStoreError, ['refuse', 'run']) ?? base.onStoreError
  if (required && onStoreError === 'run') {
    throw new InvalidOptionError('onStoreError', "must not be 'run' where a key is required")
  }
  return {
    required,
    onStoreError,
    transaction: options.transaction !== undefined && options.transaction !== false,
    methods: methodsOf(options.methods) ?? base.methods,
    scope: choiceOption('scope', options.scope, ['principal', 'endpoint']) ?? base.scope,
    header: (field('header', options.header) ?? base.header).toLowerCase(),
    keySyntax: choiceOption('keySyntax', options.keySyntax, ['lenient', 'strict', 'raw']) ?? base.keySyntax,
    keyLimits: keyLimitsOf(options),
    bodyCompare:
      choiceOption('bodyCompare', options.bodyCompare, ['auto', 'octets', 'none']) ?? base.bodyCompare,
    requestBytesMax:
      wholeOption('requestBytesMax', options.requestBytesMax, 0, bodyBytesMax) ?? base.requestBytesMax,
    responseBytesMax:
      wholeOption('responseBytesMax', options.responseBytesMax, 0, bodyBytesMax) ?? base.responseBytesMax,
    statuses: { ...base.statuses, ...statusesOf(options.statuses) },
    marker: options.marker === false ? false : (field('marker', options.marker) ?? base.marker),
    result: resultOf(options.result) ?? base.result,
    documentation: pageOf(options.documentation) ?? base.documentation,
  }
}

/** @throws InvalidOptionError also where the store joins no transaction */
function engineOf(
  engine: HttpEngine,
  transaction: TransactionOption | undefined,
  { onStoreError, result }: GuardOptions,
): Pick<HttpEngine, 'begin' | 'digest'> {
  if (transaction === undefined || transaction === false) return engine
  if (onStoreError === 'run') {
    throw new InvalidOptionError('onStoreError', "must not be 'run' with transaction: there would be none")
  }
  // A handler that threw half way is answered 500 by its framework.
  if (result(500) === 'keep') {
    throw new InvalidOptionError(
      'result',
      'must not keep a 500 with transaction: half of an effect would commit',
    )
  }
  const own = transaction === true ? undefined : ownOf(transaction)
  const { begin } = own === undefined ? engine.inTransactions() : engine.inTransactions(own)
  return { begin, digest: engine.digest }
}

function ownOf(transaction: OwnTransactions<unknown>): OwnTransactions<unknown> {
  if (typeof transaction?.transaction === 'function' && typeof transaction.join === 'function')
    return transaction
  const rule =
    'must be true, false, or an object with the functions transaction and join, as drizzleTransactions(db) makes'
  throw new InvalidOptionError('transaction', rule, transaction)
}

function policyOf<Request>(
  engine: HttpEngine,
  options: IdempotentOptions<Request>,
  preset: PolicyOptions,
): Policy {
  const given = policyOptionNames.filter((name) => options[name] !== undefined)
  const chosen = Object.fromEntries(given.map((name) => [name, options[name]]))
  const policy = engine.policy({ ...preset, ...chosen })
  if (policy.onUnknown === 'reconcile') {
    throw new InvalidOptionError(
      'onUnknown',
      "must be 'hold' or 'rerun' over HTTP: there is no function to ask",
    )
  }
  return policy
}

function field(name: string, value: string | undefined): string | undefined {
  if (value === undefined || (typeof value === 'string' && fieldName.test(value))) return value
  throw new InvalidOptionError(name, 'must be a field name of at most 64 characters', value)
}

function methodsOf(methods: readonly string[] | undefined): ReadonlySet<string> | undefined {
  if (methods === undefined) return undefined
  const fit = Array.isArray(methods) && methods.length > 0
  if (fit && methods.every((method) => guardableMethods.includes(method as string))) return new Set(methods)
  throw new InvalidOptionError('methods', `must name some of ${guardableMethods.join(', ')}`, methods)
}

function keyLimitsOf(
  options: Pick<IdempotentOptions<never>, 'keyLengthMin' | 'keyLengthMax'>,
): GuardOptions['keyLimits'] {
  const { lengthMin, lengthMax } = defaultGuardOptions.keyLimits
  const max = wholeOption('keyLengthMax', options.keyLengthMax, 1, lengthMax) ?? lengthMax
  return { lengthMin: wholeOption('keyLengthMin', options.keyLengthMin, 1, max) ?? lengthMin, lengthMax: max }
}

function statusesOf(statuses: Partial<ProblemStatuses> | undefined): Partial<ProblemStatuses> {
  if (statuses === undefined) return {}
  refuseUnknownOptions('statuses', statuses, Object.keys(statusChoices))
  for (const [name, value] of Object.entries(statuses)) {
    const allowed = statusChoices[name as keyof ProblemStatuses]
    if (!allowed.includes(value)) {
      throw new InvalidOptionError(`statuses.${name}`, `must be ${allowed.join(' or ')}`, value)
    }
  }
  return statuses
}

function resultOf(result: unknown): GuardOptions['result'] | undefined {
  if (result === undefined) return undefined
  if (typeof result === 'function') return result as GuardOptions['result']
  throw new InvalidOptionError(
    'result',
    "must be a function of the status that returns 'keep', 'release' or 'unknown'",
  )
}

/** Visible ASCII without what would end the URL in a Link field (RFC 8288, section 3) or begin a fragment. */
const pageCharacters = /^[!$-;=?-~]+$/

function pageOf(page: string | undefined): string | undefined {
  if (page === undefined) return undefined
  if (typeof page === 'string' && pageCharacters.test(page) && URL.canParse(page)) return page
  throw new InvalidOptionError('documentation', 'must be a URL in ASCII without a fragment', page)
}
