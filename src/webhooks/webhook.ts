/**
 * Webhooks in: a delivery is verified over the octets that came, its event is applied once by its id, and only then
 * is it acknowledged. An acknowledged event is one whose outcome is stored; every other end makes the provider send
 * it again.
 */
import type { Idempotency } from '../engine/idempotency.ts'
import type {
  ErrorVerdict,
  Operation,
  OperationOptions,
  OperationRun,
  TransactionRun,
} from '../engine/operation.ts'
import { toFetchResponse } from '../http/fetch-recorder.ts'
import { readFetchBody } from '../http/fetch-request.ts'
import { sendAnswer, sendRefusal } from '../http/node-answer.ts'
import { type NodeRequest, type NodeResponse, readBody } from '../http/node-request.ts'
import type { ProtocolAnswer } from '../http/problem.ts'
import { markKeyedByItself } from '../openapi/protected-operation.ts'
import {
  answerOf,
  checkAnswer,
  errorAnswer,
  type StoredAnswer,
  textAnswer,
  webhookProblem,
} from './answers.ts'
import { fetchDelivery, nodeDelivery, type WebhookDelivery } from './delivery.ts'
import type { WebhookEvent, WebhookRun, WebhookTransactionRun } from './event.ts'
import { type ResolvedWebhook, resolveWebhook, type WebhookOptionsOf } from './options.ts'
import type { WebhookProvider } from './providers.ts'

/** Finds out whether an earlier attempt at an event took effect. */
export type WebhookReconcile<Payload> = (
  event: WebhookEvent<Payload>,
  run: OperationRun,
) => Promise<'applied' | 'not-applied'>

interface ReconcileOption<Payload> {
  /** Asked when the outcome of an earlier attempt is unknown; required by `onUnknown: 'reconcile'`. */
  readonly reconcile?: WebhookReconcile<Payload>
}

interface LeaseOptions<Payload> extends ReconcileOption<Payload> {
  /** What a throwing handler leaves behind. Default `'release'`: the next delivery runs. */
  readonly onError?: WebhookErrorVerdict | ((error: unknown) => WebhookErrorVerdict)
}

/** To give up on an event, return: an error is never an acknowledgement. */
export type WebhookErrorVerdict = Exclude<ErrorVerdict, 'keep'>

/** A verified, idempotent endpoint, for every kind of server. */
export interface Webhook {
  /**
   * For servers of fetch: Hono (`(c) => hook.fetch(c.req.raw)`), Next.js, Bun, Deno, Workers. Rejects with what the
   * handler throws.
   */
  fetch(request: Request): Promise<Response>
  /**
   * For `node:http`, and as a handler of Express. What the handler throws goes to `next`; without one it becomes a
   * warning of the process, and the answer is 500.
   */
  node(request: NodeRequest, response: NodeResponse, next?: (error: unknown) => void): void
}

/**
 * An endpoint whose effect lives elsewhere (lease mode).
 *
 * The event is acknowledged when the handler is done and that is stored. Where this takes longer than the provider
 * waits, hand the event to a queue of your own in the handler, or use `webhookTransaction`.
 *
 * @throws InvalidOptionError at construction, naming option and rule
 * @example
 * const stripe = webhook(idem, 'stripe', { name: 'billing', secret: env.STRIPE_SECRET }, async (event, run) => {
 *   await jobs.add(event.type, event.payload, { jobId: run.downstreamKey('job') })
 * })
 * app.post('/hooks/stripe', stripe.node)
 */
export function webhook<Provider extends WebhookProvider, Payload = unknown>(
  idem: Pick<Idempotency, 'operation'>,
  provider: Provider,
  options: WebhookOptionsOf[Provider] & LeaseOptions<Payload>,
  handler: (event: WebhookEvent<Payload>, run: WebhookRun) => unknown,
): Webhook {
  const resolved = resolveWebhook(provider, options, ['reconcile', 'onError'])
  const { onError } = options
  const operation = idem.operation<WebhookEvent<Payload>, StoredAnswer>(
    operationName(resolved),
    { ...operationOptions(resolved, options.reconcile), ...(onError === undefined ? {} : { onError }) },
    (event, run) => answered((answer) => handler(event, leaseRun(run, answer))),
  )
  return endpoint(resolved, operation as Operation<WebhookEvent, StoredAnswer>)
}

/**
 * An endpoint whose effect commits together with the record of its event, in a transaction that the store opens:
 * after a crash at any point the event is applied or not, and never twice.
 *
 * @throws InvalidOptionError at construction; also where the store joins no transaction
 * @example
 * const stripe = webhookTransaction(idem, 'stripe', { name: 'billing', secret }, async (event, { tx }) => {
 *   await tx.query('insert into paid (invoice) values ($1)', [invoiceOf(event)])
 * })
 */
export function webhookTransaction<Tx, Provider extends WebhookProvider, Payload = unknown>(
  idem: Pick<Idempotency<Tx>, 'transaction'>,
  provider: Provider,
  options: WebhookOptionsOf[Provider] & ReconcileOption<Payload>,
  handler: (event: WebhookEvent<Payload>, run: WebhookTransactionRun<Tx>) => unknown,
): Webhook {
  const resolved = resolveWebhook(provider, options, ['reconcile'])
  const operation = idem.transaction<WebhookEvent<Payload>, StoredAnswer>(
    operationName(resolved),
    operationOptions(resolved, options.reconcile),
    (event, { tx, fence, downstreamKey }: TransactionRun<Tx>) =>
      answered((answer) => handler(event, { tx, fence, downstreamKey, answer })),
  )
  return endpoint(resolved, operation as Operation<WebhookEvent, StoredAnswer>)
}

function operationName({ provider, name }: ResolvedWebhook): string {
  return `webhook ${provider} ${name}`
}

