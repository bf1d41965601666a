/** Where a redirect leads a call: one rule for every transport that sees redirects. */
import { page } from './exchange.ts'

/** Browsers follow by themselves, or say nothing of where to. */
export const showsRedirects: boolean = page.location === undefined

/** As many as `fetch` follows. */
export const redirectsMax = 20

/** The request that was answered with a redirect. */
export interface Asked {
  /** In upper case. */
  readonly method: string
  readonly url: URL
  /** The field of the key, in lower case, where a key was sent. */
  readonly keyHeader: string | undefined
}

/** The request that follows a redirect. */
export interface Redirect extends Asked {
  /** The operation has answered, and what is there says nothing of it. 307 and 308 say that it is to be done there. */
  readonly isElsewhere: boolean
  /** Whether it is in another origin. */
  readonly leaves: boolean
  /** Whether it has no body; else it has that of the request. */
  readonly dropsBody: boolean
  /** The fields of the request that it does not have, in lower case. */
  readonly dropped: readonly string[]
}

/** The operation has answered with a redirect; what failed came after it. */
export class RedirectError extends Error {
  override readonly name = 'RedirectError'

  constructor(cause?: unknown) {
    super('The operation answered with a redirect that could not be followed.', { cause })
  }
}

const fieldsOfBody = ['content-type', 'content-length', 'content-encoding', 'content-language']
const fieldsOfOrigin = ['authorization', 'proxy-authorization', 'cookie', 'host']

/**
 * What follows an answer, as `fetch` does it: 303, and 301 or 302 of a POST, say where to look, and looking takes no
 * key. `undefined` where the answer is no redirect, or one that a key cannot follow because it leaves the origin.
 *
 * @throws RedirectError where it leads nowhere
 * @example
 * redirectOf({ method: 'POST', url, keyHeader: 'idempotency-key' }, 303, '/charges/1')?.method // 'GET'
 */
export function redirectOf(
  { method, url, keyHeader }: Asked,
  status: number,
  location: string | null | undefined,
): Redirect | undefined {
  if (typeof location !== 'string' || ![301, 302, 303, 307, 308].includes(status)) return undefined
  if (!URL.canParse(location, url.href)) throw new RedirectError()
  const next = new URL(location, url)
  const leaves = next.origin !== url.origin
  const isRead = method === 'GET' || method === 'HEAD'
  const looks = !isRead && (status === 303 || (status < 303 && method === 'POST'))
  if (!looks && leaves && keyHeader !== undefined) return undefined
  if (!/^https?:$/.test(next.protocol)) throw new RedirectError()
  return {
    method: looks ? 'GET' : method,
    url: next,
    keyHeader: looks ? undefined : keyHeader,
    isElsewhere: status < 307,
    leaves,
    dropsBody: looks,
    dropped: [
      ...(looks ? fieldsOfBody : []),
      ...(looks && keyHeader !== undefined ? [keyHeader] : []),
      ...(leaves ? fieldsOfOrigin : []),
    ],
  }
}
