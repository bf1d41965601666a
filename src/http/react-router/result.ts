/**
 * What an action ends with, and its stored form. A `Response` that is returned is an answer like in any other
 * framework and is recorded as one; everything else is a value: React Router makes the answer out of it, and makes
 * another one for a document than for a data request.
 */
import type { HeaderLine } from '../../core/outcome.ts'
import { replayHeaders, storedHeaders } from '../headers.ts'
import { readFetchBody } from '../fetch-request.ts'

/** What an action returned or threw. */
export interface ActionEnd {
  readonly thrown: boolean
  readonly value: unknown
}

/** What `data(value, init)` makes, by its members: the class is React Router's. */
interface DataWithInit {
  readonly type: 'DataWithResponseInit'
  readonly data: unknown
  readonly init: ResponseInit | null
}

interface StoredInit {
  readonly status?: number
  readonly statusText?: string
  readonly headers: readonly HeaderLine[]
}

/** The stored form; what `encodeValue` cannot write stays in `value` and is refused there. */
export type StoredEnd =
  | { readonly kind: 'value'; readonly value: unknown }
  | {
      readonly kind: 'data'
      readonly thrown: boolean
      readonly data: unknown
      readonly init: StoredInit | null
    }
  | {
      readonly kind: 'response'
      readonly status: number
      readonly statusText: string
      readonly headers: readonly HeaderLine[]
      readonly body: Uint8Array | 'omitted'
    }

export function isResponse(value: unknown): value is Response {
  return value instanceof Response
}

export function isData(value: unknown): value is DataWithInit {
  return (
    typeof value === 'object' &&
    value !== null &&
    (value as { type?: unknown }).type === 'DataWithResponseInit' &&
    'data' in value &&
    'init' in value
  )
}

/** Whether what an action threw is a result, and no failure. */
export function isThrownResult(thrown: unknown): boolean {
  return isResponse(thrown) || isData(thrown)
}

/** The status that an end stands for. */
export function statusOf({ thrown, value }: ActionEnd): number {
  if (isResponse(value)) return value.status
  if (isData(value)) return value.init?.status ?? (thrown ? 500 : 200)
  return 200
}

/** The end as it is stored. Of a thrown response over `bytesMax` the head is kept. */
export async function storedEnd({ thrown, value }: ActionEnd, bytesMax: number): Promise<StoredEnd> {
  if (isData(value)) return { kind: 'data', thrown, data: value.data, init: storedInit(value.init) }
  if (!isResponse(value)) return { kind: 'value', value }
  const { status, statusText, headers } = value
  const read = await readFetchBody(value.clone(), bytesMax)
  return {
    kind: 'response',
    status,
    statusText,
    headers: storedHeaders(Array.from(headers.entries())),
    body: read.kind === 'octets' ? read.octets : 'omitted',
  }
}

function storedInit(init: ResponseInit | null): StoredInit | null {
  if (init === null) return null
  const { headers, ...head } = init
  return { ...head, headers: storedHeaders(Array.from(new Headers(headers).entries())) }
}

/**
 * The end that was stored. What carries header fields is marked as a replay; a bare value has none, and stays bare
 * because React Router answers another body to `data()` of a text.
 */
export function replayedEnd(stored: StoredEnd, marker: string | false): ActionEnd {
  switch (stored.kind) {
    case 'value':
      return { thrown: false, value: stored.value }
    case 'data': {
      const { thrown, data, init } = stored
      const { headers = [], ...head } = init ?? {}
      return { thrown, value: dataOf(data, { ...head, headers: headersOf(replayHeaders(headers, marker)) }) }
    }
    case 'response': {
      const { status, statusText, body } = stored
      const headers = headersOf(replayHeaders(stored.headers, marker))
      if (body === 'omitted') headers.set('Idempotency-Replay-Body', 'omitted')
      const octets = body === 'omitted' || body.length === 0 ? null : (body as Uint8Array<ArrayBuffer>)
      return { thrown: true, value: new Response(octets, { status, statusText, headers }) }
    }
    default:
      return stored satisfies never
  }
}

function headersOf(lines: readonly HeaderLine[]): Headers {
  const headers = new Headers()
  for (const [name, value] of lines) headers.append(name, value)
  return headers
}

/** As `data(value, init)` of React Router. */
export function dataOf(data: unknown, init: ResponseInit): unknown {
  return { type: 'DataWithResponseInit', data, init } satisfies DataWithInit
}
