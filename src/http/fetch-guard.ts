/** The protocol on a fetch `Request`: what plain fetch handlers and Hono share. */
import { fetchTarget, keyLines, readFetchBody, withBody } from './fetch-request.ts'
import { toFetchResponse } from './fetch-recorder.ts'
import { resolvePrincipal } from './principal.ts'
import type { IdempotentOptions } from './options.ts'
import type { GuardedRun, HttpGuard } from './protocol.ts'
import type { BodyRecording } from './recorded-body.ts'

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

/** Requests that run under an attempt: a second layer further in leaves them alone. */
const running = new WeakSet<Request>()

/** From a request to the right to run it, or to the answer. `subject` is what the resolver gets. */
export async function openFetch<Subject>(
  guard: HttpGuard,
  principal: IdempotentOptions<Subject>['principal'],
  subject: Subject,
  request: Request,
  route?: string,
): Promise<FetchOpened> {
  if (running.has(request)) return { kind: 'run', request, run: undefined }
  const { method, headers } = request
  const field = guard.readKey(method, keyLines(request, guard.options.header))
  if (field.kind === 'pass') return { kind: 'run', request, run: undefined }
  if (field.kind === 'answer') return { kind: 'answer', response: toFetchResponse(field.answer) }
  const resolved = await resolvePrincipal(principal, subject)
  if (resolved.kind === 'failed') return refused(guard, 'principal-invalid')
  const body = await readFetchBody(request, guard.options.requestBytesMax)
  if (body.kind === 'too-large') return refused(guard, 'request-too-large')
  if (body.kind === 'broken-off') return { kind: 'answer', response: new Response(null, { status: 400 }) }
  const opened = await guard.open({
    key: field.key,
    principal: resolved.principal,
    method,
    ...fetchTarget(request),
    mediaType: headers.get('content-type') ?? undefined,
    contentEncoding: headers.get('content-encoding') ?? undefined,
    body,
    route,
  })
  switch (opened.kind) {
    case 'answer':
      return { kind: 'answer', response: toFetchResponse(opened.answer) }
    case 'unprotected':
    case 'run': {
      const unread = body.kind === 'octets' ? withBody(request, body.octets) : request
      if (opened.kind === 'unprotected') {
        return { kind: 'run', request: unread, run: undefined, unprotected: true }
      }
      running.add(unread)
      return { kind: 'run', request: unread, run: opened.run }
    }
    default:
      return opened satisfies never
  }
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

function refused(guard: HttpGuard, code: 'principal-invalid' | 'request-too-large'): FetchOpened {
  return { kind: 'answer', response: toFetchResponse(guard.problem(code)) }
}
