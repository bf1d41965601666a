/**
 * Records a fetch `Response`. A body of one piece is settled before the response is returned, so that another
 * answer can still take its place. A longer one streams: each piece passes when the next one is there, and the last
 * one after it is settled.
 */
import type { HeaderLine } from '../core/outcome.ts'
import { unprotectedLine } from './headers.ts'
import { joinPieces } from './fetch-request.ts'
import type { CapturedAnswer, ProtocolAnswer } from './protocol.ts'

export interface FetchRecording {
  readonly bytesMax: number
  /** Settles what was captured. An answer: send it instead. */
  settle(captured: CapturedAnswer): Promise<ProtocolAnswer | undefined>
  /** The answer broke off: nobody knows how far its handler came. */
  abandon(): Promise<void>
}

/**
 * Returns the response to send in place of the handler's.
 *
 * @throws what the body's source fails with before anything was sent
 */
export async function recordFetchResponse(response: Response, recording: FetchRecording): Promise<Response> {
  // Before the body: some servers' own kind of response takes on another media type once its body is asked for.
  const { status, headers } = response
  if (response.body === null) {
    const captured = { status, headers: linesOf(headers), body: new Uint8Array(0) }
    const instead = await recording.settle(captured)
    return instead === undefined ? response : toFetchResponse(instead)
  }
  const source = new Source(response, response.body as ReadableStream<Uint8Array>, recording)
  if (source.isEventStream) return streaming(response, source, undefined, undefined)
  const first = await source.next()
  const second = first === undefined ? undefined : await source.next()
  if (second !== undefined) return streaming(response, source, first, second)
  const instead = await source.settle()
  if (instead !== undefined) return toFetchResponse(instead)
  return new Response((first ?? new Uint8Array(0)) as Uint8Array<ArrayBuffer>, response)
}

/** The handler's body, read piece by piece and kept on the way. Settled, or abandoned where it breaks, once. */
class Source {
  readonly isEventStream: boolean
  readonly #head: Pick<CapturedAnswer, 'status' | 'headers'>
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #capture: Capture
  readonly #recording: FetchRecording

  constructor(response: Response, body: ReadableStream<Uint8Array>, recording: FetchRecording) {
    const { status, headers } = response
    this.isEventStream = headers.get('content-type')?.startsWith('text/event-stream') === true
    this.#head = { status, headers: linesOf(headers) }
    this.#reader = body.getReader()
    this.#capture = new Capture(recording.bytesMax)
    this.#recording = recording
  }

  /** The next piece that is not empty. */
  async next(): Promise<Uint8Array | undefined> {
    try {
      const piece = await nextPiece(this.#reader)
      if (piece !== undefined) this.#capture.keep(piece)
      return piece
    } catch (error) {
      await this.#recording.abandon()
      throw error
    }
  }

  settle(): Promise<ProtocolAnswer | undefined> {
    const body = this.isEventStream ? 'omitted' : this.#capture.body()
    return this.#recording.settle({ ...this.#head, body })
  }

  /** The client has left. An event stream may have no end; another answer is the outcome, whoever still listens. */
  async finishAlone(): Promise<void> {
    try {
      if (this.isEventStream) {
        // In this order: the pull that is under way takes the cancelled source for a whole one.
        await Promise.all([this.#recording.abandon(), this.#reader.cancel()])
        return
      }
      while ((await this.next()) !== undefined);
      await this.settle()
    } catch {
      // Abandoned already, or settled by the pull that was under way.
    }
  }
}

/** Pieces of an answer, up to a limit. */
class Capture {
  readonly #bytesMax: number
  #pieces: Uint8Array[] = []
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  keep(piece: Uint8Array): void {
    this.#bytes += piece.length
    if (this.#bytes > this.#bytesMax) this.#pieces = []
    else this.#pieces.push(piece)
  }

  body(): Uint8Array | 'omitted' {
    return this.#bytes > this.#bytesMax ? 'omitted' : joinPieces(this.#pieces, this.#bytes)
  }
}

function streaming(
  response: Response,
  source: Source,
  ready: Uint8Array | undefined,
  held: Uint8Array | undefined,
): Response {
  let last = held
  const body = new ReadableStream<Uint8Array>({
    start(controller): void {
      if (ready !== undefined) controller.enqueue(ready)
    },
    async pull(controller): Promise<void> {
      const piece = await source.next()
      if (piece === undefined) {
        // The head has left: only a broken answer tells the client that it does not count.
        if ((await source.settle()) !== undefined)
          throw new Error('The answer was superseded by another attempt.')
        if (last !== undefined) controller.enqueue(last)
        controller.close()
        return
      }
      controller.enqueue(last ?? piece)
      if (last !== undefined) last = piece
    },
    async cancel(): Promise<void> {
      await source.finishAlone()
    },
  })
  return new Response(body as ReadableStream<Uint8Array<ArrayBuffer>>, response)
}

/** The next piece that is not empty. */
async function nextPiece(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Uint8Array | undefined> {
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return undefined
    const piece: unknown = value
    const octets = typeof piece === 'string' ? new TextEncoder().encode(piece) : value
    if (octets.length > 0) return octets
  }
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
