/**
 * The body of an answer that comes in pieces, kept on the way. The last known piece waits until the record is
 * stored: with a Content-Length the client would take it for the end of the answer. In transaction mode all of them
 * wait, since only the commit makes the answer true.
 */
import { joinPieces } from './fetch-request.ts'
import type { CapturedAnswer, ProtocolAnswer } from './protocol.ts'

/** How the answer to a run is recorded. */
export interface BodyRecording {
  readonly bytesMax: number
  /** Nothing leaves before it is settled; `settle` refuses what is omitted. Default `false`. */
  readonly holds?: boolean | undefined
  /** Settles what was captured. An answer: send it instead. */
  settle(captured: CapturedAnswer): Promise<ProtocolAnswer | undefined>
  /** The answer broke off: nobody knows how far its handler came. */
  abandon(): Promise<void>
}

/** Where the pieces come from. */
export interface PieceSource {
  /** Text counts as UTF-8. `undefined`: the end. */
  read(): Promise<Uint8Array | string | undefined>
  cancel(): Promise<unknown>
}

const utf8 = new TextEncoder()

/** A body that is read piece by piece. It is settled, or abandoned where it breaks, once. */
export class RecordedBody {
  readonly #head: Pick<CapturedAnswer, 'status' | 'headers'>
  readonly #source: PieceSource
  readonly #recording: BodyRecording
  readonly #isEventStream: boolean
  #pieces: Uint8Array[] = []
  #bytes = 0
  /** Settled or abandoned. */
  #isOver = false

  constructor(
    head: Pick<CapturedAnswer, 'status' | 'headers'>,
    source: PieceSource,
    recording: BodyRecording,
  ) {
    this.#head = head
    this.#source = source
    this.#recording = recording
    this.#isEventStream = head.headers.some(
      ([name, value]) => name.toLowerCase() === 'content-type' && value.startsWith('text/event-stream'),
    )
  }

  /**
   * Settles a body of at most one piece: nothing has left yet, so another answer can still take its place. A longer
   * one, and an event stream, is returned as the pieces to send.
   *
   * @throws what the source fails with
   */
  async open(): Promise<OpenedBody> {
    if (this.#recording.holds === true) return await this.#whole()
    if (this.#isEventStream) return { kind: 'pieces', pieces: this.#leaving(undefined, undefined) }
    const first = await this.#next()
    const second = first === undefined ? undefined : await this.#next()
    if (second !== undefined) return { kind: 'pieces', pieces: this.#leaving(first, second) }
    const instead = await this.#settle()
    return instead === undefined
      ? { kind: 'whole', octets: first ?? new Uint8Array(0) }
      : { kind: 'instead', answer: instead }
  }

  /** The whole body, settled. One that cannot be held may have no end, and is cut off. */
  async #whole(): Promise<OpenedBody> {
    while (!this.#isOmitted && (await this.#next()) !== undefined);
    const body = this.#body()
    if (body === 'omitted') this.#source.cancel().catch(() => {})
    const instead = await this.#settle()
    if (instead !== undefined) return { kind: 'instead', answer: instead }
    return { kind: 'whole', octets: body === 'omitted' ? new Uint8Array(0) : body }
  }

  /**
   * The client has left. An event stream may have no end; another answer is the outcome, whoever still listens. Does
   * nothing where the body is over.
   */
  async finishAlone(): Promise<void> {
    if (this.#isOver) return
    try {
      if (this.#isEventStream) {
        // In this order: the read that is under way takes the cancelled source for a whole one.
        await Promise.all([this.#abandon(), this.#source.cancel()])
        return
      }
      while ((await this.#next()) !== undefined);
      await this.#settle()
    } catch {
      // Abandoned already, or settled by the read that was under way.
    }
  }

  async *#leaving(
    first: Uint8Array | undefined,
    second: Uint8Array | undefined,
  ): AsyncGenerator<Uint8Array, void> {
    if (first !== undefined) yield first
    let held = second
    for (let piece = await this.#next(); piece !== undefined; piece = await this.#next()) {
      yield held ?? piece
      if (held !== undefined) held = piece
    }
    // The head has left: only a broken answer tells the client that it does not count.
    if ((await this.#settle()) !== undefined) throw new Error('The answer was superseded by another attempt.')
    if (held !== undefined) yield held
  }

  /** The next piece that is not empty. */
  async #next(): Promise<Uint8Array | undefined> {
    try {
      for (;;) {
        const piece = await this.#source.read()
        if (piece === undefined) return undefined
        const octets = typeof piece === 'string' ? utf8.encode(piece) : piece
        if (octets.length === 0) continue
        this.#keep(octets)
        return octets
      }
    } catch (error) {
      await this.#abandon()
      throw error
    }
  }

  #keep(octets: Uint8Array): void {
    this.#bytes += octets.length
    if (this.#bytes > this.#recording.bytesMax) this.#pieces = []
    else this.#pieces.push(octets)
  }

  #settle(): Promise<ProtocolAnswer | undefined> {
    this.#isOver = true
    return this.#recording.settle({ ...this.#head, body: this.#body() })
  }

  get #isOmitted(): boolean {
    return this.#isEventStream || this.#bytes > this.#recording.bytesMax
  }

  #body(): Uint8Array | 'omitted' {
    return this.#isOmitted ? 'omitted' : joinPieces(this.#pieces, this.#bytes)
  }

  #abandon(): Promise<void> {
    this.#isOver = true
    return this.#recording.abandon()
  }
}

/** What is known of a body once its first pieces are there. */
export type OpenedBody =
  /** Settled. */
  | { readonly kind: 'whole'; readonly octets: Uint8Array }
  /** Settled by another attempt, whose answer counts. */
  | { readonly kind: 'instead'; readonly answer: ProtocolAnswer }
  /** Not settled before the last piece is asked for. */
  | { readonly kind: 'pieces'; readonly pieces: AsyncGenerator<Uint8Array, void> }
