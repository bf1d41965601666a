/** GraphQL Yoga 5: a plugin. A key belongs to a mutation field; queries and subscriptions pass untouched. */
import type { Execution, SentError, SentResult } from './graphql-answer.ts'
import type { GraphqlDocument, GraphqlSchema, Variables } from './graphql-document.ts'
import {
  mutationGuard,
  type MutationOptions,
  type MutationAnswer,
  type OpenedMutation,
} from './graphql-mutation.ts'
import type { RpcEngine } from './options.ts'

export {
  idempotencyOf,
  idempotentDirective,
  type MutationField,
  type MutationOptions,
} from './graphql-mutation.ts'
export type { IdempotencyContext } from './guard.ts'
export type { GuardOptions, ResultVerdict, RpcEngine } from './options.ts'
export type { RefusalData } from './refusal.ts'

/** What of Yoga's context is used. */
export interface YogaContext {
  readonly request: Request
}

interface ExecutionArguments<Context> {
  readonly schema: GraphqlSchema
  readonly document: GraphqlDocument
  readonly contextValue: Context
  readonly variableValues?: Variables | null | undefined
  readonly operationName?: string | null | undefined
}

// biome-ignore lint/suspicious/noExplicitAny: Yoga's own types of arguments and results
type ExecuteFunction = (args: any) => any

/** The hooks that the plugin uses. */
export interface YogaPlugin<Context> {
  onRequestParse(payload: { readonly request: Request }): {
    onRequestParseDone(payload: { readonly requestParserResult: unknown }): void
  }
  onExecute(payload: {
    // biome-ignore lint/suspicious/noExplicitAny: Yoga's own type of arguments
    readonly args: any
    readonly context: Context
    readonly executeFn: ExecuteFunction
    setExecuteFn(execute: ExecuteFunction): void
    // biome-ignore lint/suspicious/noExplicitAny: Yoga's own type of results
    setResultAndStopExecution(result: any): void
  }): Promise<void>
  onExecutionResult(payload: {
    // biome-ignore lint/suspicious/noExplicitAny: Yoga's own type of results
    readonly result: any
    // biome-ignore lint/suspicious/noExplicitAny: Yoga's own type of results
    setResult(result: any): void
    readonly context: object
  }): Promise<void>
}

/** An operation between its opening and its result. */
interface Running {
  readonly opened: OpenedMutation
  execution: Execution
}

/**
 * Makes mutation fields safe to retry. A field's key is its `@idempotent(key:)`, what the `key` option finds, or, where
 * the operation has one mutation field, the Idempotency-Key field of the request. `idempotencyOf(context, info)` is the
 * attempt. Put the plugin after those that authenticate.
 *
 * @throws InvalidOptionError at construction
 * @example
 * createYoga({ schema, plugins: [idempotent(idem, { principal: ({ context }) => context.user.id })] })
 */
export function idempotent<Context extends object = YogaContext>(
  idem: RpcEngine,
  options: MutationOptions<Context & YogaContext>,
): YogaPlugin<Context & YogaContext> {
  const guard = mutationGuard(idem, options)
  const batched = new WeakSet<Request>()
  const running = new WeakMap<object, Running>()

  return {
    onRequestParse: ({ request }) => ({
      onRequestParseDone({ requestParserResult: parsed }) {
        if (Array.isArray(parsed) && parsed.length > 1) batched.add(request)
      },
    }),

    async onExecute({ args, context, executeFn, setExecuteFn, setResultAndStopExecution }): Promise<void> {
      const { schema, document, operationName, variableValues } = args as ExecutionArguments<Context>
      const { request } = context
      const opened = await guard.open({
        schema,
        document,
        operationName,
        variables: variableValues,
        context,
        header: (name) => request.headers.get(name),
        isBatched: batched.has(request),
      })
      if (opened === undefined) return
      const state: Running = { opened, execution: 'never' }
      running.set(context, state)
      // The answer takes this one's place after the plugins that make results fit to be sent.
      if (opened.kind === 'answer') return setResultAndStopExecution({ data: null })
      setExecuteFn(async (given: ExecutionArguments<Context>): Promise<unknown> => {
        state.execution = 'threw'
        const result: unknown = await executeFn({ ...given, document: opened.document })
        state.execution = 'returned'
        return result
      })
    },

    async onExecutionResult({ result, setResult, context }): Promise<void> {
      const state = running.get(context)
      if (state === undefined) return
      running.delete(context)
      const answer = await answerOf(state, result as SentResult)
      if (answer !== undefined) setResult(withHttp(answer))
    },
  }
}

async function answerOf(
  { opened, execution }: Running,
  result: SentResult,
): Promise<MutationAnswer | undefined> {
  if (opened.kind === 'answer') return opened.answer
  if (Symbol.asyncIterator in result) return await opened.finish('streamed', {}, [])
  const judged = result.errors ?? []
  return await opened.finish(execution, { ...result, errors: judged.map(sentError) }, judged)
}

/** An error as Yoga writes it: without what is meant for the server. */
function sentError(error: SentError): SentError {
  const plain = JSON.parse(JSON.stringify(error)) as SentError
  if (plain.extensions === undefined) return plain
  const { http: _http, unexpected: _unexpected, ...extensions } = plain.extensions
  const { extensions: _all, ...rest } = plain
  return Object.keys(extensions).length === 0 ? rest : { ...rest, extensions }
}

/** Yoga takes status and header fields from the result, and leaves them out of what it writes. */
function withHttp({ result, http }: MutationAnswer): SentResult {
  const { status, headers = [] } = http
  if (status === undefined && headers.length === 0) return result
  const part = { ...(status === undefined ? {} : { status }), headers: Object.fromEntries(headers) }
  return { ...result, extensions: { ...(result.extensions as object | undefined), http: part } }
}
