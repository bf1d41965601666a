/** What the protocol needs of a fetch `Request`. */
import type { RequestBody } from './protocol.ts'

/** The key's lines. `Headers` has joined repeated ones with a comma, which no key may hold. */
export function keyLines(request: Request, name: string): string[] {
  const value = request.headers.get(name)
  return value === null ? [] : [value]
}

/** Path and query as sent. */
export function fetchTarget({ pathname, search }: URL): { path: string; query: string } {
  return { path: pathname, query: search.slice(1) }
}

export type FetchBodyRead = RequestBody | { readonly kind: 'too-large' } | { readonly kind: 'broken-off' }

export type FetchCopyRead =
  | FetchBodyRead
  /** It was read before, and nothing of it can be had. */
  | { readonly kind: 'used' }

/**
 * Reads a body up to `bytesMax` from a copy: the request stays unread, with all that its runtime has put on it. At most
 * that many octets wait in memory for the second reader.
 */
export async function readFetchCopy(request: Request, bytesMax: number): Promise<FetchCopyRead> {
  if (request.bodyUsed) return { kind: 'used' }
  if (request.body === null || declaresMore(request, bytesMax)) return await readFetchBody(request, bytesMax)
  return await readFetchBody(request.clone(), bytesMax)
}

const formType = /^(?:application\/x-www-form-urlencoded|multipart\/form-data)\s*(?:;|$)/i

/**
 * The values of one field of a form, one string for each; none where the body is no form that can be read.
 * `read` is asked for the body only where its media type says that it is a form.
 */
export async function formValues(
  request: Request,
  name: string,
  read: () => Promise<FetchCopyRead>,
): Promise<string[]> {
  const type = request.headers.get('content-type') ?? ''
  if (!formType.test(type) || request.headers.has('content-encoding')) return []
  const body = await read()
  if (body.kind !== 'octets') return []
  try {
    const octets = body.octets as Uint8Array<ArrayBuffer>
    const form = await new Response(octets, { headers: { 'Content-Type': type } }).formData()
    return form.getAll(name).map(String)
  } catch {
    return []
  }
}

/** Reads a body up to `bytesMax`. The message is used up; `withBody` makes a request that is not. */
export async function readFetchBody(
  message: Pick<Request, 'arrayBuffer' | 'body' | 'headers'>,
  bytesMax: number,
): Promise<FetchBodyRead> {
  if (declaresMore(message, bytesMax)) return { kind: 'too-large' }
  try {
    // What is declared bounds what comes. Read at once it costs a server a part of what its stream would.
    if (message.headers.has('content-length'))
      return withinLimit(new Uint8Array(await message.arrayBuffer()), bytesMax)
    if (message.body === null) return { kind: 'octets', octets: new Uint8Array(0) }
    return await readPieces(message.body as ReadableStream<Uint8Array>, bytesMax)
  } catch {
    return { kind: 'broken-off' }
  }
}

function declaresMore({ headers }: Pick<Request, 'headers'>, bytesMax: number): boolean {
  return Number(headers.get('content-length') ?? 0) > bytesMax
}

function withinLimit(octets: Uint8Array, bytesMax: number): FetchBodyRead {
  return octets.length > bytesMax ? { kind: 'too-large' } : { kind: 'octets', octets }
}

async function readPieces(body: ReadableStream<Uint8Array>, bytesMax: number): Promise<FetchBodyRead> {
  const pieces: Uint8Array[] = []
  let bytes = 0
  const reader = body.getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return { kind: 'octets', octets: joinPieces(pieces, bytes) }
    bytes += value.length
    if (bytes > bytesMax) {
      // Not waited for: the end of a copy comes only with that of the request.
      reader.cancel().catch(() => {})
      return { kind: 'too-large' }
    }
    pieces.push(value)
  }
}

/** The same request, with its body unread. */
export function withBody(request: Request, octets: Uint8Array): Request {
  // Asking a server's own kind of request for its body may make another one of it.
  if (octets.length === 0 && request.body === null) return request
  const { method, headers, signal } = request
  return new Request(request.url, { method, headers, signal, body: octets as Uint8Array<ArrayBuffer> })
}

/** One array out of pieces. */
export function joinPieces(pieces: readonly Uint8Array[], bytes: number): Uint8Array {
  if (pieces.length === 1) return pieces[0] as Uint8Array
  const joined = new Uint8Array(bytes)
  let at = 0
  for (const piece of pieces) {
    joined.set(piece, at)
    at += piece.length
  }
  return joined
}
