/** Elysia 1.4 and 2: a plugin for an app, a group or a plugin of one's own. */
import { InvalidOptionError } from '../core/errors.ts'
import { describeLayer } from '../openapi/protected-operation.ts'
import type { IdempotencyContext, RegisteredContext } from './context.ts'
import { goneResponse, isRunning, openKeyed, recordingOf } from './fetch-guard.ts'
import { recordFetchResponse, toFetchResponse } from './fetch-recorder.ts'
import { type FetchCopyRead, keyLines, readFetchCopy, withBody } from './fetch-request.ts'
import { unprotectedLine } from './headers.ts'
import { mount } from './mount.ts'
import type { HttpEngine, IdempotentOptions } from './options.ts'
import type { GuardedRun, HttpGuard, ProtocolAnswer } from './protocol.ts'

export type { IdempotencyContext, RegisteredContext, TransactionContext } from './context.ts'
export type { HttpEngine, IdempotentOptions } from './options.ts'
export type { ProtocolAnswer } from './protocol.ts'
export { toFetchResponse as toResponse } from './fetch-recorder.ts'

/** The part of Elysia's context that is used, and whatever an app has put there. */
export interface ElysiaContext {
  request: Request
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly set: { headers: unknown }
  readonly route: string
  // biome-ignore lint/suspicious/noExplicitAny: what the user's own plugins derive
  readonly [name: string]: any
}

type Hook = (context: ElysiaContext) => unknown
type AddHook = (hook: Hook) => unknown
type Fetch = (request: Request, ...rest: unknown[]) => Response | Promise<Response>

/** The methods of an app that are used, by their names in Elysia 1 or those in Elysia 2. */
interface ElysiaApp {
  readonly config?: { readonly aot?: boolean }
  readonly onParse?: AddHook
  readonly parse?: AddHook
  readonly onTransform?: AddHook
  readonly transform?: AddHook
  readonly onBeforeHandle?: AddHook
  readonly beforeHandle?: AddHook
  readonly onAfterHandle?: AddHook
  readonly afterHandle?: AddHook
  readonly wrap?: (wrapper: (fetch: Fetch) => Fetch) => unknown
}

/** What was decided about a request, until its answer is there. */
type Decision =
  | { readonly kind: 'run'; readonly guard: HttpGuard; readonly run: GuardedRun; hasReturned: boolean }
  | { readonly kind: 'answer'; readonly answer: ProtocolAnswer }

const decisions = new WeakMap<Request, Decision>()
const runs = new WeakMap<Request, IdempotencyContext>()
/** Requests that came through `recorded`. */
const reached = new WeakSet<Request>()

/**
 * A plugin that guards the routes which are registered after it on the same app, group or plugin. Use it after
 * authentication; `idempotencyOf(request)` is the attempt.
 *
 * @throws InvalidOptionError at construction; and where it is used on an app with `aot: false`
 * @example
 * new Elysia()
 *   .use(idempotent(idem, { principal: ({ headers }) => headers['x-tenant'] }))
 *   .post('/charges', ({ body }) => charge(body))
 */
