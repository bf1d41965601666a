/**
 * Calls that name what is meant. The call is kept before it is first sent, so that a second press, a reload, another
 * tab or a new process sends the same key and the same octets, and goes when its outcome is known.
 *
 * A press is new where it kept the call and nobody else was given it until it was sent. How a call ends decides whether
 * it stays:
 *   answered     up to 399: settled. A refusal: forgotten, because the next press is another try
 *   turned away  an answer that says nothing was done (401, 429, ..), NotAppliedError, KeyRefusedError at the first
 *                attempt, an abort before it was sent: where the press is new the call is withdrawn, which does nothing
 *                if somebody else was given it by then; where it is not, an earlier attempt may have taken effect
 *   unknown      UnknownOutcomeError, HorizonError, an abort, any other error: it stays, and is kept again where
 *                somebody else has ended it meanwhile; the next press in this process goes on with its key in any case
 *
 * Whoever sends has the call kept at that moment: it is looked up while nobody else sends it, and kept again, with the
 * same key, where it was ended meanwhile.
 */
import type { FetchInput } from './exchange.ts'
import { InvalidOptionError } from '../core/errors.ts'
import { refuseUnknownOptions } from '../core/options.ts'
import { checkSender } from './check-options.ts'
import { type HorizonError, isClientError } from './errors.ts'
import type { CallOptions, IdempotentFetch } from './fetch.ts'
import { fly } from './flights.ts'
import { intentText, type KeyPart } from './key-for.ts'
import { KeeperError, type KeptCall, type KeyKeeper } from './keepers/keeper.ts'
import { keptCallOf, readRequest } from './kept-request.ts'
import { noteKnown, noteUnknown, unknownCall } from './unknown-calls.ts'

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

export type KeptFetch = (input: FetchInput, init?: KeptInit) => Promise<Response>

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
  /**
   * Told when the keeper failed at the end of a call. One whose outcome is known is sent once more by `resumeKept`, and
   * replayed.
   */
  readonly onUnsettled?: (error: KeeperError, call: KeptCall) => void
}

/** How a flight of `resumeKept` ends whose call was ended by another tab or process. */
class Elsewhere extends Error {
  readonly call: KeptCall
  constructor(call: KeptCall) {
    super('The call was ended elsewhere.')
    this.call = call
  }
}

/** Each round after the first is one in which another tab or process has ended the call. */
const roundsMax = 100

const keptFetchNames = ['fetch', 'keeper', 'keyHeader', 'keptFields', 'onReplaced', 'onUnsettled'] as const
const callNames = ['key', 'sentSince', 'intent'] as const
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
  refuseUnknownOptions('keptFetch', options, keptFetchNames)
  checkSender(options)
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
    // A misspelt intent would be sent and not kept.
    if (idempotency !== false) refuseUnknownOptions('idempotency', idempotency, callNames)
    if (idempotency === false || idempotency.intent === undefined) {
      return await fetch(input, { ...init, idempotency })
    }
    const { intent: parts, ...rest } = idempotency
    const intent = intentOf(parts)
    if (intent === '') throw new InvalidOptionError('intent', 'must not be empty')
    const request = await readRequest(input, init)
    if (request.headers.has(keyHeader)) {
      throw new InvalidOptionError(
        keyHeader,
        'must be given as `idempotency.key` where a call names its intent',
      )
    }
    const fresh = keptCallOf(intent, request, rest, keptFields)
    let earlier = unknownCall(keeper, fresh)
    for (let round = 0; round < roundsMax; round++) {
      const wanted = earlier === undefined ? fresh : againOf(fresh, earlier)
      const sentSince = earlier?.createdAt ?? rest.sentSince
      try {
        return await fly(keeper, wanted, request.signal, (signal) =>
          press(options, wanted, sentSince, signal, (call, since) =>
            fetch(request.input, {
              ...request.init,
              signal,
              idempotency: { key: call.key, ...(since !== undefined && { sentSince: since }) },
            }),
          ),
        )
      } catch (error) {
        if (!(error instanceof Elsewhere)) throw error
        // This caller joined a flight of `resumeKept`, which has no answer: under the same key there is one.
        earlier = error.call
      }
    }
    throw endedTooOften()
  }
}

