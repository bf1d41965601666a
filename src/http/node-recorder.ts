/**
 * Records what a handler writes to a Node response, and lets the end of it leave only after it is settled.
 *
 * open     nothing is written; headers may change
 * headed   the head is fixed. Pieces pass to the client as they come, but the last one known is held back: with a
 *          Content-Length the client would take it for the end of the answer. In transaction mode all is held back,
 *          head and pieces, since only the commit makes the answer true; what cannot be held is ended at once
 * ended    the handler has ended the response; the record is being written; the held piece waits
 * passing  settled, given up or let go: everything goes through to Node
 *
 * To the handler the response looks as if each step had reached the client: `headersSent`, `writableEnded`, errors
 * for late headers, return values and callbacks.
 */
import type { OutgoingHttpHeaders } from 'node:http'
import type { HeaderLine } from '../core/outcome.ts'
import { clearAnswer, endArgumentsOf, sendAnswer } from './node-answer.ts'
import type { NodeResponse } from './node-request.ts'
import type { CapturedAnswer, ProtocolAnswer } from './protocol.ts'
import {
  asOctets,
  type Callback,
  type Chunk,
  endArguments,
  headersSentError,
  invalidStatusError,
  writeAfterEndError,
  writeArguments,
} from './response-calls.ts'

export interface Recording {
  readonly bytesMax: number
  /** Nothing leaves before it is settled; `settle` refuses what is omitted. Default `false`. */
  readonly holds?: boolean | undefined
  /** Settles what was captured. An answer: send it instead. */
  settle(captured: CapturedAnswer): Promise<ProtocolAnswer | undefined>
  /** The client has left and the handler, which had begun its answer, goes on with it no more. */
  abandon(): void
  /** Whether the attempt is over: its lease lost, or its time run out. */
  isOver(): boolean
  /** Default 30,000. */
  readonly stillMsMax?: number
}

/**
 * How long an answer that was begun may stand still after its client has left before its outcome counts as unknown: a
 * stream that was piped to the response has then stopped for good. A handler that has not begun to answer is still
 * at work, and has until the operation's `timeout`.
 */
const stillMsMaxDefault = 30_000

/** The methods of a response that the recorder stands in front of. */
interface Writable {
  writeHead(status: number, ...rest: unknown[]): unknown
  write(chunk: Chunk, ...rest: unknown[]): boolean
  end(...given: unknown[]): unknown
  flushHeaders(): void
  setHeader(name: string, value: unknown): unknown
  appendHeader(name: string, value: unknown): unknown
  removeHeader(name: string): void
}

const recorderOf = Symbol('retrysafe.recorder')

/** A response that is being recorded. */
interface Recorded extends Writable {
  [recorderOf]: NodeRecorder
}

/** Whether a response is being recorded already: a second layer further in leaves it alone. */
export function isRecorded(response: NodeResponse): boolean {
  return (response as unknown as Partial<Recorded>)[recorderOf] !== undefined
}

/** A recording that was started. */
export interface StartedRecording {
  /**
   * Ends the recording without settling anything, because the answer was recorded elsewhere or is given up: what is
   * held back leaves, and what comes goes through. Does nothing once the answer has ended.
   */
  letGo(): void
}

/** Starts recording; from here on the response belongs to the handler. */
export function recordResponse(response: NodeResponse, recording: Recording): StartedRecording {
  const recorder = new NodeRecorder(response, recording)
  recorder.install()
  return recorder
}

/** The lines of a response's head as they stand, by their names as they were given. */
export function headLines(response: NodeResponse): HeaderLine[] {
  // HTTP/2 has lower-case names only.
  const { getRawHeaderNames = response.getHeaderNames } = response as { getRawHeaderNames?: () => string[] }
  const lines: HeaderLine[] = []
  for (const name of getRawHeaderNames.call(response)) {
    const value = response.getHeader(name)
    for (const line of Array.isArray(value) ? value : [value]) lines.push([name, String(line)])
  }
  return lines
}

