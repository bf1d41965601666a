/**
 * undici: an interceptor. What is above it, such as `request`, `stream` and `fetch`, sees one request and one answer;
 * what is below it sees each attempt.
 *
 * A dispatch goes through these phases:
 *   trying      attempts are made; the handler has a controller and nothing else
 *   answering   the last answer is given to the handler as fast as that takes it
 *   streaming   an answer that nobody would ask for again passes through as it comes
 *   ended       the handler has been told of the end, once
 */
import { type CallReport, isSafe } from './attempts.ts'
import {
  carriedCall,
  isOfType,
  type KeyedOptions,
  type KeyedSettings,
  keyOf,
  problemCode,
  readKeyed,
  report,
  reported,
  runKeyed,
} from './keyed-call.ts'
import { platform } from './platform.ts'
import { type Answer, isReplay, signalOf } from './signals.ts'
import {
  type Controller,
  Downstream,
  type Fields,
  type Handler,
  type UndiciAnswer,
} from './undici-downstream.ts'
import type { CallOptions } from './fetch.ts'
import { bodyOctetsMax, isOneShot, wholeBody } from './whole-body.ts'

export { idempotency } from './keyed-call.ts'
export type { UndiciAnswer } from './undici-downstream.ts'

/** The part of a request's options that is used. */
interface DispatchOptions {
  readonly origin?: string | URL
  readonly path: string
  readonly method: string
  readonly headers?: unknown
  readonly body?: unknown
  readonly upgrade?: unknown
}

type Dispatch = (options: never, handler: never) => boolean

/**
 * What is known of the call that an answer of `request` came from; `undefined` for one of another dispatcher.
 *
 * @example
 * if (callOf(await request(url, { method: 'POST', body, dispatcher }))?.replayed) refreshBalance()
 */
export function callOf({ headers }: { readonly headers: object }): CallReport | undefined {
  return reported(headers)
}

/**
 * An interceptor for `dispatcher.compose()` that makes requests safe to retry. Bodies are read to their end before the
 * first attempt, answers before any of it is given on; those to GET and its like pass through as they come. Do not
 * compose it with undici's `retry`: two loops multiply. `redirect` goes after it in `compose()`, so that it is outside
 * and no key follows a redirect.
 *
 * @throws InvalidOptionError for an option or a key that breaks a rule
 * @throws UnknownOutcomeError, NotAppliedError, KeyRefusedError (from the calls)
 * @example
 * const dispatcher = new Agent().compose(idempotentInterceptor())
 * const { body } = await request('https://api.example/charges', { method: 'POST', body: '{}', dispatcher })
 */
export function idempotentInterceptor(
  options: KeyedOptions<UndiciAnswer> = {},
  // biome-ignore lint/suspicious/noExplicitAny: undici's own types of options and handlers
): (dispatch: any) => any {
  const settings = readKeyed('idempotentInterceptor', options)
  return (dispatch: Dispatch) => (given: DispatchOptions, handler: Handler) => {
    const call = carriedCall(given)
    const { method, body } = given
    if (call === false || method === 'CONNECT' || (given.upgrade ?? false) !== false) {
      return dispatch(given as never, handler as never)
    }
    const headers = pairsOf(given.headers)
    const named = headers.find(([name]) => name.toLowerCase() === settings.keyHeader)?.[1]
    const { key, field } = keyOf(settings, method, named as string | undefined, call.key)
    if (key === undefined && isOneShot(body) && !isBounded(headers)) {
      return dispatch(given as never, handler as never)
    }
    if (field !== undefined) headers.push([settings.keyHeader, field])
    const downstream = new Downstream(handler)
    void new Exchange(settings, dispatch, given, headers, downstream).run(key, call)
    return true
  }
}

type Pairs = [name: string, value: unknown][]

