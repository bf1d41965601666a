/** HTTP in AWS Lambda: events of API Gateway, function URLs and application load balancers. */
import type { ContextOf, TransactionOption } from '../http/context.ts'
import { mount } from '../http/mount.ts'
import type { HttpEngine, IdempotentOptions } from '../http/options.ts'
import { resolvePrincipal } from '../http/principal.ts'
import type { GuardedRun, HttpGuard, IdempotencyContext } from '../http/protocol.ts'
import { describeLayer } from '../openapi/protected-operation.ts'
import { type ApiEvent, type ApiRequest, readApiEvent } from './api-event.ts'
import { type ApiAnswer, apiAnswerOf, capturedOf, markUnprotected } from './api-result.ts'
import { abortBeforeMsOf, Invocation, type LambdaContext, type LambdaOptions } from './invocation.ts'

/** The options of every HTTP adapter; `principal` gets the event. */
export interface ApiOptions<Event, Transaction extends TransactionOption | undefined = undefined>
  extends IdempotentOptions<Event, Transaction>,
    LambdaOptions {}

/** A handler that also gets its attempt, `undefined` where the request is not protected. */
export type ApiHandler<Event, Context, Result, Attempt = IdempotencyContext> = (
  event: Event,
  context: Context,
  idempotency: Attempt | undefined,
) => Result | Promise<Result>

/** Attempts of an outer layer: where a handler is a layer itself, one of the two is enough. */
const attempts = new WeakSet<object>()

/**
 * Puts idempotency in front of a handler of HTTP events. Its result is returned as it is; a replay or a refusal is
 * returned in the form that the event's host takes. What the handler throws goes on to Lambda, and counts as a 500;
 * once the signal has aborted it leaves the outcome unknown instead.
 *
 * `lease` counts only where the context does not tell the remaining time.
 *
 * @throws InvalidOptionError at construction, and for an event that is none of an HTTP request
 * @example
 * export const handler = idempotentApi(
 *   idem,
 *   { principal: (event) => event.requestContext.authorizer.jwt.claims['sub'] as string, required: true },
 *   async (event: APIGatewayProxyEventV2WithJWTAuthorizer) => ({
 *     statusCode: 201,
 *     body: JSON.stringify(await charge(JSON.parse(event.body ?? ''))),
 *   }),
 * )
 */
export function idempotentApi<
  Event extends ApiEvent,
  Result,
  Context extends LambdaContext = LambdaContext,
  Tx = unknown,
  Transaction extends TransactionOption | undefined = undefined,
>(
  idem: HttpEngine<Tx>,
  options: ApiOptions<Event, Transaction>,
  handler: ApiHandler<Event, Context, Result, ContextOf<Tx, Transaction>>,
): (event: Event, context: Context) => Promise<Result | ApiAnswer> {
  const { abortBefore, ...httpOptions } = options
  const abortBeforeMs = abortBeforeMsOf(abortBefore === undefined ? {} : { abortBefore })
  const { guard, principal, policy, operation } = mount(idem, httpOptions)

  const work = handler as ApiHandler<Event, Context, Result>

  const layer = async (event: Event, context: Context, third?: unknown): Promise<Result | ApiAnswer> => {
    if (isAttempt(third)) return await work(event, context, third)
    const request = readApiEvent(event)
    const invocation = new Invocation(context, abortBeforeMs)
    try {
      const opened = await open(guard, principal, event, request, () => invocation.policy(policy))
      switch (opened.kind) {
        case 'answer':
          return apiAnswerOf(request.host, opened.answer)
        case 'pass':
          return await work(event, context, undefined)
        case 'unprotected':
          return markUnprotected(request.host, await work(event, context, undefined))
        case 'run':
          return await runOnce(guard, opened.run, request, invocation, (attempt) =>
            work(event, context, attempt),
          )
        default:
          return opened satisfies never
      }
    } finally {
      invocation.end()
    }
  }
  return describeLayer(layer, operation)
}

type OpenedEvent = Awaited<ReturnType<HttpGuard['open']>> | { readonly kind: 'pass' }

async function open<Event>(
  guard: HttpGuard,
  principal: IdempotentOptions<Event>['principal'],
  event: Event,
  request: ApiRequest,
  policy: () => ReturnType<Invocation['policy']>,
): Promise<OpenedEvent> {
  const { method, path, query, route, body } = request
  const field = guard.readKey(method, request.lines(guard.options.header))
  if (field.kind !== 'key') return field
  const resolved = await resolvePrincipal(principal, event)
  if (resolved.kind === 'failed') return { kind: 'answer', answer: guard.problem('principal-invalid') }
  if (body.length > guard.options.requestBytesMax) {
    return { kind: 'answer', answer: guard.problem('request-too-large') }
  }
  return await guard.open({
    key: field.key,
    principal: resolved.principal,
    method,
    path,
    query,
    mediaType: request.lines('content-type')[0],
    contentEncoding: request.lines('content-encoding')[0],
    body: { kind: 'octets', octets: body },
    route,
    policy: policy(),
  })
}

async function runOnce<Result>(
  guard: HttpGuard,
  run: GuardedRun,
  { host }: ApiRequest,
  invocation: Invocation,
  handler: (attempt: IdempotencyContext) => Result | Promise<Result>,
): Promise<Result | ApiAnswer> {
  // Waiting for another attempt, or a slow store, has used the time up.
  if (invocation.isEnding) {
    const instead = await guard.abandon(run, 'release')
    return apiAnswerOf(host, instead ?? guard.problem('in-progress'))
  }
  let result: Result
  try {
    result = await handler(contextOf(run, invocation))
  } catch (error) {
    // Whatever was under way was broken off, so that nobody knows how far it came.
    if (invocation.signal.aborted && run.verdict === undefined) run.unknown()
    await guard.abandon(run, guard.threw(run))
    throw error
  }
  const instead = await guard.finish(run, capturedOf(host, result))
  return instead === undefined ? result : apiAnswerOf(host, instead)
}

function isAttempt(value: unknown): value is IdempotencyContext {
  return typeof value === 'object' && value !== null && attempts.has(value)
}

function contextOf(run: GuardedRun, invocation: Invocation): IdempotencyContext {
  const attempt: IdempotencyContext = {
    key: run.key,
    fence: run.fence,
    signal: invocation.joined(run.signal),
    downstreamKey: (name) => run.downstreamKey(name),
    keep: () => run.keep(),
    release: () => run.release(),
    unknown: () => run.unknown(),
    ...('tx' in run ? { tx: run.tx } : {}),
  }
  attempts.add(attempt)
  return attempt
}
