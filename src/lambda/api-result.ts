/** From what a handler returns to an answer as it is recorded, and from an answer to what the host takes. */
import type { HeaderLine } from '../core/outcome.ts'
import { unprotectedLine } from '../http/headers.ts'
import type { CapturedAnswer, ProtocolAnswer } from '../http/protocol.ts'
import type { ApiHost } from './api-event.ts'

/** An answer that the layer gives itself: a replay or a problem document. */
export interface ApiAnswer {
  statusCode: number
  headers: Record<string, string>
  /** Fields with more than one line; with a load balancer's multi-value headers, all. */
  multiValueHeaders?: Record<string, string[]>
  body: string
  isBase64Encoded: boolean
}

/** A result with a status: what every host but format 2.0 demands. */
interface StructuredResult {
  readonly statusCode: unknown
  readonly headers?: Readonly<Record<string, unknown>> | null
  readonly multiValueHeaders?: Readonly<Record<string, readonly unknown[] | undefined>> | null
  readonly cookies?: readonly string[] | null
  readonly body?: unknown
  readonly isBase64Encoded?: boolean
}

const noOctets = new Uint8Array(0)
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** What the host makes of a handler's result. */
export function capturedOf(host: ApiHost, result: unknown): CapturedAnswer {
  if (!isStructured(result)) return host === 'v2' ? shorthand(result) : malformed(host)
  const status = Number(result.statusCode)
  const { body = null, isBase64Encoded = false } = result
  const isStatus = Number.isInteger(status) && status >= 200 && status <= 599
  if (!isStatus || (body !== null && typeof body !== 'string')) return malformed(host)
  return {
    status,
    headers: linesOf(host, result),
    body: body === null ? noOctets : Buffer.from(body, isBase64Encoded ? 'base64' : 'utf8'),
  }
}

function isStructured(result: unknown): result is StructuredResult {
  return typeof result === 'object' && result !== null && 'statusCode' in result
}

/** Format 2.0 takes a value without a status for the JSON of a 200. */
function shorthand(value: unknown): CapturedAnswer {
  return {
    status: 200,
    headers: [['Content-Type', 'application/json']],
    body: Buffer.from(JSON.stringify(value) ?? 'null'),
  }
}

/** What a client gets from the host where a result breaks its rules. */
function malformed(host: ApiHost): CapturedAnswer {
  return { status: host === 'v2' ? 500 : 502, headers: [], body: noOctets }
}

function linesOf(host: ApiHost, result: StructuredResult): HeaderLine[] {
  const lists = host === 'rest' || host === 'balancer-lists' ? (result.multiValueHeaders ?? {}) : {}
  const lines: HeaderLine[] = []
  for (const [name, values] of Object.entries(lists)) {
    for (const value of values ?? []) lines.push([name, String(value)])
  }
  // A field that stands in both is sent once.
  const listed = new Set(lines.map(([name]) => name.toLowerCase()))
  const single = host === 'balancer-lists' ? {} : (result.headers ?? {})
  for (const [name, value] of Object.entries(single)) {
    if (value !== undefined && !listed.has(name.toLowerCase())) lines.push([name, String(value)])
  }
  for (const cookie of host === 'v2' ? (result.cookies ?? []) : []) lines.push(['Set-Cookie', cookie])
  return lines
}

/** An answer of the protocol in the form that the host takes. */
export function apiAnswerOf(host: ApiHost, answer: ProtocolAnswer): ApiAnswer {
  const { status, headers, body } = answer
  return { statusCode: status, ...fieldsOf(host, headers), ...bodyOf(body) }
}

/** Text where it is text: only then does every host hand it on as it is. */
function bodyOf(octets: Uint8Array): Pick<ApiAnswer, 'body' | 'isBase64Encoded'> {
  try {
    return { body: strictUtf8.decode(octets), isBase64Encoded: false }
  } catch {
    const { buffer, byteOffset, byteLength } = octets
    return { body: Buffer.from(buffer, byteOffset, byteLength).toString('base64'), isBase64Encoded: true }
  }
}

function fieldsOf(
  host: ApiHost,
  lines: readonly HeaderLine[],
): Pick<ApiAnswer, 'headers' | 'multiValueHeaders'> {
  const values = new Map<string, { readonly name: string; readonly values: string[] }>()
  for (const [name, value] of lines) {
    const field = values.get(name.toLowerCase())
    if (field === undefined) values.set(name.toLowerCase(), { name, values: [value] })
    else field.values.push(value)
  }
  const headers: Record<string, string> = {}
  const multiValueHeaders: Record<string, string[]> = {}
  for (const field of values.values()) {
    const inList = host === 'balancer-lists' || (host === 'rest' && field.values.length > 1)
    if (inList) multiValueHeaders[field.name] = field.values
    else headers[field.name] = field.values.join(', ')
  }
  return Object.keys(multiValueHeaders).length === 0 ? { headers } : { headers, multiValueHeaders }
}

/** A handler's result with the field that says that it ran without protection. */
export function markUnprotected<Result>(host: ApiHost, result: Result): Result | ApiAnswer {
  const [name, value] = unprotectedLine
  if (isStructured(result)) {
    if (host === 'balancer-lists') {
      return { ...result, multiValueHeaders: { ...result.multiValueHeaders, [name]: [value] } }
    }
    return { ...result, headers: { ...result.headers, [name]: value } }
  }
  if (host !== 'v2') return result
  const { status, headers, body } = shorthand(result)
  const marked = [...headers, unprotectedLine]
  return apiAnswerOf(host, { status, headers: marked, body: body as Uint8Array, code: 'unprotected' })
}
