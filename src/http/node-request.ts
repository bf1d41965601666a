/** What the protocol needs of a Node request: the key's lines, the target, and the octets of the body. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import type { RequestBody } from './protocol.ts'

/** A request of `node:http` or of the compatibility API of `node:http2`. */
export type NodeRequest = IncomingMessage | Http2ServerRequest
export type NodeResponse = ServerResponse | Http2ServerResponse

/**
 * Node stops adding to `rawHeaders` at this many entries, two for each field, unless `server.maxHeadersCount` says
 * otherwise. Older lines drop the rest without a word, newer ones answer 431.
 */
const rawEntriesDefault = 2_000

/** The lines of a field, each by itself; Node's `headers` would join or drop repeated ones. */
export function fieldLines(request: Pick<NodeRequest, 'rawHeaders'>, lowerCaseName: string): string[] {
  const { rawHeaders } = request
  const lines: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    if (name.length === lowerCaseName.length && name.toLowerCase() === lowerCaseName) {
      lines.push(rawHeaders[at + 1] as string)
    }
  }
  return lines
}

/** Whether Node may have dropped fields, among them the key: then its absence proves nothing. */
export function mayHaveLostFields(request: NodeRequest): boolean {
  const max = rawEntriesMax(request)
  return max > 0 && request.rawHeaders.length >= max
}

/** 0: no limit. */
function rawEntriesMax(request: NodeRequest): number {
  if ('stream' in request) return rawEntriesDefault
  // Requests that a test tool injects may have no socket.
  const socket = request.socket as { server?: { maxHeadersCount?: number | null } } | undefined
  const fieldsMax = socket?.server?.maxHeadersCount
  return typeof fieldsMax === 'number' ? 2 * fieldsMax : rawEntriesDefault
}

/** Path and query as sent, or as they were before a router cut them. */
export function targetOf(request: NodeRequest): { path: string; query: string } {
  const { originalUrl } = request as { originalUrl?: string }
  const target = originalUrl ?? request.url ?? '/'
  const queryAt = target.indexOf('?')
  if (queryAt === -1) return { path: target, query: '' }
  return { path: target.slice(0, queryAt), query: target.slice(queryAt + 1) }
}

/** What parsers and users leave of a body, on the request or on a framework's own. */
export interface BodyLeft {
  /** Octets, or their text in UTF-8. */
  readonly rawBody?: unknown
  readonly body?: unknown
  readonly file?: unknown
  readonly files?: unknown
}

export type BodyRead =
  | RequestBody
  | { readonly kind: 'too-large' }
  /** A parser has read files before, and what it left of them cannot be compared. */
  | { readonly kind: 'files' }
  /** The client left before the body was whole: nothing may run. */
  | { readonly kind: 'broken-off' }

const noOctets = new Uint8Array(0)

/**
 * Reads the body up to `bytesMax` and puts it back, so that parsers that come later find it unread. Where a parser
 * has read it before, the `rawBody` that it left (see `keepRawBody`) or else its value is taken.
 */
export function readBody(
  request: NodeRequest,
  response: NodeResponse,
  bytesMax: number,
  left: BodyLeft = request as BodyLeft,
): Promise<BodyRead> {
  const { rawBody, body, file, files } = left
  if (rawBody instanceof Uint8Array) return Promise.resolve(withinLimit(rawBody, bytesMax))
  if (typeof rawBody === 'string') return Promise.resolve(withinLimit(Buffer.from(rawBody), bytesMax))
  if (request.readableEnded || request.readableDidRead) {
    if (file !== undefined || files !== undefined) return Promise.resolve({ kind: 'files' })
    if (body instanceof Uint8Array) return Promise.resolve(withinLimit(body, bytesMax))
    return Promise.resolve(
      body === undefined ? { kind: 'octets', octets: noOctets } : { kind: 'parsed', value: body },
    )
  }
  if (!hasBody(request) || isEmpty(request)) return Promise.resolve({ kind: 'octets', octets: noOctets })
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) return Promise.resolve({ kind: 'too-large' })
  invite(request, response)
  return collect(request, bytesMax)
}

function withinLimit(octets: Uint8Array, bytesMax: number): BodyRead {
  return octets.length > bytesMax ? { kind: 'too-large' } : { kind: 'octets', octets }
}

function hasBody(request: NodeRequest): boolean {
  if ('stream' in request) return !request.stream.endAfterHeaders
  const { headers } = request
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/** Whether all of the body has come in. HTTP/2's own `complete` is later: after its 'end' is out. */
function isWhole(request: NodeRequest): boolean {
  return 'stream' in request ? request.stream.readableEnded : request.complete
}

/** Whether the whole body is here and has no octets. It must not be read then, or its 'end' would be used up. */
function isEmpty(request: NodeRequest): boolean {
  return isWhole(request) && request.readableLength === 0
}

/** Sends 100 where the client waits for it and nobody sent it: Node does, unless `checkContinue` is handled. */
export function invite(request: NodeRequest, response: NodeResponse): void {
  const { expect } = request.headers
  if (expect === undefined || expect.toLowerCase() !== '100-continue') return
  if ((response as { _sent100?: boolean })._sent100 !== true) response.writeContinue()
}

function collect(request: NodeRequest, bytesMax: number): Promise<BodyRead> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let bytes = 0

    const done = (read: BodyRead): void => {
      request.off('readable', onReadable)
      request.off('end', onEnd)
      request.off('close', onBroken)
      request.off('error', onBroken)
      resolve(read)
    }
    const onReadable = (): void => {
      if (bytes === 0 && isEmpty(request)) {
        done({ kind: 'octets', octets: noOctets })
        return
      }
      for (
        let chunk = request.read() as Buffer | null;
        chunk !== null;
        chunk = request.read() as Buffer | null
      ) {
        chunks.push(chunk)
        bytes += chunk.length
        if (bytes > bytesMax) {
          done({ kind: 'too-large' })
          return
        }
      }
      // Whole, but its 'end' is not out yet: the octets can still go back.
      if (isWhole(request) && bytes > 0) {
        const octets = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)
        request.unshift(octets)
        done({ kind: 'octets', octets })
      }
    }
    const onEnd = (): void => done({ kind: 'octets', octets: noOctets })
    const onBroken = (): void => done({ kind: 'broken-off' })

    request.on('end', onEnd)
    request.on('close', onBroken)
    request.on('error', onBroken)
    request.on('readable', onReadable)
  })
}

/**
 * Keeps the octets of a body that a parser reads, for `express.json({ verify: keepRawBody })`: without them two
 * bodies that differ beyond what a parsed number can hold would count as one request.
 */
export function keepRawBody(request: object, _response: unknown, octets: Uint8Array): void {
  ;(request as { rawBody?: Uint8Array }).rawBody = octets
}
