/**
 * Records a fetch `Response`. A body of one piece is settled before the response is returned, so that another
 * answer can still take its place. A longer one streams: each piece passes when the next one is there, and the last
 * one after it is settled.
 */
import type { HeaderLine } from '../core/outcome.ts'
import { joinPieces } from './fetch-request.ts'
import type { CapturedAnswer, ProtocolAnswer } from './protocol.ts'

/** Settles what was captured. An answer: send it instead. */
export type SettleAnswer = (captured: CapturedAnswer) => Promise<ProtocolAnswer | undefined>

export async function recordFetchResponse(
  response: Response,
  bytesMax: number,
  settle: SettleAnswer,
): Promise<Response> {
  const head = { status: response.status, headers: linesOf(response.headers) }
  const streamed = response.headers.get('content-type')?.startsWith('text/event-stream') === true
  if (response.body === null) {
    const instead = await settle({ ...head, body: new Uint8Array(0) })
    return instead === undefined ? response : toFetchResponse(instead)
  }
  const capture = new Capture(streamed ? 0 : bytesMax)
  const reader = response.body.getReader() as ReadableStreamDefaultReader<Uint8Array>
  if (streamed)
    return streaming(response, reader, capture, undefined, undefined, () =>
      settle({ ...head, body: 'omitted' }),
    )

  const first = await nextPiece(reader)
  if (first !== undefined) capture.keep(first)
  const second = first === undefined ? undefined : await nextPiece(reader)
  const settleWhole = (): Promise<ProtocolAnswer | undefined> => settle({ ...head, body: capture.body() })
  if (second === undefined) {
    const instead = await settleWhole()
    if (instead !== undefined) return toFetchResponse(instead)
    return new Response((first ?? new Uint8Array(0)) as Uint8Array<ArrayBuffer>, response)
  }
  capture.keep(second)
  return streaming(response, reader, capture, first, second, settleWhole)
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
  reader: ReadableStreamDefaultReader<Uint8Array>,
  capture: Capture,
  ready: Uint8Array | undefined,
  held: Uint8Array | undefined,
  settle: () => Promise<ProtocolAnswer | undefined>,
): Response {
  const holdsBack = held !== undefined
  let last = held
  let clientLeft = false
  const body = new ReadableStream<Uint8Array>({
    start(controller): void {
      if (ready !== undefined) controller.enqueue(ready)
    },
    async pull(controller): Promise<void> {
      const piece = await nextPiece(reader)
      if (piece === undefined) {
        // The head has left: only a broken answer tells the client that it does not count.
        if ((await settle()) !== undefined) throw new Error('The answer was superseded by another attempt.')
        if (last !== undefined) controller.enqueue(last)
        controller.close()
        return
      }
      capture.keep(piece)
      controller.enqueue(holdsBack ? (last as Uint8Array) : piece)
      if (holdsBack) last = piece
    },
    cancel(): void {
      // The answer is the outcome, whoever still listens.
      if (clientLeft) return
      clientLeft = true
      void drain(reader, capture, settle)
    },
  })
  return new Response(body as ReadableStream<Uint8Array<ArrayBuffer>>, response)
}

async function drain(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  capture: Capture,
  settle: () => Promise<ProtocolAnswer | undefined>,
): Promise<void> {
  try {
    for (let piece = await nextPiece(reader); piece !== undefined; piece = await nextPiece(reader)) {
      capture.keep(piece)
    }
    await settle()
  } catch {
    // The source broke: nothing is settled, and the lease ends the attempt as unknown.
  }
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

/** An answer of the protocol as a `Response`. */
export function toFetchResponse(answer: ProtocolAnswer): Response {
  const headers = new Headers()
  for (const [name, value] of answer.headers) headers.append(name, value)
  const body = bodiless.has(answer.status) ? null : (answer.body as Uint8Array<ArrayBuffer>)
  return new Response(body, { status: answer.status, headers })
}