/**
 * The body is no part of the fingerprint: Stripe counts `pending_webhooks` anew for each delivery, and others sign
 * and send what they now know of the same event.
 */
function operationOptions<Payload>(
  resolved: ResolvedWebhook,
  reconcile: WebhookReconcile<Payload> | undefined,
): OperationOptions<WebhookEvent<Payload>, StoredAnswer> {
  return {
    ...resolved.policy,
    fingerprint: ({ provider, id, type }) => [provider, id, type ?? null],
    ...(reconcile === undefined
      ? {}
      : {
          reconcile: async (event, run) =>
            (await reconcile(event, run)) === 'applied'
              ? { kind: 'applied', value: { status: 200 } }
              : { kind: 'not-applied' },
        }),
  }
}

/** The signal stays a getter: the engine makes one for those who look at it. */
function leaseRun(run: OperationRun, answer: WebhookRun['answer']): WebhookRun {
  return {
    fence: run.fence,
    get signal(): AbortSignal {
      return run.signal
    },
    downstreamKey: (part) => run.downstreamKey(part),
    answer,
  }
}

/** Runs a handler and returns what it wants to be answered. */
async function answered(run: (answer: WebhookRun['answer']) => unknown): Promise<StoredAnswer> {
  let stored: StoredAnswer = { status: 200 }
  await run((answer) => {
    stored = checkAnswer(answer)
  })
  return stored
}

function endpoint(resolved: ResolvedWebhook, operation: Operation<WebhookEvent, StoredAnswer>): Webhook {
  return {
    fetch: markKeyedByItself((request: Request) => answerFetch(resolved, operation, request)),
    node: markKeyedByItself(
      (request: NodeRequest, response: NodeResponse, next?: (error: unknown) => void) => {
        answerNode(resolved, operation, request, response).catch((error: unknown) => {
          if (next !== undefined) return next(error)
          process.emitWarning(error instanceof Error ? error : String(error))
          response.statusCode = 500
          return response.end()
        })
      },
    ),
  }
}

async function answerFetch(
  resolved: ResolvedWebhook,
  operation: Operation<WebhookEvent, StoredAnswer>,
  request: Request,
): Promise<Response> {
  if (request.bodyUsed) return toFetchResponse(webhookProblem('body-consumed'))
  const body = await readFetchBody(request, resolved.requestBytesMax)
  switch (body.kind) {
    case 'too-large':
      return toFetchResponse(webhookProblem('request-too-large'))
    case 'broken-off':
      return new Response(null, { status: 400 })
    case 'parsed':
      return toFetchResponse(webhookProblem('body-consumed'))
    case 'octets':
      return toFetchResponse(await deliver(resolved, operation, fetchDelivery(request, body.octets)))
    default:
      return body satisfies never
  }
}

async function answerNode(
  resolved: ResolvedWebhook,
  operation: Operation<WebhookEvent, StoredAnswer>,
  request: NodeRequest,
  response: NodeResponse,
): Promise<void> {
  const body = await readBody(request, response, resolved.requestBytesMax)
  switch (body.kind) {
    case 'broken-off':
      response.destroy()
      return
    case 'too-large':
      return sendRefusal(request, response, webhookProblem('request-too-large'))
    case 'parsed':
    case 'files':
      return sendAnswer(response, webhookProblem('body-consumed'))
    case 'octets': {
      const hadOctets = Number(request.headers['content-length'] ?? 0) > 0
      if (body.octets.length === 0 && hadOctets) return sendAnswer(response, webhookProblem('body-consumed'))
      return sendAnswer(response, await deliver(resolved, operation, nodeDelivery(request, body.octets)))
    }
    default:
      return body satisfies never
  }
}

/** From a delivery to its answer. Rejects with what the handler, or a resolver of the user's, throws. */
async function deliver(
  resolved: ResolvedWebhook,
  operation: Operation<WebhookEvent, StoredAnswer>,
  delivery: WebhookDelivery,
): Promise<ProtocolAnswer> {
  const { row, scheme } = resolved
  if (!row.methods.includes(delivery.method)) {
    const refusal = webhookProblem('method-not-allowed')
    return { ...refusal, headers: [...refusal.headers, ['Allow', row.methods.join(', ')]] }
  }
  const verify = await resolved.verifierFor(delivery)
  if (verify === undefined)
    return webhookProblem('signature-invalid', 'No secret is known for this delivery.')
  const verdict = await verify(delivery)
  if (verdict.kind === 'invalid') return webhookProblem('signature-invalid', verdict.reason)
  if (verdict.kind === 'unavailable') return webhookProblem('signature-unchecked', verdict.reason)
  const read = scheme.read(delivery)
  if (read.kind === 'malformed') return webhookProblem('event-malformed', read.reason)
  if (read.kind === 'answer') {
    return textAnswer({ status: 200, contentType: read.contentType, body: read.body }, 'answered')
  }
  const { type, payload } = read
  const { provider } = resolved
  const { body } = delivery
  const header = (name: string): string | undefined => delivery.header(name)
  const event: WebhookEvent = { provider, id: read.id ?? '', type, payload, body, header }
  const key = resolved.id === undefined ? read.id : resolved.id(event, delivery)
  if (typeof key !== 'string' || !isKey(key)) {
    return webhookProblem('event-malformed', `The event has no usable id (${scheme.idField}).`)
  }
  try {
    const principal = await resolved.principalOf(delivery)
    return answerOf(await operation.attempt({ key, principal, input: { ...event, id: key } }))
  } catch (error) {
    const answer = errorAnswer(error)
    if (answer === undefined) throw error
    return answer
  }
}

const keyCharactersMax = 255

function isKey(id: string): boolean {
  return id.trim() !== '' && id.length <= keyCharactersMax && id.isWellFormed()
}
