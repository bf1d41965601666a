/**
 * Calls that name what is meant. The call is kept before it is first sent, so that a second press, a reload, another
 * tab or a new process sends the same key and the same octets, and goes when its outcome is known.
 *
 * How a call ends decides whether it stays:
 *   answered     the operation's own answer: settled
 *   turned away  an answer that says nothing was done (401, 429, ..), or NotAppliedError: forgotten, a new press is a
 *                new call
 *   refused      KeyRefusedError: forgotten where the first attempt of a new call got it, else it stays, because an
 *                earlier attempt may have taken effect
 *   unknown      UnknownOutcomeError, HorizonError, an abort, any other error: it stays
 */
import { InvalidOptionError } from '../core/errors.ts'
import { type HorizonError, isClientError } from './errors.ts'
import type { CallOptions, IdempotentFetch } from './fetch.ts'
import { fly } from './flights.ts'
import { newKey } from './key.ts'
import { intentText, type KeyPart } from './key-for.ts'
import type { Kept, KeeperError, KeptCall, KeyKeeper } from './keepers/keeper.ts'

/** What a call says of itself besides what `fetch` takes. */
export interface KeptCallOptions extends CallOptions {
  /**
   * What is meant, such as `['pay', cartId, amount]`: the same in every page and process that means it, and another
   * one for everything else. Default: the call is sent as by `fetch` alone, and not kept.
   */
  readonly intent?: string | readonly KeyPart[]
}

/** `false` sends the request once, as `fetch` itself does. */
export type KeptInit = RequestInit & { readonly idempotency?: KeptCallOptions | false }

export type KeptFetch = (input: RequestInfo | URL, init?: KeptInit) => Promise<Response>

export interface KeptFetchOptions {
  /** What sends, made by `createIdempotentFetch`. */
  readonly fetch: IdempotentFetch
  readonly keeper: KeyKeeper
  /** Name of the key's field, as the client has it. Default `'idempotency-key'`. */
  readonly keyHeader?: string
  /**
   * Fields that are kept with the octets, besides `content-type`; never credentials. Default `['accept',
   * 'content-encoding', 'content-language']`.
   */
  readonly keptFields?: readonly string[]
  /**
   * Told of a call whose outcome is not known when an edited request takes its place. It may have taken effect: look
   * it up by its business id.
   */
  readonly onReplaced?: (call: KeptCall) => void
  /** Told when a call whose outcome is known could not be settled: it is sent once more by `resumeKept`, and replayed. */
  readonly onUnsettled?: (error: KeeperError, call: KeptCall) => void
}

/** How a flight of `resumeKept` ends whose call was settled by another tab or process. */
const elsewhere = new Error('The call was settled elsewhere.')

const keptFieldsDefault = ['accept', 'content-encoding', 'content-language'] as const
const credentials = /^(authorization|cookie|proxy-authorization)$|token|secret|api-?key|signature|session/i

/**
 * A `fetch` that keeps calls which name their intent. Callers in this process that mean the same at once share one
 * flight, and each gets a response of its own.
 *
 * @throws InvalidOptionError for an option that breaks a rule
 * @throws KeeperError (from the returned function) where the call could not be kept; nothing was sent
 * @throws what `fetch` throws (from the returned function)
 * @example
 * const pay = keptFetch({ fetch: createIdempotentFetch(), keeper: indexedDbKeeper() })
 * await pay('/charges', { method: 'POST', body, idempotency: { intent: ['pay', cartId, amount] } })
 */
export function keptFetch(options: KeptFetchOptions): KeptFetch {
  const { fetch, keeper, keyHeader = 'idempotency-key', keptFields = keptFieldsDefault } = options
  for (const name of keptFields) {
    if (credentials.test(name)) {
      throw new InvalidOptionError(
        'keptFields',
        'must hold no credentials; they are given anew at each start',
        name,
      )
    }
  }
  return async (input, { idempotency = {}, ...init } = {}) => {
    if (idempotency === false || idempotency.intent === undefined) {
      return await fetch(input, { ...init, idempotency })
    }
    const { intent: parts, ...rest } = idempotency
    const intent = typeof parts === 'string' ? parts.toWellFormed() : intentText(parts)
    if (intent === '') throw new InvalidOptionError('intent', 'must not be empty')
    const request = await read(input, init)
    if (request.headers.has(keyHeader)) {
      throw new InvalidOptionError(
        keyHeader,
        'must be given as `idempotency.key` where a call names its intent',
      )
    }
    const fresh = keptCallOf(intent, request, rest, keptFields)
    const start = (): Promise<Response> =>
      fly(keeper, fresh, request.signal, (signal) =>
        sendKept(options, fresh, rest.sentSince, signal, async ({ call, sentSince }) => {
          const sent = { key: call.key, ...(sentSince !== undefined && { sentSince }) }
          return await fetch(request.input, { ...request.init, signal, idempotency: sent })
        }),
      )
    // A flight of `resumeKept` may find that another tab has the answer, which is none for this caller.
    return await start().catch((error: unknown) => (error === elsewhere ? start() : Promise.reject(error)))
  }
}

