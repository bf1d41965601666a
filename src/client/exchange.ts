/** Requests whose octets are fixed, and answers that are whole. */
import type { Answer } from './signals.ts'

/** A request as each attempt sends it. */
export interface Prepared {
  /** What `fetch` is given first. A `Request` brings its mode and the like, and octets that are not read again. */
  readonly input: string | Request
  readonly url: URL
  readonly init: PreparedInit
}

/** All that `fetch` was given, with what is fixed in it. */
export type PreparedInit = Omit<RequestInit, 'method' | 'headers' | 'body'> & {
  readonly method: string
  readonly headers: Headers
  readonly body: string | ArrayBuffer | undefined
}

/** Sends a request as it is. Default redirect: what its caller chose. */
export type Send = (request: Prepared, redirect?: RequestRedirect) => Promise<Response>

/** What differs between browsers and the rest: browsers tell less. */
export interface Platform {
  /** Whether an error says that no request was sent. */
  wasNeverSent(error: unknown): boolean
  /**
   * Where redirects can be seen: follows those that a key may follow, and gives the answer at their end. To another
   * origin it may not, so such a redirect is itself the answer.
   */
  follow?(response: Response, request: Prepared, keyHeader: string, send: Send): Promise<Response>
  /** A response of these octets, which are all that the given one had. Default: a new one. */
  whole?(read: Response, octets: ArrayBuffer): Response
}

/** What an exchange needs of the client. */
export interface Exchange {
  readonly platform: Platform
  readonly fetch: (input: RequestInfo, init: RequestInit) => Promise<Response>
  readonly keyHeader: string
}

/**
 * Reads the request once, so that every attempt sends the same octets. What the caller changes after the call has
 * begun changes nothing. Streams are read to their end; forms get the boundary that all attempts use.
 */
export async function prepare(input: RequestInfo | URL, init: RequestInit): Promise<Prepared> {
  const request = input instanceof Request ? new Request(input, init) : undefined
  const { method = 'GET', headers: fields, signal } = request ?? init
  const headers = new Headers(fields)
  const url = new URL(
    request?.url ?? (input as string),
    globalThis.document?.baseURI ?? globalThis.location?.href,
  )
  let body = init.body as PreparedInit['body']
  if (request || (body && typeof body !== 'string')) {
    const whole = request ?? new Response(body)
    const octets = await whole.arrayBuffer()
    const type = whole.headers.get('content-type')
    if (type !== null && !headers.has('content-type')) headers.set('content-type', type)
    body = octets.byteLength || whole.body ? octets : undefined
  }
  return {
    input: request ?? url.href,
    url,
    init: { ...init, method: method.toUpperCase(), headers, body, signal } as PreparedInit,
  }
}

/** Sends the request and reads the answer, if it is to be whole. Rejects where there is none. */
export async function exchange(
  { platform, fetch, keyHeader }: Exchange,
  request: Prepared,
  signal: AbortSignal,
  hasKey: boolean,
  isWhole: boolean,
): Promise<Answer<Response>> {
  const chosen = request.init.redirect ?? (request.input as Request).redirect
  const send: Send = ({ input, init }, redirect = chosen) =>
    fetch(input, { ...init, signal, redirect } as RequestInit)
  // A key is for one origin, so its redirects are looked at here.
  const follows = hasKey && (chosen ?? 'follow') === 'follow'
  let response = await send(request, follows ? 'manual' : chosen)
  if (follows) response = (await platform.follow?.(response, request, keyHeader, send)) ?? response
  return await answerOf(platform, response, isWhole)
}

/** An answer that broke off is none: `isWhole` reads it before it is one. Event streams have no end to wait for. */
async function answerOf(platform: Platform, response: Response, isWhole: boolean): Promise<Answer<Response>> {
  const { status, headers } = response
  const type = headers.get('content-type') ?? ''
  let raw = response
  let code: string | undefined
  if (isWhole && response.body && !type.startsWith('text/event-stream')) {
    const octets = await response.arrayBuffer()
    raw =
      platform.whole?.(response, octets) ??
      // The constructor cannot be told where it came from.
      Object.defineProperty(new Response(octets, response), 'url', { value: response.url })
    // Of a problem document (RFC 9457).
    if (status >= 400 && type.startsWith('application/problem+json')) {
      const problem = (await raw
        .clone()
        .json()
        .catch(() => null)) as { readonly code?: string } | null
      code = problem?.code
    }
  }
  return { status, header: (name) => headers.get(name), code, raw }
}
