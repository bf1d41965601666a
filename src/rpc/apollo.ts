/** Apollo Server 5 and 4: a plugin. A key belongs to a mutation field; queries pass untouched. */
import type { Execution, SentError, SentResult } from './graphql-answer.ts'
import type { GraphqlDocument, GraphqlSchema, Variables } from './graphql-document.ts'
import {
  mutationGuard,
  type MutationAnswer,
  type MutationOptions,
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

interface ResponseHead {
  status?: number
  readonly headers: Map<string, string>
}

/** What of a request of Apollo Server is used. */
export interface ApolloRequestContext<Context> {
  readonly schema: object
  readonly document?: object
  readonly contextValue: Context
  readonly request: {
    readonly operationName?: string | undefined
    readonly variables?: Variables | undefined
    readonly http?: { readonly headers: { get(name: string): string | undefined } } | undefined
  }
  readonly errors?: readonly unknown[] | undefined
  readonly requestIsBatched: boolean
  // biome-ignore lint/suspicious/noExplicitAny: Apollo's own types of heads and bodies
  readonly response: { readonly http: any; readonly body?: any }
}

/** The hooks that the plugin uses. */
export interface ApolloPlugin<Context> {
  requestDidStart(request: ApolloRequestContext<Context>): Promise<{
    // biome-ignore lint/suspicious/noExplicitAny: Apollo's own type of responses
    responseForOperation(request: ApolloRequestContext<Context>): Promise<any>
    executionDidStart(): Promise<{ executionDidEnd(error?: Error): Promise<void> }>
    willSendResponse(request: ApolloRequestContext<Context>): Promise<void>
  }>
  unexpectedErrorProcessingRequest(failed: {
    readonly requestContext: ApolloRequestContext<Context>
  }): Promise<void>
}

/** An operation between its opening and its response. */
interface Running {
  readonly opened: Extract<OpenedMutation, { kind: 'run' }>
  execution: Execution
}

/**
 * Makes mutation fields safe to retry. A field's key is its `@idempotent(key:)`, what the `key` option finds, or, where
 * the operation has one mutation field, the Idempotency-Key field of the request. `idempotencyOf(context, info)` is the
 * attempt.
 *
 * @throws InvalidOptionError at construction
 * @example
 * new ApolloServer({ typeDefs, resolvers, plugins: [idempotent(idem, { principal: ({ context }) => context.user.id })] })
 */
export function idempotent<Context extends object>(
  idem: RpcEngine,
  options: MutationOptions<Context>,
): ApolloPlugin<Context> {
  const guard = mutationGuard(idem, options)
  const running = new WeakMap<object, Running>()

  return {
    async requestDidStart(started) {
      return {
        async responseForOperation(request): Promise<unknown> {
          const { schema, document, contextValue } = request
          const { operationName, variables, http } = request.request
          const opened = await guard.open({
            schema: schema as GraphqlSchema,
            document: document as GraphqlDocument,
            operationName,
            variables,
            context: contextValue,
            header: (name) => http?.headers.get(name.toLowerCase()),
            isBatched: request.requestIsBatched,
          })
          if (opened === undefined) return null
          if (opened.kind === 'answer') return responseOf(opened.answer)
          running.set(started, { opened, execution: 'never' })
          // Apollo executes what stands here.
          Object.assign(request, { document: opened.document })
          return null
        },

        async executionDidStart() {
          const state = running.get(started)
          if (state !== undefined) state.execution = 'threw'
          return {
            async executionDidEnd(error): Promise<void> {
              if (state !== undefined && error === undefined) state.execution = 'returned'
            },
          }
        },

        async willSendResponse(request): Promise<void> {
          const { response, errors = [] } = request
          const body = response.body as ResponseBody
          const state = taken(started)
          if (state === undefined) return
          const isWhole = body.kind === 'single'
          const execution = isWhole ? state.execution : 'streamed'
          const result = isWhole ? body.singleResult : {}
          const answer = await state.opened.finish(execution, result, errors as SentError[])
          if (answer === undefined) return
          const { body: whole, http } = responseOf(answer)
          Object.assign(response, { body: whole })
          applyTo(response.http as ResponseHead, http)
        },
      }
    },

    async unexpectedErrorProcessingRequest({ requestContext }): Promise<void> {
      const state = taken(requestContext)
      await state?.opened.finish(state.execution, {}, [])
    },
  }

  function taken(request: object): Running | undefined {
    const state = running.get(request)
    running.delete(request)
    return state
  }
}

type ResponseBody =
  | { readonly kind: 'single'; readonly singleResult: SentResult }
  | { readonly kind: 'incremental' }

interface ApolloResponse {
  readonly http: ResponseHead
  readonly body: ResponseBody
}

function responseOf({ result, http }: MutationAnswer): ApolloResponse {
  const { status, headers = [] } = http
  return {
    http: { ...(status === undefined ? {} : { status }), headers: new Map(headers) },
    body: { kind: 'single', singleResult: result },
  }
}

function applyTo(head: ResponseHead, { status, headers }: ResponseHead): void {
  if (status !== undefined) head.status = status
  for (const [name, value] of headers) head.headers.set(name.toLowerCase(), value)
}
