/** Node, Deno, Bun and Workers: redirects are seen, and Node says why nothing was sent. */
import type { Platform, Prepared, Send } from './exchange.ts'
import { platform as browser } from './platform-browser.ts'
import { RedirectError, redirectOf, redirectsMax, showsRedirects } from './redirects.ts'
import { isNode, whole } from './whole-node.ts'

export const platform: Platform = {
  ...{ wasNeverSent, whole: isNode ? whole : browser.whole },
  // Bundlers that do not know of the export for browsers bring this one there.
  ...(showsRedirects && { follow }),
}

/** What the system was asked to do when it failed. */
const neverSentCalls = /^(connect|getaddrinfo)$/
/** A connection or a TLS session that was never made: certificates, names in them, versions. */
const neverSentCodes =
  /CONNECT_TIMEOUT|CERT|UNABLE_TO_|^ERR_SSL_(WRONG_VERSION|UNSUPPORTED_PROTOCOL|NO_PROTOCOLS)/
/** Node has one code for every reset of an HTTP/2 stream; this reset says that it was not processed (RFC 9113, 8.7). */
const refusedStream = 'NGHTTP2_REFUSED_STREAM'
const causesMax = 5

/** Whether an error of Node's says that no request was sent; for other errors `false`. */
export function wasNeverSent(error: unknown, depth = 0): boolean {
  if (!(error instanceof Error) || error instanceof RedirectError || depth > causesMax) return false
  const { syscall, code, message, cause, errors } = error as Error & Record<string, unknown>
  // One error for each address of a name, or for each of two requests.
  if (Array.isArray(errors) && errors.length > 0) return errors.every((each) => wasNeverSent(each, depth + 1))
  if (typeof syscall === 'string') return neverSentCalls.test(syscall)
  return (
    (typeof code === 'string' && neverSentCodes.test(code)) ||
    message.includes(refusedStream) ||
    wasNeverSent(cause, depth + 1)
  )
}

async function follow(
  first: Response,
  sent: Prepared,
  keyHeader: string | undefined,
  send: Send,
): Promise<Response> {
  let response = first
  let request = sent
  let hasAnswered = false
  let field = keyHeader
  for (let count = 0; count < redirectsMax; count += 1) {
    const { url, init } = request
    const asked = { method: init.method, url, keyHeader: field }
    const redirect = redirectOf(asked, response.status, response.headers.get('location'))
    if (redirect === undefined) break
    // Frees the connection.
    await response.body?.cancel()
    const headers = new Headers(init.headers)
    for (const name of redirect.dropped) headers.delete(name)
    field = redirect.keyHeader
    hasAnswered ||= redirect.isElsewhere
    // Not the `Request` of the caller, which has its address in it.
    request = {
      ...{ input: redirect.url.href, url: redirect.url },
      init: {
        ...{ ...init, headers, method: redirect.method },
        body: redirect.dropsBody ? undefined : init.body,
      },
    }
    try {
      response = await send(request, 'manual')
    } catch (cause) {
      throw hasAnswered ? new RedirectError(cause) : cause
    }
  }
  return hasAnswered ? Object.defineProperty(response, 'redirected', { value: true }) : response
}
