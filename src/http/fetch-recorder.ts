/**
 * Records a fetch `Response`. A body of one piece is settled before the response is returned, so that another
 * answer can still take its place. A longer one streams: each piece passes when the next one is there, and the last
 * one after it is settled. In transaction mode every body is read to its end and settled first.
 */
import type { HeaderLine } from '../core/outcome.ts'
import { unprotectedLine } from './headers.ts'
import type { ProtocolAnswer } from './protocol.ts'
import { type BodyRecording, type PieceSource, RecordedBody } from './recorded-body.ts'

/**
 * Returns the response to send in place of the handler's.
 *
 * @throws what the body's source fails with before anything was sent
 */
export async function recordFetchResponse(given: Response, recording: BodyRecording): Promise<Response> {
  const response = asSent(given)
  // Before the body: some servers' own kind of response takes on another media type once its body is asked for.
  const head = { status: response.status, headers: linesOf(response.headers) }
  if (response.body === null) {
    const instead = await recording.settle({ ...head, body: new Uint8Array(0) })
    return instead === undefined ? response : toFetchResponse(instead)
  }
  const recorded = new RecordedBody(head, sourceOf(response.body), recording)
  const opened = await recorded.open()
  switch (opened.kind) {
    case 'whole':
      return new Response(opened.octets as Uint8Array<ArrayBuffer>, response)
    case 'instead':
      return toFetchResponse(opened.answer)
    case 'pieces':
      return new Response(streamOf(opened.pieces, recorded), response)
    default:
      return opened satisfies never
  }
}

function sourceOf(body: ReadableStream<Uint8Array>): PieceSource {
  const reader = body.getReader()
  return {
    async read() {
      const { done, value } = await reader.read()
      return done ? undefined : value
    },
    cancel: () => reader.cancel(),
  }
}

function streamOf(
  pieces: AsyncGenerator<Uint8Array, void>,
  recorded: RecordedBody,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    async pull(controller): Promise<void> {
      const { done, value } = await pieces.next()
      if (done === true) controller.close()
      else controller.enqueue(value as Uint8Array<ArrayBuffer>)
    },
    cancel: () => recorded.finishAlone(),
  })
}

/** A response of srvx, as it gives it to Node. */
interface FastResponse {
  _toNodeResponse(): {
    readonly status: number
    readonly statusText: string
    /** Names and values by turns. */
    readonly headers: readonly string[]
    readonly body?: unknown
  }
}

/** The servers of srvx, on which h3 and Elysia run on Node, complete a response of their own only as it leaves. */
function asSent(response: Response): Response {
  if (typeof (response as Partial<FastResponse>)._toNodeResponse !== 'function') return response
  const { status, statusText, headers, body } = (response as unknown as FastResponse)._toNodeResponse()
  const lines = new Headers()
  for (let at = 0; at + 1 < headers.length; at += 2)
    lines.append(headers[at] as string, headers[at + 1] as string)
  return new Response((body ?? null) as ConstructorParameters<typeof Response>[0], {
    status,
    statusText,
    headers: lines,
  })
}

function linesOf(headers: Headers): HeaderLine[] {
  return Array.from(headers as unknown as Iterable<[string, string]>)
}

const bodiless: ReadonlySet<number> = new Set([204, 205, 304])

/** The response of a handler that ran without protection, with the field that says so. */
export function markUnprotected(response: Response): Response {
  // The handler's own fields may be immutable.
  const marked = new Response(response.body, response)
  marked.headers.set(...unprotectedLine)
  return marked
}

/**
 * An answer of the protocol, such as one of `retrysafe/http/precondition`, as a `Response`.
 *
 * @example
 * if (seen.kind === 'answer') return toResponse(seen.answer)
 */
export function toFetchResponse(answer: ProtocolAnswer): Response {
  const headers = new Headers()
  for (const [name, value] of answer.headers) headers.append(name, value)
  // A runtime gives a body a media type, also an empty one.
  const empty = answer.body.length === 0 || bodiless.has(answer.status)
  const body = empty ? null : (answer.body as Uint8Array<ArrayBuffer>)
  return new Response(body, { status: answer.status, headers })
}
