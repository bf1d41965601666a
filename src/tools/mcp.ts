/** Tools of a Model Context Protocol server (`@modelcontextprotocol/sdk`). */
import { digestOf } from '../core/bytes.ts'
import { InvalidOptionError, MalformedKeyError, MissingKeyError } from '../core/errors.ts'
import { asOperationResult, type ErrorVerdict, type OperationRun } from '../engine/operation.ts'
import { NotKept, protectedTool, type ToolCall, type ToolEngine, type ToolOptions } from './protected-tool.ts'
import { refusalOf } from './refusal.ts'

export type { ToolEngine, ToolOptions } from './protected-tool.ts'

/** The part of what the SDK gives a tool callback beside its arguments that is used. */
export interface McpExtra {
  readonly signal: AbortSignal
  readonly sessionId?: string | undefined
  readonly requestId: string | number
  readonly _meta?: Readonly<Record<string, unknown>> | undefined
}

/** The part of a `CallToolResult` that is used. */
export interface McpToolResult {
  [member: string]: unknown
  isError?: boolean | undefined
  _meta?: Record<string, unknown> | undefined
}

/** The answer to a call that did not run, as a result that a model can read. */
export interface McpRefusal {
  [member: string]: unknown
  content: { type: 'text'; text: string }[]
  isError: true
  _meta: Record<string, unknown>
}

/** What becomes of a call without a key. */
export type MissingKey =
  /** It is refused, and told to come with one. */
  | 'refuse'
  /** It runs unprotected. */
  | 'run'
  /**
   * The session's id and the id of the JSON-RPC request are the key. That protects against a message that is sent
   * twice, and against nothing else: a client that calls the tool again sends a new id.
   */
  | 'request'

/** Options of `idempotentTool`. */
export interface McpToolOptions<Args, Extra, Result> extends ToolOptions<Args, Extra, Result> {
  /**
   * Name of the member of `_meta` that carries the key. Default `'idempotency-key'`. The member `idempotencyKey` is
   * read as well.
   */
  readonly meta?: string
  /** Name of the argument that carries the key where `_meta` has none. Default: no argument does. */
  readonly argument?: keyof Args & string
  /** Default `'refuse'`. */
  readonly missingKey?: MissingKey
  /**
   * What a result with `isError` leaves behind: the model is told of the failure in any case. Default `'release'`: the
   * next call runs.
   */
  readonly errorResult?: ErrorVerdict | ((result: Result) => ErrorVerdict)
}

const metaDefault = 'idempotency-key'
const proposedMeta = 'idempotencyKey'
/** Marks of ours in `_meta`. */
const replayedMark = 'retrysafe/replayed'
const codeMark = 'retrysafe/code'
const retryAfterMark = 'retrysafe/retryAfterMs'

/**
 * Runs a tool once for each key. A further call with the key gets the first result, with `retrysafe/replayed` in its
 * `_meta`; a call that may not run gets a result with `isError` that tells the model what to do, and the stable code
 * as `retrysafe/code` in its `_meta`.
 *
 * A tool without input needs `inputSchema: {}`, so that the SDK passes both arguments.
 *
 * @throws InvalidOptionError at construction
 * @example
 * server.registerTool('refund', { inputSchema: { charge: z.string() } }, idempotentTool(
 *   idem,
 *   { operation: 'refund', principal: (extra) => extra.authInfo?.clientId },
 *   async ({ charge }, extra, run) => ({ content: [{ type: 'text', text: await refund(charge) }] }),
 * ))
 */
export function idempotentTool<Args, Extra extends McpExtra, Result extends McpToolResult>(
  idem: ToolEngine,
  options: McpToolOptions<Args, Extra, Result>,
  handler: (args: Args, extra: Extra, run: OperationRun | undefined) => Result | Promise<Result>,
): (args: Args, extra: Extra) => Promise<Result | McpRefusal> {
  const { argument, errorResult = 'release', missingKey = 'refuse' } = options
  const readKey = keyReader<Args, Extra>(
    idem,
    checkedMeta(options.meta),
    argument,
    checkedMissing(missingKey),
  )
  const ownNames = ['meta', 'argument', 'missingKey', 'errorResult']
  const compared = (args: Args): unknown => (argument === undefined ? args : without(args, argument))
  const work = async (
    { input, request }: ToolCall<Args, Extra>,
    run: OperationRun,
  ): Promise<Result | NotKept<Result>> => {
    const result = await handler(input, request, run)
    if (result.isError !== true) return result
    const verdict = typeof errorResult === 'function' ? errorResult(result) : errorResult
    return verdict === 'keep' ? result : new NotKept(result, verdict)
  }
  const call = protectedTool(idem, 'idempotentTool', options, ownNames, compared, work)

  return async (args, extra) => {
    try {
      const key = readKey(args, extra)
      if (key === undefined) return await handler(args, extra, undefined)
      const ended = await call({ key, input: args, request: extra, signal: extra.signal })
      if (ended.kind === 'not-kept') return ended.output
      const { value, replayed } = asOperationResult(ended)
      return replayed ? { ...value, _meta: { ...value._meta, [replayedMark]: true } } : value
    } catch (error) {
      return refused(error)
    }
  }
}

/** @throws what is no refusal: the SDK makes a result with `isError` of it */
function refused(error: unknown): McpRefusal {
  const refusal = refusalOf(error)
  if (refusal === undefined) throw error
  const { code, text, retryAfterMs } = refusal
  return {
    content: [{ type: 'text', text }],
    isError: true,
    _meta: { [codeMark]: code, ...(retryAfterMs === undefined ? {} : { [retryAfterMark]: retryAfterMs }) },
  }
}

/** `undefined`: run unprotected. */
function keyReader<Args, Extra extends McpExtra>(
  idem: ToolEngine,
  meta: string,
  argument: (keyof Args & string) | undefined,
  missingKey: MissingKey,
): (args: Args, extra: Extra) => string | undefined {
  return (args, { _meta = {}, sessionId, requestId }) => {
    const given = _meta[meta] ?? _meta[proposedMeta] ?? (argument === undefined ? undefined : args[argument])
    if (given !== undefined && given !== null) {
      if (typeof given !== 'string') throw new MalformedKeyError('It is not a string.')
      return given
    }
    if (missingKey === 'run') return undefined
    // Without a session the ids of all clients begin at the same number.
    if (missingKey === 'refuse' || sessionId === undefined) throw new MissingKeyError()
    return digestOf(idem.digest, ['mcp-request', sessionId, typeof requestId, String(requestId)])
  }
}

function without(args: unknown, argument: string): unknown {
  const { [argument]: _, ...rest } = args as Record<string, unknown>
  return rest
}

function checkedMeta(meta: string = metaDefault): string {
  if (typeof meta === 'string' && meta.trim() !== '') return meta
  throw new InvalidOptionError('meta', 'must be the name of a member of _meta', meta)
}

function checkedMissing(missingKey: MissingKey): MissingKey {
  if (['refuse', 'run', 'request'].includes(missingKey)) return missingKey
  throw new InvalidOptionError('missingKey', "must be 'refuse', 'run' or 'request'", missingKey)
}
