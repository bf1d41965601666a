/** Answers of mutation fields: what is stored of them, how their errors are judged, and how they become one result. */
import type { RootField } from './graphql-document.ts'
import type { HandlerEnd } from './guard.ts'
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
function statusOf({ extensions = {} }: SentError): number {
  const { http, code } = extensions as { http?: { status?: unknown }; code?: unknown }
  if (typeof http?.status === 'number') return http.status
  if (typeof code !== 'string') return 500
  return codeStatuses[code] ?? 422
}

/** What the errors of a field say about the answer over HTTP, `undefined` where that is nothing. */
function httpPartOf(errors: readonly SentError[]): HttpPart | undefined {
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
function storedField(
  field: RootField,
  { data, errors = [] }: SentResult,
  judged: readonly SentError[],
): StoredField | undefined {
  const http = httpPartOf(errorsOf(field, judged))
  const sent = asJson({ value: data?.[field.responseName] ?? null, errors: errorsOf(field, errors) })
  return sent === undefined ? undefined : { ...sent, ...(http === undefined ? {} : { http }) }
}

function asJson(sent: StoredField): StoredField | undefined {
  try {
    return JSON.parse(JSON.stringify(sent)) as StoredField
  } catch {
    return undefined
  }
}

/** What became of the execution of an operation. */
export type Execution = 'never' | 'threw' | 'returned' | 'streamed'

const inParts: HandlerEnd = { kind: 'unanswered', reason: 'it is sent in parts (@defer or @stream)' }
const noJson: HandlerEnd = { kind: 'unanswered', reason: 'it is no JSON' }
const discarded: HandlerEnd = {
  kind: 'unanswered',
  reason: 'a failure of another field of the operation discarded its answer',
}

/**
 * How one of the executed fields ended. An error at the field itself is its resolver's; one further down comes after
 * the resolver, when the effect took place, and is part of the answer.
 */
export function endOfField(
  field: RootField,
  executed: readonly RootField[],
  execution: Execution,
  result: SentResult,
  judged: readonly SentError[],
): HandlerEnd {
  if (execution === 'threw') return { kind: 'answered', status: 500, value: undefined }
  if (execution === 'streamed') return inParts
  if (execution === 'never' || result.data === undefined) return { kind: 'not-run' }
  const failure = errorsOf(field, judged).find(({ path }) => path?.length === 1)
  if (result.data === null) {
    // Fields run one after the other; the last one with an error took all data with it.
    const lastAt = executed.findLastIndex((each) => errorsOf(each, judged).length > 0)
    const at = executed.indexOf(field)
    if (at > lastAt) return { kind: 'not-run' }
    if (at < lastAt && failure === undefined) return discarded
  }
  const value = storedField(field, result, judged)
  if (value === undefined) return noJson
  return { kind: 'answered', status: failure === undefined ? 200 : statusOf(failure), value }
}

/** The errors of a field and of what is below it. */
export function errorsOf({ responseName }: RootField, errors: readonly SentError[]): SentError[] {
  return errors.filter(({ path }) => path?.[0] === responseName)
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
