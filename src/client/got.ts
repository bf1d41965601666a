/**
 * got: options whose handler runs each call through the loop. got still sends, follows and retries by itself, so that
 * its hooks and events are what they are; the loop decides whether and when, through `retry.calculateDelay`.
 *
 * A call of got is, seen from the loop:
 *   sent      got was told to go on; its next word ends the attempt
 *   asked     an attempt failed, and got waits for the loop's decision
 *   over      got's promise has settled, and no further attempt can be sent
 */
import type { CallOptions, CallReport } from './fetch.ts'
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
import { platform } from './platform.ts'
import type { Answer } from './signals.ts'
import { isOneShot, wholeBody } from './whole-body.ts'
import { InvalidOptionError } from '../core/errors.ts'

type Fields = Record<string, string | string[] | undefined>

/** The part of got's options that is used. */
interface GotOptions {
  url?: string | URL | undefined
  method: string
  headers: Fields
  body?: unknown
  context: Record<string, unknown>
  isStream: boolean
  signal?: AbortSignal | undefined
  timeout: { request?: number | undefined }
  retry: object
  followRedirect?: boolean | ((response: GotAnswer) => boolean) | undefined
}

/** The part of an answer of got that is used. */
export interface GotAnswer {
  readonly statusCode: number
  readonly headers: Fields
  readonly rawBody: Uint8Array
  readonly url: string
}

interface GotError {
  readonly name: string
  /** What a timeout was for. */
  readonly event?: string
  readonly request?: { readonly redirectUrls: readonly URL[] }
  readonly options: GotOptions
  readonly response?: GotAnswer
}

/** What got tells of a failed attempt. */
interface RetryState {
  readonly error: GotError
  readonly computedValue: number
}

/** What `got.extend()` takes. */
export interface GotExtension {
  // biome-ignore lint/suspicious/noExplicitAny: got's own types of options and results
  handlers: ((options: any, next: (options: any) => any) => any)[]
  hooks: {
    // biome-ignore lint/suspicious/noExplicitAny: got's own types of options and answers
    beforeRedirect: ((options: any, response: any) => void)[]
  }
}

/**
 * What a call says of itself, as options of that call. `false` leaves the call to got.
 *
 * @example
 * await api.post('charges', { json: { amount: 100 }, ...idempotency({ key, sentSince }) })
 */
export function idempotency(call: CallOptions | false): {
  readonly context: { readonly idempotency: CallOptions | false }
} {
  return { context: { idempotency: call } }
}

/**
 * What is known of the call that an answer came from; `undefined` for an answer of another instance, and for a body
 * that came without its answer.
 *
 * @example
 * if (callOf(await api.post('charges', { json: { amount: 100 } }))?.replayed) refreshBalance()
 */
export function callOf(response: object): CallReport | undefined {
  return reported(response)
}

/**
 * Options for `got.extend()` that make calls safe to retry. got throws its `HTTPError` for the last answer and its
 * `AbortError` for an abort; errors of the client are thrown as they are. Streams cannot be sent again:
 * `got.stream()` is refused where the method gets a key.
 *
 * @throws InvalidOptionError for an option or a key that breaks a rule
 * @throws UnknownOutcomeError, NotAppliedError, KeyRefusedError (from the calls)
 * @example
 * const api = got.extend({ prefixUrl: 'https://api.example' }, idempotentGot())
 * const charge = await api.post('charges', { json: { amount: 100 } }).json()
 */
export function idempotentGot(options: KeyedOptions<GotAnswer> = {}): GotExtension {
  const settings = readKeyed(options)
  return {
    handlers: [
      (given: GotOptions, next: (options: GotOptions) => unknown) => {
        const call = carriedCall(given.context)
        if (call === false) return next(given)
        const named = given.headers[settings.keyHeader] as string | undefined
        const { key, field } = keyOf(settings, given.method, named, call.key)
        if (key === undefined && (given.isStream || isOneShot(given.body))) return next(given)
        if (given.isStream) {
          throw new InvalidOptionError('isStream', 'must not be set for a call that has a key')
        }
        if (field !== undefined) given.headers[settings.keyHeader] = field
        return drive(settings, given, { key, sentSince: call.sentSince }, next)
      },
    ],
    hooks: { beforeRedirect: [(onward, response) => keepToOrigin(settings.keyHeader, onward, response)] },
  }
}

const originOf = (url: string | URL | undefined): string => new URL(url as URL).origin

/** No key leaves its origin, and none is sent to where the answer of the operation is to be looked at. */
function keepToOrigin(keyHeader: string, onward: GotOptions, { url }: GotAnswer): void {
  if (onward.method === 'GET' || originOf(onward.url) !== originOf(url)) onward.headers[keyHeader] = undefined
}