/** A request as its caller made it, credentials included, with its octets. */
interface Read {
  readonly input: RequestInfo
  readonly init: RequestInit
  readonly url: string
  readonly method: string
  readonly headers: Headers
  readonly body: string | Uint8Array<ArrayBuffer> | undefined
  readonly signal: AbortSignal | null | undefined
}

/** Streams are read to their end; forms get the boundary that all attempts use. */
async function read(input: RequestInfo | URL, init: RequestInit): Promise<Read> {
  const request = new Request(input, init)
  const { url, headers } = request
  const method = request.method.toUpperCase()
  let body: Read['body']
  // As it is sent: a half of a character has no octets.
  if (typeof init.body === 'string') body = init.body.toWellFormed()
  else if (request.body !== null) body = new Uint8Array(await request.arrayBuffer())
  const fixed = { method, headers, body } as RequestInit
  const isRequest = input instanceof Request
  return {
    // A request brings its mode and the like.
    input: isRequest ? new Request(request, fixed) : url,
    init: { ...init, ...fixed },
    ...{ url, method, headers, body },
    signal: isRequest ? request.signal : init.signal,
  }
}

function keptCallOf(
  intent: string,
  { url, method, headers, body }: Read,
  { key = newKey(), sentSince = Date.now() }: CallOptions,
  keptFields: readonly string[],
): KeptCall {
  const fields = keptFields.flatMap((name) => {
    const value = headers.get(name)
    return value === null ? [] : [[name.toLowerCase(), value]]
  })
  return {
    ...{ intent, key, method, url },
    contentType: headers.get('content-type'),
    ...{ fields: Object.fromEntries(fields), body, createdAt: sentSince },
  }
}

/** Keeps, sends and settles. */
async function sendKept(
  { keeper, onReplaced, onUnsettled }: Pick<KeptFetchOptions, 'keeper' | 'onReplaced' | 'onUnsettled'>,
  fresh: KeptCall,
  sentSince: number | undefined,
  signal: AbortSignal,
  send: (sent: { readonly call: KeptCall; readonly sentSince: number | undefined }) => Promise<Response>,
): Promise<Response> {
  const { call, isNew, replaced }: Kept = await keeper.keep(fresh)
  let isSent = false
  const run = (): Promise<Response> => {
    signal.throwIfAborted()
    isSent = true
    return send({ call, sentSince: isNew ? sentSince : call.createdAt })
  }
  const end = async (verb: 'settle' | 'forget'): Promise<void> => {
    await keeper[verb](call).catch((error: KeeperError) => onUnsettled?.(error, call))
  }
  try {
    if (replaced !== undefined) onReplaced?.(replaced)
    const response = await (keeper.hold?.(call, signal, run) ?? run())
    // A refusal is not to be repeated: the card that was declined may have money by now.
    await end(response.status < 400 ? 'settle' : 'forget')
    return response
  } catch (error) {
    if (isNew && (!isSent || tookNoEffect(error))) await end('forget')
    throw error
  }
}

/** Whether an error says so of a call that was new. */
function tookNoEffect(error: unknown): boolean {
  if (isClientError(error, 'key-refused')) return error.attempts === 1
  return isClientError(error, 'not-applied') || error instanceof InvalidOptionError
}

export interface ResumeOptions {
  /** What sends, made by `createIdempotentFetch`, or by `keptFetch`. */
  readonly fetch: IdempotentFetch
  readonly keeper: KeyKeeper
  /** Fields for each call, such as the credentials of now: none are kept. */
  readonly headers?: (call: KeptCall) => HeadersInit | Promise<HeadersInit>
  /** Calls that are sent at once. Default 4. */
  readonly concurrency?: number
  /**
   * Given each call that is too old to be sent again, to be looked up by its business id; the call goes when it
   * returns. Default: the call stays, and its intent ends with a `HorizonError` until it is `forgetKept`.
   */
  readonly onPastHorizon?: (call: KeptCall) => void | Promise<void>
  /** Stops what was not sent yet, and leaves it for the next time. */
  readonly signal?: AbortSignal
}

