/**
 * The interceptor: it decides after guards, so that a replay skips no authorization, and before pipes and the handler.
 * What the handler answers is recorded on the raw response, after exception filters and serialization.
 */
import { errorMonitor } from 'node:events'
import type { Readable } from 'node:stream'
import { openNode, readNodeKey, recordNode } from '../node-guard.ts'
import { isRecorded } from '../node-recorder.ts'
import type { BodyLeft } from '../node-request.ts'
import type { GuardedRun, HttpGuard } from '../protocol.ts'
import { fieldsOf, type NestClass, type NestHandler } from './metadata.ts'
import { type Exchange, exchangeOf } from './platform.ts'
import type { IdempotencyRoutes, NestRoute } from './routes.ts'

/** The part of Nest's execution context that is used. */
export interface NestContext {
  getType(): string
  getClass(): NestClass
  getHandler(): NestHandler
  switchToHttp(): { getRequest(): object; getResponse(): object }
}

/** The part of an observable that is used. */
interface Observed {
  subscribe(observer: Observer): unknown
}

interface Observer {
  next(value: unknown): void
  error(error: unknown): void
  complete(): void
}

interface NestNext {
  handle(): Observed
}

/** What Nest goes on with after an answer of ours: a stream of one value, which nobody gets. */
const answered: readonly undefined[] = [undefined]

export class IdempotencyInterceptor {
  readonly #routes: IdempotencyRoutes

  constructor(routes: IdempotencyRoutes) {
    this.#routes = routes
  }

  /** Called by Nest. What it returns is whatever RxJS takes for a stream. */
  intercept(context: NestContext, next: NestNext): unknown {
    if (context.getType() !== 'http') return next.handle()
    const route = this.#routes.routeOf(context.getClass(), context.getHandler())
    if (route === undefined) return next.handle()
    const http = context.switchToHttp()
    const exchange = exchangeOf(http.getRequest(), http.getResponse())
    // A layer further out has decided.
    if (isRecorded(exchange.response)) return next.handle()
    return guarded(route, exchange, fieldsOf(context.getHandler()), next)
  }
}

async function guarded(
  { guard, principal }: NestRoute,
  exchange: Exchange,
  handlerFields: readonly string[],
  next: NestNext,
): Promise<unknown> {
  const { own, request, response, route } = exchange
  const field = readNodeKey(guard, request)
  if (field.kind === 'pass') return next.handle()
  const who = principal === 'anonymous' ? principal : () => principal(own as never)
  const opened =
    field.kind === 'answer'
      ? field
      : await openNode(guard, field.key, who, request, response, route, own as BodyLeft)
  switch (opened.kind) {
    case 'answer':
      for (const name of handlerFields) exchange.removeHeader(name)
      await exchange.answer(opened.answer)
      return answered
    case 'gone':
      response.destroy()
      return answered
    case 'unprotected':
      exchange.markUnprotected()
      return next.handle()
    case 'run':
      recordNode(guard, opened.run, response)
      own.idempotency = opened.run
      return watched(next.handle(), guard, opened.run, exchange)
    default:
      return opened satisfies never
  }
}

/**
 * The handler's stream, watched for what the response does not show: an answer that was begun and then failed, by the
 * handler or by a file that it returned. Nest's own filter would end it as if it were whole; here it breaks off.
 */
function watched(handled: Observed, guard: HttpGuard, run: GuardedRun, { response }: Exchange): unknown {
  const failed = (): void => {
    if (!response.headersSent || response.writableEnded) return
    guard.threw(run)
    response.destroy()
    response.end()
  }
  return asObservable({
    subscribe: (observer) =>
      handled.subscribe({
        next(value) {
          fileOf(value)?.once(errorMonitor, failed)
          observer.next(value)
        },
        error(error) {
          failed()
          observer.error(error)
        },
        complete: () => observer.complete(),
      }),
  })
}

/** The stream of a `StreamableFile`. */
function fileOf(value: unknown): Readable | undefined {
  const { getStream } = (value ?? {}) as { getStream?: unknown }
  return typeof getStream === 'function' ? (getStream.call(value) as Readable) : undefined
}

/** An observable as RxJS takes it from other libraries: under the name that it has read when it was loaded. */
function asObservable(observed: Observed): unknown {
  const { observable } = Symbol as { observable?: symbol }
  const self = (): Observed => observed
  return Object.assign(observed, { '@@observable': self }, observable && { [observable]: self })
}