/** A redirect that keeps the method is followed within the origin; another one is itself the answer. */
function mayFollow({ statusCode, url, headers: { location } }: GotAnswer): boolean {
  return statusCode < 307 || new URL(String(location), url).origin === originOf(url)
}

interface Driven {
  readonly key: string | undefined
  readonly sentSince: number | undefined
}

async function drive(
  settings: KeyedSettings<GotAnswer>,
  given: GotOptions,
  { key, sentSince }: Driven,
  next: (options: GotOptions) => unknown,
): Promise<unknown> {
  await fixBody(given)
  let isOver = false
  /** Those that the next attempt is sent with: a redirect has options of its own. */
  let options = given
  let result: Promise<unknown> | undefined
  let attempt = Promise.withResolvers<Answer<GotAnswer>>()
  let decision: PromiseWithResolvers<number> | undefined
  const { followRedirect } = given
  if (key !== undefined && followRedirect !== false) {
    given.followRedirect = (response) =>
      mayFollow(response) && (typeof followRedirect !== 'function' || followRedirect(response))
  }
  const { timeoutMs, deadlineMs } = settings.policy
  const { request: ownTimeoutMs = timeoutMs } = given.timeout
  const deadline = performance.now() + deadlineMs

  given.retry = {
    enforceRetryRules: false,
    calculateDelay({ error, computedValue }: RetryState): Promise<number> | number {
      // A hook asks for it, as to take a new token.
      if (error.name === 'RetryError') return computedValue
      options = error.options
      decision = Promise.withResolvers()
      const answer = answerOf(error)
      if (answer === undefined) attempt.reject(error)
      else attempt.resolve(answer)
      return decision.promise
    },
  }

  const run = runKeyed(settings, {
    ...{ key, sentSince, method: given.method, origin: new URL(given.url as URL).origin },
    signal: given.signal,
    isFinal: () => isOver,
    wasNeverSent: (error) => wasNeverSent(error as GotError),
    setField: (name, value) => {
      options.headers[name.toLowerCase()] = value
    },
    send() {
      attempt = Promise.withResolvers()
      // got ends attempts by itself, and its error says what it waited for.
      const leftMs = Math.max(1, Math.ceil(deadline - performance.now()))
      options.timeout = { ...options.timeout, request: Math.min(ownTimeoutMs, timeoutMs, leftMs) }
      if (result === undefined) {
        result = next(given) as Promise<unknown>
        result.then(
          (value) => attempt.resolve(answerOfResult(value)),
          (error: unknown) => {
            isOver = true
            attempt.reject(error)
          },
        )
      } else decision?.resolve(goOnMs)
      return attempt.promise
    },
  })
  try {
    const { answer, report: of } = await run
    decision?.resolve(0)
    report(answer.raw, of)
    const value = await result
    if (typeof value === 'object' && value !== null) report(value, of)
    return value
  } catch (error) {
    decision?.resolve(0)
    // An abort is told by got, as ever.
    if (given.signal?.aborted === true) await (result ?? next(given))
    throw error
  }
}

/** 0 would end the call. */
const goOnMs = 1

async function fixBody(options: GotOptions): Promise<void> {
  const { body } = options
  if (typeof body !== 'object' || body === null) return
  const { octets, contentType } = await wholeBody(body)
  options.body = octets
  if (contentType !== undefined) options.headers['content-type'] ??= contentType
}

/** Errors of got that come with a whole answer. */
const answered = new Set(['HTTPError', 'ParseError', 'MaxRedirectsError'])

function answerOf({ name, response }: GotError): Answer<GotAnswer> | undefined {
  return answered.has(name) && response !== undefined ? answerOfResult(response) : undefined
}

function answerOfResult(value: unknown): Answer<GotAnswer> {
  const { statusCode, headers, rawBody } = (value ?? {}) as Partial<GotAnswer>
  // With `resolveBodyOnly` there is nothing but the body of a success.
  if (statusCode === undefined || headers === undefined || rawBody === undefined) {
    return { status: 200, header: () => undefined, raw: {} as GotAnswer }
  }
  const header = (name: string): string | undefined => {
    const field = headers[name]
    return Array.isArray(field) ? field[0] : field
  }
  const code = problemCode(statusCode, header('content-type'), rawBody)
  return { status: statusCode, header, code, raw: value as GotAnswer }
}

/** After a redirect the operation has answered; what failed came after it. */
function wasNeverSent(error: GotError): boolean {
  const { name, event = '', request } = error
  if ((request?.redirectUrls.length ?? 0) > 0) return false
  const isOfConnecting = name === 'TimeoutError' && /^(lookup|connect|secureConnect)$/.test(event)
  return isOfConnecting || platform.wasNeverSent(error)
}
