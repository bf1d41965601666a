import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { appendFileSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import type { ServerHttp2Session } from 'node:http2'
import type { AddressInfo, Server } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { jsonReply, ReferenceLayer, UpstreamGone } from './reference-layer.ts'
import type { LayerCall, ReferenceOptions, Reply } from './reference-layer.ts'
import type { StartedTarget } from './suite.ts'

/** Where the reference server listens and keeps its counter. */
export interface ReferencePlace {
  readonly port?: number
  /** File that grows by one octet per effect; without it the counter lives in memory. */
  readonly counterFile?: string
}

interface Shared {
  readonly options: ReferenceOptions
  readonly layer: ReferenceLayer
  upstreamDown: boolean
  countEffect(): number
  effects(): number
}

/** Starts a small server that does what the conformance cases ask, or all but one fault of it. */
export async function startReference(
  options: ReferenceOptions = {},
  place: ReferencePlace = {},
): Promise<StartedTarget> {
  const shared: Shared = {
    options,
    layer: new ReferenceLayer(options),
    upstreamDown: false,
    ...counter(place.counterFile),
  }
  const servers: Server[] = [1, 2].map((instance) => {
    const server = createServer((request, response) => void serve(shared, instance, request, response))
    server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
      if (options.fault === 'continues-early') response.writeContinue()
      void serve(shared, instance, request, response)
    })
    return server
  })
  const sessions = new Set<ServerHttp2Session>()
  const http2 = createHttp2Server((request, response) => {
    // The compatibility classes have every member that is used here, but no common type.
    void serve(shared, 1, request as unknown as IncomingMessage, response as unknown as ServerResponse)
  })
  http2.on('session', (session) => {
    sessions.add(session)
    session.on('close', () => sessions.delete(session))
  })
  servers.push(http2)
  const [url, url2, urlH2] = await Promise.all(
    servers.map((server, index) => listen(server, index === 0 ? place.port : undefined)),
  )
  if (url === undefined || url2 === undefined || urlH2 === undefined) throw new Error('a listener is missing')
  return {
    url,
    url2,
    urlH2,
    close: async () => {
      for (const session of sessions) session.destroy()
      await Promise.all(servers.map((server) => closeServer(server)))
    },
  }
}

