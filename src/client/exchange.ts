/** Requests whose octets are fixed, and answers that are whole. */
import type { Answer } from './signals.ts'

/** What `fetch` takes first. The name that browsers' types have for it is not in Node's. */
export type FetchInput = string | URL | Request

/** What pages have, and programs do not. */
export const page = globalThis as {
  readonly location?: { readonly href: string }
  readonly document?: { readonly baseURI: string }
}

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
export type Send = (request: Prepared, redirect?: RequestInit['redirect']) => Promise<Response>

/** What differs between browsers and the rest: browsers tell less. */
export interface Platform {
  /** Whether an error says that no request was sent. */
  wasNeverSent(error: unknown): boolean
  /**
   * Where redirects can be seen: follows them as far as they may be, and gives the answer at their end. A key does not
   * leave its origin: a redirect to another one is itself the answer. An operation that answered with a redirect has
   * answered: what that named is `redirected`.
   *
   * @param keyHeader the key's field, where there is a key
   */
  follow?(response: Response, request: Prepared, keyHeader: string | undefined, send: Send): Promise<Response>
  /** Reads a response to its end, and leaves it to be read. */
  whole(response: Response): Promise<ArrayBuffer>
}

/** What an exchange needs of the client. */
export interface Exchange {
  readonly platform: Platform
  readonly fetch: (input: string | Request, init: RequestInit) => Promise<Response>
  readonly keyHeader: string
}

/** A request before its octets are read. */
export interface Preparing extends Prepared {
  /** Reads them. Absent where there is nothing to read. */
  readonly read: (() => Promise<void>) | undefined
}

/**
 * Takes the request as it is now, so that every attempt sends the same octets: what the caller changes afterwards
 * changes nothing. Streams are read to their end; forms get the boundary that all attempts use.
 */
export function prepare(input: FetchInput, init: RequestInit): Preparing {
  const request = input instanceof Request ? new Request(input, init) : undefined
  const { method = 'GET', headers: fields, signal, referrer, referrerPolicy } = request ?? init
  const headers = new Headers(fields)
  const url = new URL(request?.url ?? (input as string), page.document?.baseURI ?? page.location?.href)
  const body = init.body as PreparedInit['body']
  const whole = request ?? (body && typeof body !== 'string' ? new Response(body) : undefined)
  const prepared = {
    // A `Request` forgets its referrer where it is given together with other options.
    ...{ ...init, method: method.toUpperCase(), headers, body, signal, referrer, referrerPolicy },
  } as PreparedInit & { body: PreparedInit['body'] }
  return {
    input: request ?? url.href,
    url,
    init: prepared,
    read:
      whole &&
      (async () => {
        const octets = await whole.arrayBuffer()
        const type = whole.headers.get('content-type')
        if (type !== null && !headers.has('content-type')) headers.set('content-type', type)
        prepared.body = octets.byteLength || whole.body ? octets : undefined
      }),
  }
}

/** Sends the request and reads the answer, if it is to be whole. Rejects where there is none. */
export async function exchange(
  { platform, fetch, keyHeader }: Exchange,
  request: Prepared,
  signal: AbortSignal,
  hasKey: boolean,
  isUnsafe: boolean,
): Promise<Answer<Response>> {
  const chosen = request.init.redirect ?? (request.input as Request).redirect ?? 'follow'
  const send: Send = ({ input, init }, redirect = chosen) =>
    fetch(input, { ...init, signal, redirect } as RequestInit)
  // A key is for one origin, and what comes after an operation's answer is not its own: both are looked at here.
  const isManual = chosen === 'follow' && (hasKey || (isUnsafe && platform.follow !== undefined))
  let response = await send(request, isManual ? 'manual' : chosen)
  if (isManual && platform.follow) {
    response = await platform.follow(response, request, hasKey ? keyHeader : undefined, send)
  }
  // What cannot be seen because its caller wants it so is an answer as any other.
  const status = response.status || (isManual ? 0 : 200)
  const header: Answer<Response>['header'] = (name) => response.headers.get(name)
  const type = header('content-type') ?? ''
  let code: string | undefined
  // An answer that broke off is none. Event streams have no end to wait for.
  if (isUnsafe && response.body && !/^text\/event-stream/i.test(type)) {
    const octets = await platform.whole(response)
    // Of a problem document (RFC 9457).
    if (status >= 400 && /^application\/problem\+json/i.test(type)) {
      const problem: unknown = await new Response(octets).json().catch(() => {})
      code = (problem as { readonly code?: string } | null | undefined)?.code
    }
  }
  return { status, header, code, isElsewhere: isUnsafe && response.redirected, raw: response }
}
