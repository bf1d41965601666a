import { connect as connectHttp2 } from 'node:http2'
import type { ClientHttp2Stream } from 'node:http2'
import { connect as connectTcp } from 'node:net'
import type { Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { headerValues, ResponseReader } from './response-reader.ts'
import type { HeaderField } from './response-reader.ts'

/** One request, octet by octet under the caller's control. Values are sent as latin1, spaces included. */
export interface WireRequest {
  readonly method: string
  /** Path and query. */
  readonly target: string
  readonly headers: readonly HeaderField[]
  readonly body: Buffer
  /** Send the body in chunks instead of announcing its length. */
  readonly chunked?: boolean
  /** Destroy the connection after this many milliseconds. */
  readonly abortMs?: number
  /** Send the first half of the body and nothing more. */
  readonly half?: boolean
  /** Send no body before an interim 100 or a final answer. */
  readonly hold?: boolean
  /** Bound on the whole exchange in milliseconds. Default 20,000. */
  readonly timeoutMs?: number
}

/** A final response. */
export interface Answer {
  readonly status: number
  readonly headers: readonly HeaderField[]
  readonly body: Buffer
  /** Interim statuses that came before. */
  readonly interim: readonly number[]
  /** Milliseconds from the start of the request to the first octet of the body; absent for an empty body. */
  readonly ttfbMs?: number
  /** Milliseconds from the start of the request to the end of the response. */
  readonly totalMs: number
  /** Framing rules the response breaks although it could be read. */
  readonly faults: readonly string[]
}

/** How one request ended. */
export type Exchange =
  | { readonly kind: 'answer'; readonly answer: Answer }
  | { readonly kind: 'aborted' }
  | { readonly kind: 'failed'; readonly reason: string }

const timeoutMsDefault = 20_000
/** Above this many octets the client gives the server a moment to refuse by the head alone. */
const eagerBodyOctetsMax = 256 * 1024
const earlyRefusalMs = 50
/** How long the client listens for octets after the end of a response. */
const lingerMs = 15

/** Sends one request on a connection of its own over HTTP/1.1. Never rejects. */
export function sendHttp1(origin: string, request: WireRequest): Promise<Exchange> {
  const { hostname, port, host } = new URL(origin)
  const { promise, resolve } = Promise.withResolvers<Exchange>()
  const startedAt = performance.now()
  const reader = new ResponseReader(request.method)
  const timers: NodeJS.Timeout[] = []
  const socket = connectTcp({ host: hostname, port: Number(port || 80), noDelay: true })
  let ttfbMs: number | undefined
  let totalMs: number | undefined
  let bodySent = false

  const finish = (exchange: Exchange): void => {
    for (const timer of timers) clearTimeout(timer)
    socket.destroy()
    resolve(exchange)
  }
  const finishWithAnswer = (): void => {
    const { status, headers, body, interim, faults, excessOctets } = reader
    if (excessOctets > 0) faults.push(`${excessOctets} octets after the end of the response`)
    const answer = {
      status,
      headers,
      body,
      interim,
      faults,
      totalMs: totalMs ?? performance.now() - startedAt,
    }
    finish({ kind: 'answer', answer: ttfbMs === undefined ? answer : { ...answer, ttfbMs } })
  }
  const fail = (error: Error): void => {
    if (reader.done) finishWithAnswer()
    else finish({ kind: 'failed', reason: error.message })
  }
  const sendBody = (): void => {
    if (bodySent || reader.answered) return
    bodySent = true
    writeBody(socket, request)
  }

  socket.on('connect', () => {
    socket.write(headOf(request, host), 'latin1')
    if (request.hold === true) return
    if (request.body.length <= eagerBodyOctetsMax) sendBody()
    else timers.push(setTimeout(sendBody, earlyRefusalMs))
  })
  socket.on('data', (octets) => {
    try {
      reader.push(octets)
    } catch (error) {
      return finish({ kind: 'failed', reason: (error as Error).message })
    }
    if (reader.bodyOctets > 0) ttfbMs ??= performance.now() - startedAt
    if (reader.interim.includes(100)) sendBody()
    if (reader.done && totalMs === undefined) {
      totalMs = performance.now() - startedAt
      timers.push(setTimeout(finishWithAnswer, lingerMs))
    }
  })
  socket.on('end', () => {
    try {
      reader.end()
      finishWithAnswer()
    } catch (error) {
      finish({ kind: 'failed', reason: (error as Error).message })
    }
  })
  socket.on('error', fail)
  socket.on('close', () => fail(new Error('connection closed without an answer')))
  timers.push(
    setTimeout(
      () => finish({ kind: 'failed', reason: 'no whole answer in time' }),
      request.timeoutMs ?? timeoutMsDefault,
    ),
  )
  if (request.abortMs !== undefined) {
    timers.push(setTimeout(() => finish({ kind: 'aborted' }), request.abortMs))
  }
  return promise
}

function headOf(request: WireRequest, host: string): string {
  const lines = [`${request.method} ${request.target} HTTP/1.1`, `Host: ${host}`]
  for (const [name, value] of request.headers) lines.push(`${name}: ${value}`)
  if (request.chunked !== true && (request.body.length > 0 || takesBody(request.method))) {
    lines.push(`Content-Length: ${request.body.length}`)
  }
  // Closing makes the end of the connection show whether octets follow the response.
  lines.push('Connection: close')
  return `${lines.join('\r\n')}\r\n\r\n`
}

function takesBody(method: string): boolean {
  return method === 'POST' || method === 'PUT' || method === 'PATCH'
}

function writeBody(socket: Socket, { body, chunked, half }: WireRequest): void {
  const middle = Math.floor(body.length / 2)
  if (chunked !== true) {
    socket.write(half === true ? body.subarray(0, middle) : body)
    return
  }
  const parts = half === true ? [body.subarray(0, middle)] : [body.subarray(0, middle), body.subarray(middle)]
  for (const part of parts.filter((octets) => octets.length > 0)) {
    socket.write(`${part.length.toString(16)}\r\n`)
    socket.write(part)
    socket.write('\r\n')
  }
  if (half !== true) socket.write('0\r\n\r\n')
}

/** Sends one request on a connection of its own over HTTP/2. Never rejects. */
export function sendHttp2(origin: string, request: WireRequest): Promise<Exchange> {
  const { promise, resolve } = Promise.withResolvers<Exchange>()
  const startedAt = performance.now()
  const timers: NodeJS.Timeout[] = []
  const session = connectHttp2(origin, { rejectUnauthorized: false })
  const finish = (exchange: Exchange): void => {
    for (const timer of timers) clearTimeout(timer)
    session.destroy()
    resolve(exchange)
  }
  const fail = (error: Error): void => finish({ kind: 'failed', reason: error.message })
  session.on('error', fail)
  timers.push(
    setTimeout(() => fail(new Error('no whole answer in time')), request.timeoutMs ?? timeoutMsDefault),
  )
  if (request.abortMs !== undefined) {
    timers.push(setTimeout(() => finish({ kind: 'aborted' }), request.abortMs))
  }

  const stream = openStream(session, request)
  const body: Buffer[] = []
  const interim: number[] = []
  let status = 0
  let headers: HeaderField[] = []
  let ttfbMs: number | undefined
  stream.on('headers', (fields) => interim.push(Number(fields[':status'])))
  stream.on('response', (fields, _flags, rawFields: string[]) => {
    status = Number(fields[':status'])
    headers = pairs(rawFields).filter(([name]) => !name.startsWith(':'))
  })
  stream.on('data', (octets: Buffer) => {
    ttfbMs ??= performance.now() - startedAt
    body.push(octets)
  })
  stream.on('error', fail)
  stream.on('close', () => {
    if (status === 0 || stream.rstCode !== 0)
      return fail(new Error(`stream closed with code ${stream.rstCode}`))
    const faults = connectionFields(headers)
    const answer = {
      status,
      headers,
      body: Buffer.concat(body),
      interim,
      faults,
      totalMs: performance.now() - startedAt,
    }
    finish({ kind: 'answer', answer: ttfbMs === undefined ? answer : { ...answer, ttfbMs } })
  })
  return promise
}

function openStream(session: ReturnType<typeof connectHttp2>, request: WireRequest): ClientHttp2Stream {
  const fields: Record<string, string | string[]> = { ':method': request.method, ':path': request.target }
  for (const [name] of request.headers) {
    const values = headerValues(request.headers, name).map((value) => value.trim())
    fields[name.toLowerCase()] = values.length === 1 ? (values[0] ?? '') : values
  }
  const stream = session.request(fields, { endStream: request.body.length === 0 })
  if (request.body.length > 0) {
    if (request.half === true) stream.write(request.body.subarray(0, Math.floor(request.body.length / 2)))
    else stream.end(request.body)
  }
  return stream
}

function pairs(flat: readonly string[]): HeaderField[] {
  const fields: HeaderField[] = []
  for (let index = 0; index + 1 < flat.length; index += 2)
    fields.push([flat[index] ?? '', flat[index + 1] ?? ''])
  return fields
}

/** RFC 9113 section 8.2.2: connection-specific fields make an HTTP/2 message malformed. */
function connectionFields(headers: readonly HeaderField[]): string[] {
  return ['connection', 'keep-alive', 'transfer-encoding', 'upgrade']
    .filter((name) => headerValues(headers, name).length > 0)
    .map((name) => `field ${name} in an HTTP/2 response`)
}
