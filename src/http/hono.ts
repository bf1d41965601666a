/** Hono 4: a middleware for a route or a router. */
import { describeLayer } from '../openapi/protected-operation.ts'
import { openFetch, recordingOf } from './fetch-guard.ts'
import { recordFetchResponse } from './fetch-recorder.ts'
import { unprotectedLine } from './headers.ts'
import { mount } from './mount.ts'
import type { HttpEngine, IdempotentOptions } from './options.ts'
import type { IdempotencyContext } from './context.ts'

export type { IdempotencyContext, TransactionContext } from './context.ts'
export type { HttpEngine, IdempotentOptions } from './options.ts'
export type { ProtocolAnswer } from './protocol.ts'
export { toFetchResponse as toResponse } from './fetch-recorder.ts'
export { protectedRoutes, type RoutedApp } from './hono/routes.ts'

/** The part of Hono's context that is used. */
export interface HonoContext {
  readonly req: {
    raw: Request
    arrayBuffer(): Promise<ArrayBuffer>
    header(name: string): string | undefined
    readonly routePath?: string
  }
  get res(): Response
  set res(response: Response | undefined)
  error?: Error | undefined
  set(key: 'idempotency', value: IdempotencyContext): void
  // biome-ignore lint/suspicious/noExplicitAny: variables of the user's own environment
  get(key: string): any
}

/**
 * Puts idempotency in front of the handlers that follow; `c.get('idempotency')` is the attempt. Mount it after
 * authentication and inside compression.
 *
 * @throws InvalidOptionError at construction
 * @example
 * app.post('/charges', idempotent(idem, { principal: (c) => c.get('userId') }), (c) => c.json(charge, 201))
 */
export function idempotent<Context extends HonoContext = HonoContext>(
  idem: HttpEngine,
  options: IdempotentOptions<Context>,
): (context: Context, next: () => Promise<void>) => Promise<Response | void> {
  const { guard, principal, operation } = mount(idem, options)
  const layer = async (context: Context, next: () => Promise<void>): Promise<Response | void> => {
    const given = await unread(context)
    const opened = await openFetch(guard, principal, context, given, { route: context.req.routePath })
    if (opened.kind === 'answer') return opened.response
    context.req.raw = opened.request
    const { run } = opened
    if (run === undefined) {
      await next()
      if (opened.unprotected === true) context.res.headers.set(...unprotectedLine)
      return undefined
    }
    context.set('idempotency', run)
    await next()
    // An error that became an answer is judged by its status, unless that hides it.
    if (context.error !== undefined && context.res.status < 400) guard.threw(run)
    const response = await recordFetchResponse(context.res, recordingOf(guard, run))
    // Hono merges the fields of an earlier answer into a later one; this one is already whole.
    context.res = undefined
    context.res = response
    return undefined
  }
  return describeLayer(layer, operation)
}

/** The request with its body unread: a validator that ran before has left the octets with Hono. */
async function unread(context: HonoContext): Promise<Request> {
  const { raw } = context.req
  if (!raw.bodyUsed) return raw
  const { url, method, headers } = raw
  return new Request(url, { method, headers, body: await context.req.arrayBuffer() })
}
