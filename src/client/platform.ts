/** Node, Deno, Bun and Workers: redirects are seen, and Node says why nothing was sent. */
import type { Platform, Prepared, Send } from './exchange.ts'
import { isNode, WholeResponse } from './whole-node.ts'

const whole = (read: Response, octets: ArrayBuffer): Response => new WholeResponse(read, octets)

export const platform: Platform = { wasNeverSent, follow, ...(isNode && { whole }) }

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

/** The operation has answered with a redirect; what failed came after it. */
class RedirectError extends Error {
  override readonly name = 'RedirectError'
}

/** As many as `fetch` follows. */
const redirectsMax = 20

/** As `fetch` does, within the origin. */
async function follow(first: Response, sent: Prepared, keyHeader: string, send: Send): Promise<Response> {
  let response = first
  let request = sent
  for (let count = 0; count < redirectsMax; count += 1) {
    const { status, headers } = response
    const { method } = request.init
    const location = headers.get('location')
    if (location === null || ![301, 302, 303, 307, 308].includes(status)) return response
    const url = new URL(location, request.url)
    const isSafe = method === 'GET' || method === 'HEAD'
    const changesMethod = !isSafe && (status === 303 || (status < 303 && method === 'POST'))
    if (!changesMethod && url.origin !== request.url.origin) return response
    // Frees the connection.
    await response.body?.cancel()
    if (changesMethod) return await lookElsewhere(request, url, keyHeader, send)
    // Not the `Request` of the caller, which has its address in it.
    request = { ...request, input: url.href, url }
    response = await send(request, 'manual')
  }
  return response
}

/** The operation's answer is to look elsewhere, and looking takes no key. */
async function lookElsewhere(request: Prepared, url: URL, keyHeader: string, send: Send): Promise<Response> {
  const headers = new Headers(request.init.headers)
  const ofTheBody = ['content-type', 'content-length', 'content-encoding', 'content-language']
  const ofTheOrigin = ['authorization', 'proxy-authorization', 'cookie', 'host']
  const leaves = url.origin !== request.url.origin
  for (const name of [keyHeader, ...ofTheBody, ...(leaves ? ofTheOrigin : [])]) headers.delete(name)
  const init = { ...request.init, method: 'GET', headers, body: undefined }
  try {
    return await send({ input: url.href, url, init }, 'follow')
  } catch (cause) {
    throw new RedirectError('The operation answered with a redirect that could not be followed.', { cause })
  }
}
