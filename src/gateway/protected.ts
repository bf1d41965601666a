/**
 * Protected requests: read whole, claimed, sent once, answered whole, stored, and only then answered.
 *
 * The upstream is never told that the client left, and nothing is sent again: what cannot be known is settled as
 * unknown, and the route's `onUnknown` decides what the next attempt meets.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { lengthPrefixed } from '../core/bytes.ts'
import type { HeaderLine } from '../core/outcome.ts'
import type { HttpEngine } from '../http/options.ts'
import { unprotectedLine } from '../http/headers.ts'
import { createGuard, type GuardedRun, type HttpGuard, type ProtocolAnswer } from '../http/protocol.ts'
import { type Collected, sendAndCollect } from './collect.ts'
import type { GatewayConfig, RouteOptions } from './config.ts'
import type { Exchange } from './exchange.ts'
import { asFlat, endToEnd, fieldOf, toClient, toUpstream } from './fields.ts'
import { passThrough } from './pass-through.ts'
import { problems, upstreamProblem } from './problem.ts'
import { declaredBytes, readRequestBody } from './request-body.ts'
import type { Upstream, UpstreamFailure } from './upstream.ts'

export interface ProtectedRequest {
  readonly exchange: Exchange
  readonly target: { readonly path: string; readonly query: string; readonly target: string }
  readonly options: RouteOptions
}

export interface Protector {
  /** `unprotected`: there is no key and none is needed; nothing was read or written. */
  answer(given: ProtectedRequest): Promise<'answered' | 'unprotected'>
}

interface Parts {
  readonly config: GatewayConfig
  readonly engine: HttpEngine
  readonly upstream: Upstream
}

/** What all steps of one protected request share. */
interface Protecting extends ProtectedRequest {
  readonly guard: HttpGuard
  readonly upstream: Upstream
}

export function createProtector({ config, engine, upstream }: Parts): Protector {
  const guards = new Map<RouteOptions, HttpGuard>()
  const guardOf = (options: RouteOptions): HttpGuard => {
    let guard = guards.get(options)
    if (guard === undefined) {
      guard = createGuard(engine, options.guard, options.policy)
      guards.set(options, guard)
    }
    return guard
  }
  return {
    answer: (given) => protect(config, engine, { ...given, guard: guardOf(given.options), upstream }),
  }
}

async function protect(
  config: GatewayConfig,
  engine: HttpEngine,
  given: Protecting,
): Promise<'answered' | 'unprotected'> {
  const { exchange, target, guard } = given
  const { request, method } = exchange
  const { header, requestBytesMax } = guard.options
  const read = guard.readKey(method, linesOf(request, header))
  if (read.kind === 'pass') return 'unprotected'
  if (read.kind === 'answer') return reply(exchange, read.answer)
  const principal = principalOf(config, engine, request)
  if (principal === undefined) {
    exchange.refuse(problems.principalMissing)
    return 'answered'
  }
  if ((declaredBytes(request) ?? 0) > requestBytesMax)
    return reply(exchange, guard.problem('request-too-large'))
  exchange.askForBody()
  const body = await readRequestBody(request, requestBytesMax)
  if (body === 'broken-off') return 'answered'
  if (body === 'too-large') return reply(exchange, guard.problem('request-too-large'))
  const opened = await guard.open({
    key: read.key,
    principal,
    method,
    path: target.path,
    query: target.query,
    mediaType: request.headers['content-type'],
    contentEncoding: request.headers['content-encoding'],
    body: { kind: 'octets', octets: body },
    // The operation's name has the method already.
    route: exchange.route?.split(' ').at(-1),
  })
  switch (opened.kind) {
    case 'answer':
      return reply(exchange, opened.answer)
    case 'unprotected':
      await runUnprotected(given, body)
      return 'answered'
    case 'run':
      await runOnce(given, body, opened.run)
      return 'answered'
    default:
      return opened satisfies never
  }
}

/** Field lines one by one; the fast way out is for the many requests that have none. */
function linesOf(request: IncomingMessage, name: string): readonly string[] {
  return request.headers[name] === undefined ? [] : (request.headersDistinct[name] ?? [])
}

/** Who asks, as a digest: credentials are long and secret. Several lines are one principal, in their order. */
function principalOf(
  config: GatewayConfig,
  engine: HttpEngine,
  request: IncomingMessage,
): string | undefined {
  const { principal } = config
  if (principal.kind === 'anonymous') return 'anonymous'
  const lines = linesOf(request, principal.name)
  if (lines.every((line) => line.trim() === '')) return undefined
  return engine.digest(lengthPrefixed([principal.name, ...lines]))
}

