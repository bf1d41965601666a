/** Koa 3: a middleware for an app or a router. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
// Only for the declarations below; nothing of Koa is loaded.
import type {} from 'koa'
import { warnFromLayer } from '../doctor/index.ts'
import { describeLayer } from '../openapi/protected-operation.ts'
import type { IdempotencyContext, RegisteredContext } from './context.ts'
import { unprotectedLine, valuesByName } from './headers.ts'
import { mount } from './mount.ts'
import { clearAnswer } from './node-answer.ts'
import { openNode, readNodeKey } from './node-guard.ts'
import { headLines, isRecorded, recordResponse, type StartedRecording } from './node-recorder.ts'
import type { BodyLeft } from './node-request.ts'
import type { HttpEngine, IdempotentOptions } from './options.ts'
import type { GuardedRun, HttpGuard, ProtocolAnswer } from './protocol.ts'
import { type BodyRecording, type PieceSource, RecordedBody } from './recorded-body.ts'

export type { IdempotencyContext, RegisteredContext, TransactionContext } from './context.ts'
export type { HttpEngine, IdempotentOptions } from './options.ts'
export type { ProtocolAnswer } from './protocol.ts'

declare module 'koa' {
  interface ExtendableContext {
    /** The attempt under which this request runs; absent where it is not protected. `Register` types its `tx`. */
    idempotency?: RegisteredContext
  }
}

/** The part of Koa's context that is used. */
export interface KoaContext {
  readonly app: object
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly request: object
  readonly response: object
  // biome-ignore lint/suspicious/noExplicitAny: the state of the user's own middleware
  readonly state: any
  status: number
  body: unknown
  respond?: boolean | undefined
  get(name: string): string
  set(name: string, value: string | string[]): void
  remove(name: string): void
  idempotency?: IdempotencyContext | undefined
}

/**
 * Puts idempotency in front of the middleware that follows; `ctx.idempotency` is the attempt. Mount it after
 * authentication and inside compression, before the body parser or after it.
 *
 * @throws InvalidOptionError at construction
 * @example
 * router.post('/charges', idempotent(idem, { principal: (ctx) => ctx.state.user.id }), async (ctx) => {
 *   ctx.status = 201
 *   ctx.body = await charge(ctx.request.body)
 * })
 */
export function idempotent<Context extends KoaContext = KoaContext>(
  idem: HttpEngine,
  options: IdempotentOptions<Context>,
): (context: Context, next: () => Promise<unknown>) => Promise<void> {
  const { guard, principal, operation } = mount(idem, options)
  let seen = false
  const layer = async (context: Context, next: () => Promise<unknown>): Promise<void> => {
    // At the first request all routes are mounted.
    if (!seen) {
      seen = true
      warnFromLayer(context.app)
    }
    const { req, res } = context
    if (isRecorded(res)) return void (await next())
    const field = readNodeKey(guard, req)
    if (field.kind === 'answer') return sendAnswer(context, field.answer)
    if (field.kind === 'pass') return void (await next())
    const who = principal === 'anonymous' ? principal : () => principal(context)
    const opened = await openNode(
      guard,
      field.key,
      who,
      req,
      res,
      routeOf(context),
      context.request as BodyLeft,
    )
    switch (opened.kind) {
      case 'answer':
        return sendAnswer(context, opened.answer)
      case 'gone':
        context.respond = false
        res.destroy()
        return
      case 'unprotected':
        context.set(...unprotectedLine)
        return void (await next())
      case 'run':
        context.idempotency = opened.run
        return await runRecorded(guard, opened.run, context, next)
      default:
        return opened satisfies never
    }
  }
  return describeLayer(layer, operation)
}

/** `@koa/router` says which of its routes matched. */
function routeOf(context: object): string | undefined {
  const { _matchedRoute: route } = context as { _matchedRoute?: unknown }
  return typeof route === 'string' ? route : undefined
}

/**
 * Sends an answer, such as one of `retrysafe/http/precondition`, through Koa's own way, so that the middleware around
 * sees it.
 *
 * @example
 * if (seen.kind === 'answer') return sendAnswer(ctx, seen.answer)
 */
export function sendAnswer(context: KoaContext, answer: ProtocolAnswer): void {
  const { req, res } = context
  // The body may still be coming: the connection is not used again.
  if (req.httpVersionMajor < 2 && !req.complete) res.setHeader('Connection', 'close')
  context.status = answer.status
  for (const [name, values] of valuesByName(answer.headers)) context.set(name, [...values])
  const { buffer, byteOffset, length } = answer.body
  setBody(context, Buffer.from(buffer, byteOffset, length))
}

/** Sets the body and leaves the media type, or that there is none. */
function setBody(context: KoaContext, body: Buffer | string | Readable): void {
  const type = context.res.getHeader('Content-Type')
  context.body = body
  if (type === undefined) context.remove('Content-Type')
}

/**
 * Runs what follows and records its answer. A body that it gives to Koa is recorded here, so that what stands outside,
 * such as compression, can still change it. All else (no body, what Koa makes of an error, what is written to `ctx.res`)
 * is recorded where it leaves.
 */
