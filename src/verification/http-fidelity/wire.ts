/** A client that sees what a server really sent: each line, the octets, and whether the answer was whole. */
import { type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http'
import { connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2'

/** A request. */
export interface Sent {
  /** Default `'POST'`. */
  readonly method?: string
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  /** Several pieces are sent chunked. */
  readonly body?: string | Uint8Array | readonly (string | Uint8Array)[]
  /** Sent after a chunked body. */
  readonly trailers?: Readonly<Record<string, string>>
  /** Called when the server says 100. */
  readonly onContinue?: () => void
  /** The client leaves as soon as this settles. */
  readonly leaves?: Promise<unknown>
}

/** An answer. */
export interface Received {
  readonly status: number
  /** Name and value of each line, as sent. */
  readonly lines: readonly (readonly [string, string])[]
  readonly trailers: readonly (readonly [string, string])[]
  readonly body: Buffer
  /** Whether the answer came to its end. */
  readonly whole: boolean
  /** The first line of a name, whatever its case. */
  header(name: string): string | undefined
}

function pairsOf(raw: readonly string[]): (readonly [string, string])[] {
  const pairs: (readonly [string, string])[] = []
  for (let at = 0; at < raw.length; at += 2) pairs.push([raw[at] as string, raw[at + 1] as string])
  return pairs
}

function headerOf(lines: Received['lines']): Received['header'] {
  return (name) => lines.find(([field]) => field.toLowerCase() === name.toLowerCase())?.[1]
}

function received(response: IncomingMessage): Promise<Received> {
  return new Promise((resolve) => {
    const pieces: Buffer[] = []
    response.on('data', (piece: Buffer) => pieces.push(piece))
    response.on('error', () => {})
    response.on('close', () => {
      const lines = pairsOf(response.rawHeaders)
      resolve({
        status: response.statusCode as number,
        lines,
        trailers: pairsOf(response.rawTrailers),
        body: Buffer.concat(pieces),
        whole: response.complete,
        header: headerOf(lines),
      })
    })
  })
}

/**
 * Sends one request over HTTP/1.1 on a connection of its own.
 *
 * @throws Error where no answer began
 */
export function sendHttp(port: number, sent: Sent): Promise<Received> {
  const { method = 'POST', path, body = '', trailers, onContinue, leaves } = sent
  const pieces = Array.isArray(body) ? (body as (string | Uint8Array)[]) : [body as string | Uint8Array]
  const isChunked = Array.isArray(body) || trailers !== undefined
  const length = pieces.reduce((sum, piece) => sum + Buffer.byteLength(piece), 0)
  const framing: Record<string, string> = isChunked ? {} : { 'content-length': String(length) }
  const hasBody = method !== 'GET' && method !== 'HEAD'
  return new Promise((resolve, reject) => {
    const headers = { ...(hasBody ? framing : {}), ...sent.headers }
    const request = httpRequest({ host: '127.0.0.1', port, method, path, headers, agent: false })
    request.on('error', reject)
    request.on('response', (response) => void received(response).then(resolve))
    void leaves?.finally(() => request.destroy())
    const waits = headers['expect'] === '100-continue'
    if (waits) {
      request.flushHeaders()
      request.on('continue', () => {
        onContinue?.()
        finish(request, pieces, trailers)
      })
    } else if (hasBody) finish(request, pieces, trailers)
    else request.end()
  })
}

function finish(
  request: ClientRequest,
  pieces: readonly (string | Uint8Array)[],
  trailers: Readonly<Record<string, string>> | undefined,
): void {
  for (const piece of pieces) if (Buffer.byteLength(piece) > 0) request.write(piece)
  if (trailers !== undefined) request.addTrailers(trailers)
  request.end()
}

/**
 * Sends one request over HTTP/2 by prior knowledge on a connection of its own.
 *
 * @throws Error where no answer began
 */
export function sendHttp2(port: number, sent: Sent): Promise<Received> {
  const { method = 'POST', path, body = '' } = sent
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  return new Promise<Received>((resolve, reject) => {
    session.on('error', reject)
    const stream = session.request({ ':method': method, ':path': path, ...sent.headers })
    const pieces: Buffer[] = []
    let head: IncomingHttpHeaders | undefined
    stream.on('response', (fields) => {
      head = fields
    })
    stream.on('data', (piece: Buffer) => pieces.push(piece))
    stream.on('error', reject)
    stream.on('close', () => {
      if (head === undefined) {
        reject(new Error('The stream ended without an answer.'))
        return
      }
      const lines = Object.entries(head).flatMap(([name, value]) =>
        name.startsWith(':') || value === undefined
          ? []
          : [value].flat().map((line) => [name, String(line)] as const),
      )
      const status = Number(head[':status'])
      const whole = stream.rstCode === 0
      resolve({ status, lines, trailers: [], body: Buffer.concat(pieces), whole, header: headerOf(lines) })
    })
    for (const piece of [body].flat() as (string | Uint8Array)[]) stream.write(piece)
    stream.end()
  }).finally(() => session.close())
}