/** The same request under the key that it had. */
function againOf(fresh: KeptCall, { key, createdAt }: KeptCall): KeptCall {
  return { ...fresh, key, createdAt }
}

function endedTooOften(): KeeperError {
  return new KeeperError('unavailable', new Error(`Others have ended the call ${roundsMax} times.`))
}

function intentOf(intent: string | readonly KeyPart[]): string {
  return typeof intent === 'string' ? intent.toWellFormed() : intentText(intent)
}

type Ends = Pick<KeptFetchOptions, 'keeper' | 'onUnsettled'>

/** Keeps, sends and ends a call. */
async function press(
  options: Ends & Pick<KeptFetchOptions, 'onReplaced'>,
  fresh: KeptCall,
  callersSince: number | undefined,
  signal: AbortSignal,
  send: (call: KeptCall, sentSince: number | undefined) => Promise<Response>,
): Promise<Response> {
  const { keeper, onReplaced } = options
  let wanted = fresh
  let since = callersSince
  for (let round = 0; round < roundsMax; round++) {
    const { call, isNew, replaced } = await keeper.keep(wanted)
    if (!isNew) since = call.createdAt
    let isSent = false
    try {
      if (replaced !== undefined) onReplaced?.(replaced)
      const response = await sendHeld(options, call, since, signal, (sentSince) => {
        isSent = true
        return send(call, sentSince)
      })
      if (response !== undefined) return response
    } catch (error) {
      if (since === undefined && !isSent) await endIn(options, 'withdraw', call)
      throw error
    }
    // Under another key it could take effect twice.
    wanted = call
    since = call.createdAt
  }
  throw endedTooOften()
}

/**
 * Sends what is kept while nobody else does, and ends it. `undefined` where somebody else has ended it; nothing is sent
 * then.
 *
 * @param since when it may have been sent first; `undefined` for a call that is new
 */
async function sendHeld(
  ends: Ends,
  call: KeptCall,
  since: number | undefined,
  signal: AbortSignal,
  send: (sentSince: number | undefined) => Promise<Response>,
): Promise<Response | undefined> {
  const { keeper } = ends
  const run = async (): Promise<Response | undefined> => {
    const standing = await standingOf(keeper, call, since === undefined)
    if (standing === 'ended') return undefined
    signal.throwIfAborted()
    const isNew = standing === 'new'
    try {
      const response = await send(isNew ? undefined : (since ?? call.createdAt))
      noteKnown(keeper, call.intent)
      // A refusal is not to be repeated: the card that was declined may have money by now.
      await endIn(ends, isDone(response) ? 'settle' : isNew ? 'withdraw' : 'forget', call)
      return response
    } catch (error) {
      if (isNew && tookNoEffect(error)) await endIn(ends, 'withdraw', call)
      else await stayUnknown(ends, call, error)
      throw error
    }
  }
  return await (keeper.hold?.(call, signal, run) ?? run())
}

async function endIn(
  { keeper, onUnsettled }: Ends,
  verb: 'settle' | 'forget' | 'withdraw',
  call: KeptCall,
): Promise<void> {
  await keeper[verb](call).catch((error: KeeperError) => onUnsettled?.(error, call))
}

/** What is known of a kept call right before it is sent. */
async function standingOf(
  keeper: KeyKeeper,
  call: KeptCall,
  isMine: boolean,
): Promise<'new' | 'shared' | 'ended'> {
  if (!isMine) return (await keeper.share(call)) ? 'shared' : 'ended'
  const found = await keeper.find(call.intent)
  if (found?.call.key !== call.key || found.isDone) return 'ended'
  return found.isShared ? 'shared' : 'new'
}

/** Whether the operation was done. One that was sent on to another origin was not. */
function isDone({ status }: Response): boolean {
  return status < 400 && status !== 307 && status !== 308
}

