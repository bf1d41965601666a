/** Next.js 16: route handlers, and server actions (`next/action.ts`). */
import { describeLayer } from '../openapi/protected-operation.ts'
import { openFetch, recordingOf } from './fetch-guard.ts'
import { markUnprotected, recordFetchResponse, toFetchResponse } from './fetch-recorder.ts'
import { mount } from './mount.ts'
import { readThrown, type NextThrown } from './next/thrown.ts'
import type { HttpEngine, IdempotentOptions } from './options.ts'
import type { CapturedAnswer, GuardedRun, HttpGuard, IdempotencyContext } from './protocol.ts'

export { idempotencyKeyField, type KeyField } from './form-key.ts'
export { type ActionHandler, type IdempotentActionOptions, idempotentAction } from './next/action.ts'
export type { HttpEngine, IdempotentOptions } from './options.ts'
export type { IdempotencyContext, ProtocolAnswer } from './protocol.ts'
export type { ActionEngine, ActionRun } from './value-guard.ts'
export { toFetchResponse as toResponse } from './fetch-recorder.ts'

/** A route handler that also gets its attempt, `undefined` where the request is not protected. */
export type IdempotentRouteHandler<NextRequest extends Request, Context> = (
  request: NextRequest,
  context: Context,
  idempotency: IdempotencyContext | undefined,
) => Response | Promise<Response>

/**
 * Puts idempotency in front of a route handler. The handler gets Next's own request, its body unread, and Next's own
 * second argument. `redirect()` and `notFound()` are answers like any other: they are stored with the status and the
 * Location that Next gives them. What else it throws goes on to Next, and counts as a 500: by default it releases
 * the key.
 *
 * @throws InvalidOptionError at construction
 * @example
 * // app/charges/route.ts
 * export const POST = idempotent(idem, { principal: (request) => tenantOf(request) }, async (request: NextRequest) =>
 *   Response.json(await charge(await request.json()), { status: 201 }))
 */
export function idempotent<NextRequest extends Request = Request, Context = unknown>(
  idem: HttpEngine,
  options: IdempotentOptions<NextRequest>,
  handler: IdempotentRouteHandler<NextRequest, Context>,
): (request: NextRequest, context: Context) => Promise<Response> {
  const { guard, principal, operation } = mount(idem, options)
  const layer = async (request: NextRequest, context: Context): Promise<Response> => {
    // A copy would be no NextRequest, and know neither the base path nor the locale.
    const opened = await openFetch(guard, principal, request, request, { keepsRequest: true })
    if (opened.kind === 'answer') {
      // A resolver that sends people to log in has answered.
      if (readThrown(opened.thrown?.error) !== undefined) throw opened.thrown?.error
      return opened.response
    }
    const { run } = opened
    if (run === undefined) {
      const response = await handler(request, context, undefined)
      return opened.unprotected === true ? markUnprotected(response) : response
    }
    let response: Response
    try {
      response = await handler(request, context, run)
    } catch (error) {
      return await settleThrown(guard, run, request, error)
    }
    return await recordFetchResponse(response, recordingOf(guard, run))
  }
  return describeLayer(layer, operation)
}

/** Settles what was thrown and throws it on, unless something else must be answered. */
async function settleThrown(
  guard: HttpGuard,
  run: GuardedRun,
  request: Request,
  error: unknown,
): Promise<Response> {
  const result = readThrown(error)
  if (result === undefined) {
    await guard.abandon(run, guard.threw(run))
    throw error
  }
  const instead = await guard.finish(run, answerByNext(result, request))
  if (instead !== undefined) return toFetchResponse(instead)
  throw error
}

/** What Next answers to a thrown result. */
function answerByNext({ status, location }: NextThrown, request: Request): CapturedAnswer {
  const body = new Uint8Array(0)
  if (location === undefined) return { status, headers: [], body }
  const headers = new Headers({ Location: location })
  return { status: isFormPost(request) ? 303 : status, headers: Array.from(headers.entries()), body }
}

/** Next takes a form for a possible server action, and then redirects with 303 whatever was asked for. */
function isFormPost({ method, headers }: Request): boolean {
  if (method !== 'POST') return false
  const type = headers.get('content-type') ?? ''
  const isForm = type === 'application/x-www-form-urlencoded' || type.startsWith('multipart/form-data')
  return isForm || headers.has('next-action')
}
