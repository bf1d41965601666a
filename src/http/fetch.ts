/** Handlers of the form `(request: Request) => Promise<Response>`, in any runtime that has fetch. */
import { describeLayer } from '../openapi/protected-operation.ts'
import { openFetch, recordingOf } from './fetch-guard.ts'
import { markUnprotected, recordFetchResponse } from './fetch-recorder.ts'
import { mount } from './mount.ts'
import type { ContextOf, IdempotencyContext, TransactionOption } from './context.ts'
import type { HttpEngine, IdempotentOptions } from './options.ts'

export type { IdempotencyContext, TransactionContext } from './context.ts'
export type { HttpEngine, IdempotentOptions } from './options.ts'
export type { ProtocolAnswer } from './protocol.ts'
export { toFetchResponse as toResponse } from './fetch-recorder.ts'

/** A handler that also gets its attempt, `undefined` where the request is not protected. */
export type IdempotentHandler<Context = IdempotencyContext> = (
  request: Request,
  idempotency: Context | undefined,
) => Response | Promise<Response>

/**
 * Puts idempotency in front of a fetch handler. What a handler throws goes on to the caller, and
 * counts as a 500: by default it releases the key.
 *
 * @throws InvalidOptionError at construction
 * @example
 * export default {
 *   fetch: idempotent(idem, { principal: (request) => tenantOf(request) }, async (request) =>
 *     Response.json(await charge(await request.json()), { status: 201 })),
 * }
 */
export function idempotent<Tx = unknown, Transaction extends TransactionOption | undefined = undefined>(
  idem: HttpEngine<Tx>,
  options: IdempotentOptions<Request, Transaction>,
  handler: IdempotentHandler<ContextOf<Tx, Transaction>>,
): (request: Request) => Promise<Response> {
  const { guard, principal, operation } = mount(idem, options)
  const layer = async (request: Request): Promise<Response> => {
    const opened = await openFetch(guard, principal, request, request)
    if (opened.kind === 'answer') return opened.response
    const { run } = opened
    if (run === undefined) {
      const response = await handler(opened.request, undefined)
      return opened.unprotected === true ? markUnprotected(response) : response
    }
    let response: Response
    try {
      response = await (handler as IdempotentHandler)(opened.request, run)
    } catch (error) {
      await guard.abandon(run, guard.threw(run))
      throw error
    }
    return await recordFetchResponse(response, recordingOf(guard, run))
  }
  return describeLayer(layer, operation)
}
