/** Handlers of the form `(request: Request) => Promise<Response>`, in any runtime that has fetch. */
import { openFetch, recordingOf } from './fetch-guard.ts'
import { markUnprotected, recordFetchResponse } from './fetch-recorder.ts'
import { type HttpEngine, type IdempotentOptions, resolveOptions } from './options.ts'
import { createGuard, type IdempotencyContext } from './protocol.ts'

export type { HttpEngine, IdempotentOptions } from './options.ts'
export type { IdempotencyContext, ProtocolAnswer } from './protocol.ts'
export { toFetchResponse as toResponse } from './fetch-recorder.ts'

/** A handler that also gets its attempt, `undefined` where the request is not protected. */
export type IdempotentHandler = (
  request: Request,
  idempotency: IdempotencyContext | undefined,
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
export function idempotent(
  idem: HttpEngine,
  options: IdempotentOptions<Request>,
  handler: IdempotentHandler,
): (request: Request) => Promise<Response> {
  const { guard: guardOptions, policy, principal } = resolveOptions(idem, options)
  const guard = createGuard(idem, guardOptions, policy)
  return async (request) => {
    const opened = await openFetch(guard, principal, request, request)
    if (opened.kind === 'answer') return opened.response
    const { run } = opened
    if (run === undefined) {
      const response = await handler(opened.request, undefined)
      return opened.unprotected === true ? markUnprotected(response) : response
    }
    let response: Response
    try {
      response = await handler(opened.request, run)
    } catch (error) {
      await guard.abandon(run, guard.threw(run))
      throw error
    }
    return await recordFetchResponse(response, recordingOf(guard, run))
  }
}
