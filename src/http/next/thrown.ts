/**
 * What `redirect()`, `notFound()` and their like throw: results, and no failures. Next knows them by `digest`:
 *
 *   NEXT_REDIRECT;<push or replace>;<URL, which may hold semicolons>;<status>;
 *   NEXT_HTTP_ERROR_FALLBACK;<status>
 */

/** A thrown result, read. */
export interface NextThrown {
  /** All that Next looks at: an error with it means the same again. */
  readonly digest: string
  /** The status that it stands for where no rule of Next changes it. */
  readonly status: number
  /** Where a redirect leads to. */
  readonly location: string | undefined
}

const redirectDigest = /^NEXT_REDIRECT;(?:push|replace);(.*);(303|307|308);$/s
const statusDigest = /^NEXT_HTTP_ERROR_FALLBACK;(401|403|404)$/

/** Reads what a handler threw; `undefined` where it is a failure, or of Next's own doing. */
export function readThrown(thrown: unknown): NextThrown | undefined {
  if (typeof thrown !== 'object' || thrown === null) return undefined
  const { digest } = thrown as { digest?: unknown }
  if (typeof digest !== 'string') return undefined
  const redirect = redirectDigest.exec(digest)
  if (redirect !== null) return { digest, status: Number(redirect[2]), location: redirect[1] }
  const fallback = statusDigest.exec(digest)
  return fallback === null ? undefined : { digest, status: Number(fallback[1]), location: undefined }
}

/** The error that means `digest` to Next. */
export function errorOf(digest: string): Error {
  return Object.assign(new Error(digest), { digest })
}
