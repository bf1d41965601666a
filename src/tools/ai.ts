/** Tools of the AI SDK (`ai`): what `tool({ execute })` takes. */
import { digestOf } from '../core/bytes.ts'
import { InvalidOptionError, MissingKeyError } from '../core/errors.ts'
import { asOperationResult, type OperationRun } from '../engine/operation.ts'
import { protectedTool, type ToolEngine, type ToolOptions } from './protected-tool.ts'

export type { ToolEngine, ToolOptions } from './protected-tool.ts'

/** The part of the options of `execute` that is used. */
export interface AiExecution {
  readonly toolCallId: string
  readonly abortSignal?: AbortSignal | undefined
}

/** Where the key comes from: one of the two. */
type AiKey<Input, Execution> =
  | {
      /**
       * The key is the tool call's id within this conversation: ids are the provider's, and unique in its own
       * responses only.
       */
      readonly conversation: string | ((execution: Execution) => string)
      readonly key?: undefined
    }
  | {
      /** The key is the caller's intention, such as an order's id: also a model that calls again has the same. */
      readonly key: (input: Input, execution: Execution) => string | undefined
      readonly conversation?: undefined
    }

/** Options of `idempotentTool`. */
export type AiToolOptions<Input, Execution, Output> = ToolOptions<Input, Execution, Output> &
  AiKey<Input, Execution>

/**
 * Runs a tool once for each tool call, or for each key that its input names. A further execution gets the first
 * output. What keeps it from running is thrown as a coded error, which the SDK hands to the model as the tool's error.
 *
 * A handler returns its output, not a stream of preliminary ones.
 *
 * @throws InvalidOptionError at construction
 * @example
 * const refund = tool({
 *   inputSchema: z.object({ charge: z.string() }),
 *   execute: idempotentTool(idem, { operation: 'refund', principal: () => user.id, conversation: chat.id },
 *     async ({ charge }: { charge: string }) => provider.refund(charge)),
 * })
 */
export function idempotentTool<Input, Output, Execution extends AiExecution = AiExecution>(
  idem: ToolEngine,
  options: AiToolOptions<Input, Execution, Output>,
  handler: (input: Input, execution: Execution, run: OperationRun) => Output | Promise<Output>,
): (input: Input, execution: Execution) => Promise<Output> {
  const readKey = keyReader(idem, options)
  const call = protectedTool<Input, Execution, Output>(
    idem,
    'idempotentTool',
    options,
    ['conversation', 'key'],
    (input) => input,
    async ({ input, request }, run) => await handler(input, request, run),
  )
  return async (input, execution) => {
    const key = readKey(input, execution)
    const ended = await call({ key, input, request: execution, signal: execution.abortSignal })
    if (ended.kind === 'not-kept') return ended.output
    return asOperationResult(ended).value
  }
}

function keyReader<Input, Execution extends AiExecution>(
  idem: ToolEngine,
  options: AiKey<Input, Execution>,
): (input: Input, execution: Execution) => string {
  const { conversation, key } = options
  if ((conversation === undefined) === (key === undefined)) {
    throw new InvalidOptionError('conversation', 'or key must be given, and not both')
  }
  if (key !== undefined) {
    if (typeof key !== 'function') throw new InvalidOptionError('key', 'must be a function of the input', key)
    return (input, execution) => {
      const given = key(input, execution)
      if (given === undefined || given === '') throw new MissingKeyError()
      return given
    }
  }
  if (typeof conversation !== 'function' && (typeof conversation !== 'string' || conversation === '')) {
    throw new InvalidOptionError('conversation', 'must be an id, or a function that returns it', conversation)
  }
  return (_input, execution) => {
    const scope = typeof conversation === 'function' ? conversation(execution) : conversation
    if (typeof scope !== 'string' || scope === '' || execution.toolCallId === '') throw new MissingKeyError()
    return digestOf(idem.digest, ['tool-call', scope, execution.toolCallId])
  }
}
