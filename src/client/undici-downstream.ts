/** The handler above the interceptor for undici: it sees one request and one answer, whatever happens below. */

export type Fields = Record<string, string | string[] | undefined>

/** The part of undici's controllers that is used and given. */
export interface Controller {
  readonly aborted: boolean
  readonly paused: boolean
  readonly reason: Error | null
  rawHeaders?: unknown
  rawTrailers?: unknown
  abort(reason: Error): void
  pause(): void
  resume(): void
}

/** A handler of undici. */
export interface Handler {
  onRequestStart?(controller: Controller, context: unknown): void
  onRequestUpgrade?(controller: Controller, statusCode: number, headers: Fields, socket: never): void
  onResponseStarted?(): void
  onResponseStart?(controller: Controller, statusCode: number, headers: Fields, statusMessage?: string): void
  onResponseData?(controller: Controller, chunk: never): void
  onResponseEnd?(controller: Controller, trailers: Fields): void
  onResponseError?(controller: Controller, error: Error): void
}

/** What a handler is given of an answer. */
export interface UndiciAnswer {
  readonly statusCode: number
  readonly statusMessage: string | undefined
  readonly headers: Fields
  readonly rawHeaders: unknown
  readonly chunks: readonly Uint8Array[]
  readonly trailers: Fields
  readonly rawTrailers: unknown
}

/** The one that asked: it is told of one answer, at its own pace, whatever happens below. */
export class Downstream implements Controller {
  readonly #handler: Handler
  readonly #abort = new AbortController()
  #isEnded = false
  #isPaused = false
  #onResume: (() => void) | undefined
  /** The connection whose answer passes through. */
  #streaming: Controller | undefined
  rawHeaders: unknown = null
  rawTrailers: unknown = null

  constructor(handler: Handler) {
    this.#handler = handler
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  get aborted(): boolean {
    return this.#abort.signal.aborted
  }

  get reason(): Error | null {
    return (this.#abort.signal.reason as Error | undefined) ?? null
  }

  get paused(): boolean {
    return this.#isPaused
  }

  pause(): void {
    this.#isPaused = true
    this.#streaming?.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.#streaming?.resume()
    this.#onResume?.()
  }

  abort(reason: Error): void {
    if (this.#isEnded || this.aborted) return
    this.#abort.abort(reason)
    this.#streaming?.abort(reason)
    this.#onResume?.()
  }

  /** Before anything is sent, so that an abort finds its way also while connecting and waiting. */
  start(): void {
    this.#tell(() => this.#handler.onRequestStart?.(this, null))
  }

  interim(statusCode: number, headers: Fields, statusMessage: string | undefined): void {
    this.#tell(() => this.#handler.onResponseStart?.(this, statusCode, headers, statusMessage))
  }

  /** From here on the answer passes through. */
  stream(
    controller: Controller,
    statusCode: number,
    headers: Fields,
    statusMessage: string | undefined,
  ): void {
    this.#streaming = controller
    // It may have been asked to before there was a connection.
    if (this.#isPaused) controller.pause()
    this.rawHeaders = controller.rawHeaders
    this.#tell(() => this.#handler.onResponseStarted?.())
    this.#tell(() => this.#handler.onResponseStart?.(this, statusCode, headers, statusMessage))
  }

  data(chunk: Uint8Array): void {
    this.#tell(() => this.#handler.onResponseData?.(this, chunk as never))
  }

  end(trailers: Fields, rawTrailers: unknown): void {
    this.rawTrailers = rawTrailers
    this.#tell(() => {
      this.#handler.onResponseEnd?.(this, trailers)
      this.#isEnded = true
    })
  }

  fail(error: Error): void {
    if (this.#isEnded) return
    this.#isEnded = true
    try {
      this.#handler.onResponseError?.(this, this.reason ?? error)
    } catch {
      // It was the last that could be told of an error.
    }
  }

  /** Gives a whole answer on. */
  async answer({ statusCode, statusMessage, headers, chunks, ...rest }: UndiciAnswer): Promise<void> {
    this.rawHeaders = rest.rawHeaders
    this.#tell(() => this.#handler.onResponseStarted?.())
    this.#tell(() => this.#handler.onResponseStart?.(this, statusCode, headers, statusMessage))
    for (const chunk of chunks) {
      await this.#whenResumed()
      this.data(chunk)
    }
    await this.#whenResumed()
    this.end(rest.trailers, rest.rawTrailers)
    if (this.aborted) this.fail(this.reason as Error)
  }

  async #whenResumed(): Promise<void> {
    while (this.#isPaused && !this.aborted) {
      await new Promise<void>((resolve) => {
        this.#onResume = resolve
      })
    }
  }

  /** A handler that throws has ended its request, as with undici itself. */
  #tell(what: () => void): void {
    if (this.#isEnded || this.aborted) return
    try {
      what()
    } catch (error) {
      this.abort(error as Error)
    }
  }
}
