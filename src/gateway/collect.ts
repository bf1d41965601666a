/** Takes an upstream's answer into memory, as far as a bound allows. */
import { Readable } from 'node:stream'
import type { HeaderLine } from '../core/outcome.ts'
import type {
  Flow,
  ResponseHead,
  ResponseSink,
  Upstream,
  UpstreamFailure,
  UpstreamRequest,
} from './upstream.ts'

/**
 * `whole`: complete as its framing says. `oversize`: over the bound; `body` streams all of it, from the start, and
 * errors where the upstream breaks off. `failed`: there is no answer to speak of.
 */
export type Collected =
  | { readonly kind: 'whole'; readonly head: ResponseHead; readonly body: Buffer }
  | { readonly kind: 'oversize'; readonly head: ResponseHead; readonly body: Readable }
  | { readonly kind: 'failed'; readonly failure: UpstreamFailure }

export class UpstreamBrokenError extends Error {
  readonly failure: UpstreamFailure
  constructor(failure: UpstreamFailure) {
    super(failure)
    this.failure = failure
  }
}

/** Sends once and resolves when the answer is whole, too large, or will not come. */
export function sendAndCollect(
  upstream: Upstream,
  request: UpstreamRequest,
  deadlineMs: number,
  bytesMax: number,
): Promise<Collected> {
  const { promise, resolve } = Promise.withResolvers<Collected>()
  upstream.send(request, { idleMs: deadlineMs, deadlineMs }, new Collector(bytesMax, resolve))
  return promise
}

class Collector implements ResponseSink {
  readonly #bytesMax: number
  readonly #resolve: (collected: Collected) => void
  #head: ResponseHead | undefined
  #flow: Flow | undefined
  #chunks: Buffer[] = []
  #bytes = 0
  #overflow: Readable | undefined

  constructor(bytesMax: number, resolve: (collected: Collected) => void) {
    this.#bytesMax = bytesMax
    this.#resolve = resolve
  }

  onHead(head: ResponseHead, flow: Flow): void {
    this.#head = head
    this.#flow = flow
    // An event stream has no end to wait for, whatever its size.
    if (isEventStream(head.headers)) this.#overflowNow(head)
  }

  onData(chunk: Buffer): void {
    this.#bytes += chunk.length
    if (this.#overflow !== undefined) {
      this.#push(this.#overflow, chunk)
      return
    }
    this.#chunks.push(chunk)
    if (this.#bytes > this.#bytesMax && this.#head !== undefined) this.#overflowNow(this.#head)
  }

  onEnd(): void {
    if (this.#overflow !== undefined) this.#overflow.push(null)
    else if (this.#head !== undefined) {
      this.#resolve({ kind: 'whole', head: this.#head, body: Buffer.concat(this.#chunks) })
    }
  }

  onFail(failure: UpstreamFailure): void {
    if (this.#overflow !== undefined) this.#overflow.destroy(new UpstreamBrokenError(failure))
    else this.#resolve({ kind: 'failed', failure })
  }

  #overflowNow(head: ResponseHead): void {
    const body = new Readable({ read: () => this.#flow?.resume() })
    // Whoever reads it sees the error too, also when it comes before the first read.
    body.on('error', () => {})
    this.#overflow = body
    this.#flow?.letStream()
    for (const chunk of this.#chunks) this.#push(body, chunk)
    this.#chunks = []
    this.#resolve({ kind: 'oversize', head, body })
  }

  #push(body: Readable, chunk: Buffer): void {
    if (!body.push(chunk)) this.#flow?.pause()
  }
}

function isEventStream(headers: readonly HeaderLine[]): boolean {
  return headers.some(
    ([name, value]) => name.toLowerCase() === 'content-type' && /^text\/event-stream\b/i.test(value.trim()),
  )
}