/** undici takes fields as pairs in a row, as an iterable of pairs, or as an object. */
function pairsOf(headers: unknown): Pairs {
  if (headers === undefined || headers === null) return []
  if (Array.isArray(headers)) {
    return Array.from({ length: headers.length / 2 }, (_, at) => [
      String(headers[2 * at]),
      headers[2 * at + 1],
    ])
  }
  if (Symbol.iterator in (headers as object)) return [...(headers as Iterable<[string, unknown]>)]
  return Object.entries(headers as Fields).filter(([, value]) => value !== undefined)
}

/** `fetch` gives every body as a stream, and says how long it is where it knows. */
function isBounded(headers: Pairs): boolean {
  const length = headers.find(([name]) => name.toLowerCase() === 'content-length')?.[1]
  return length !== undefined && Number(length) <= bodyOctetsMax
}

class Exchange {
  readonly #settings: KeyedSettings<UndiciAnswer>
  readonly #dispatch: Dispatch
  readonly #given: DispatchOptions
  readonly #headers: Pairs
  readonly #downstream: Downstream

  constructor(
    settings: KeyedSettings<UndiciAnswer>,
    dispatch: Dispatch,
    given: DispatchOptions,
    headers: Pairs,
    downstream: Downstream,
  ) {
    this.#settings = settings
    this.#dispatch = dispatch
    this.#given = given
    this.#headers = headers
    this.#downstream = downstream
  }

