/**
 * axios: an adapter around the adapters of axios. Interceptors and `transformRequest` run once for a call,
 * `transformResponse` and `validateStatus` see its end.
 */
import {
  carriedCall,
  type KeyedOptions,
  type KeyedSettings,
  keyOf,
  problemCode,
  readKeyed,
  report,
  reported,
  runKeyed,
} from './keyed-call.ts'
import type { CallReport } from './fetch.ts'
import { platform } from './platform.ts'
import type { Answer } from './signals.ts'
import { isOneShot, wholeBody } from './whole-body.ts'

export { idempotency } from './keyed-call.ts'

/** The fields of a request: `AxiosHeaders`, or as the server sent them. */
interface AxiosFields {
  get(name: string): unknown
  set(name: string, value: string): unknown
  delete(name: string): unknown
  concat(): unknown
}

/** The part of a request's configuration that is used. */
interface AxiosConfig {
  url?: string
  baseURL?: string
  params?: unknown
  method?: string
  data?: unknown
  headers: unknown
  responseType?: string
  maxRedirects?: number
  validateStatus?: ((status: number) => boolean) | null
  signal?: unknown
  cancelToken?: unknown
}

/** The part of an answer that is used. */
interface AxiosAnswer {
  data: unknown
  readonly status: number
  readonly headers: unknown
  config: unknown
}

type Adapter<Config, Response> = (config: Config) => Promise<Response>

/** The part of axios that is used. */
interface Axios<Config, Response> {
  getAdapter(adapters: never, config?: never): Adapter<Config, Response>
  getUri(config?: never): string
}

export interface IdempotentAxiosOptions<Response = AxiosAnswer> extends KeyedOptions<Response> {
  /** What sends, by axios's own names. Default: `http`, else `fetch`, else `xhr`, which follows redirects unseen. */
  readonly adapter?: string | readonly string[]
}

/**
 * What is known of the call that an answer came from; `undefined` for an answer of another adapter.
 *
 * @example
 * if (callOf(await api.post('/charges', { amount: 100 }))?.replayed) refreshBalance()
 */
export function callOf(response: object): CallReport | undefined {
  return reported(response)
}

/**
 * An adapter for `axios.create()` that makes calls safe to retry. Its own errors are thrown as they are; a last answer
 * that `validateStatus` refuses is an `AxiosError`, and an abort a `CanceledError`, as ever.
 *
 * @throws InvalidOptionError for an option or a key that breaks a rule
 * @throws UnknownOutcomeError, NotAppliedError, KeyRefusedError (from the calls)
 * @example
 * const api = axios.create({ baseURL: 'https://api.example', adapter: idempotentAdapter(axios) })
 * const { data } = await api.post('/charges', { amount: 100 })
 */
export function idempotentAdapter<Config extends AxiosConfig, Response extends AxiosAnswer>(
  axios: Axios<Config, Response>,
  options: IdempotentAxiosOptions<Response> = {},
): Adapter<Config, Response> {
  const { adapter: names = ['http', 'fetch', 'xhr'], ...rest } = options
  const settings = readKeyed(rest)
  return async (config) => {
    const adapter = axios.getAdapter(names as never, config as never)
    const idempotency = carriedCall(config)
    if (idempotency === false) return await adapter(config)
    const headers = config.headers as AxiosFields
    const method = (config.method ?? 'get').toUpperCase()
    const named = headers.get(settings.keyHeader) as string | undefined
    const { key, field } = keyOf(settings, method, named ?? undefined, idempotency.key)
    if (key === undefined && isOneShot(config.data)) return await adapter(config)
    if (field !== undefined) headers.set(settings.keyHeader, field)
    const fixed = { ...config, data: await fixedData(config.data, headers) }
    const url = new URL(axios.getUri(config as never), globalThis.location?.href ?? 'http://localhost')
    const cancelled = signalOfCaller(config)
    let last: Exchanged<Response> | undefined
    try {
      const { answer, report: of } = await runKeyed(settings, {
        ...{ key, method, origin: url.origin, sentSince: idempotency.sentSince, signal: cancelled.signal },
        setField: (name, value) => headers.set(name, value),
        wasNeverSent: (error) => !afterRedirect.has(error as object) && platform.wasNeverSent(error),
        isFinal: isMisuse,
        async send(signal) {
          discard(last?.answer.raw.data)
          last = await exchange(adapter, settings, { ...fixed, signal }, url, key !== undefined)
          // Callers know the configuration that they gave, not that of an attempt.
          Object.assign(last.answer.raw, { config })
          return last.answer
        },
      })
      report(answer.raw, of)
      if (last?.refused !== undefined) throw Object.assign(last.refused as object, { config })
      return answer.raw
    } finally {
      cancelled.release()
    }
  }
}

/** A stream that nobody will read holds its connection. */
function discard(data: unknown): void {
  ;(data as { destroy?: () => unknown } | undefined)?.destroy?.()
}

/** What `transformRequest` made of the data, in a form that every attempt can send. */
async function fixedData(data: unknown, headers: AxiosFields): Promise<unknown> {
  if (typeof data !== 'object' || data === null) return data
  const { octets, contentType } = await wholeBody(data)
  const type = contentType ?? (data instanceof Blob ? 'application/octet-stream' : undefined)
  // The field that axios wrote before knows no boundary.
  if (type !== undefined) headers.set('content-type', type)
  return octets instanceof Uint8Array ? octets.buffer : octets
}

interface CallersSignal {
  readonly signal: AbortSignal | undefined
  release(): void
}

