/** The protocol on a fetch `Request`: what plain fetch handlers and Hono share. */
import { type FetchBodyRead, fetchTarget, keyLines, readFetchBody, withBody } from './fetch-request.ts'
import { toFetchResponse } from './fetch-recorder.ts'
import { resolvePrincipal } from './principal.ts'
import type { IdempotentOptions } from './options.ts'
import type { GuardedRun, HttpGuard, ProblemCode, ProtocolAnswer } from './protocol.ts'
import type { BodyRecording } from './recorded-body.ts'

/** What becomes of a request that has a key. */
export type KeyedOpened =
  | { readonly kind: 'run'; readonly run: GuardedRun }
  | { readonly kind: 'unprotected' }
  | { readonly kind: 'answer'; readonly answer: ProtocolAnswer }
  /** The client left before its request was whole. */
  | { readonly kind: 'gone' }

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
  read: () => Promise<FetchBodyRead>,
  route?: string,
): Promise<KeyedOpened> {
  const refused = (code: ProblemCode): KeyedOpened => ({ kind: 'answer', answer: guard.problem(code) })
  const resolved = await resolvePrincipal(principal, subject)
  if (resolved.kind === 'failed') return refused('principal-invalid')
  const body = await read()
  if (body.kind === 'too-large') return refused('request-too-large')
  if (body.kind === 'used') return refused('input-unsupported')
  if (body.kind === 'broken-off') return { kind: 'gone' }
  const { method, headers } = request
  const opened = await guard.open({
    key,
    principal: resolved.principal,
    method,
    ...fetchTarget(request),
    mediaType: headers.get('content-type') ?? undefined,
    contentEncoding: headers.get('content-encoding') ?? undefined,
    body,
    route,
  })
  if (opened.kind === 'run') running.add(request)
  return opened
}

export type FetchOpened =
  /** Call the handler with this request: under an attempt, or unprotected. */
  | {
      readonly kind: 'run'
      readonly request: Request
      /** `undefined`: not guarded, or unprotected because the store is down. */
      readonly run: GuardedRun | undefined
      readonly unprotected?: true
    }
  | { readonly kind: 'answer'; readonly response: Response }

/**
 * From a request to the right to run it, or to the answer. The request is read, and the one to run is made anew.
 * `subject` is what the resolver gets.
 */
export async function openFetch<Subject>(
  guard: HttpGuard,
  principal: IdempotentOptions<Subject>['principal'],
  subject: Subject,
  request: Request,
  route?: string,
): Promise<FetchOpened> {
  if (isRunning(request)) return { kind: 'run', request, run: undefined }
  const field = guard.readKey(request.method, keyLines(request, guard.options.header))
  if (field.kind === 'pass') return { kind: 'run', request, run: undefined }
  if (field.kind === 'answer') return { kind: 'answer', response: toFetchResponse(field.answer) }
  let unread = request
  const read = async (): Promise<FetchBodyRead> => {
    const body = await readFetchBody(request, guard.options.requestBytesMax)
    if (body.kind === 'octets') unread = withBody(request, body.octets)
    return body
  }
  const opened = await openKeyed(guard, field.key, principal, subject, request, read, route)
  switch (opened.kind) {
    case 'answer':
      return { kind: 'answer', response: toFetchResponse(opened.answer) }
    case 'gone':
      return { kind: 'answer', response: goneResponse() }
    case 'unprotected':
      return { kind: 'run', request: unread, run: undefined, unprotected: true }
    case 'run':
      running.add(unread)
      return { kind: 'run', request: unread, run: opened.run }
    default:
      return opened satisfies never
  }
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
