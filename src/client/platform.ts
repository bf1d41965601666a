/** Node, Deno, Bun and Workers: redirects are seen, and Node says why nothing was sent. */
import type { Platform, Prepared } from './exchange.ts'

export const platform: Platform = { wasNeverSent, redirectOf }

/** A name that was not found, a connection or a TLS session that was never made, a stream that was not taken. */
const neverSent = /^(connect|getaddrinfo)$|CONNECT_TIMEOUT|CERT|UNABLE_TO_|NGHTTP2_REFUSED_STREAM/
const causesMax = 5

export function wasNeverSent(error: unknown, depth = 0): boolean {
  if (typeof error !== 'object' || error === null || depth > causesMax) return false
  const { syscall, code, message, cause, errors } = error as Record<string, unknown>
  // One error for each address of a name.
  if (Array.isArray(errors) && errors.length > 0) return errors.every((each) => wasNeverSent(each, depth + 1))
  if (typeof syscall === 'string') return neverSent.test(syscall)
  return neverSent.test(String(code ?? message)) || wasNeverSent(cause, depth + 1)
}

/** As `fetch` follows them, within the origin. */
function redirectOf(
  response: Response,
  request: Prepared,
  keyHeader: string,
): Prepared | 'astray' | undefined {
  const { status, headers } = response
  const location = headers.get('location')
  if (location === null || ![301, 302, 303, 307, 308].includes(status)) return undefined
  const url = new URL(location, request.url)
  if (url.origin !== new URL(request.url).origin) return 'astray'
  // A `Request` has its address in it.
  const onward = { ...request, url: url.href, rest: request.rest instanceof Request ? {} : request.rest }
  if (status >= 307) return onward
  // The operation's answer is to look elsewhere; looking takes no key.
  const fields = new Headers(request.headers)
  for (const name of [keyHeader, 'content-type', 'content-length']) fields.delete(name)
  return { ...onward, method: 'GET', headers: fields, body: undefined }
}
