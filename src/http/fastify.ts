/** Fastify 5: a plugin; routes change its options in their `config`. */
import { Transform } from 'node:stream'
import type { IncomingMessage, ServerResponse } from 'node:http'
// Only for the declarations below; nothing of Fastify is loaded.
import type {} from 'fastify'
import { InvalidOptionError } from '../core/errors.ts'
import { warnFromLayer } from '../doctor/index.ts'
import { fastifyLayers } from '../doctor/mounted-routes.ts'
import { describeLayer } from '../openapi/protected-operation.ts'
import { sendReply as sendAnswer } from './fastify-answer.ts'
import { createRouteDocumenter, type DocumentedRoute, type RouteDocumenter } from './fastify/document.ts'
import { mount } from './mount.ts'
import { readNodeKey, recordNode } from './node-guard.ts'
import { isRecorded } from './node-recorder.ts'
import { invite, targetOf } from './node-request.ts'
import { unprotectedLine } from './headers.ts'
import { type HttpEngine, type IdempotentOptions, resolveOptions } from './options.ts'
import { resolvePrincipal } from './principal.ts'
import type { IdempotencyContext, RegisteredContext } from './context.ts'
import type { HttpGuard, KeyRead } from './protocol.ts'

export type { IdempotencyContext, RegisteredContext, TransactionContext } from './context.ts'
export type { HttpEngine, IdempotentOptions } from './options.ts'
export type { ProtocolAnswer } from './protocol.ts'
export { sendReply as sendAnswer } from './fastify-answer.ts'

/** The part of Fastify's request that is used. */
export interface FastifyRequestLike {
  readonly raw: IncomingMessage
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body?: unknown
  readonly routeOptions: { readonly url?: string | undefined; readonly config: object }
  idempotency?: IdempotencyContext | null
}

/** The part of Fastify's reply that is used. */
export interface FastifyReplyLike {
  readonly raw: ServerResponse
  code(status: number): unknown
  header(name: string, value: string | string[]): unknown
  send(payload?: unknown): unknown
  hijack(): unknown
}

interface RouteOptionsLike extends DocumentedRoute {
  config?: { idempotency?: RouteConfig }
  preParsing?: unknown
  preHandler?: unknown
}

interface FastifyLike {
  decorateRequest(name: string, value: null): unknown
  addHook(name: 'onRoute', hook: (this: object, route: RouteOptionsLike) => void): unknown
  addHook(name: 'onReady', hook: (done: () => void) => void): unknown
}

/** In a route's `config.idempotency`: other options for this route, or `false` for no protection. */
export type RouteConfig = Partial<IdempotentOptions<FastifyRequestLike>> | false

export interface FastifyIdempotencyOptions extends IdempotentOptions<FastifyRequestLike> {
  readonly idem: HttpEngine
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The attempt under which this request runs; `null` where it is not protected. `Register` types its `tx`. */
    idempotency: RegisteredContext | null
  }
  interface FastifyContextConfig {
    /** Options of this route, or `false` for no protection. */
    idempotency?: RouteConfig
  }
}

/**
 * A plugin that guards the routes which are registered after it, by their method. The decision is taken last
 * before the handler, after authentication in earlier hooks. Documents of `@fastify/swagger`, registered before or
 * after, tell of the guarded routes by themselves.
 *
 * @throws InvalidOptionError at registration, also for a route's own options
 * @example
 * await app.register(idempotency, { idem, principal: (request) => request.user.id })
 * app.post('/charges', { config: { idempotency: { required: true } } }, handler)
 */
export function idempotency(
  fastify: FastifyLike,
  options: FastifyIdempotencyOptions,
  done: (error?: Error) => void,
): void {
  try {
    const { idem, ...defaults } = options
    if (typeof idem?.begin !== 'function')
      throw new InvalidOptionError('idem', 'must come from createIdempotency', idem)
    resolveOptions(idem, defaults)
    fastify.decorateRequest('idempotency', null)
    const layers = new Map<string, unknown>()
    Object.defineProperty(fastify, fastifyLayers, { value: layers, configurable: true })
    const documenter = createRouteDocumenter()
    const instances = new Set<object>([fastify])
    fastify.addHook('onRoute', function (route) {
      guardRoute(idem, defaults, route, { documenter, layers })
      instances.add(this)
      documenter.attach(this)
    })
    // A document may be registered after the last route, in any scope.
    fastify.addHook('onReady', (ready) => {
      for (const instance of instances) documenter.attach(instance)
      warnFromLayer(fastify)
      ready()
    })
    done()
  } catch (error) {
    done(error as Error)
  }
}

