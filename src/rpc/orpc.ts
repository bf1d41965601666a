/** oRPC 1: a middleware for procedures. A key belongs to a procedure call, so batched calls stay apart. */
import type { GuardedRun } from '../engine/guarded-run.ts'
import type { IdempotencyContext } from './guard.ts'
import { keyOfField } from './key-field.ts'
import type { CallOptions, RpcEngine } from './options.ts'
import { type Produced, procedureGuard } from './procedure.ts'
import { type Refusal, refusalData } from './refusal.ts'

export type { IdempotencyContext } from './guard.ts'
export type { CallOptions, GuardOptions, ResultVerdict, RpcEngine } from './options.ts'
export type { RefusalData } from './refusal.ts'

/** What the middleware adds to the context. */
export interface OrpcIdempotency {
  /** The attempt under which this call runs; `undefined` where it is not protected. */
  readonly idempotency: IdempotencyContext | undefined
}

/** A procedure call, as the options' functions get it. */
export interface OrpcCall<Context, Input> {
  readonly context: Context
  /** Validated where the middleware is mounted after `.input(..)`. */
  readonly input: Input
  readonly path: readonly string[]
}

/** The members of oRPC's error that are used. */
interface ProcedureError extends Error {
  readonly code: string
  readonly status: number
  readonly data: unknown
  readonly defined: boolean
}

interface ErrorDetails {
  readonly message?: string
  readonly data?: unknown
  readonly status?: number
  readonly cause?: unknown
}

/** Makes oRPC's own errors, for every code; it is all that a middleware can reach of their class. */
type ErrorConstructors = Readonly<Record<string, (details: ErrorDetails) => ProcedureError>>

/** What oRPC hands to a middleware. */
export interface OrpcMiddlewareOptions<Context> {
  readonly context: Context
  readonly path: readonly string[]
  readonly procedure: { readonly '~orpc': { readonly route: { readonly method?: string } } }
  readonly errors: object
  // biome-ignore lint/suspicious/noExplicitAny: whatever the procedure returns
  next(added: { context: OrpcIdempotency }): OrpcResult<any> | PromiseLike<OrpcResult<any>>
}

interface OrpcResult<Output> {
  output: Output
  context: OrpcIdempotency
}

/**
 * Makes procedures safe to retry; those routed as GET or HEAD pass untouched. Mount it after authentication and after
 * `.input(..)`, so that `key` sees the validated input. `context.idempotency` is the attempt.
 *
 * @throws InvalidOptionError at construction
 * @example
 * const charge = os
 *   .input(z.object({ requestId: z.string(), amount: z.number() }))
 *   .use(idempotent(idem, { principal: ({ context }) => context.user.id, key: ({ input }) => input.requestId }))
 *   .handler(({ input, context }) => provider.pay(input, context.idempotency?.downstreamKey('pay')))
 */
export function idempotent<Context extends object, Input>(
  idem: RpcEngine,
  options: CallOptions<OrpcCall<Context, Input>>,
): (
  call: OrpcMiddlewareOptions<Context>,
  input: Input,
  // biome-ignore lint/suspicious/noExplicitAny: whatever the procedure returns
) => Promise<OrpcResult<any>> {
  const guard = procedureGuard(idem, 'orpc', options)
  return async ({ context, path, procedure, errors, next }, input) => {
    const operation = path.join('.')
    const { idempotency } = context as Partial<OrpcIdempotency>
    const inside = idempotency !== undefined && runs.get(idempotency) === operation
    if (inside || isSafe(procedure)) return await next({ context: { idempotency } })

    const constructors = errors as ErrorConstructors
    const work = async (run: GuardedRun | undefined): Promise<Produced<() => unknown>> => {
      if (run !== undefined) runs.set(run, operation)
      try {
        const { output } = await next({ context: { idempotency: run } })
        return { result: () => output, status: 200, value: { ok: true, output } }
      } catch (error) {
        return { result: () => thrown(error), ...judged(constructors, error) }
      }
    }
    const end = await guard.run({ context, input, path }, operation, () => input, work)
    switch (end.kind) {
      case 'passed':
      case 'executed':
        return answered(end.result())
      case 'replay':
        return answered(outputOf(constructors, end.value as StoredResult))
      case 'refused':
        throw refusalError(constructors, end.refusal)
      default:
        return end satisfies never
    }
  }
}

/** The path under which each attempt runs: a second layer in front of the same call lets it through. */
const runs = new WeakMap<object, string>()

function isSafe(procedure: OrpcMiddlewareOptions<object>['procedure']): boolean {
  const { method } = procedure['~orpc'].route
  return method === 'GET' || method === 'HEAD'
}

type StoredResult =
  | { readonly ok: true; readonly output: unknown }
  | {
      readonly ok: false
      readonly error: {
        readonly code: string
        readonly status: number
        readonly message: string
        readonly data: unknown
      }
    }

function answered(output: unknown): OrpcResult<unknown> {
  return { output, context: { idempotency: undefined } }
}

function thrown(error: unknown): never {
  throw error
}

/** Anything but oRPC's own error is a failure of the server. */
function judged(errors: ErrorConstructors, error: unknown): { status: number; value: unknown } {
  if (!(error instanceof errorClass(errors))) return { status: 500, value: undefined }
  const { code, status, message, data } = error
  return { status, value: { ok: false, error: { code, status, message, data } } satisfies StoredResult }
}

function outputOf(errors: ErrorConstructors, stored: StoredResult): unknown {
  if (stored.ok) return stored.output
  const { code, ...details } = stored.error
  throw new (errorClass(errors))(code, details)
}

function refusalError(errors: ErrorConstructors, refusal: Refusal): ProcedureError {
  return new (errorClass(errors))(refusalCodes[refusal.status], {
    status: refusal.status,
    message: refusal.error.message,
    data: refusalData(refusal),
    cause: refusal.error,
  })
}

const refusalCodes: Readonly<Record<Refusal['status'], string>> = {
  400: 'BAD_REQUEST',
  401: 'UNAUTHORIZED',
  409: 'CONFLICT',
  422: 'UNPROCESSABLE_CONTENT',
  500: 'INTERNAL_SERVER_ERROR',
  503: 'SERVICE_UNAVAILABLE',
}

function errorClass(errors: ErrorConstructors): new (code: string, details: ErrorDetails) => ProcedureError {
  const sample = (errors['INTERNAL_SERVER_ERROR'] as ErrorConstructors[string])({})
  return sample.constructor as new (
    code: string,
    details: ErrorDetails,
  ) => ProcedureError
}

/**
 * A `key` option that reads the Idempotency-Key field, which oRPC's `RequestHeadersPlugin` leaves in the context. Calls
 * of a batch have fields of their own.
 *
 * @throws MalformedKeyError
 * @example
 * new RPCHandler(router, { plugins: [new BatchHandlerPlugin(), new RequestHeadersPlugin()] })
 * os.$context<RequestHeadersPluginContext>().use(idempotent(idem, { principal, key: headerKey }))
 */
export function headerKey(call: { readonly context: { readonly reqHeaders?: Headers } }): string | undefined {
  const given = call.context.reqHeaders?.get('idempotency-key')
  return given === undefined || given === null ? undefined : keyOfField(given)
}
