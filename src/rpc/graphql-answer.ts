/** Answers of mutation fields: what is stored of them, how their errors are judged, and how they become one result. */
import type { RootField } from './graphql-document.ts'
import { type Refusal, refusalData } from './refusal.ts'

/** An error as it is sent. */
export interface SentError {
  readonly message: string
  readonly path?: readonly (string | number)[] | undefined
  readonly extensions?: Readonly<Record<string, unknown>> | undefined
}

/** A result as it is sent. */
export interface SentResult {
  readonly data?: Readonly<Record<string, unknown>> | null | undefined
  readonly errors?: readonly SentError[] | undefined
  readonly extensions?: unknown
}

/** What errors say about the answer over HTTP. */
export interface HttpPart {
  readonly status?: number
  readonly headers?: readonly (readonly [name: string, value: string])[]
}

/** The outcome of a field: what is sent for it, without its place in the result. */
export interface StoredField {
  readonly value: unknown
  readonly errors: readonly SentError[]
  readonly http?: HttpPart
}

/** Codes that servers give by themselves or that invite another try. Any other code names a result of the service. */
const codeStatuses: Readonly<Record<string, number>> = {
  INTERNAL_SERVER_ERROR: 500,
  DOWNSTREAM_SERVICE_ERROR: 502,
  SERVICE_UNAVAILABLE: 503,
  TIMEOUT: 504,
  UNAUTHENTICATED: 401,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  TOO_MANY_REQUESTS: 429,
  RATE_LIMITED: 429,
  THROTTLED: 429,
}

/**
 * The status that says the same as an error of a field. One that its author gave neither a code nor a status is a
 * failure of the server.
 */
export function statusOf({ extensions = {} }: SentError): number {
  const { http, code } = extensions as { http?: { status?: unknown }; code?: unknown }
  if (typeof http?.status === 'number') return http.status
  if (typeof code !== 'string') return 500
  return codeStatuses[code] ?? 422
}

/** What the errors of a field say about the answer over HTTP, `undefined` where that is nothing. */
export function httpPartOf(errors: readonly SentError[]): HttpPart | undefined {
  let status: number | undefined
  const headers: [string, string][] = []
  for (const { extensions = {} } of errors) {
    const { http } = extensions as { http?: { status?: unknown; headers?: unknown } }
    if (typeof http?.status === 'number') status = Math.max(status ?? 0, http.status)
    if (typeof http?.headers !== 'object' || http.headers === null) continue
    const entries =
      Symbol.iterator in http.headers
        ? [...(http.headers as Iterable<[string, string]>)]
        : Object.entries(http.headers)
    for (const [name, value] of entries) headers.push([name, String(value)])
  }
  if (status === undefined && headers.length === 0) return undefined
  return { ...(status === undefined ? {} : { status }), ...(headers.length === 0 ? {} : { headers }) }
}

/** The outcome of a field as the JSON that is sent, `undefined` where it is none. */
export function storedField(
  { responseName }: RootField,
  { data, errors = [] }: SentResult,
  judged: readonly SentError[],
): StoredField | undefined {
  const own = (error: SentError): boolean => error.path?.[0] === responseName
  const http = httpPartOf(judged.filter(own))
  const sent = asJson({ value: data?.[responseName] ?? null, errors: errors.filter(own) })
  return sent === undefined ? undefined : { ...sent, ...(http === undefined ? {} : { http }) }
}

function asJson(sent: StoredField): StoredField | undefined {
  try {
    return JSON.parse(JSON.stringify(sent)) as StoredField
  } catch {
    return undefined
  }
}

/** The refusal of a field as an error of the result. */
export function refusalError({ responseName, nodes }: RootField, refusal: Refusal): SentError {
  const start = nodes[0]?.loc?.startToken
  return {
    message: refusal.error.message,
    ...(start === undefined ? {} : { locations: [{ line: start.line, column: start.column }] }),
    path: [responseName],
    extensions: { ...refusalData(refusal) },
  }
}

/** The part of a result that belongs to one field. */
export interface FieldPart {
  readonly field: RootField
  readonly value: unknown
  readonly errors: readonly SentError[]
}

/** A stored outcome in its place: the field may have another alias now. */
export function replayedPart(field: RootField, { value, errors }: StoredField): FieldPart {
  const placed = errors.map((error) => ({
    ...error,
    path: [field.responseName, ...(error.path ?? []).slice(1)],
  }))
  return { field, value, errors: placed }
}

/** One result out of the parts of its fields, in their order. A field that must not be null takes all data with it. */
export function mergedResult(parts: readonly FieldPart[], rest: SentResult): SentResult {
  const names = new Set(parts.map(({ field }) => field.responseName))
  const ofNone = (rest.errors ?? []).filter(({ path }) => !names.has(String(path?.[0])))
  const errors = [...ofNone, ...parts.flatMap((part) => part.errors)]
  const isNull = rest.data === null || parts.some(({ field, value }) => field.isNonNull && value === null)
  const data = isNull
    ? null
    : Object.fromEntries(parts.map(({ field, value }) => [field.responseName, value]))
  return {
    ...(errors.length === 0 ? {} : { errors }),
    data,
    ...(rest.extensions === undefined ? {} : { extensions: rest.extensions }),
  }
}