// A plugin of Fastify is confined to its own scope unless it says otherwise; this one is for its siblings.
Object.assign(idempotency, {
  [Symbol.for('skip-override')]: true,
  [Symbol.for('fastify.display-name')]: 'retrysafe',
  [Symbol.for('plugin-meta')]: { name: 'retrysafe', fastify: '5.x' },
})

function guardRoute(
  idem: HttpEngine,
  defaults: IdempotentOptions<FastifyRequestLike>,
  route: RouteOptionsLike,
  { documenter, layers }: { readonly documenter: RouteDocumenter; readonly layers: Map<string, unknown> },
): void {
  const own = route.config?.idempotency
  const methods = typeof route.method === 'string' ? [route.method] : route.method
  const keep = (layer: unknown): void => {
    for (const method of methods) layers.set(`${method} ${route.url}`, layer)
  }
  if (own === false) return keep(false)
  const { guard, principal, operation } = mount(idem, { ...defaults, ...own })
  if (!methods.some((method) => guard.options.methods.has(method))) return
  const bodies = new WeakMap<IncomingMessage, Tee>()

  route.preParsing = appended(
    route.preParsing,
    (
      request: FastifyRequestLike,
      reply: FastifyReplyLike,
      payload: NodeJS.ReadableStream,
      next: NextPayload,
    ): void => {
      const field = readKey(guard, request, reply)
      if (field.kind === 'answer') {
        sendAnswer(reply, field.answer)
        return
      }
      if (field.kind === 'pass') {
        next(null, payload)
        return
      }
      invite(request.raw, reply.raw)
      const tee = new Tee(guard.options.requestBytesMax)
      bodies.set(request.raw, tee)
      payload.once('error', (error) => tee.destroy(error))
      next(null, payload.pipe(tee))
    },
  )
  const preHandler = async (request: FastifyRequestLike, reply: FastifyReplyLike): Promise<unknown> => {
    const field = readKey(guard, request, reply)
    if (field.kind !== 'key') return undefined
    return await decide(guard, principal, field.key, request, reply, bodies.get(request.raw))
  }
  const layer = describeLayer(preHandler, operation)
  route.preHandler = appended(route.preHandler, layer)
  keep(layer)
  documenter.add(route, operation)
}

/** Passes a request that a layer around Fastify guards already. */
function readKey(guard: HttpGuard, request: FastifyRequestLike, reply: FastifyReplyLike): KeyRead {
  return isRecorded(reply.raw) ? { kind: 'pass' } : readNodeKey(guard, request.raw)
}

type NextPayload = (error: Error | null, payload?: NodeJS.ReadableStream) => void

function appended(hooks: unknown, hook: unknown): unknown[] {
  const before = hooks === undefined ? [] : Array.isArray(hooks) ? (hooks as unknown[]) : [hooks]
  return [...before, hook]
}

async function decide(
  guard: HttpGuard,
  principal: IdempotentOptions<FastifyRequestLike>['principal'],
  key: string,
  request: FastifyRequestLike,
  reply: FastifyReplyLike,
  tee: Tee | undefined,
): Promise<unknown> {
  const resolved = await resolvePrincipal(principal, request)
  if (resolved.kind === 'failed') return sendAnswer(reply, guard.problem('principal-invalid'))
  const octets = tee?.octets() ?? new Uint8Array(0)
  if (octets === 'too-large') return sendAnswer(reply, guard.problem('request-too-large'))
  const { headers, method = '' } = request.raw
  const opened = await guard.open({
    key,
    principal: resolved.principal,
    method,
    ...targetOf(request.raw),
    mediaType: headers['content-type'],
    contentEncoding: headers['content-encoding'],
    body: { kind: 'octets', octets },
    route: request.routeOptions.url,
  })
  switch (opened.kind) {
    case 'answer':
      return sendAnswer(reply, opened.answer)
    case 'unprotected':
      reply.header(...unprotectedLine)
      return undefined
    case 'run':
      request.idempotency = opened.run
      recordNode(guard, opened.run, reply.raw)
      return undefined
    default:
      return opened satisfies never
  }
}

/** Passes a body on to the parser and keeps its octets. */
class Tee extends Transform {
  receivedEncodedLength = 0
  readonly #bytesMax: number
  #pieces: Buffer[] = []

  constructor(bytesMax: number) {
    super()
    this.#bytesMax = bytesMax
  }

  override _transform(piece: Buffer, _: BufferEncoding, next: (error: null, piece: Buffer) => void): void {
    this.receivedEncodedLength += piece.length
    if (this.receivedEncodedLength > this.#bytesMax) this.#pieces = []
    else this.#pieces.push(piece)
    next(null, piece)
  }

  octets(): Uint8Array | 'too-large' {
    return this.receivedEncodedLength > this.#bytesMax ? 'too-large' : Buffer.concat(this.#pieces)
  }
}
