/**
 * got: options whose handler runs each call through the loop. got still sends, follows and retries by itself, so that
 * its hooks and events are what they are; the loop decides whether and when, through `retry.calculateDelay`.
 *
 * A call of got is, seen from the loop:
 *   sent      got was told to go on; its next word ends the attempt
 *   asked     an attempt failed, and got waits for the loop's decision
 *   behind    the loop has given an attempt up and gone on; got has yet to ask, as while a hook does not settle
 *   over      got's promise has settled, and no further attempt can be sent
 */
import { type CallReport, isSafe } from './attempts.ts'
import type { CallOptions } from './fetch.ts'
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
  unlessAborted,
} from './keyed-call.ts'
import { platform } from './platform.ts'
import { type Redirect, redirectOf } from './redirects.ts'
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
  methodRewriting?: boolean
  followRedirect?: boolean | ((response: GotAnswer) => boolean) | undefined
}

/** The part of an answer of got that is used. */
export interface GotAnswer {
  readonly statusCode: number
  readonly headers: Fields
  readonly rawBody: Uint8Array
  readonly url: string
  /** What was answered. */
  readonly request: { readonly options: GotOptions }
}

interface GotError {
  readonly name: string
  /** What a timeout was for. */
  readonly event?: string
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
  const settings = readKeyed('idempotentGot', options)
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
    hooks: { beforeRedirect: [(onward, answer) => rewrite(settings.keyHeader, onward, answer)] },
  }
}

const originOf = (url: string | URL | undefined): string => new URL(url as URL).origin

/** What follows an answer to a call with a key. */
function redirectWithKey(
  { request, statusCode, url, headers }: GotAnswer,
  keyHeader: string,
): Redirect | undefined {
  const asked = { method: request.options.method, url: new URL(url), keyHeader }
  return redirectOf(asked, statusCode, headers['location'] as string)
}

/** got has rules of its own for the method, and knows no key. */
function rewrite(keyHeader: string, onward: GotOptions, answer: GotAnswer): void {
  if (carriedCall(onward.context) === false || onward.headers[keyHeader] === undefined) return
  const redirect = redirectWithKey(answer, keyHeader)
  if (redirect === undefined) return
  onward.method = redirect.method
  if (redirect.dropsBody) onward.body = undefined
  for (const name of redirect.dropped) onward.headers[name] = undefined
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
  const { method, signal: callers } = given
  const { timeoutMs } = settings
  const origin = originOf(given.url)
  const abandoned = new AbortController()
  let isOver = false
  let isElsewhere = false
  let isBehind = false
  /** Those that the next attempt is sent with: a redirect has options of its own. */
  let options = given
  let result: Promise<unknown> | undefined
  let attempt = Promise.withResolvers<Answer<GotAnswer>>()
  let decision: PromiseWithResolvers<number> | undefined

  const decide = (waitMs: number): void => {
    decision?.resolve(waitMs)
    decision = undefined
  }

  if (key !== undefined || !isSafe(method)) {
    watchRedirects(given, key === undefined ? undefined : settings.keyHeader, (status) => {
      isElsewhere ||= status < 307
    })
  }
  // got ends attempts by itself, and its error says what it waited for.
  given.timeout = { ...given.timeout, request: Math.min(given.timeout.request ?? timeoutMs, timeoutMs) }
  given.signal = callers === undefined ? abandoned.signal : AbortSignal.any([callers, abandoned.signal])
  given.retry = {
    enforceRetryRules: false,
    calculateDelay({ error, computedValue }: RetryState): Promise<number> | number {
      // A hook asks for it, as to take a new token.
      if (error.name === 'RetryError') return computedValue
      options = error.options
      const answer = answerOf(error)
      if (answer === undefined && isBehind) {
        isBehind = false
        return goOnMs
      }
      decision = Promise.withResolvers()
      if (answer === undefined) attempt.reject(error)
      else attempt.resolve(answer)
      return decision.promise
    },
  }

  const run = runKeyed(settings, {
    ...{ key, sentSince, method, origin, signal: callers },
    isFinal: () => isOver,
    wasNeverSent: (error) => !isElsewhere && wasNeverSent(error as GotError),
    setField(name, value) {
      // Credentials are for their origin.
      if (originOf(options.url) === origin) options.headers[name.toLowerCase()] = value
    },
    prepare: (ended) => fixBody(given, ended),
    async send(signal) {
      attempt = Promise.withResolvers()
      if (result === undefined) {
        result = next(given) as Promise<unknown>
        result.then(
          (value) => attempt.resolve(answerOfResult(value)),
          (error: unknown) => {
            isOver = true
            attempt.reject(error)
          },
        )
      } else {
        isBehind = decision === undefined
        decide(goOnMs)
      }
      // A hook of got may not settle, and no timer of got's runs meanwhile.
      return { ...(await unlessAborted(signal, attempt.promise)), isElsewhere }
    },
  })
  try {
    const { answer, report: of } = await run
    decide(0)
    report(answer.raw, of)
    const value = await result
    if (typeof value === 'object' && value !== null) report(value, of)
    return value
  } catch (error) {
    if (decision === undefined) abandoned.abort()
    else decide(0)
    // An abort is told by got, as ever.
    if (callers?.aborted === true) await (result ?? next(given))
    throw error
  }
}

/** Follows where a key may, if there is one, and tells of each redirect that is followed. */
function watchRedirects(
  given: GotOptions,
  keyHeader: string | undefined,
  onFollow: (status: number) => void,
): void {
  const { followRedirect = true } = given
  given.followRedirect = (answer) => {
    const isWanted = typeof followRedirect === 'function' ? followRedirect(answer) : followRedirect
    const follows = isWanted && (keyHeader === undefined || mayFollow(answer, keyHeader))
    if (follows) onFollow(answer.statusCode)
    return follows
  }
  // Its own rule would send a PATCH on as a GET.
  if (keyHeader !== undefined) given.methodRewriting = false
}

function mayFollow(answer: GotAnswer, keyHeader: string): boolean {
  try {
    return redirectWithKey(answer, keyHeader) !== undefined
  } catch {
    // got says what is wrong with it.
    return true
  }
}

/** 0 would end the call. */
const goOnMs = 1

async function fixBody(options: GotOptions, ended: AbortSignal): Promise<void> {
  const { body } = options
  if (typeof body !== 'object' || body === null) return
  const { octets, contentType } = await wholeBody(body, ended)
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

function wasNeverSent(error: GotError): boolean {
  const { name, event = '' } = error
  const isOfConnecting = name === 'TimeoutError' && /^(lookup|connect|secureConnect)$/.test(event)
  return isOfConnecting || platform.wasNeverSent(error)
}
