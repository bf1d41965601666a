/** Express 5 (and 4): a middleware for a route or a router. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { describeLayer } from '../openapi/protected-operation.ts'
import { warnFromLayer } from '../doctor/index.ts'
import { mount } from './mount.ts'
import { guardNode } from './node-guard.ts'
import type { HttpEngine, IdempotentOptions } from './options.ts'
import type { IdempotencyContext, RegisteredContext } from './context.ts'

export type { IdempotencyContext, RegisteredContext, TransactionContext } from './context.ts'
export type { HttpEngine, IdempotentOptions } from './options.ts'
export type { ProtocolAnswer } from './protocol.ts'
export { sendAnswer } from './node-answer.ts'
export { keepRawBody } from './node-request.ts'

declare global {
  // oxlint-disable-next-line typescript/no-namespace -- Express declares its request for merging this way.
  namespace Express {
    interface Request {
      /** The attempt under which this request runs; absent where it is not protected. `Register` types its `tx`. */
      idempotency?: RegisteredContext
    }
  }
}

/** What of Express' request is used beside Node's. */
interface RoutedRequest {
  readonly app?: object
  readonly baseUrl?: string
  readonly route?: { readonly path?: unknown }
}

/**
 * Puts idempotency in front of the handlers that follow. Mount it after authentication and inside compression;
 * before the body parser, or after it with `express.json({ verify: keepRawBody })`.
 *
 * @throws InvalidOptionError at construction
 * @example
 * app.post('/charges', idempotent(idem, { principal: (req) => req.user.id, required: true }), handler)
 */
export function idempotent<Request extends IncomingMessage = IncomingMessage & ExpressRequest>(
  idem: HttpEngine,
  options: IdempotentOptions<Request>,
): (request: Request, response: ServerResponse, next: (error?: unknown) => void) => void {
  const { guard, principal, operation } = mount(idem, options)
  let seen = false
  const layer = (request: Request, response: ServerResponse, next: (error?: unknown) => void): void => {
    // At the first request all routes are mounted.
    if (!seen) {
      seen = true
      warnFromLayer((request as RoutedRequest).app)
    }
    const run = (context: IdempotencyContext | undefined): void => {
      if (context !== undefined) (request as { idempotency?: IdempotencyContext }).idempotency = context
      next()
    }
    guardNode(guard, principal, request, response, run, routeOf(request as RoutedRequest)).catch(next)
  }
  return describeLayer(layer, operation)
}

/** The members of Express' request that resolvers use most. */
export interface ExpressRequest {
  get(name: string): string | undefined
  readonly params: Readonly<Record<string, string | string[]>>
  readonly ip?: string | undefined
}

function routeOf(request: RoutedRequest): string | undefined {
  const path = request.route?.path
  return typeof path === 'string' ? `${request.baseUrl ?? ''}${path}` : undefined
}
