/** h3 2: a middleware for an app or a route, and a wrapper for one handler. `retrysafe/http/h3-1` is for h3 1. */
import type { ServerResponse } from 'node:http'
// Only for the declarations below; nothing of h3 is loaded.
import type {} from 'h3'
import { InvalidOptionError } from '../core/errors.ts'
import { describeLayer } from '../openapi/protected-operation.ts'
import type { IdempotencyContext, RegisteredContext } from './context.ts'
import { goneResponse, isRunning, openKeyed, recordingOf } from './fetch-guard.ts'
import { recordFetchResponse, toFetchResponse } from './fetch-recorder.ts'
import { keyLines, readFetchCopy } from './fetch-request.ts'
import { unprotectedLine } from './headers.ts'
import { mount } from './mount.ts'
import { recordNode } from './node-guard.ts'
import type { HttpEngine, IdempotentOptions } from './options.ts'
import type { GuardedRun, HttpGuard } from './protocol.ts'

export type { IdempotencyContext, RegisteredContext, TransactionContext } from './context.ts'
export type { HttpEngine, IdempotentOptions } from './options.ts'
export type { ProtocolAnswer } from './protocol.ts'
export { toFetchResponse as toResponse } from './fetch-recorder.ts'

declare module 'h3' {
  interface H3EventContext {
    /** The attempt under which this request runs; absent where it is not protected. `Register` types its `tx`. */
    idempotency?: RegisteredContext
  }
}

/** The part of h3's event that is used. */
export interface H3Event {
  readonly req: Request
  readonly res: { readonly headers: Headers; readonly errHeaders: Headers }
  readonly app?: { readonly config: object } | undefined
  readonly runtime?: { readonly node?: { readonly res?: unknown } | undefined } | undefined
  readonly context: {
    idempotency?: IdempotencyContext
    readonly matchedRoute?: { readonly route?: string | undefined } | undefined
  }
}

/** Options of every adapter, and h3's own way from a value to a `Response`. */
export interface H3IdempotentOptions<Event> extends IdempotentOptions<Event> {
  /** h3's `toResponse`, so that an answer is recorded as h3 makes it: `import { toResponse } from 'h3'`. */
  toResponse(value: unknown, event: Event, config?: object): Response | Promise<Response>
}

/** Runs what follows, or the handler. */
type Next = () => unknown

/**
 * Puts idempotency in front of what follows, or of one handler; `event.context.idempotency` is the attempt. Mount it
 * after authentication.
 *
 * @throws InvalidOptionError at construction
 * @example
 * app.use('/charges/**', idempotent(idem, { toResponse, principal: (event) => event.context.userId }))
 * app.post('/refunds', idempotent(idem, { toResponse, principal: 'anonymous' }, (event) => refund(event)))
 */
export function idempotent<Event extends H3Event = H3Event>(
  idem: HttpEngine,
  options: H3IdempotentOptions<Event>,
): (event: Event, next: Next) => Promise<unknown>
export function idempotent<Event extends H3Event = H3Event>(
  idem: HttpEngine,
  options: H3IdempotentOptions<Event>,
  handler: (event: Event) => unknown,
): (event: Event) => Promise<unknown>
export function idempotent<Event extends H3Event>(
  idem: HttpEngine,
  options: H3IdempotentOptions<Event>,
  handler?: (event: Event) => unknown,
): ((event: Event, next: Next) => Promise<unknown>) | ((event: Event) => Promise<unknown>) {
  const { toResponse, ...shared } = options
  if (typeof toResponse !== 'function') {
    throw new InvalidOptionError(
      'toResponse',
      "must be h3's own: import { toResponse } from 'h3'",
      toResponse,
    )
  }
  const { guard, principal, operation } = mount(idem, shared)
  const layer = async (event: Event, next: Next): Promise<unknown> => {
    const { req: request, context } = event
    if (isRunning(request)) return await next()
    const field = guard.readKey(request.method, keyLines(request, guard.options.header))
    if (field.kind === 'pass') return await next()
    if (field.kind === 'answer') return toFetchResponse(field.answer)
    const read = (): ReturnType<typeof readFetchCopy> => readFetchCopy(request, guard.options.requestBytesMax)
    const route = context.matchedRoute?.route
    const opened = await openKeyed(guard, field.key, principal, event, request, read, { route })
    switch (opened.kind) {
      case 'answer':
        return toFetchResponse(opened.answer)
      case 'gone':
        return goneResponse()
      case 'unprotected':
        event.res.headers.set(...unprotectedLine)
        event.res.errHeaders.set(...unprotectedLine)
        return await next()
      case 'run':
        context.idempotency = opened.run
        return await runRecorded(guard, opened.run, event, next, toResponse)
      default:
        return opened satisfies never
    }
  }
  if (handler === undefined) return describeLayer(layer, operation)
  return describeLayer((event: Event) => layer(event, () => handler(event)), operation)
}

/** What h3 takes for an answer that was written to Node's response. */
const handled = Symbol.for('h3.handled')

async function runRecorded<Event extends H3Event>(
  guard: HttpGuard,
  run: GuardedRun,
  event: Event,
  next: Next,
  toResponse: H3IdempotentOptions<Event>['toResponse'],
): Promise<unknown> {
  const nodeResponse = event.runtime?.node?.res as ServerResponse | undefined
  // A handler for Node writes to the response itself, and then only that can be recorded.
  const leaving = nodeResponse === undefined ? undefined : recordNode(guard, run, nodeResponse)
  let value: unknown
  try {
    value = await next()
    if (value === handled) return value
  } catch (error) {
    if (error === handled) throw error
    const verdict = verdictOf(guard, run, error)
    if (verdict !== 'keep') {
      leaving?.letGo()
      await guard.abandon(run, verdict)
      throw error
    }
    value = error
  }
  leaving?.letGo()
  const response = await toResponse(value, event, { ...event.app?.config, onResponse: undefined })
  return await recordFetchResponse(response, recordingOf(guard, run))
}

/** An error is the answer that h3 makes of it. Those that are no outcome go on to whoever stands outside. */
function verdictOf(guard: HttpGuard, run: GuardedRun, error: unknown): 'keep' | 'release' | 'unknown' {
  const { status } = error as { status?: unknown }
  return run.verdict ?? guard.options.result(typeof status === 'number' ? status : 500)
}
