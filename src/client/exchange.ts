/** Requests whose octets are fixed, and answers that are whole. */
import type { ReadOptions } from './options.ts'
import type { Answer } from './signals.ts'

/** A request as each attempt sends it. */
export interface Prepared {
  readonly url: string
  readonly method: string
  readonly headers: Headers
  readonly body: string | Uint8Array<ArrayBuffer> | undefined
  /** What else `fetch` takes; as a `Request`, its octets are not read. */
  readonly rest: RequestInit | Request
  readonly signal: AbortSignal | null | undefined
}

/** What differs between browsers and the rest: browsers tell less. */
export interface Platform {
  /** Whether an error says that no request was sent. */
  wasNeverSent(error: unknown): boolean
  /** What is to be sent after a redirect; `astray` where the key may not follow. */
  redirectOf(response: Response, request: Prepared, keyHeader: string): Prepared | 'astray' | undefined
}

/** Reads the request once, so that every attempt sends the same octets. */
export async function prepare(input: RequestInfo | URL, init: RequestInit): Promise<Prepared> {
  if (input instanceof Request) {
    const rest = new Request(input, init)
    const body = rest.body === null ? undefined : new Uint8Array(await rest.clone().arrayBuffer())
    const { url, method, headers, signal } = rest
    return { url, method, headers: new Headers(headers), body, rest, signal }
  }
  const { method = 'GET', headers: given, body: givenBody, signal, ...rest } = init
  const headers = new Headers(given)
  const body = await fixedBody(givenBody, headers)
  const url = new URL(input, globalThis.location?.href).href
  return { url, method: method.toUpperCase(), headers, body, rest, signal }
}

/** Streams are read to their end; forms get the boundary that all attempts use. */
async function fixedBody(body: BodyInit | null | undefined, headers: Headers): Promise<Prepared['body']> {
  if (body == null || typeof body === 'string') return body ?? undefined
  const whole = new Response(body)
  const octets = new Uint8Array(await whole.arrayBuffer())
  const contentType = whole.headers.get('content-type')
  if (contentType !== null && !headers.has('content-type')) headers.set('content-type', contentType)
  return octets
}

const redirectsMax = 20

/** Sends the request and reads the whole answer. Rejects where there is none. */
export async function exchange(
  settings: ReadOptions,
  request: Prepared,
  signal: AbortSignal,
  hasKey: boolean,
  hops = 0,
): Promise<Answer<Response>> {
  const { url, method, headers, body, rest } = request
  // A key is for one origin, so its redirects are looked at here.
  const follows = hasKey && (rest.redirect ?? 'follow') === 'follow'
  const init = {
    ...rest,
    method,
    headers,
    body,
    signal,
    ...(follows && { redirect: 'manual' }),
  } as RequestInit
  const response = await settings.fetch(rest instanceof Request ? new Request(rest, init) : url, init)
  const onward = follows ? settings.platform.redirectOf(response, request, settings.keyHeader) : undefined
  if (typeof onward === 'object' && hops < redirectsMax) {
    return await exchange(settings, onward, signal, hasKey, hops + 1)
  }
  const answer = await answerOf(response, url, hasKey)
  return onward === undefined ? answer : { ...answer, status: 0 }
}

/** An answer that broke off is none: `isWhole` reads it before it is one. Event streams have no end to wait for. */
async function answerOf(response: Response, url: string, isWhole: boolean): Promise<Answer<Response>> {
  const { status, statusText, headers } = response
  const type = headers.get('content-type') ?? ''
  let raw = response
  let code: string | undefined
  if (isWhole && response.body !== null && !type.startsWith('text/event-stream')) {
    const octets = await response.arrayBuffer()
    raw = new Response(octets, { status, statusText, headers })
    // The constructor cannot be told.
    Object.defineProperty(raw, 'url', { value: response.url || url })
    if (status >= 400 && type.startsWith('application/problem+json')) code = codeOf(octets)
  }
  return { status, header: (name) => headers.get(name), code, raw }
}

/** `code` of a problem document (RFC 9457). */
function codeOf(octets: ArrayBuffer): string | undefined {
  try {
    return `${JSON.parse(new TextDecoder().decode(octets)).code}`
  } catch {
    return undefined
  }
}
