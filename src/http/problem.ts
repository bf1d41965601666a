/** The one writer of problem documents (RFC 9457) for the HTTP room. */
import type { HeaderLine } from '../core/outcome.ts'

/** An answer that the protocol gives itself: a replay or a problem document (RFC 9457). */
export interface ProtocolAnswer {
  readonly status: number
  readonly headers: readonly HeaderLine[]
  readonly body: Uint8Array
  /** `replayed`, or the code of the error. For logs. */
  readonly code: string
  /** The stored result of a replay, where it is a value and no HTTP answer (see `HttpGuard.finishValue`). */
  readonly stored?: { readonly value: unknown }
}

export interface Problem {
  readonly status: number
  readonly title: string
  readonly detail: string
  /** Stable; the documentation has a heading for it. */
  readonly code: string
  readonly retryAfterS?: number | undefined
}

/** The page whose `#<code>` anchors explain the errors, where options name no other. */
export const errorsPage = 'https://unpkg.com/retrysafe/docs/errors.md'

const utf8 = new TextEncoder()

/** A problem as an answer. `documentation` is the page whose `#<code>` anchor explains it. */
export function problemDocument(documentation: string, problem: Problem): ProtocolAnswer {
  const { status, title, detail, code, retryAfterS } = problem
  const page = `${documentation}#${code}`
  const headers: HeaderLine[] = [
    ['Content-Type', 'application/problem+json'],
    ['Cache-Control', 'no-store'],
    ['Link', `<${page}>; rel="describedby"`],
  ]
  if (retryAfterS !== undefined) headers.push(['Retry-After', String(retryAfterS)])
  return {
    status,
    headers,
    body: utf8.encode(JSON.stringify({ type: page, title, status, detail, code })),
    code,
  }
}
