/** What the adapters of other libraries share: the key of a call, and its run through the one loop. */
import { type Call, type CallReport, type Ended, type Refresh, runCall } from './attempts.ts'
import { checkOptions } from './check-options.ts'
import type { CallOptions } from './fetch.ts'
import { keyField, newKey, writtenKey } from './key.ts'
import { type IdempotentFetchOptions, type ReadOptions, readOptions, type RetryOptions } from './options.ts'
import { platform } from './platform.ts'

/** Options of an adapter: those of `createIdempotentFetch`, for a library that sends by itself. */
export interface KeyedOptions<Response>
  extends RetryOptions,
    Pick<IdempotentFetchOptions, 'methods' | 'keyHeader' | 'keyFormat'> {
  /**
   * Asked once after a 401: fields to send instead, or nothing. The key and the octets stay. The signal is that of
   * an attempt.
   */
  readonly refresh?: Refresh<Response>
}

/** Options of an adapter, read once. */
export interface KeyedSettings<Response> extends Omit<ReadOptions, 'refresh'> {
  readonly refresh: Refresh<Response> | undefined
}

/**
 * @param owner the adapter's name
 * @throws InvalidOptionError
 */
export function readKeyed<Response>(owner: string, given: KeyedOptions<Response>): KeyedSettings<Response> {
  checkOptions(owner, given, ['fetch'])
  const { refresh, ...options } = given
  const settings = readOptions(platform, options)
  return { ...settings, refresh, keyHeader: settings.keyHeader.toLowerCase() }
}

/** The key of a call, and what is still to be written into its field. */
export interface CallKey {
  readonly key: string | undefined
  /** `undefined` where the field is as the caller wrote it, or where there is no key. */
  readonly field: string | undefined
}

/**
 * The key of one logical call: what its options say, else its field, else a new one where the method gets one.
 *
 * @throws InvalidOptionError for a key that breaks a rule
 */
export function keyOf(
  { methods, keyFormat }: KeyedSettings<never>,
  method: string,
  written: string | undefined,
  given: string | undefined,
): CallKey {
  if (given === undefined && written) return { key: writtenKey(written), field: undefined }
  const key = given ?? (methods.includes(method) ? newKey() : undefined)
  return { key, field: key === undefined ? undefined : keyField(key, keyFormat) }
}

/** What an adapter says of a request. */
export interface KeyedRequest<Response> extends Omit<Call<Response>, 'prepare' | 'refresh' | 'wasNeverSent'> {
  /** As `Call.prepare`; the signal is aborted when the call has ended without an answer. */
  readonly prepare: (ended: AbortSignal) => Promise<unknown>
  /** Default: as the platform tells. */
  readonly wasNeverSent?: Call<Response>['wasNeverSent']
  /** Whether an error ends the call, because every attempt would end in it. Default: none does. */
  readonly isFinal?: (error: unknown) => boolean
}

/**
 * Runs a request of another library through the loop.
 *
 * @throws ClientError, the reason of the caller's signal, or an error that `isFinal`
 */
export async function runKeyed<Response extends object>(
  settings: KeyedSettings<Response>,
  { wasNeverSent = platform.wasNeverSent, isFinal, prepare, ...call }: KeyedRequest<Response>,
): Promise<Ended<Response>> {
  const ended = new AbortController()
  try {
    return await runCall<Response>(settings, {
      ...call,
      refresh: settings.refresh,
      prepare: () => prepare(ended.signal),
      wasNeverSent(error) {
        if (isFinal?.(error) === true) throw error
        return wasNeverSent(error)
      },
    })
  } catch (error) {
    ended.abort()
    throw error
  }
}

/** For work that does not look at the signal: rejects with its reason as soon as that is aborted. */
export function unlessAborted<Result>(signal: AbortSignal, work: Promise<Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason)
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

/** Whether the field of an answer names a media type, which is the same in any case. */
export function isOfType(contentType: string | null | undefined, type: string): boolean {
  return contentType?.toLowerCase().startsWith(type) === true
}

/** Whether an answer says that it is a problem document (RFC 9457). */
export function isProblem(status: number, contentType: string | null | undefined): boolean {
  return status >= 400 && isOfType(contentType, 'application/problem+json')
}

/** `code` of an answer that says it is a problem document. */
export function problemCode(
  status: number,
  contentType: string | null | undefined,
  body: string | ArrayBuffer | Uint8Array,
): string | undefined {
  if (!isProblem(status, contentType)) return undefined
  try {
    const problem: unknown = JSON.parse(typeof body === 'string' ? body : new TextDecoder().decode(body))
    return (problem as { readonly code?: string } | null)?.code
  } catch {
    return undefined
  }
}

/** What the options of a call carry for the adapter; `signal` lets them pass where all members are optional. */
export interface CarriedCall {
  readonly idempotency: CallOptions | false
  readonly signal?: never
}

/**
 * What a call says of itself besides what its library takes, as options of that call. `false` sends it once, as the
 * library itself does.
 *
 * @example
 * await api.post('/charges', { amount: 100 }, idempotency({ key, sentSince }))
 */
export function idempotency(call: CallOptions | false): CarriedCall {
  return { idempotency: call }
}

/** Reads what `idempotency` wrote. */
export function carriedCall(options: unknown): CallOptions | false {
  return (options as Partial<CarriedCall>).idempotency ?? {}
}

const reports = new WeakMap<object, CallReport>()

/** Keeps what is known of a call with an object that its caller gets. */
export function report(carrier: object, of: CallReport): void {
  reports.set(carrier, of)
}

/** What is known of the call that an object came from. */
export function reported(carrier: object): CallReport | undefined {
  return reports.get(carrier)
}