async function runRecorded(
  guard: HttpGuard,
  run: GuardedRun,
  context: KoaContext,
  next: () => Promise<unknown>,
): Promise<void> {
  const { res } = context
  const recording: BodyRecording = {
    bytesMax: guard.options.responseBytesMax,
    holds: guard.options.transaction,
    settle: (captured) => guard.finish(run, captured),
    abandon: async () => void (await guard.abandon(run, 'unknown')),
  }
  let hasThrown = false
  const leaving = recordResponse(res, {
    bytesMax: recording.bytesMax,
    holds: recording.holds,
    settle(captured) {
      // An error that became an answer is judged by its status, unless that hides it.
      if (hasThrown && captured.status < 400) guard.threw(run)
      return recording.settle(captured)
    },
    abandon: () => void recording.abandon().catch(() => {}),
    isOver: () => run.signal.aborted,
  })
  answerWhoeverListens(context)
  try {
    await next()
  } catch (error) {
    hasThrown = true
    if (res.headersSent) {
      // Koa leaves such an answer as it is, without an end.
      leaving.letGo()
      await guard.abandon(run, guard.threw(run))
    }
    throw error
  }
  if (context.respond !== false && !res.headersSent) await recordBody(context, recording, leaving)
}

/** Koa makes no body for a client that has left, but the record wants it. */
function answerWhoeverListens({ res, response }: KoaContext): void {
  Object.defineProperty(response, 'writable', { configurable: true, get: () => !res.writableEnded })
}

/** Statuses for which Koa drops a body. */
const bodiless: ReadonlySet<number> = new Set([204, 205, 304])

async function recordBody(
  context: KoaContext,
  recording: BodyRecording,
  leaving: StartedRecording,
): Promise<void> {
  const { status, body, res } = context
  if (body === null || body === undefined || bodiless.has(status)) return
  const given = givenBody(body)
  if (given.kind === 'other') return
  if (given.kind === 'whole') {
    setBody(context, given.whole)
    const octets = Buffer.from(given.whole as string)
    const settling = recording.settle({
      status,
      headers: headLines(res),
      body: octets.length > recording.bytesMax ? 'omitted' : octets,
    })
    const instead = await settling.finally(() => leaving.letGo())
    if (instead !== undefined) replaceAnswer(context, instead)
    return
  }
  const recorded = new RecordedBody({ status, headers: headLines(res) }, given.source, recording)
  const opened = await recorded.open().finally(() => leaving.letGo())
  switch (opened.kind) {
    case 'whole':
      setBody(context, Buffer.from(opened.octets))
      return
    case 'instead':
      replaceAnswer(context, opened.answer)
      return
    case 'pieces': {
      const length = res.getHeader('Content-Length')
      setBody(context, readableOf(opened.pieces, recorded))
      if (length !== undefined) res.setHeader('Content-Length', length)
      return
    }
    default:
      opened satisfies never
  }
}

function replaceAnswer(context: KoaContext, answer: ProtocolAnswer): void {
  clearAnswer(context.res)
  sendAnswer(context, answer)
}

/** A body as Koa takes it: octets or text, JSON, or something that comes in pieces. */
type GivenBody =
  | { readonly kind: 'whole'; readonly whole: Buffer | string }
  | { readonly kind: 'pieces'; readonly source: PieceSource }
  /** Left to Koa, and recorded where it leaves. */
  | { readonly kind: 'other' }

function givenBody(body: {}): GivenBody {
  if (typeof body === 'string' || Buffer.isBuffer(body)) return { kind: 'whole', whole: body }
  if (body instanceof Blob) return { kind: 'pieces', source: sourceOf(body.stream()) }
  if (body instanceof Response) {
    return body.body === null
      ? { kind: 'whole', whole: Buffer.alloc(0) }
      : { kind: 'pieces', source: sourceOf(body.body) }
  }
  if (Symbol.asyncIterator in (body as object) && isStream(body)) {
    return { kind: 'pieces', source: sourceOf(body as AsyncIterable<unknown>) }
  }
  if (isStream(body)) return { kind: 'other' }
  return jsonOf(body)
}

function isStream(body: {}): boolean {
  return body instanceof ReadableStream || typeof (body as { pipe?: unknown }).pipe === 'function'
}

function jsonOf(body: unknown): GivenBody {
  try {
    const text = JSON.stringify(body) as string | undefined
    return text === undefined ? { kind: 'other' } : { kind: 'whole', whole: text }
  } catch {
    // Koa meets the same error, and answers it.
    return { kind: 'other' }
  }
}

function sourceOf(pieces: AsyncIterable<unknown>): PieceSource {
  const iterator = pieces[Symbol.asyncIterator]()
  return {
    async read() {
      const { done, value } = await iterator.next()
      if (done === true) return undefined
      if (typeof value === 'string' || value instanceof Uint8Array) return value
      throw new TypeError('A piece of a body must be a string or a Uint8Array.')
    },
    cancel: async () => await iterator.return?.(),
  }
}

function readableOf(pieces: AsyncGenerator<Uint8Array, void>, recorded: RecordedBody): Readable {
  return new Readable({
    read() {
      pieces.next().then(
        ({ done, value }) => void this.push(done === true ? null : value),
        (error: unknown) => void this.destroy(error as Error),
      )
    },
    destroy(error, done) {
      void recorded.finishAlone()
      done(error)
    },
  })
}
