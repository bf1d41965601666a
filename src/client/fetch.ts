/**
 * `fetch` for operations that must take effect once: a key for each logical call, the same octets in each attempt,
 * and an end that says what is known.
 */
import { runCall } from './attempts.ts'
import { exchange, type Platform, prepare, type Prepared } from './exchange.ts'
import { keyField, newKey } from './key.ts'
import { type IdempotentFetchOptions, readOptions, type ReadOptions } from './options.ts'
import { isReplay } from './signals.ts'

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

export type IdempotentFetch = (input: RequestInfo | URL, init?: IdempotentInit) => Promise<Response>

/** What is known of a call besides its answer. */
export interface CallReport {
  readonly key: string | undefined
  /** The answer is a stored one: a snapshot of when the operation ended, not the state of now. */
  readonly replayed: boolean
  readonly attempts: number
}

/** Of the responses that were given out, copies included. */
export const reports: WeakMap<Response, CallReport> = new WeakMap()

/**
 * What is known of the call that a response came from; `undefined` for a response of another `fetch`.
 *
 * @example
 * const response = await pay('/charges', { method: 'POST', body })
 * if (callOf(response)?.replayed) refreshBalance()
 */
export function callOf(response: Response): CallReport | undefined {
  return reports.get(response)
}

/** Methods that change nothing. */
export const safeMethods: RegExp = /^(GET|HEAD|OPTIONS|TRACE|QUERY)$/

/** Makes `createIdempotentFetch` of a platform. */
export function idempotentFetch(platform: Platform, options: IdempotentFetchOptions): IdempotentFetch {
  const settings = readOptions(platform, options)
  return async (input, { idempotency = {}, ...init } = {}) =>
    idempotency === false
      ? await settings.fetch(input as string, init)
      : await send(settings, await prepare(input, init), idempotency)
}

async function send(
  settings: ReadOptions,
  request: Prepared,
  { key: given, sentSince }: CallOptions,
): Promise<Response> {
  const { policy, keyHeader, methods, keyFormat } = settings
  const { input, url, init } = request
  const { method, headers, signal } = init
  const written = headers.get(keyHeader)
  const key = given ?? written?.replaceAll('"', '') ?? (methods.includes(method) ? newKey() : undefined)
  // A field that the caller wrote is sent as it is.
  if (key !== undefined && (given !== undefined || written === null))
    headers.set(keyHeader, keyField(key, keyFormat))
  const hasKey = key !== undefined
  const isSafe = safeMethods.test(method)
  const { answer, attempts } = await runCall<Response>(policy, {
    ...{ key, signal, isSafe, origin: url.origin },
    isRepeatable: hasKey || isSafe || /^(PUT|DELETE)$/.test(method),
    createdAt: sentSince ?? Date.now(),
    mayHaveBeenSent: sentSince !== undefined,
    send: (attempt) => exchange(settings, request, attempt, hasKey, !isSafe),
    wasNeverSent(error) {
      // What `fetch` never takes is no failure of the service: this throws what is wrong with it.
      new Request(input, init as RequestInit)
      return settings.platform.wasNeverSent(error)
    },
    async refresh({ raw }, attempt) {
      const fields = await settings.refresh?.(raw, attempt)
      for (const name in fields) headers.set(name, fields[name] as string)
      return fields !== undefined
    },
  })
  reports.set(answer.raw, { key, attempts, replayed: isReplay(answer) })
  return answer.raw
}
