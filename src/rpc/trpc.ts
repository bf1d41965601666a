/** tRPC 11: a middleware for mutations. A key belongs to a procedure call, so batched calls stay apart. */
import type { GuardedRun } from '../engine/guarded-run.ts'
import type { IdempotencyContext } from './guard.ts'
import { keyOfCall, writeKeyList } from './key-field.ts'
import type { CallOptions, RpcEngine } from './options.ts'
import { type Produced, procedureGuard } from './procedure.ts'
import { type Refusal, type RefusalData, refusalData } from './refusal.ts'

export type { IdempotencyContext } from './guard.ts'
export type { CallOptions, GuardOptions, ResultVerdict, RpcEngine } from './options.ts'
export type { RefusalData } from './refusal.ts'

/**
 * What the middleware adds to the context.
 *
 * @example
 * interface Context extends TrpcIdempotency { user: User }
 * const t = initTRPC.context<Context>().create()
 */
export interface TrpcIdempotency {
  /** The attempt under which this call runs; absent where it is not protected. */
  readonly idempotency?: IdempotencyContext | undefined
}

/** The result of tRPC's `next`. */
export type TrpcResult =
  | { readonly marker: Marker; ok: true; data: unknown }
  | { readonly marker: Marker; ok: false; error: ProcedureError }

type Marker = 'middlewareMarker' & { __brand: 'middlewareMarker' }

/** The members of tRPC's error that are used. */
interface ProcedureError extends Error {
  readonly code: TrpcCode
  readonly cause?: Error
}

/** A procedure call, as tRPC hands it to middlewares. */
export interface TrpcCall<Ctx, Input> {
  readonly ctx: Ctx
  /** As the validators that ran before the middleware left it. */
  readonly input: Input
  /** The procedure's path, such as `charge.create`. */
  readonly path: string
  readonly type: 'query' | 'mutation' | 'subscription'
  /** The index of this call in a batch. */
  readonly batchIndex: number
  readonly meta: unknown
  /** The input as the client sent it. */
  readonly getRawInput: () => Promise<unknown>
}

/** tRPC's `next`, as far as it is used. */
export interface TrpcNext {
  (): Promise<TrpcResult>
  (added: { ctx: TrpcIdempotency }): Promise<TrpcResult>
}

/**
 * Makes mutations safe to retry; queries and subscriptions pass untouched. Mount it after authentication and after
 * `.input(..)`, so that `key` sees the parsed input. `ctx.idempotency` is the attempt.
 *
 * @throws InvalidOptionError at construction
 * @example
 * const charge = t.procedure
 *   .input(z.object({ requestId: z.string(), amount: z.number() }))
 *   .use(idempotent(idem, { principal: ({ ctx }) => ctx.user.id, key: ({ input }) => input.requestId }))
 *   .mutation(({ input, ctx }) => provider.pay(input, { idempotencyKey: ctx.idempotency?.downstreamKey('pay') }))
 */
export function idempotent<Ctx, Input>(
  idem: RpcEngine,
  options: CallOptions<TrpcCall<Ctx, Input>>,
): (call: TrpcCall<Ctx, Input> & { readonly next: TrpcNext }) => Promise<TrpcResult> {
  const guard = procedureGuard(idem, 'trpc', options)
  return async (call) => {
    const { next, type, path } = call
    if (type !== 'mutation' || isInside(call.ctx, path)) return await next()
    const work = async (run: GuardedRun | undefined): Promise<Produced<TrpcResult>> => {
      if (run !== undefined) runs.set(run, path)
      return asProduced(await next({ ctx: { idempotency: run } }))
    }
    const end = await guard.run(call, path, call.getRawInput, work)
    switch (end.kind) {
      case 'passed':
      case 'executed':
        return end.result
      case 'replay':
        return asResult(end.value as StoredResult)
      case 'refused':
        throw new CallError(refusalCodes[end.refusal.status], end.refusal.error.message, end.refusal)
      default:
        return end satisfies never
    }
  }
}

/** The path under which each attempt runs: a second layer in front of the same call lets it through. */
const runs = new WeakMap<object, string>()

function isInside(ctx: unknown, path: string): boolean {
  const { idempotency } = (ctx ?? {}) as Partial<TrpcIdempotency>
  return idempotency !== undefined && runs.get(idempotency) === path
}

/** What is stored of a result: the value before any transformer, so that a replay goes through it as the first did. */
type StoredResult =
  | { readonly ok: true; readonly data: unknown }
  | { readonly ok: false; readonly error: { readonly code: TrpcCode; readonly message: string } }

function asProduced(result: TrpcResult): Produced<TrpcResult> {
  if (result.ok) return { result, status: 200, value: { ok: true, data: result.data } }
  const { code, message } = result.error
  const value: StoredResult = { ok: false, error: { code, message } }
  return { result, status: failedInput(result.error) ? 500 : (statuses[code] ?? 500), value }
}

