/**
 * `fetch` for operations that must take effect once: a key for each logical call, the same octets in each attempt,
 * and an end that says what is known.
 */
import { type CallReport, isSafe, runCall } from './attempts.ts'
import { exchange, type FetchInput, type Platform, prepare, type Preparing } from './exchange.ts'
import { keyField, newKey, writtenKey } from './key.ts'
import { type IdempotentFetchOptions, readOptions, type ReadOptions } from './options.ts'

/** What a call says of itself besides what `fetch` takes. */
export interface CallOptions {
  /** The key. Default: the field of the request where it has one, else a new one. */
  readonly key?: string
  /**
   * When the key was made, in milliseconds since 1970, where it may have been sent before: by this page before it was
   * loaded again, by another process. Default: it has not been sent.
   */
  readonly sentSince?: number
}

/** `false` sends the request once, as `fetch` itself does. */
export type IdempotentInit = RequestInit & { readonly idempotency?: CallOptions | false }

export type IdempotentFetch = (input: FetchInput, init?: IdempotentInit) => Promise<Response>

export type { CallReport } from './attempts.ts'

/** In the global symbol registry, so that two copies of the package know each other's responses. */
const reported = Symbol.for('retrysafe.call')

/** On the response itself: a `WeakMap` of them costs a tenth of all that the client does. */
type Reported = Response & { [reported]?: CallReport }

/** Writes onto a response what is known of its call. */
export function report(response: Response, of: CallReport): void {
  ;(response as Reported)[reported] = of
}

/**
 * What is known of the call that a response came from; `undefined` for a response of another `fetch`.
 *
 * @example
 * const response = await pay('/charges', { method: 'POST', body })
 * if (callOf(response)?.replayed) refreshBalance()
 */
export function callOf(response: Response): CallReport | undefined {
  return (response as Reported)[reported]
}

/** Makes `createIdempotentFetch` of a platform. */
export function idempotentFetch(platform: Platform, options: IdempotentFetchOptions): IdempotentFetch {
  const settings = readOptions(platform, options)
  return async (input, { idempotency = {}, ...init } = {}) =>
    idempotency === false
      ? await settings.fetch(input as string, init)
      : await send(settings, prepare(input, init), idempotency)
}

async function send(
  settings: ReadOptions,
  request: Preparing,
  { key: given, sentSince }: CallOptions,
): Promise<Response> {
  const { keyHeader, methods, keyFormat, refresh } = settings
  const { input, url, init } = request
  const { method, headers, signal } = init
  const written = headers.get(keyHeader)
  let key = given ?? (written ? writtenKey(written) : undefined)
  if (key === undefined && methods.includes(method)) key = newKey()
  // A field that the caller wrote is sent as it is.
  if (key !== undefined && (given !== undefined || !written)) headers.set(keyHeader, keyField(key, keyFormat))
  const ended = await runCall<Response>(settings, {
    ...{ origin: url.origin, method, key, sentSince, signal, refresh, prepare: request.read },
    send: (attempt) => exchange(settings, request, attempt, key !== undefined, !isSafe(method)),
    wasNeverSent(error) {
      // What `fetch` never takes is no failure of the service: this throws what is wrong with it.
      new Request(input, init as RequestInit)
      return settings.platform.wasNeverSent(error)
    },
    setField: (name, value) => headers.set(name, value),
    discard: (raw) => raw.body?.cancel().catch(() => {}),
  })
  const { raw } = ended.answer
  report(raw, ended.report)
  return raw
}
