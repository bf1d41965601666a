/** What the adapters of other libraries share: the key of a call, and its run through the one loop. */
import { type Call, runCall } from './attempts.ts'
import { type CallOptions, type CallReport, safeMethods } from './fetch.ts'
import { keyField, newKey } from './key.ts'
import { type IdempotentFetchOptions, type ReadOptions, readOptions, type RetryOptions } from './options.ts'
import { platform } from './platform.ts'
import { type Answer, isReplay } from './signals.ts'

type Fields = Readonly<Record<string, string>>

/** Options of an adapter: those of `createIdempotentFetch`, for a library that sends by itself. */
export interface KeyedOptions<Response>
  extends RetryOptions,
    Pick<IdempotentFetchOptions, 'methods' | 'keyHeader' | 'keyFormat'> {
  /**
   * Asked once after a 401: fields to send instead, or nothing. The key and the octets stay. The signal is that of
   * an attempt.
   */
  readonly refresh?: (
    response: Response,
    signal: AbortSignal,
  ) => Promise<Fields | undefined> | Fields | undefined
}

/** Options of an adapter, read once. */
export interface KeyedSettings<Response>
  extends Pick<ReadOptions, 'policy' | 'methods' | 'keyHeader' | 'keyFormat'> {
  readonly refresh: KeyedOptions<Response>['refresh']
}

/** @throws InvalidOptionError */
export function readKeyed<Response>({
  refresh,
  ...options
}: KeyedOptions<Response>): KeyedSettings<Response> {
  const { policy, methods, keyHeader, keyFormat } = readOptions(platform, options)
  return { policy, methods, keyFormat, refresh, keyHeader: keyHeader.toLowerCase() }
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
  if (given === undefined && written !== undefined) {
    return { key: written.replaceAll('"', ''), field: undefined }
  }
  const key = given ?? (methods.includes(method) ? newKey() : undefined)
  return { key, field: key === undefined ? undefined : keyField(key, keyFormat) }
}

/** What an adapter says of a request. */
export interface KeyedRequest<Response> extends Pick<Call<Response>, 'key' | 'signal' | 'send'> {
  /** In upper case. */
  readonly method: string
  readonly origin: string
  readonly sentSince: number | undefined
  /** Default: as the platform tells. */
  readonly wasNeverSent?: Call<Response>['wasNeverSent']
  /** Whether an error ends the call, because every attempt would end in it. Default: none does. */
  readonly isFinal?: (error: unknown) => boolean
  /** Writes a field that all attempts from now on send. */
  setField(name: string, value: string): void
}

export interface EndedCall<Response> {
  readonly answer: Answer<Response>
  readonly report: CallReport
}

/**
 * Runs a request of another library through the loop.
 *
 * @throws ClientError, the reason of the caller's signal, or an error that `isFinal`
 */
export async function runKeyed<Response extends object>(
  { policy, refresh }: KeyedSettings<Response>,
  { method, sentSince, setField, wasNeverSent, isFinal, ...call }: KeyedRequest<Response>,
): Promise<EndedCall<Response>> {
  const isSafe = safeMethods.test(method)
  const { answer, attempts } = await runCall<Response>(policy, {
    ...call,
    isSafe,
    isRepeatable: call.key !== undefined || isSafe || method === 'PUT' || method === 'DELETE',
    createdAt: sentSince ?? Date.now(),
    mayHaveBeenSent: sentSince !== undefined,
    wasNeverSent(error) {
      if (isFinal?.(error) === true) throw error
      return (wasNeverSent ?? platform.wasNeverSent)(error)
    },
    async refresh({ raw }, signal) {
      const fields = await refresh?.(raw, signal)
      for (const name in fields) setField(name, fields[name] as string)
      return fields !== undefined
    },
  })
  return { answer, report: { key: call.key, attempts, replayed: isReplay(answer) } }
}

/** `code` of an answer that says it is a problem document (RFC 9457). */
export function problemCode(
  status: number,
  contentType: string | null | undefined,
  body: string | ArrayBuffer | Uint8Array,
): string | undefined {
  if (status < 400 || contentType?.startsWith('application/problem+json') !== true) return undefined
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
