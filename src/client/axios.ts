/**
 * axios: an adapter around the adapters of axios. Interceptors and `transformRequest` run once for a call,
 * `transformResponse` and `validateStatus` see its end.
 */
import { page } from './exchange.ts'
import { type CallReport, isSafe } from './attempts.ts'
import {
  carriedCall,
  isProblem,
  type KeyedOptions,
  keyOf,
  problemCode,
  readKeyed,
  report,
  reported,
  runKeyed,
  unlessAborted,
} from './keyed-call.ts'
import {
  type Asked,
  type Redirect,
  RedirectError,
  redirectOf,
  redirectsMax,
  showsRedirects,
} from './redirects.ts'
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
  sensitiveHeaders?: readonly string[]
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
  const settings = readKeyed('idempotentAdapter', rest)
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
    const url = new URL(axios.getUri(config as never), page.location?.href ?? 'http://localhost')
    const asked = { method, url, keyHeader: key === undefined ? undefined : settings.keyHeader }
    const route = { start: startOf(config, asked) }
    const cancelled = signalOfCaller(config)
    let last: Exchanged<Response> | undefined
    try {
      const { answer, report: of } = await runKeyed(settings, {
        ...{ key, method, origin: url.origin, sentSince: idempotency.sentSince, signal: cancelled.signal },
        setField: (name, value) => headers.set(name, value),
        isFinal: isMisuse,
        async prepare(ended) {
          Object.assign(route.start.config, { data: await fixedData(config.data, headers, ended) })
        },
        async send(signal) {
          last = await exchange(adapter, route, signal)
          // Callers know the configuration that they gave, not that of an attempt.
          Object.assign(last.answer.raw, { config })
          return last.answer
        },
        discard: ({ data }) => discard(data),
      })
      report(answer.raw, of)
      if (last?.refused !== undefined) throw Object.assign(last.refused as object, { config })
      return answer.raw
    } finally {
      cancelled.release()
    }
  }
}

/** A stream that nobody will read holds its connection: those of Node, and those of the platform. */
function discard(data: unknown): void {
  const stream = data as { destroy?(): unknown; cancel?(): Promise<unknown> } | null | undefined
  stream?.destroy?.()
  // It may have a reader.
  stream?.cancel?.().catch(() => {})
}

/** What `transformRequest` made of the data, in a form that every attempt can send. */
async function fixedData(data: unknown, headers: AxiosFields, ended: AbortSignal): Promise<unknown> {
  if (typeof data !== 'object' || data === null) return data
  const { octets, contentType } = await wholeBody(data, ended)
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

interface Exchanged<Response> {
  readonly answer: Answer<Response>
  /** The error for an answer whose status the caller does not take. */
  readonly refused: unknown
}

/** A request, and what is to be known of it. */
interface Hop<Config> {
  readonly config: Config
  readonly asked: Asked
  /** How many redirects are followed from here. */
  readonly redirectsLeft: number
  /** Whether the operation has answered before. */
  readonly isElsewhere: boolean
}

/** Only redirects that are followed here are seen. Those of reads are of no interest, unless a key must not follow. */
function startOf<Config extends AxiosConfig>(given: Config, asked: Asked): Hop<Config> {
  const isSeen = asked.keyHeader !== undefined || (showsRedirects && !isSafe(asked.method))
  const { maxRedirects = redirectsMax } = given
  return {
    config: { ...given, cancelToken: undefined, ...(isSeen && { maxRedirects: 0 }) },
    ...{ asked, redirectsLeft: isSeen ? maxRedirects : 0, isElsewhere: false },
  }
}

/** One attempt. What has answered with a redirect is not sent again: the next attempt starts where that leads. */
async function exchange<Config extends AxiosConfig, Response extends AxiosAnswer>(
  adapter: Adapter<Config, Response>,
  route: { start: Hop<Config> },
  signal: AbortSignal,
): Promise<Exchanged<Response>> {
  let hop = route.start
  let sent: SentOnce<Response> | undefined
  try {
    for (;;) {
      sent = await sendOnce(adapter, { ...hop.config, signal })
      const { response } = sent
      const location = hop.redirectsLeft > 0 ? headerOf(response, 'location') : undefined
      const redirect = redirectOf(hop.asked, response.status, location)
      if (redirect === undefined) return await read(sent, hop.isElsewhere, signal)
      discard(response.data)
      hop = onward(hop, redirect)
      if (hop.isElsewhere) route.start = hop
    }
  } catch (error) {
    discard(sent?.response.data)
    throw hop.isElsewhere && !(error instanceof RedirectError) ? new RedirectError(error) : error
  }
}

function onward<Config extends AxiosConfig>(from: Hop<Config>, redirect: Redirect): Hop<Config> {
  const { method, url, leaves, dropsBody, dropped } = redirect
  const headers = (from.config.headers as AxiosFields).concat() as AxiosFields
  const { sensitiveHeaders = [] } = from.config
  for (const name of leaves ? [...dropped, ...sensitiveHeaders] : dropped) headers.delete(name)
  return {
    config: {
      ...from.config,
      ...{ method: method.toLowerCase(), headers, url: url.href, baseURL: undefined, params: undefined },
      ...(dropsBody && { data: undefined }),
      ...(leaves && { auth: undefined }),
    },
    asked: redirect,
    redirectsLeft: from.redirectsLeft - 1,
    isElsewhere: from.isElsewhere || redirect.isElsewhere,
  }
}

async function read<Response extends AxiosAnswer>(
  { response, refused }: SentOnce<Response>,
  isElsewhere: boolean,
  signal: AbortSignal,
): Promise<Exchanged<Response>> {
  const { status } = response
  const type = headerOf(response, 'content-type')
  const problem = isProblem(status, type) ? await unlessAborted(signal, octetsOf(response)) : ''
  const code = problemCode(status, type, problem)
  const header = (name: string): string | undefined => headerOf(response, name)
  return { answer: { status, code, isElsewhere, header, raw: response }, refused }
}

/** What the caller wants as a stream is read, and given on as another one. */
async function octetsOf(response: AxiosAnswer): Promise<string | ArrayBuffer | Uint8Array> {
  const { data } = response
  if (typeof data === 'string') return data
  if (isOneShot(data)) {
    const { octets } = (await wholeBody(data)) as { octets: Uint8Array<ArrayBuffer> }
    response.data = data instanceof ReadableStream ? new Response(octets).body : streamOf(octets)
    return octets
  }
  if (data instanceof Blob) return await data.arrayBuffer()
  return data instanceof ArrayBuffer || data instanceof Uint8Array ? data : ''
}

/** A stream of Node, which browsers have not. */
function streamOf(octets: Uint8Array): unknown {
  return globalThis.process.getBuiltinModule('node:stream').Readable.from([octets])
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