function signalOfCaller({ signal, cancelToken }: AxiosConfig): CallersSignal {
  const own = (signal ?? undefined) as AbortSignal | undefined
  const token = cancelToken as
    | { toAbortSignal(): AbortSignal & { readonly unsubscribe: () => void } }
    | undefined
  if (token === undefined) return { signal: own, release: () => {} }
  const cancelled = token.toAbortSignal()
  return {
    signal: own === undefined ? cancelled : AbortSignal.any([own, cancelled]),
    release: () => cancelled.unsubscribe(),
  }
}

/** Options that axios does not take, and bodies over its own limits: nothing was sent, nothing ever will be. */
function isMisuse(error: unknown): boolean {
  const { code, response } = error as { readonly code?: string; readonly response?: unknown }
  return response === undefined && /^ERR_(BAD_OPTION|BAD_REQUEST|INVALID_URL|NOT_SUPPORT)/.test(code ?? '')
}

const redirectsMax = 20

interface Exchanged<Response> {
  readonly answer: Answer<Response>
  /** The error for an answer whose status the caller does not take. */
  readonly refused: unknown
}

/** The operation has answered; what failed came after it. */
const afterRedirect = new WeakSet<object>()

/** One attempt. A key is for one origin, so its redirects are looked at here. */
async function exchange<Config extends AxiosConfig, Response extends AxiosAnswer>(
  adapter: Adapter<Config, Response>,
  settings: KeyedSettings<Response>,
  config: Config,
  url: URL,
  hasKey: boolean,
): Promise<Exchanged<Response>> {
  const given = { ...config, cancelToken: undefined }
  if (!hasKey) return read(await sendOnce(adapter, given))
  const { maxRedirects = redirectsMax, method } = config
  let onward: Config = { ...given, maxRedirects: 0 }
  let address = url
  for (let count = 0; ; count += 1) {
    const sent = await sendOnce(adapter, onward)
    const { status } = sent.response
    const location = headerOf(sent.response, 'location')
    const isRedirect = location !== undefined && [301, 302, 303, 307, 308].includes(status)
    if (!isRedirect || count >= maxRedirects) return read(sent)
    const next = new URL(location, address)
    const isElsewhere = status === 303 || (status < 303 && method?.toUpperCase() === 'POST')
    if (isElsewhere) {
      discard(sent.response.data)
      return read(await lookElsewhere(adapter, settings, given, next, next.origin !== url.origin))
    }
    // No key may follow it, so it is itself the answer.
    if (next.origin !== url.origin) return read(sent)
    discard(sent.response.data)
    address = next
    onward = { ...onward, url: next.href, baseURL: undefined, params: undefined }
  }
}

/** The operation's answer is to look elsewhere, and looking takes no key. */
async function lookElsewhere<Config extends AxiosConfig, Response extends AxiosAnswer>(
  adapter: Adapter<Config, Response>,
  { keyHeader }: KeyedSettings<Response>,
  config: Config,
  url: URL,
  leaves: boolean,
): Promise<SentOnce<Response>> {
  const headers = (config.headers as AxiosFields).concat() as AxiosFields
  for (const name of [keyHeader, ...fieldsOfBody, ...(leaves ? fieldsOfOrigin : [])]) headers.delete(name)
  const address = { url: url.href, baseURL: undefined, params: undefined, ...(leaves && { auth: undefined }) }
  try {
    return await sendOnce(adapter, { ...config, ...address, method: 'get', data: undefined, headers })
  } catch (error) {
    afterRedirect.add(error as object)
    throw error
  }
}

const fieldsOfBody = ['content-type', 'content-length', 'content-encoding', 'content-language']
const fieldsOfOrigin = ['authorization', 'proxy-authorization', 'cookie', 'host']

function read<Response extends AxiosAnswer>({ response, refused }: SentOnce<Response>): Exchanged<Response> {
  const { status, data } = response
  const code = problemCode(status, headerOf(response, 'content-type'), textOf(data))
  return { answer: { status, code, header: (name) => headerOf(response, name), raw: response }, refused }
}

interface SentOnce<Response> {
  readonly response: Response
  readonly refused: unknown
}

/** Rejects where there is no whole answer; one that `validateStatus` refuses is an answer. */
async function sendOnce<Config extends AxiosConfig, Response extends AxiosAnswer>(
  adapter: Adapter<Config, Response>,
  config: Config,
): Promise<SentOnce<Response>> {
  const { validateStatus, signal } = config
  let isWhole = false
  try {
    const response = await adapter({
      ...config,
      headers: (config.headers as AxiosFields).concat(),
      // Adapters ask it last, when all octets are there.
      validateStatus(status) {
        isWhole = true
        return validateStatus?.(status) ?? true
      },
    })
    return { response, refused: undefined }
  } catch (error) {
    const { response } = error as { response?: Response }
    if (isWhole && response !== undefined)
      return { response, refused: error }
      // axios would say that the caller did it.
    ;(signal as AbortSignal).throwIfAborted()
    throw error
  }
}

/** `AxiosHeaders` have the fields of an answer as they came, in any case. */
function headerOf({ headers }: AxiosAnswer, name: string): string | undefined {
  const value = (headers as Partial<AxiosFields>).get?.(name)
  return typeof value === 'string' ? value : undefined
}

function textOf(data: unknown): string | Uint8Array | ArrayBuffer {
  if (data instanceof ArrayBuffer || data instanceof Uint8Array) return data
  return typeof data === 'string' ? data : ''
}