  /** Never rejects: the handler is told. */
  async run(key: string | undefined, { sentSince }: CallOptions): Promise<void> {
    const downstream = this.#downstream
    const { method, origin = 'http://localhost' } = this.#given
    const unsent = new WeakSet<object>()
    downstream.start()
    let attempts = 0
    let body: unknown
    try {
      const { answer, report: of } = await runKeyed(this.#settings, {
        ...{ key, sentSince, method, origin: new URL(origin).origin, signal: downstream.signal },
        wasNeverSent: (error) => unsent.has(error as object) || platform.wasNeverSent(error),
        isFinal: isMisuse,
        setField: (name, value) => this.#setField(name, value),
        prepare: async (ended) => {
          body = await this.#body(ended)
        },
        send: (signal) => {
          attempts += 1
          return this.#send(body, signal, unsent, { key, attempts })
        },
      })
      if (streamed.has(answer.raw)) return
      report(answer.raw.headers, of)
      await downstream.answer(answer.raw)
    } catch (error) {
      downstream.fail(error as Error)
    }
  }

  async #body(ended: AbortSignal): Promise<unknown> {
    const { octets, contentType } = await wholeBody(this.#given.body, ended)
    const isNamed = this.#headers.some(([name]) => name.toLowerCase() === 'content-type')
    if (contentType !== undefined && !isNamed) this.#headers.push(['content-type', contentType])
    return octets ?? null
  }

  #setField(name: string, value: string): void {
    const at = this.#headers.findIndex(([each]) => each.toLowerCase() === name.toLowerCase())
    this.#headers.splice(at < 0 ? this.#headers.length : at, at < 0 ? 0 : 1, [name, value])
  }

  async #send(
    body: unknown,
    signal: AbortSignal,
    unsent: WeakSet<object>,
    soFar: SoFar,
  ): Promise<Answer<UndiciAnswer>> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer<UndiciAnswer>>()
    const attempt = new Attempt(this.#downstream, !isSafe(this.#given.method), soFar, { resolve, reject })
    const onAbort = (): void => attempt.abort(signal.reason as Error)
    signal.addEventListener('abort', onAbort)
    try {
      const options = { ...this.#given, headers: this.#headers.flat(), body }
      this.#dispatch(options as never, attempt as never)
      return await promise
    } catch (error) {
      // It never had a connection, or has not got one in time, and will not use it.
      if (!attempt.isSent) unsent.add(error as object)
      throw error
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }
}

/** What undici does not take as a request: nothing was sent, nothing ever will be. */
function isMisuse(error: unknown): boolean {
  const { code } = error as { readonly code?: string }
  return code === 'UND_ERR_INVALID_ARG' || code === 'UND_ERR_NOT_SUPPORTED'
}

/** What is known of a call while an answer to it comes in. */
type SoFar = Omit<CallReport, 'replayed'>

/** Answers that have passed through. */
const streamed = new WeakSet<UndiciAnswer>()

/** The handler of one attempt. */
class Attempt implements Handler {
  readonly #downstream: Downstream
  /** Whether an answer that breaks off is none. */
  readonly #isWhole: boolean
  readonly #soFar: SoFar
  readonly #end: Pick<PromiseWithResolvers<Answer<UndiciAnswer>>, 'resolve' | 'reject'>
  #controller: Controller | undefined
  #aborted: Error | undefined
  #isStreaming = false
  #answer: Omit<UndiciAnswer, 'chunks' | 'trailers' | 'rawTrailers'> | undefined
  readonly #chunks: Uint8Array[] = []

  constructor(
    downstream: Downstream,
    isWhole: boolean,
    soFar: SoFar,
    end: Pick<PromiseWithResolvers<Answer<UndiciAnswer>>, 'resolve' | 'reject'>,
  ) {
    this.#downstream = downstream
    this.#isWhole = isWhole
    this.#soFar = soFar
    this.#end = end
  }

  get isSent(): boolean {
    return this.#controller !== undefined
  }

  abort(reason: Error): void {
    if (this.#isStreaming) return
    this.#aborted = reason
    this.#controller?.abort(reason)
    this.#end.reject(reason)
  }

  onRequestStart(controller: Controller): void {
    if (this.#aborted !== undefined) {
      controller.abort(this.#aborted)
      return
    }
    this.#controller = controller
  }

  onResponseStart(
    controller: Controller,
    statusCode: number,
    headers: Fields,
    statusMessage: string | undefined,
  ): void {
    if (statusCode < 200) {
      this.#downstream.interim(statusCode, headers, statusMessage)
      return
    }
    this.#answer = { statusCode, statusMessage, headers, rawHeaders: controller.rawHeaders }
    const answer = this.#read(this.#answer, {}, null)
    const hasEnd = !isOfType(answer.header('content-type'), 'text/event-stream')
    const { effect, next } = signalOf(answer)
    if ((this.#isWhole && hasEnd) || effect !== 'told' || next !== 'stop') return
    this.#isStreaming = true
    streamed.add(answer.raw)
    this.#end.resolve(answer)
    // The one that asked may want to know before the loop has ended.
    report(headers, { ...this.#soFar, replayed: isReplay(answer) })
    this.#downstream.stream(controller, statusCode, headers, statusMessage)
  }

  onResponseData(_controller: Controller, chunk: Uint8Array): void {
    if (this.#isStreaming) this.#downstream.data(chunk)
    else this.#chunks.push(chunk)
  }

  onResponseEnd(controller: Controller, trailers: Fields): void {
    const { rawTrailers = null } = controller
    if (this.#isStreaming) this.#downstream.end(trailers, rawTrailers)
    else if (this.#answer !== undefined) {
      this.#end.resolve(this.#read(this.#answer, trailers, rawTrailers))
    }
  }

  onResponseError(_controller: Controller, error: Error): void {
    if (this.#isStreaming) this.#downstream.fail(error)
    else this.#end.reject(error)
  }

  #read(
    head: Omit<UndiciAnswer, 'chunks' | 'trailers' | 'rawTrailers'>,
    trailers: Fields,
    rawTrailers: unknown,
  ): Answer<UndiciAnswer> {
    const header = (name: string): string | undefined => {
      const value = head.headers[name]
      return Array.isArray(value) ? value[0] : value
    }
    const { statusCode: status } = head
    const code = problemCode(status, header('content-type'), concat(this.#chunks))
    return { status, header, code, raw: { ...head, chunks: this.#chunks, trailers, rawTrailers } }
  }
}

function concat(chunks: readonly Uint8Array[]): Uint8Array {
  return chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks)
}
