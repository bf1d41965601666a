/** Events of any kind, one at a time: EventBridge, SNS, Step Functions, direct invocation. */
import { asOperationResult, type OperationRun } from '../engine/operation.ts'
import { abortBeforeMsOf, Invocation, type LambdaContext } from './invocation.ts'
import { type KeySource, keyReader } from './key-source.ts'
import { type CallOptions, type LambdaEngine, protectedCall } from './protected-call.ts'

/** Options of `idempotentHandler`. By default the whole event makes two calls the same. */
export interface HandlerOptions<Event, Output> extends CallOptions<Event, Output> {
  /**
   * The key: a function of the event, or the path of a member such as `'id'` (of an EventBridge event) or
   * `'detail.paymentId'`. A whole number counts as its digits.
   */
  readonly key: KeySource<Event>
}

/**
 * Runs a handler once for the key in its event; every further event with the key gets the value that the first one
 * returned. What keeps it from running is thrown, so that whoever invoked it tries again, or gives up, by its own
 * rules.
 *
 * @throws InvalidOptionError at construction
 * @example
 * export const handler = idempotentHandler(
 *   idem,
 *   { operation: 'capture', key: 'detail.paymentId', principal: (event) => event.account, onUnknown: 'hold' },
 *   async (event: EventBridgeEvent<'PaymentAuthorized', Payment>, context, run) =>
 *     provider.capture(event.detail, { idempotencyKey: run.downstreamKey('capture') }),
 * )
 */
export function idempotentHandler<Event, Output, Context extends LambdaContext = LambdaContext>(
  idem: LambdaEngine,
  options: HandlerOptions<Event, Output>,
  handler: (event: Event, context: Context, run: OperationRun) => Output | Promise<Output>,
): (event: Event, context: Context) => Promise<Output> {
  const call = protectedCall<Event, Output>(idem, 'idempotentHandler', options, ['key'], (event) => event)
  const keyOf = keyReader('key', options.key)
  const abortBeforeMs = abortBeforeMsOf(options)
  return async (event, context) => {
    const key = keyOf(event)
    const invocation = new Invocation(context, abortBeforeMs)
    try {
      const ended = await call.attempt(event, key, invocation, (run) => handler(event, context, run))
      return asOperationResult(ended).value
    } finally {
      invocation.end()
    }
  }
}