export function idempotent(
  idem: HttpEngine,
  options: IdempotentOptions<ElysiaContext>,
): <App extends object>(app: App) => App {
  const { guard, principal, operation } = mount(idem, options)
  const bytesMax = guard.options.requestBytesMax
  const copies = new WeakMap<Request, FetchCopyRead>()
  const originals = new WeakMap<Request, Request>()

  /** The parser gets a copy, so that the octets can be compared and whoever asks for the request finds it unread. */
  const copyBody = async (context: ElysiaContext): Promise<void> => {
    const { request } = context
    if (!guard.options.methods.has(request.method) || request.bodyUsed) return
    const hasKey = guard.readKey(request.method, keyLines(request, guard.options.header)).kind === 'key'
    if (hasKey && !copies.has(request)) copies.set(request, await readFetchCopy(request, bytesMax))
    const copy = copies.get(request)
    if (copy !== undefined && copy.kind !== 'octets') return
    context.request = copy === undefined ? request.clone() : withBody(request, copy.octets)
    originals.set(context.request, request)
  }
  const putBack = (context: ElysiaContext): void => {
    context.request = originals.get(context.request) ?? context.request
  }
  const decide = async (context: ElysiaContext): Promise<Response | undefined> => {
    const { request } = context
    if (isRunning(request)) return undefined
    const field = guard.readKey(request.method, keyLines(request, guard.options.header))
    if (field.kind === 'pass') return undefined
    if (!reached.has(request)) throw new Error(unreached)
    if (field.kind === 'answer') return answered(request, field.answer)
    const read = async (): Promise<FetchCopyRead> =>
      copies.get(request) ?? (await readFetchCopy(request, bytesMax))
    const opened = await openKeyed(guard, field.key, principal, context, request, read, {
      route: context.route,
    })
    switch (opened.kind) {
      case 'answer':
        return answered(request, opened.answer)
      case 'gone':
        return goneResponse()
      case 'unprotected':
        Object.assign(context.set.headers as object, Object.fromEntries([unprotectedLine]))
        return undefined
      case 'run':
        runs.set(request, opened.run)
        decisions.set(request, { kind: 'run', guard, run: opened.run, hasReturned: false })
        return undefined
      default:
        return opened satisfies never
    }
  }
  const noteReturn = (context: ElysiaContext): void => {
    const decision = decisions.get(context.request)
    if (decision?.kind === 'run') decision.hasReturned = true
  }
  describeLayer(decide, operation)

  return (app) => {
    const elysia = app as ElysiaApp
    if (elysia.config?.aot === false || typeof elysia.wrap !== 'function') {
      throw new InvalidOptionError('aot', 'must be on (the default) where an app is protected', false)
    }
    elysia.wrap(recorded)
    addHook(elysia, ['onParse', 'parse'], copyBody)
    addHook(elysia, ['onTransform', 'transform'], putBack)
    addHook(elysia, ['onBeforeHandle', 'beforeHandle'], decide)
    addHook(elysia, ['onAfterHandle', 'afterHandle'], noteReturn)
    return app
  }
}

const unreached =
  'A protected route was reached past the app that it was mounted on, so its answer cannot be recorded.'

/**
 * The attempt under which a request runs; `undefined` where it is not protected. `Register` types its `tx`.
 *
 * @example
 * app.post('/charges', ({ request, body }) => pay(body, idempotencyOf(request)?.downstreamKey('pay')))
 */
export function idempotencyOf(request: Request): RegisteredContext | undefined {
  return runs.get(request) as RegisteredContext | undefined
}

type HookName = Exclude<keyof ElysiaApp, 'config' | 'wrap'>

/** Elysia 2 has dropped the `on` of its hooks' names. */
function addHook(app: ElysiaApp, [first, second]: readonly [HookName, HookName], hook: Hook): void {
  const name = typeof app[first] === 'function' ? first : second
  app[name]?.(hook)
}

function answered(request: Request, answer: ProtocolAnswer): Response {
  decisions.set(request, { kind: 'answer', answer })
  return toFetchResponse(answer)
}

/**
 * Around all of an app: here an answer is as Elysia has made it, also one of an error. One function for every layer,
 * since Elysia takes two of one text for the same.
 */
function recorded(fetch: Fetch): Fetch {
  return async (request, ...rest) => {
    reached.add(request)
    const response = await fetch(request, ...rest)
    const decision = decisions.get(request)
    decisions.delete(request)
    if (decision === undefined) return response
    if (decision.kind === 'answer') return sentAgain(decision.answer, response)
    const { guard, run, hasReturned } = decision
    // An error that became an answer is judged by its status, unless that hides it.
    if (!hasReturned && response.status < 400) guard.threw(run)
    return await recordFetchResponse(response, recordingOf(guard, run))
  }
}

/** An answer, whatever later hooks made of it, with the fields that were set for this sending, such as CORS. */
function sentAgain(answer: ProtocolAnswer, given: Response): Response {
  const response = toFetchResponse(answer)
  const own = new Set(answer.headers.map(([name]) => name.toLowerCase()))
  for (const [name, value] of given.headers as unknown as Iterable<[string, string]>) {
    if (!own.has(name) && !/^(?:content-|transfer-encoding$)/.test(name)) response.headers.append(name, value)
  }
  return response
}