async function listen(server: Server, port = 0): Promise<string> {
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function closeServer(server: Server & { closeAllConnections?(): void }): Promise<void> {
  server.close()
  server.closeAllConnections?.()
  await once(server, 'close')
}

function counter(file: string | undefined): Pick<Shared, 'countEffect' | 'effects'> {
  let count = 0
  if (file === undefined) return { countEffect: () => ++count, effects: () => count }
  appendFileSync(file, '')
  const effects = (): number => statSync(file).size
  const countEffect = (): number => {
    appendFileSync(file, '.')
    return effects()
  }
  return { countEffect, effects }
}

async function serve(
  shared: Shared,
  instance: number,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const headers = request.headers as Record<string, string | undefined>
  const method = request.method ?? 'GET'
  const target = request.url ?? '/'
  const cors = corsHeaders(headers['origin'])
  try {
    if (method === 'OPTIONS') {
      const allowed =
        shared.options.fault === 'no-preflight'
          ? 'content-type'
          : 'content-type, idempotency-key, authorization'
      return await write(
        response,
        {
          ...jsonReply(204, {}),
          headers: { 'access-control-allow-headers': allowed },
          body: Buffer.alloc(0),
        },
        cors,
        shared,
      )
    }
    if (target.startsWith('/_ctl/'))
      return await write(response, control(shared, target.slice('/_ctl/'.length)), cors, shared)
    const principal = /^Bearer ([^.]+)/.exec(headers['authorization'] ?? '')?.[1]
    const readBody = bodyReader(request, response)
    const call: LayerCall = {
      method,
      target,
      headers,
      fieldNames: request.rawHeaders,
      http2: request.httpVersionMajor === 2,
      principal: principal ?? '',
      instance,
      corsHeaders: cors,
      readBody,
      gone: () => response.destroyed || request.destroyed,
    }
    const effects = (): Promise<Reply> =>
      Promise.resolve(jsonReply(200, { count: shared.effects() }, { 'cache-control': 'no-store' }))
    if (target === '/effects') {
      const guarded = shared.options.fault === 'guards-get' && headers['idempotency-key'] !== undefined
      return await write(
        response,
        await (guarded ? shared.layer.handle(call, effects) : effects()),
        cors,
        shared,
      )
    }
    if (principal === undefined) return await write(response, jsonReply(401, {}), cors, shared)
    if (
      shared.options.gateway === true &&
      headers['early-data'] === '1' &&
      shared.options.fault !== 'takes-early-data'
    ) {
      return await write(response, jsonReply(425, {}), cors, shared)
    }
    if (shared.options.fault === 'refuses-expect' && headers['expect'] !== undefined)
      return await write(response, jsonReply(417, {}), cors, shared)
    const reply = await shared.layer.handle(call, async () => {
      await readBody()
      return handler(shared, method, target, headers['fixture-do'] ?? '')
    })
    await write(response, reply, cors, shared)
  } catch (error) {
    if (!response.headersSent)
      await write(response, jsonReply(500, { error: (error as Error).message }), cors, shared)
  }
}

/** Asks for the body (`100 Continue`) only when somebody wants to read it. */
function bodyReader(request: IncomingMessage, response: ServerResponse): () => Promise<Buffer> {
  let reading: Promise<Buffer> | undefined
  return () => {
    reading ??= (async () => {
      if (request.headers['expect'] !== undefined) response.writeContinue()
      const parts: Buffer[] = []
      for await (const part of request) parts.push(part as Buffer)
      return Buffer.concat(parts)
    })()
    return reading
  }
}

function corsHeaders(origin: string | undefined): Record<string, string> {
  if (origin === undefined) return {}
  return {
    'access-control-allow-origin': origin,
    'access-control-expose-headers': 'Retry-After, Idempotent-Replayed',
  }
}

function control(shared: Shared, action: string): Reply {
  if (action.startsWith('store-')) shared.layer.storeDown = action === 'store-down'
  else shared.upstreamDown = action === 'upstream-down'
  return jsonReply(200, {})
}

async function handler(shared: Shared, method: string, target: string, text: string): Promise<Reply> {
  if (shared.upstreamDown && shared.options.fault !== 'resends') throw new UpstreamGone()
  const directives = new Map(text.split(',').map(directiveOf))
  const amount = (name: string): number => Number(directives.get(name) ?? 0)
  if (amount('delay') > 0) await delay(amount('delay'))
  if (directives.has('kill-pre')) await die(shared)
  if (directives.has('throw-pre')) throw new Error('thrown before the effect')
  if (amount('pre') > 0) return jsonReply(amount('pre'), { error: 'told to' })
  const isAtomic = shared.options.transaction === true && shared.options.fault !== 'effect-apart'
  if (isAtomic && directives.has('kill-post')) await die(shared)
  const seq = shared.countEffect()
  const id = randomUUID()
  if (directives.has('kill-post')) await die(shared)
  if (directives.has('throw')) throw new Error('thrown after the effect')
  const location = `${(target.split('?')[0] ?? '').startsWith('/refunds') ? '/refunds' : '/charges'}/${id}`
  const status = amount('post')
  if (status === 204) return { status, headers: {}, body: Buffer.alloc(0), streamedChunks: 0 }
  if (status > 0) return jsonReply(status, { id, seq }, status < 400 ? { location } : {})
  if (directives.has('bin')) {
    const body = Buffer.from(Array.from({ length: 256 }, (_, octet) => octet))
    return { status: 201, headers: { 'content-type': 'application/octet-stream' }, body, streamedChunks: 0 }
  }
  const extra: Record<string, string> = directives.has('hdrs')
    ? {
        'set-cookie': 'session=1',
        'x-app': '1',
        'x-hop': '1',
        connection: 'X-Hop',
        'x-request-id': randomUUID(),
        age: '5',
        etag: '"v1"',
      }
    : {}
  const pad = amount('size') > 0 ? { pad: 'x'.repeat(amount('size')) } : {}
  const reply = jsonReply(method === 'POST' ? 201 : 200, { id, seq, ...pad }, { location, ...extra })
  return { ...reply, streamedChunks: amount('stream') }
}

function directiveOf(word: string): [name: string, argument: string | undefined] {
  const [name = '', argument] = word.trim().split('=')
  return [name, argument]
}

async function die(shared: Shared): Promise<void> {
  if (shared.options.gateway !== true) {
    process.kill(process.pid, 'SIGKILL')
    await delay(10_000)
  }
  shared.upstreamDown = true
  throw new UpstreamGone()
}

async function write(
  response: ServerResponse,
  reply: Reply,
  cors: Record<string, string>,
  shared: Shared,
): Promise<void> {
  const { fault } = shared.options
  const marked = (reply.replayed === true || fault === 'always-marker') && fault !== 'no-marker'
  const headers: Record<string, string> = {
    ...cors,
    ...reply.headers,
    ...(marked ? { 'idempotent-replayed': 'true' } : {}),
  }
  if (fault === 'drops-cookies') delete headers['set-cookie']
  if (reply.replayed === true && (fault === 'both-framings' || fault === 'excess-octets')) {
    return writeBadly(response, reply, headers, fault)
  }
  if (reply.streamedChunks === 0) {
    const length = reply.status === 204 ? {} : { 'content-length': String(reply.body.length) }
    response.writeHead(reply.status, { ...headers, ...length })
    response.end(reply.body)
    return
  }
  response.writeHead(reply.status, headers)
  const step = Math.ceil(reply.body.length / reply.streamedChunks)
  for (let at = 0; at < reply.body.length; at += step) {
    response.write(reply.body.subarray(at, at + step))
    await delay(100)
  }
  response.end()
}

/** Node refuses to frame a response wrongly, so the octets go to the socket. */
function writeBadly(
  response: ServerResponse,
  reply: Reply,
  headers: Record<string, string>,
  fault: string,
): void {
  const lines = Object.entries({ ...headers, 'content-length': reply.body.length }).map(
    ([name, value]) => `${name}: ${value}`,
  )
  const both = fault === 'both-framings'
  if (both) lines.push('transfer-encoding: chunked')
  const head = `HTTP/1.1 ${reply.status} Created\r\n${lines.join('\r\n')}\r\n\r\n`
  const body = both
    ? `${reply.body.length.toString(16)}\r\n${reply.body.toString('latin1')}\r\n0\r\n\r\n`
    : `${reply.body.toString('latin1')}!!`
  response.socket?.end(head + body, 'latin1')
}