/** The handler of an input that did not pass never ran; the parser will say the same again, with all its issues. */
function failedInput(error: { readonly code: string; readonly cause?: unknown }): boolean {
  const { issues } = (error.cause ?? {}) as { issues?: unknown }
  return error.code === 'BAD_REQUEST' && Array.isArray(issues)
}

function asResult(stored: StoredResult): TrpcResult {
  if (!stored.ok) throw new CallError(stored.error.code, stored.error.message)
  return { marker: 'middlewareMarker' as Marker, ok: true, data: stored.data }
}

/** tRPC takes an error of this name for one of its own, also across copies of the package. */
class CallError extends Error {
  override readonly name = 'TRPCError' as const
  readonly code: TrpcCode
  readonly refusal: RefusalData | undefined

  constructor(code: TrpcCode, message: string, refusal?: Refusal) {
    super(message, refusal === undefined ? undefined : { cause: refusal.error })
    this.code = code
    this.refusal = refusal === undefined ? undefined : refusalData(refusal)
  }
}

const statuses = {
  PARSE_ERROR: 400,
  BAD_REQUEST: 400,
  UNAUTHORIZED: 401,
  PAYMENT_REQUIRED: 402,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  METHOD_NOT_SUPPORTED: 405,
  TIMEOUT: 408,
  CONFLICT: 409,
  PRECONDITION_FAILED: 412,
  PAYLOAD_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  UNPROCESSABLE_CONTENT: 422,
  PRECONDITION_REQUIRED: 428,
  TOO_MANY_REQUESTS: 429,
  CLIENT_CLOSED_REQUEST: 500,
  INTERNAL_SERVER_ERROR: 500,
  NOT_IMPLEMENTED: 501,
  BAD_GATEWAY: 502,
  SERVICE_UNAVAILABLE: 503,
  GATEWAY_TIMEOUT: 504,
} as const

/** A code of tRPC's errors. */
export type TrpcCode = keyof typeof statuses

const refusalCodes: Readonly<Record<Refusal['status'], TrpcCode>> = {
  400: 'BAD_REQUEST',
  401: 'UNAUTHORIZED',
  409: 'CONFLICT',
  422: 'UNPROCESSABLE_CONTENT',
  500: 'INTERNAL_SERVER_ERROR',
  503: 'SERVICE_UNAVAILABLE',
}

/**
 * What an error formatter adds to `data`, so that clients can branch on a stable code and know when to send the call
 * again; nothing for errors that are not refusals of this package.
 *
 * @example
 * initTRPC.create({
 *   errorFormatter: ({ shape, error }) => ({ ...shape, data: { ...shape.data, ...idempotencyData(error) } }),
 * })
 */
export function idempotencyData(error: unknown): { readonly idempotency?: RefusalData } {
  return error instanceof CallError && error.refusal !== undefined ? { idempotency: error.refusal } : {}
}

/** What tRPC's adapters pass to `createContext`, for a context that keeps it. */
export interface TrpcRequestContext {
  readonly req: { readonly headers: Headers | Readonly<Record<string, string | string[] | undefined>> }
  readonly info: { readonly calls: readonly unknown[] }
}

const field = 'idempotency-key'

/**
 * A `key` option that reads the Idempotency-Key field. The field of a batch is a list with a key for each call, as
 * `keyHeaders` writes it; one key for several calls is refused. The context must hold `req` and `info`.
 *
 * @throws MalformedKeyError
 * @example
 * createHTTPServer({ router, createContext: ({ req, info }) => ({ req, info, user: userOf(req) }) })
 * t.procedure.use(idempotent(idem, { principal: ({ ctx }) => ctx.user.id, key: headerKey }))
 */
export function headerKey(call: {
  readonly ctx: TrpcRequestContext
  readonly batchIndex: number
}): string | undefined {
  const { req, info } = call.ctx
  const given = req.headers instanceof Headers ? req.headers.get(field) : req.headers[field]
  if (given === undefined || given === null) return undefined
  return keyOfCall(typeof given === 'string' ? given : given.join(', '), call.batchIndex, info.calls.length)
}

/** An operation of tRPC's client, with the key in its context. */
export interface KeyedOperation {
  readonly context: { readonly idempotencyKey?: unknown }
}

/**
 * The `headers` option of a client link: sends the key that each operation has as `context.idempotencyKey`.
 *
 * @example
 * createTRPCClient({ links: [httpBatchLink({ url, headers: keyHeaders })] })
 *   .charge.mutate({ amount: 100 }, { context: { idempotencyKey: key } })
 */
export function keyHeaders(
  sent: { readonly opList: readonly KeyedOperation[] } | { readonly op: KeyedOperation },
): Record<string, string> {
  const operations = 'op' in sent ? [sent.op] : sent.opList
  const keys = operations.map(({ context: { idempotencyKey: key } }) =>
    typeof key === 'string' ? key : undefined,
  )
  return keys.some((key) => key !== undefined) ? { 'Idempotency-Key': writeKeyList(keys) } : {}
}