function reply(exchange: Exchange, answer: ProtocolAnswer): 'answered' {
  const { status, code } = answer
  exchange.log({ event: code === 'replayed' ? 'replayed' : 'refused', status, code })
  exchange.send(status, answer.headers, answer.body)
  return 'answered'
}

/** The store is down and the route says to run all the same. */
async function runUnprotected(given: Protecting, body: Buffer): Promise<void> {
  const { exchange, target, upstream } = given
  exchange.log({ event: 'unprotected', code: 'store-unavailable' })
  exchange.response.setHeader(...unprotectedLine)
  await passThrough({ upstream, exchange, target: target.target, finishesAlone: true, body })
}

async function runOnce(given: Protecting, body: Buffer, run: GuardedRun): Promise<void> {
  const { exchange, target, options, upstream } = given
  const { request } = exchange
  const collected = await sendAndCollect(
    upstream,
    {
      method: exchange.method,
      path: target.target,
      // Stored as it is for whoever asks again, so it must not be in a coding that only some understand.
      headers: [
        ...withoutField(toUpstream(request, upstream.host), 'accept-encoding'),
        'Accept-Encoding',
        'identity',
      ],
      body,
    },
    options.upstreamTimeoutMs,
    options.guard.responseBytesMax,
  )
  switch (collected.kind) {
    case 'whole':
      return await answerWhole(given, run, collected)
    case 'oversize':
      return await answerOversize(given, run, collected)
    case 'failed':
      return await answerFailure(given, run, collected.failure)
    default:
      return collected satisfies never
  }
}

function withoutField(flat: readonly string[], name: string): string[] {
  return flat.filter((_, at) => flat[at - (at % 2)]?.toLowerCase() !== name)
}

async function answerWhole(
  given: Protecting,
  run: GuardedRun,
  { head, body }: Extract<Collected, { kind: 'whole' }>,
): Promise<void> {
  const { exchange, guard } = given
  const { response } = exchange
  const { status } = head
  const headers = endToEnd(head.headers)
  const instead = await guard.finish(run, { status, headers, body })
  if (instead !== undefined) {
    reply(exchange, instead)
    return
  }
  response.writeHead(status, asFlat(withLength(toClient(head.headers), status, body.length)))
  response.end(body)
}

/** An answer that came in chunks is whole now, so its length is known. */
function withLength(lines: HeaderLine[], status: number, length: number): HeaderLine[] {
  const bodiless = status === 204 || status === 304
  if (bodiless || fieldOf(lines, 'content-length') !== undefined) return lines
  return [...lines, ['Content-Length', String(length)]]
}

/**
 * The client gets the answer as it comes, but its end only after the record is stored: where a length tells the
 * end, the last piece is held back, and where the framing does, the end of the framing.
 */
async function answerOversize(
  given: Protecting,
  run: GuardedRun,
  { head, body }: Extract<Collected, { kind: 'oversize' }>,
): Promise<void> {
  const { exchange, guard } = given
  const { response } = exchange
  const lines = toClient(head.headers)
  const holdsLast = fieldOf(lines, 'content-length') !== undefined
  response.writeHead(head.status, asFlat(lines))
  response.flushHeaders()
  let held: Buffer | undefined
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      if (held !== undefined) await written(response, held)
      held = undefined
      if (holdsLast) held = chunk
      else await written(response, chunk)
    }
  } catch {
    await guard.abandon(run, 'unknown')
    response.destroy()
    return
  }
  const headers = endToEnd(head.headers)
  const instead = await guard.finish(run, { status: head.status, headers, body: 'omitted' })
  if (instead === undefined) response.end(held)
  else response.destroy()
}

/** Resolves when the client took the piece, or has left. */
function written(response: ServerResponse, chunk: Buffer): Promise<void> {
  if (response.destroyed || response.write(chunk)) return Promise.resolve()
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done)
      response.off('close', done)
      resolve()
    }
    response.on('drain', done)
    response.on('close', done)
  })
}

async function answerFailure(given: Protecting, run: GuardedRun, failure: UpstreamFailure): Promise<void> {
  const { exchange, guard } = given
  const nothingSent = failure === 'unreachable' || failure === 'unsendable'
  // A settle that the store does not take changes nothing for this client: the lease ends the attempt.
  const instead = await guard.abandon(run, nothingSent ? 'release' : 'unknown')
  if (instead !== undefined) exchange.log({ event: 'failed', status: instead.status, code: instead.code })
  exchange.refuse(upstreamProblem(failure, true), 'upstream-failed')
}