class NodeRecorder implements StartedRecording {
  readonly #response: NodeResponse
  readonly #writable: Writable
  readonly #original: Writable
  readonly #recording: Recording
  #phase: 'open' | 'headed' | 'ended' | 'passing' = 'open'
  /** While true, calls come from the recorder itself or from below it, and go through. */
  #passing = false
  #head: { status: number; headers: HeaderLine[] } | undefined
  #pieces: Uint8Array[] = []
  #bytes = 0
  #omitted = false
  #streamed = false
  #held: Uint8Array | undefined
  /** Pieces before the held one, in transaction mode. */
  #early: Uint8Array[] = []
  #flushed = false
  #clientLeft = false
  #begun = false
  #writes = 0

  constructor(response: NodeResponse, recording: Recording) {
    this.#response = response
    this.#writable = response as unknown as Writable
    this.#recording = recording
    const { writeHead, write, end, flushHeaders, setHeader, appendHeader, removeHeader } = this.#writable
    this.#original = { writeHead, write, end, flushHeaders, setHeader, appendHeader, removeHeader }
  }

  install(): void {
    const recorded = this.#response as unknown as Recorded
    recorded[recorderOf] = this
    const { writeHead, write, end, flushHeaders, setHeader, appendHeader, removeHeader } =
      NodeRecorder.#methods
    recorded.writeHead = writeHead
    recorded.write = write
    recorded.end = end
    recorded.flushHeaders = flushHeaders
    recorded.setHeader = setHeader
    recorded.removeHeader = removeHeader
    if (typeof this.#original.appendHeader === 'function') recorded.appendHeader = appendHeader
    Object.defineProperty(recorded, 'headersSent', NodeRecorder.#headersSent)
    Object.defineProperty(recorded, 'writableEnded', NodeRecorder.#writableEnded)
    this.#response.on('close', NodeRecorder.#onClose)
  }

  letGo(): void {
    if (this.#phase === 'ended') return
    const isHeld = this.#recording.holds === true && this.#phase === 'headed'
    this.#phase = 'passing'
    this.#passing = true
    // What was held has no commit that makes it true.
    if (isHeld) this.#response.destroy()
    const held = this.#held
    this.#held = undefined
    if (held !== undefined && !isHeld && !this.#clientLeft) this.#original.write.call(this.#writable, held)
  }

  /** Shared by all responses: functions made anew for each would cost more than the rest of the recorder. */
  static readonly #methods: Writable & ThisType<Recorded> = {
    writeHead(status, ...rest) {
      const recorder = this[recorderOf]
      if (recorder.#passing) return recorder.#original.writeHead.call(this, status, ...rest)
      return recorder.#writeHead(status, rest)
    },
    write(chunk, ...rest) {
      const recorder = this[recorderOf]
      if (recorder.#passing) return recorder.#original.write.call(this, chunk, ...rest)
      return recorder.#write(chunk, rest)
    },
    end(...given) {
      const recorder = this[recorderOf]
      return recorder.#passing ? recorder.#original.end.apply(this, given) : recorder.#end(given)
    },
    flushHeaders() {
      const recorder = this[recorderOf]
      if (recorder.#passing) recorder.#original.flushHeaders.call(this)
      else recorder.#flushHeaders()
    },
    setHeader(name, value) {
      return this[recorderOf].#whileOpen().setHeader.call(this, name, value)
    },
    appendHeader(name, value) {
      return this[recorderOf].#whileOpen().appendHeader.call(this, name, value)
    },
    removeHeader(name) {
      this[recorderOf].#whileOpen().removeHeader.call(this, name)
    },
  }

  static readonly #headersSent: PropertyDescriptor & ThisType<Recorded> = {
    configurable: true,
    // A layer below, such as compression, must see what has really left, or it would not set its fields.
    get() {
      const recorder = this[recorderOf]
      return (recorder.#phase !== 'open' && !recorder.#passing) || recorder.#reads('headersSent')
    },
  }

  static readonly #writableEnded: PropertyDescriptor & ThisType<Recorded> = {
    configurable: true,
    get() {
      const recorder = this[recorderOf]
      return recorder.#phase === 'ended' || recorder.#reads('writableEnded')
    },
  }

  static #onClose(this: unknown): void {
    const recorder = (this as Recorded)[recorderOf]
    recorder.#clientLeft = true
    // A pipe stops here, also one that has not brought a piece yet.
    recorder.#begun = recorder.#phase !== 'open' || recorder.#response.listenerCount('unpipe') > 0
    recorder.#watchHandler(recorder.#writes)
  }

  get #isOver(): boolean {
    return this.#phase === 'ended' || this.#phase === 'passing'
  }

  #whileOpen(): Writable {
    if (this.#phase !== 'open' && !this.#passing) throw headersSentError()
    return this.#original
  }

  /** The property as Node's own class computes it. */
  #reads(name: 'headersSent' | 'writableEnded'): boolean {
    return Reflect.get(Object.getPrototypeOf(this.#response) as object, name, this.#response) as boolean
  }

  #writeHead(status: number, rest: unknown[]): unknown {
    if (this.#phase !== 'open') throw headersSentError()
    const [reason, fields] =
      typeof rest[0] === 'string' ? [rest[0], rest[1]] : [undefined, rest[0] ?? rest[1]]
    this.#response.statusCode = status
    if (reason !== undefined) (this.#response as { statusMessage: string }).statusMessage = reason
    this.#setFields(fields as OutgoingHttpHeaders | unknown[] | undefined)
    this.#fixHead()
    this.#refuseUnheld()
    return this.#response
  }

  /** An object, a flat list or a list of pairs. A name given here replaces one set before; repeats in it add up. */
  #setFields(fields: OutgoingHttpHeaders | unknown[] | undefined): void {
    if (fields === undefined || fields === null) return
    const pairs: [string, unknown][] = []
    if (!Array.isArray(fields)) pairs.push(...Object.entries(fields))
    else if (Array.isArray(fields[0])) pairs.push(...(fields as [string, unknown][]))
    else for (let at = 0; at + 1 < fields.length; at += 2) pairs.push([fields[at] as string, fields[at + 1]])
    const seen = new Map<string, string[]>()
    for (const [name, value] of pairs) {
      if (value === undefined) continue
      const lower = name.toLowerCase()
      const values = Array.isArray(value) ? value.map(String) : [String(value)]
      const all = [...(seen.get(lower) ?? []), ...values]
      seen.set(lower, all)
      this.#original.setHeader.call(this.#writable, name, all.length === 1 ? all[0] : all)
    }
  }

  #fixHead(): void {
    const response = this.#response
    const status = response.statusCode
    if (!(status >= 100 && status <= 999)) throw invalidStatusError(status)
    const headers = headLines(response)
    this.#streamed = headers.some(
      ([name, value]) => name.toLowerCase() === 'content-type' && value.startsWith('text/event-stream'),
    )
    if (this.#streamed) this.#omitted = true
    this.#head = { status, headers }
    this.#phase = 'headed'
  }

  /** What cannot be held may have no end: the answer ends here, and what is written later is lost. */
  #refuseUnheld(): boolean {
    if (!this.#recording.holds || !this.#omitted) return false
    this.#phase = 'ended'
    void this.#settle(undefined, undefined, undefined)
    return true
  }

  #write(chunk: Chunk, rest: unknown[]): boolean {
    const [encoding, callback] = writeArguments(rest)
    if (this.#phase === 'ended') {
      callback?.(writeAfterEndError())
      return false
    }
    if (this.#phase === 'open') this.#fixHead()
    const given = asOctets(chunk, encoding)
    if (this.#streamed && !this.#clientLeft && !this.#recording.holds) {
      return this.#pass(() => this.#original.write.call(this.#writable, given, callback))
    }
    // A writer that waits for its callback before it writes on would wait for ever: the piece is held until then.
    if (callback !== undefined) process.nextTick(callback)
    if (given.length === 0) return true
    // A copy: once the callback ran, the octets are the caller's again.
    const octets = typeof chunk === 'string' ? given : Uint8Array.from(given)
    this.#keep(octets)
    this.#writes++
    if (this.#refuseUnheld()) return false
    // Nobody reads any more, and what waits for a drain would wait for ever; the record still wants the whole answer.
    if (this.#clientLeft) return true
    const before = this.#held
    this.#held = octets
    if (before === undefined) return true
    if (this.#recording.holds) {
      this.#early.push(before)
      return true
    }
    return this.#pass(() => this.#original.write.call(this.#writable, before))
  }

  #keep(octets: Uint8Array): void {
    this.#bytes += octets.length
    if (this.#bytes > this.#recording.bytesMax) this.#omitted = true
    if (this.#omitted) this.#pieces = []
    else this.#pieces.push(octets)
  }

  #flushHeaders(): void {
    if (this.#phase === 'ended') return
    if (this.#phase === 'open') this.#fixHead()
    if (!this.#recording.holds) this.#pass(() => this.#original.flushHeaders.call(this.#writable))
    else if (!this.#refuseUnheld()) this.#flushed = true
  }

  #end(given: unknown[]): unknown {
    const [chunk, encoding, callback] = endArguments(given)
    if (this.#phase === 'ended') {
      if (callback !== undefined) process.nextTick(callback)
      return this.#response
    }
    if (this.#phase === 'open') this.#fixHead()
    this.#phase = 'ended'
    const octets = chunk === undefined ? noOctets : asOctets(chunk, encoding)
    if (octets.length > 0) this.#keep(octets)
    // Passed on as it came: Node sends a text in one write with the head.
    void this.#settle(octets.length === 0 ? undefined : chunk, encoding, callback)
    return this.#response
  }

  async #settle(
    last: Chunk | undefined,
    encoding: BufferEncoding | undefined,
    callback: Callback | undefined,
  ): Promise<void> {
    const { status, headers } = this.#head as { status: number; headers: HeaderLine[] }
    const bodiless = status === 204 || status === 304
    const body = bodiless ? noOctets : this.#omitted ? 'omitted' : joined(this.#pieces)
    let instead: ProtocolAnswer | undefined
    try {
      instead = await this.#recording.settle({ status, headers, body })
    } catch {
      // Nothing is known of the record; an answer that looks final would be a promise.
      this.#passing = true
      this.#response.destroy()
      return
    }
    this.#passing = true
    try {
      if (instead === undefined) this.#release(last, encoding, callback)
      else this.#replace(instead, callback)
    } catch {
      // Node takes the handler's head only now, and refuses it; the handler is gone, so nobody could catch that.
      this.#response.destroy()
    }
  }

  #release(
    last: Chunk | undefined,
    encoding: BufferEncoding | undefined,
    callback: Callback | undefined,
  ): void {
    const held = this.#held
    const { write, end, flushHeaders } = this.#original
    if (this.#flushed) flushHeaders.call(this.#writable)
    if (!this.#clientLeft) for (const piece of this.#early) write.call(this.#writable, piece)
    if (last === undefined) {
      end.call(this.#writable, held, callback)
      return
    }
    if (held !== undefined) write.call(this.#writable, held)
    if (typeof last === 'string') end.call(this.#writable, last, encoding, callback)
    else end.call(this.#writable, ...endArgumentsOf(end, last), callback)
  }

  /** Where the head has left, only a broken connection tells the client that this answer does not count. */
  #replace(answer: ProtocolAnswer, callback: Callback | undefined): void {
    if (this.#reads('headersSent')) {
      this.#response.destroy()
    } else {
      clearAnswer(this.#response)
      sendAnswer(this.#response, answer)
    }
    callback?.()
  }

  #pass<Result>(call: () => Result): Result {
    this.#passing = true
    try {
      return call()
    } finally {
      this.#passing = false
    }
  }

  /** After the client has left: looks from time to time whether the answer still goes on. */
  #watchHandler(writesBefore: number): void {
    if (this.#isOver) return
    setTimeout(() => {
      if (this.#isOver) return
      const stands = (this.#begun || this.#phase === 'headed') && this.#writes === writesBefore
      if (!stands && !this.#recording.isOver()) {
        this.#watchHandler(this.#writes)
        return
      }
      this.#phase = 'ended'
      this.#recording.abandon()
    }, this.#recording.stillMsMax ?? stillMsMaxDefault).unref()
  }
}

const noOctets = new Uint8Array(0)

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const [only] = pieces
  if (only === undefined) return noOctets
  return pieces.length === 1 ? only : Buffer.concat(pieces)
}
