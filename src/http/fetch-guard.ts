/** The protocol on a fetch `Request`: what all frameworks that hand one out share. */
import {
  type FetchCopyRead,
  fetchTarget,
  formValues,
  keyLines,
  readFetchBody,
  readFetchCopy,
  withBody,
} from './fetch-request.ts'
import { toFetchResponse } from './fetch-recorder.ts'
import { resolvePrincipal } from './principal.ts'
import type { IdempotentOptions } from './options.ts'
import type { GuardedRun, HttpGuard, ProblemCode, ProtocolAnswer } from './protocol.ts'
import type { BodyRecording } from './recorded-body.ts'

/** Where a request was sent. */
export interface FetchDestination {
  /** The framework's route, for events and lists. */
  readonly route?: string | undefined
  /** Path and query that were asked for, where the request's own URL is the framework's. */
  readonly url?: URL | undefined
}

/** What differs between frameworks. */
export interface FetchOpening extends FetchDestination {
  /**
   * Hands on the request that came in, and reads a clone: for requests of a class or a state that a copy would lose.
   * Default `false`: a copy whose body is there already, which costs less.
   */
  readonly keepsRequest?: boolean
  /** Name of the form field that has the key where the header field is absent. Default: none has. */
  readonly keyField?: string
}

/** What the resolver of the principal threw: in some frameworks that is an answer too. */
interface Thrown {
  readonly thrown?: { readonly error: unknown }
}

/** What becomes of a request that has a key. */
export type KeyedOpened =
  | { readonly kind: 'run'; readonly run: GuardedRun }
  | { readonly kind: 'unprotected' }
  | (Thrown & { readonly kind: 'answer'; readonly answer: ProtocolAnswer })
  /** The client left before its request was whole. */
  | { readonly kind: 'gone' }

export type FetchOpened =
  /** Call the handler with this request: under an attempt, or unprotected. */
  | {
      readonly kind: 'run'
      readonly request: Request
      /** `undefined`: not guarded, or unprotected because the store is down. */
      readonly run: GuardedRun | undefined
      readonly unprotected?: true
    }
  | (Thrown & {
      readonly kind: 'answer'
      readonly response: Response
      /** What `response` was made of; `undefined` where the request broke off. */
      readonly answer: ProtocolAnswer | undefined
    })

/** Requests that run under an attempt: a second layer further in leaves them alone. */
const running = new WeakSet<Request>()

/** Whether a request runs under an attempt already. */
export function isRunning(request: Request): boolean {
  return running.has(request)
}

/**
 * From a key to the right to run its request, or to the answer. `subject` is what the resolver gets, `read` brings the
 * body. The request is marked as running.
 */
export async function openKeyed<Subject>(
  guard: HttpGuard,
  key: string,
  principal: IdempotentOptions<Subject>['principal'],
  subject: Subject,
  request: Request,
  read: () => Promise<FetchCopyRead>,
  { route, url }: FetchDestination = {},
): Promise<KeyedOpened> {
  const refused = (code: ProblemCode): KeyedOpened => ({ kind: 'answer', answer: guard.problem(code) })
  const resolved = await resolvePrincipal(principal, subject)
  if (resolved.kind === 'failed') {
    const answer = guard.problem('principal-invalid')
    return { kind: 'answer', answer, thrown: { error: resolved.error } }
  }
  const body = await read()
  if (body.kind === 'too-large') return refused('request-too-large')
  if (body.kind === 'used') return refused('input-unsupported')
  if (body.kind === 'broken-off') return { kind: 'gone' }
  const { method, headers } = request
  const opened = await guard.open({
    key,
    principal: resolved.principal,
    method,
    ...fetchTarget(url ?? new URL(request.url)),
    mediaType: headers.get('content-type') ?? undefined,
    contentEncoding: headers.get('content-encoding') ?? undefined,
    body,
    route,
  })
  if (opened.kind === 'run') running.add(request)
  return opened
}

/**
 * From a request to the right to run it, or to the answer. `subject` is what the resolver gets. The request to run is
 * one whose body is unread.
 */
export async function openFetch<Subject>(
  guard: HttpGuard,
  principal: IdempotentOptions<Subject>['principal'],
  subject: Subject,
  request: Request,
  how: FetchOpening = {},
): Promise<FetchOpened> {
  if (isRunning(request)) return { kind: 'run', request, run: undefined }
  const body = new Body(request, guard.options.requestBytesMax, how.keepsRequest === true)
  const field = guard.readKey(request.method, await keyLinesOf(guard, request, body, how.keyField))
  if (field.kind === 'pass') return { kind: 'run', request: await body.handedOn(), run: undefined }
  if (field.kind === 'answer') return answered(field.answer)
  const opened = await openKeyed(guard, field.key, principal, subject, request, () => body.read(), how)
  switch (opened.kind) {
    case 'answer':
      return { ...opened, ...answered(opened.answer) }
    case 'gone':
      return { kind: 'answer', response: goneResponse(), answer: undefined }
    case 'unprotected':
      return { kind: 'run', request: await body.handedOn(), run: undefined, unprotected: true }
    case 'run': {
      const unread = await body.handedOn()
      running.add(unread)
      return { kind: 'run', request: unread, run: opened.run }
    }
    default:
      return opened satisfies never
  }
}

/** A request's body, read at most once. */
class Body {
  readonly #request: Request
  readonly #bytesMax: number
  readonly #keepsRequest: boolean
  #read: Promise<FetchCopyRead> | undefined

  constructor(request: Request, bytesMax: number, keepsRequest: boolean) {
    this.#request = request
    this.#bytesMax = bytesMax
    this.#keepsRequest = keepsRequest
  }

  read(): Promise<FetchCopyRead> {
    this.#read ??= (this.#keepsRequest ? readFetchCopy : readFetchBody)(this.#request, this.#bytesMax)
    return this.#read
  }

  /** The request for the handler, with its body unread. */
  async handedOn(): Promise<Request> {
    if (this.#keepsRequest || this.#read === undefined) return this.#request
    const read = await this.#read
    return read.kind === 'octets' ? withBody(this.#request, read.octets) : this.#request
  }
}

async function keyLinesOf(
  guard: HttpGuard,
  request: Request,
  body: Body,
  keyField: string | undefined,
): Promise<string[]> {
  const lines = keyLines(request, guard.options.header)
  if (lines.length > 0 || keyField === undefined || !guard.options.methods.has(request.method)) return lines
  return await formValues(request, keyField, () => body.read())
}

/** For a client that has left before its request was whole: nobody reads it. */
export function goneResponse(): Response {
  return new Response(null, { status: 400 })
}

/** How the answer to a run is recorded. */
export function recordingOf(guard: HttpGuard, run: GuardedRun): BodyRecording {
  return {
    bytesMax: guard.options.responseBytesMax,
    holds: guard.options.transaction,
    settle: (captured) => guard.finish(run, captured),
    abandon: async () => {
      await guard.abandon(run, 'unknown')
    },
  }
}

function answered(answer: ProtocolAnswer): Extract<FetchOpened, { kind: 'answer' }> {
  return { kind: 'answer', response: toFetchResponse(answer), answer }
}
