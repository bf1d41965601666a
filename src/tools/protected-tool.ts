/** A tool's work under a key: what MCP servers and the AI SDK share. */
import { InvalidOptionError, InvalidPrincipalError } from '../core/errors.ts'
import { refuseUnknownOptions } from '../core/options.ts'
import type { Idempotency } from '../engine/idempotency.ts'
import type { AttemptResult, ErrorVerdict, OperationRun, Reconciliation } from '../engine/operation.ts'
import { type PolicyOptions, policyOptionNames } from '../engine/policy.ts'

/** The part of an instance that tools need; any `Idempotency` fits. */
export type ToolEngine = Pick<Idempotency, 'operation' | 'digest'>

/** Options of every protected tool. `Request` is what the framework gives a tool beside its input. */
export interface ToolOptions<Input, Request, Output> extends PolicyOptions {
  /** The operation's name, part of the scope: usually the tool's. */
  readonly operation: string
  /** Who asks: a function that returns a user or tenant, or `'anonymous'` written out for one shared scope. */
  readonly principal: 'anonymous' | ((request: Request) => string | null | undefined)
  /** The part of the input that makes two calls the same. Default: all of it but the key. */
  readonly fingerprint?: (input: Input) => unknown
  /**
   * What a throwing handler leaves behind. Default `'release'`, and `'unknown'` once the request was cancelled: what
   * was under way then may have taken effect.
   */
  readonly onError?: ErrorVerdict | ((error: unknown) => ErrorVerdict)
  /** Asked when the outcome of an earlier attempt is unknown; required by `onUnknown: 'reconcile'`. */
  readonly reconcile?: (input: Input, run: OperationRun) => Promise<Reconciliation<Output>>
}

const toolOptionNames = [
  'operation',
  'principal',
  'fingerprint',
  'onError',
  'reconcile',
  ...policyOptionNames,
]

/** One call of a tool. */
export interface ToolCall<Input, Request> {
  readonly key: string
  readonly input: Input
  readonly request: Request
  /** Aborted when whoever asked no longer wants the answer. */
  readonly signal: AbortSignal | undefined
}

/** A handler's output that is given to this caller and is not the outcome. */
export class NotKept<Output> {
  readonly output: Output
  readonly verdict: ErrorVerdict

  constructor(output: Output, verdict: ErrorVerdict) {
    this.output = output
    this.verdict = verdict
  }
}

/** How a call ended: as the operation did, or with an output that was not kept. */
export type ToolEnd<Output> = AttemptResult<Output> | { readonly kind: 'not-kept'; readonly output: Output }

/**
 * Checks options and returns what runs a call once for its key.
 *
 * @param where the exported function's name, for messages
 * @param ownNames options beside `ToolOptions`
 * @param compared what is compared where the options give no `fingerprint`
 * @throws InvalidOptionError naming option, rule and value
 */
export function protectedTool<Input, Request, Output>(
  idem: ToolEngine,
  where: string,
  options: ToolOptions<Input, Request, Output>,
  ownNames: readonly string[],
  compared: (input: Input) => unknown,
  handler: (call: ToolCall<Input, Request>, run: OperationRun) => Promise<Output | NotKept<Output>>,
): (call: ToolCall<Input, Request>) => Promise<ToolEnd<Output>> {
  refuseUnknownOptions(where, options, [...toolOptionNames, ...ownNames])
  const { operation: name, principal, fingerprint = compared, onError, reconcile } = options
  if (principal !== 'anonymous' && typeof principal !== 'function') {
    const rule = "must be a function that returns who asks, or 'anonymous' written out"
    throw new InvalidOptionError('principal', rule, principal)
  }
  const operation = idem.operation<ToolCall<Input, Request>, Output>(
    name,
    {
      ...policyOptionsOf(options),
      fingerprint: ({ input }) => fingerprint(input),
      onError(error): ErrorVerdict {
        if (error instanceof WithoutOutcome) return error.verdict
        return typeof onError === 'function' ? onError(error) : (onError ?? 'release')
      },
      ...(reconcile === undefined ? {} : { reconcile: ({ input }, run) => reconcile(input, run) }),
    },
    async (call, run) => {
      let output: Output | NotKept<Output>
      try {
        output = await handler(call, run)
      } catch (error) {
        const brokenOff = onError === undefined && call.signal?.aborted === true
        throw brokenOff ? new WithoutOutcome(error, 'unknown') : error
      }
      if (output instanceof NotKept) throw new WithoutOutcome(output, output.verdict)
      return output
    },
  )
  return async (call) => {
    const { key, request, signal } = call
    const asked = { key, principal: whoAsks(principal, request), input: call }
    try {
      return await operation.attempt(signal === undefined ? asked : { ...asked, signal })
    } catch (error) {
      if (!(error instanceof WithoutOutcome)) throw error
      if (error.cause instanceof NotKept) return { kind: 'not-kept', output: error.cause.output as Output }
      throw error.cause
    }
  }
}

/** What a handler left instead of an outcome, on its way through the engine. */
class WithoutOutcome extends Error {
  readonly verdict: ErrorVerdict

  constructor(cause: unknown, verdict: ErrorVerdict) {
    super('The handler left no outcome.', { cause })
    this.verdict = verdict
  }
}

function policyOptionsOf(options: PolicyOptions): PolicyOptions {
  const given = policyOptionNames.filter((name) => options[name] !== undefined)
  return Object.fromEntries(given.map((name) => [name, options[name]]))
}

function whoAsks<Request>(
  principal: 'anonymous' | ((request: Request) => string | null | undefined),
  request: Request,
): string {
  if (principal === 'anonymous') return principal
  const asked = principal(request)
  if (asked === undefined || asked === null) throw new InvalidPrincipalError('is missing')
  return asked
}