/** How a call that was left ended. */
export type Resumed =
  | { readonly end: 'answered'; readonly call: KeptCall; readonly response: Response }
  /** Another tab or process got its answer meanwhile. */
  | { readonly end: 'elsewhere'; readonly call: KeptCall }
  /** It stays for the next time. */
  | { readonly end: 'unknown'; readonly call: KeptCall; readonly error: unknown }
  /** Too old to be sent. */
  | { readonly end: 'past-horizon'; readonly call: KeptCall; readonly error: HorizonError }

const concurrencyMax = 100

/**
 * Sends what an earlier page or process left without an outcome, with the same key and the same octets, the oldest
 * first. Call it once at the start; it never rejects for a call.
 *
 * @throws InvalidOptionError, KeeperError, and what `onPastHorizon` throws
 * @example
 * for (const resumed of await resumeKept({ fetch, keeper, headers: () => ({ authorization }) })) {
 *   if (resumed.end === 'answered') show(await resumed.response.json())
 * }
 */
export async function resumeKept(options: ResumeOptions): Promise<Resumed[]> {
  const { keeper, concurrency = 4, signal } = options
  if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > concurrencyMax) {
    throw new InvalidOptionError(
      'concurrency',
      `must be a whole number from 1 to ${concurrencyMax}`,
      concurrency,
    )
  }
  const calls = await keeper.list()
  const results: Resumed[] = []
  let next = 0
  const work = async (): Promise<void> => {
    while (next < calls.length && signal?.aborted !== true) {
      const at = next++
      results[at] = await resume(options, calls[at] as KeptCall)
    }
  }
  await Promise.all(Array.from({ length: Math.min(concurrency, calls.length) }, work))
  return results
}

async function resume(options: ResumeOptions, call: KeptCall): Promise<Resumed> {
  const { fetch, keeper, headers, onPastHorizon } = options
  const { url, method, contentType, fields, body, key, createdAt: sentSince } = call
  try {
    const response = await fly(keeper, call, options.signal, (signal) =>
      heldElse(keeper, call, signal, async () => {
        const sent = new Headers(await headers?.(call))
        for (const [name, value] of Object.entries(fields ?? {})) sent.set(name, value)
        if (contentType !== null) sent.set('content-type', contentType)
        const idempotency = { key, sentSince }
        return await fetch(url, { method, headers: sent, body: body as BodyInit, signal, idempotency })
      }),
    )
    return { end: 'answered', call, response }
  } catch (error) {
    if (error === elsewhere) return { end: 'elsewhere', call }
    if (!isHorizonError(error)) return { end: 'unknown', call, error }
    if (onPastHorizon !== undefined) {
      await onPastHorizon(call)
      await keeper.forget(call)
    }
    return { end: 'past-horizon', call, error }
  }
}

function isHorizonError(error: unknown): error is HorizonError {
  return isClientError(error, 'horizon-passed')
}

/** Sends while nobody else does, unless whoever did got its outcome. */
async function heldElse(
  keeper: KeyKeeper,
  call: KeptCall,
  signal: AbortSignal,
  send: () => Promise<Response>,
): Promise<Response> {
  const run = async (): Promise<Response> => {
    const isLeft = (await keeper.list()).some(({ key }) => key === call.key)
    if (!isLeft) throw elsewhere
    const response = await send()
    // Where it fails, the next start gets the stored answer.
    await keeper[response.status < 400 ? 'settle' : 'forget'](call).catch(() => {})
    return response
  }
  return await (keeper.hold?.(call, signal, run) ?? run())
}

/**
 * Gives up what is kept for an intent, once it was looked up by its business id: the next call under it is a new one.
 * Whether there was one.
 *
 * @throws KeeperError
 * @example
 * await forgetKept(keeper, ['pay', cartId, amount])
 */
export async function forgetKept(keeper: KeyKeeper, intent: string | readonly KeyPart[]): Promise<boolean> {
  const text = typeof intent === 'string' ? intent : intentText(intent)
  const call = (await keeper.list()).find((kept) => kept.intent === text)
  if (call !== undefined) await keeper.forget(call)
  return call !== undefined
}
