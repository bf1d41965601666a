/** h3 1, with which Nitro 2 and Nuxt are built: a wrapper for one handler, and a middleware. On Node servers. */
import type { IncomingMessage, ServerResponse } from 'node:http'
// Only for the declarations below; nothing of h3 is loaded.
import type {} from 'h3'
import { describeLayer } from '../openapi/protected-operation.ts'
import type { IdempotencyContext, RegisteredContext } from './context.ts'
import { mount } from './mount.ts'
import { guardNode } from './node-guard.ts'
import type { HttpEngine, IdempotentOptions } from './options.ts'

export type { IdempotencyContext, RegisteredContext, TransactionContext } from './context.ts'
export type { HttpEngine, IdempotentOptions } from './options.ts'
export type { ProtocolAnswer } from './protocol.ts'
export { sendAnswer } from './node-answer.ts'

declare module 'h3' {
  interface H3EventContext {
    /** The attempt under which this request runs; absent where it is not protected. `Register` types its `tx`. */
    idempotency?: RegisteredContext
  }
}

/** The part of h3's event that is used. */
export interface H3Event {
  readonly node: { readonly req: IncomingMessage; readonly res: ServerResponse }
  readonly context: {
    idempotency?: IdempotencyContext
    readonly matchedRoute?: { readonly path?: string } | undefined
  }
}

/**
 * Puts idempotency in front of one handler, or, without one, of what follows; `event.context.idempotency` is the
 * attempt. Mount it after authentication.
 *
 * @throws InvalidOptionError at construction
 * @example
 * // server/api/charges.post.ts
 * export default defineEventHandler(
 *   idempotent(idem, { principal: (event) => event.context.userId }, async (event) => charge(await readBody(event))),
 * )
 */
export function idempotent<Event extends H3Event = H3Event>(
  idem: HttpEngine,
  options: IdempotentOptions<Event>,
  handler: (event: Event) => unknown = () => undefined,
): (event: Event) => Promise<unknown> {
  const { guard, principal, operation } = mount(idem, options)
  const layer = async (event: Event): Promise<unknown> => {
    const { req, res } = event.node
    const who = principal === 'anonymous' ? principal : () => principal(event)
    let value: unknown
    // h3 takes the response itself for an answer that was given.
    let isAnswered = true
    const run = (context: IdempotencyContext | undefined): void => {
      if (context !== undefined) event.context.idempotency = context
      isAnswered = false
      value = callHandler(handler, event)
    }
    await guardNode(guard, who, req, res, run, event.context.matchedRoute?.path, await leftOf(req))
    return isAnswered ? res : await value
  }
  return describeLayer(layer, operation)
}

/** What the handler throws is its promise's, as what an async one throws. */
async function callHandler<Event>(handler: (event: Event) => unknown, event: Event): Promise<unknown> {
  return await handler(event)
}

/** Where h3's `readBody` and `readRawBody` keep the octets that they have read. */
const h3RawBody = Symbol.for('h3RawBody')

async function leftOf(request: IncomingMessage): Promise<{ rawBody?: unknown } | undefined> {
  const octets = (request as { [h3RawBody]?: Promise<Uint8Array> })[h3RawBody]
  return octets === undefined ? undefined : { rawBody: await octets }
}
