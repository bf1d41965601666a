/** Requests as they are kept: octets that are fixed, and no credentials. */
import type { FetchInput } from './exchange.ts'
import type { CallOptions } from './fetch.ts'
import type { KeptCall } from './keepers/keeper.ts'
import { newKey } from './key.ts'

type Octets = Uint8Array<ArrayBuffer>

/** A request as its caller made it, credentials included, with its octets. */
export interface ReadRequest {
  readonly input: string | Request
  readonly init: RequestInit
  readonly url: string
  readonly method: string
  readonly headers: Headers
  readonly body: string | Octets | undefined
  readonly signal: AbortSignal | null | undefined
}

/** Streams are read to their end; forms get a boundary that follows from what is in them. */
export async function readRequest(input: FetchInput, init: RequestInit): Promise<ReadRequest> {
  const request = new Request(input, init)
  const { url, headers } = request
  const method = request.method.toUpperCase()
  const body = await bodyOf(request, input, init.body)
  const fixed = { method, headers, body } as RequestInit
  const isRequest = input instanceof Request
  return {
    // A request brings its mode and the like.
    input: isRequest ? new Request(request, fixed) : url,
    init: { ...init, ...fixed },
    ...{ url, method, headers, body },
    signal: isRequest ? request.signal : init.signal,
  }
}

async function bodyOf(
  request: Request,
  input: FetchInput,
  given: RequestInit['body'],
): Promise<ReadRequest['body']> {
  // As it is sent: a half of a character has no octets.
  if (typeof given === 'string') return given.toWellFormed()
  if (request.body === null) return undefined
  const octets = new Uint8Array(await request.arrayBuffer())
  // What a form became in a `Request` cannot be told from octets that the caller made.
  const mayBeForm = given instanceof FormData || (input instanceof Request && (given ?? null) === null)
  return mayBeForm ? await withOwnBoundary(request.headers, octets) : octets
}

const formType = /^multipart\/form-data; *boundary=([^\s;"]+)$/i
/** RFC 2046, section 5.1.1, allows 70 characters. */
const digestOctets = 16

/**
 * Engines draw another boundary for each form, so that two equal ones would be two requests. This one is a digest of
 * the parts: equal forms have equal octets, and no part can have it inside.
 */
async function withOwnBoundary(headers: Headers, octets: Octets): Promise<Octets> {
  const [, drawn] = formType.exec(headers.get('content-type') ?? '') ?? []
  const parts = drawn === undefined ? [] : partsOf(octets, drawn)
  if (parts.length === 0) return octets
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', joined(parts, '')))
  const own = `retrysafe-${Array.from(digest.subarray(0, digestOctets), hex).join('')}`
  headers.set('content-type', `multipart/form-data; boundary=${own}`)
  return joined(parts, own)
}

/** What stands after each delimiter up to the next one; nothing where it does not begin with one. */
function partsOf(octets: Octets, boundary: string): Octets[] {
  // One character for each octet.
  const text = `\r\n${new TextDecoder('latin1').decode(octets)}`
  const delimiter = `\r\n--${boundary}`
  const parts: Octets[] = []
  if (!text.startsWith(delimiter)) return parts
  for (let at = 0; at >= 0; ) {
    const next = text.indexOf(delimiter, at + delimiter.length)
    // The two characters in front are not there.
    parts.push(octets.subarray(at + delimiter.length - 2, next < 0 ? undefined : next - 2))
    at = next
  }
  return parts
}

function joined(parts: readonly Octets[], boundary: string): Octets {
  const delimiter = new TextEncoder().encode(`\r\n--${boundary}`)
  const pieces = parts.flatMap((part) => [delimiter, part])
  const whole = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    whole.set(piece, at)
    at += piece.length
  }
  // The first delimiter has no line above it.
  return whole.slice(2)
}

function hex(octet: number): string {
  return octet.toString(16).padStart(2, '0')
}

/** The call to keep. */
export function keptCallOf(
  intent: string,
  { url, method, headers, body }: ReadRequest,
  { key = newKey(), sentSince = Date.now() }: CallOptions,
  keptFields: readonly string[],
): KeptCall {
  const fields = keptFields.flatMap((name) => {
    const value = headers.get(name)
    return value === null ? [] : [[name.toLowerCase(), value]]
  })
  return {
    ...{ intent, key, method, url },
    contentType: headers.get('content-type'),
    ...{ fields: Object.fromEntries(fields), body, createdAt: sentSince },
  }
}