/** What may have taken effect stays kept, also where others that sent it at once have ended it by now. */
async function stayUnknown({ keeper, onUnsettled }: Ends, call: KeptCall, error: unknown): Promise<void> {
  // Nobody sends what is too old, so only the keeper remembers it.
  if (isClientError(error, 'horizon-passed')) noteKnown(keeper, call.intent)
  else noteUnknown(keeper, call)
  try {
    if (await keeper.share(call)) return
    const found = await keeper.find(call.intent)
    if (found !== undefined && found.call.key !== call.key) return
    await keeper.keep(call)
    await keeper.share(call)
  } catch (failure) {
    onUnsettled?.(failure as KeeperError, call)
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
  readonly headers?: (call: KeptCall) => RequestInit['headers'] | Promise<RequestInit['headers']>
  /** Calls that are sent at once. Default 4. */
  readonly concurrency?: number
  /**
   * Given each call that is too old to be sent again, to be looked up by its business id; the call goes when it
   * returns, and stays when it throws. Default: the call stays, and its intent ends with a `HorizonError` until it is
   * `forgetKept`.
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
  /** It stays for the next time. The error is the call's, the keeper's, or what `headers` or `onPastHorizon` threw. */
  | { readonly end: 'unknown'; readonly call: KeptCall; readonly error: unknown }
  /** Too old to be sent. */
  | { readonly end: 'past-horizon'; readonly call: KeptCall; readonly error: HorizonError }

const resumeNames = ['fetch', 'keeper', 'headers', 'concurrency', 'onPastHorizon', 'signal'] as const
const concurrencyMax = 100

/**
 * Sends what an earlier page or process left without an outcome, with the same key and the same octets, the oldest
 * first. Call it once at the start; it never rejects for a call.
 *
 * @throws InvalidOptionError, and KeeperError where the calls cannot be listed
 * @example
 * for (const resumed of await resumeKept({ fetch, keeper, headers: () => ({ authorization }) })) {
 *   if (resumed.end === 'answered') show(await resumed.response.json())
 * }
 */
export async function resumeKept(options: ResumeOptions): Promise<Resumed[]> {
  refuseUnknownOptions('resumeKept', options, resumeNames)
  checkSender(options)
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
  const { fetch, keeper, headers } = options
  const { url, method, contentType, fields, body, key, createdAt: sentSince } = call
  try {
    const response = await fly(keeper, call, options.signal, async (signal) => {
      const answer = await sendHeld({ keeper }, call, sentSince, signal, async () => {
        const sent = new Headers(await headers?.(call))
        for (const [name, value] of Object.entries(fields ?? {})) sent.set(name, value)
        if (contentType !== null) sent.set('content-type', contentType)
        const idempotency = { key, sentSince }
        return await fetch(url, { method, headers: sent, body: body as string, signal, idempotency })
      })
      if (answer === undefined) throw new Elsewhere(call)
      return answer
    })
    return { end: 'answered', call, response }
  } catch (error) {
    if (error instanceof Elsewhere) return { end: 'elsewhere', call }
    if (!isClientError(error, 'horizon-passed')) return { end: 'unknown', call, error }
    return await pastHorizon(options, call, error as HorizonError)
  }
}

async function pastHorizon(
  { keeper, onPastHorizon }: ResumeOptions,
  call: KeptCall,
  error: HorizonError,
): Promise<Resumed> {
  if (onPastHorizon !== undefined) {
    try {
      await onPastHorizon(call)
      await keeper.forget(call)
    } catch (failure) {
      return { end: 'unknown', call, error: failure }
    }
  }
  return { end: 'past-horizon', call, error }
}

/**
 * Gives up what is kept for an intent, once it was looked up by its business id, and what `keepAfterDone` remembers of
 * it: the next call under it is a new one. Whether there was one.
 *
 * @throws KeeperError
 * @example
 * await forgetKept(keeper, ['pay', cartId, amount])
 */
export async function forgetKept(keeper: KeyKeeper, intent: string | readonly KeyPart[]): Promise<boolean> {
  const text = intentOf(intent)
  noteKnown(keeper, text)
  const found = await keeper.find(text)
  if (found !== undefined) await keeper.forget(found.call)
  return found !== undefined
}
