/** React Router 8 in framework mode: route actions. */
import { InvalidOptionError } from '../core/errors.ts'
import { describeLayer } from '../openapi/protected-operation.ts'
import { type FetchOpened, openFetch, recordingOf } from './fetch-guard.ts'
import { markUnprotected, recordFetchResponse, toFetchResponse } from './fetch-recorder.ts'
import { keyFieldName } from './form-key.ts'
import { unprotectedLine } from './headers.ts'
import { mount } from './mount.ts'
import type { HttpEngine, IdempotentOptions } from './options.ts'
import type { GuardedRun, HttpGuard, IdempotencyContext, ProtocolAnswer } from './protocol.ts'
import {
  type ActionEnd,
  dataOf,
  isData,
  isResponse,
  isThrownResult,
  replayedEnd,
  statusOf,
  type StoredEnd,
  storedEnd,
} from './react-router/result.ts'

export { idempotencyKeyField, type KeyField } from './form-key.ts'
export type { HttpEngine, IdempotentOptions } from './options.ts'
export type { IdempotencyContext, ProtocolAnswer } from './protocol.ts'
export { toFetchResponse as toResponse } from './fetch-recorder.ts'

/** The part of an action's arguments that is used. */
export interface ReactRouterArgs {
  readonly request: Request
  /** What was asked for, without what data requests add to it. */
  readonly url?: URL
  /** The route's path, such as `/charges/:id`. */
  readonly pattern?: string
}

/** An answer that stands in the place of the action's. */
export interface ActionRefusal {
  /** `key-reused`, `in-progress`, ..: the code of the problem document. */
  readonly code: string
  /** The problem document that is thrown where nothing else is returned. */
  readonly response: Response
}

export interface IdempotentActionOptions<Args, Refused = never> extends IdempotentOptions<Args> {
  /**
   * The form field that has the key where the request has no header field: the name of a hidden field, or `false` for
   * none. Default `'idempotency-key'`.
   */
  readonly key?: string | false
  /** What to return instead of an answer, such as data for the form. Default: the problem document is thrown. */
  readonly onRefused?: (refusal: ActionRefusal, args: Args) => Refused | Promise<Refused>
}

/** An action that also gets its attempt, `undefined` where the request is not protected. */
export type IdempotentActionHandler<Args, Result> = (
  args: Args,
  idempotency: IdempotencyContext | undefined,
) => Result | Promise<Result>

/**
 * Makes a route action run once for each key, whether a document or a data request asks for it. The key is the header
 * field, or a hidden field of the form (`idempotencyKeyField`). A duplicate ends as the first call did: with the same
 * value, `data()`, `Response` or redirect, returned or thrown. What else the action throws goes on to React Router, and
 * counts as a 500: by default it releases the key.
 *
 * Values must be plain data (also Date, Map, Set, bigint and Uint8Array). Another value, such as a promise or a stream
 * inside of `data()`, is refused with `outcome-unstorable`, to the first caller too: the effect took place and is not
 * run again.
 *
 * @throws InvalidOptionError at construction. The action throws a problem document as a `Response`, unless `onRefused`
 * answers
 * @example
 * export const action = idempotent(idem, { principal: ({ context }) => context.get(userContext).id },
 *   async ({ request }: Route.ActionArgs) => {
 *     const { id } = await charge(await request.formData())
 *     return redirect(`/charges/${id}`)
 *   })
 */
export function idempotent<Args extends ReactRouterArgs, Result, Refused = never>(
  idem: HttpEngine,
  options: IdempotentActionOptions<Args, Refused>,
  action: IdempotentActionHandler<Args, Result>,
): (args: Args) => Promise<Result | Refused> {
  const { key = keyFieldName, onRefused, ...mounted } = options
  checkOptions(key, onRefused)
  const { guard, principal, operation } = mount(idem, mounted)
  const keyField = key === false ? {} : { keyField: key }

  async function refuse(
    answer: ProtocolAnswer | undefined,
    response: Response,
    args: Args,
  ): Promise<Refused> {
    if (answer === undefined || onRefused === undefined) throw response
    return await onRefused({ code: answer.code, response }, args)
  }

  /** An answer of the protocol's own: a stored end, or a refusal. */
  async function instead(
    { answer, response, thrown }: FetchOpened & { readonly kind: 'answer' },
    args: Args,
  ): Promise<Result | Refused> {
    if (isThrownResult(thrown?.error)) throw thrown?.error
    if (answer?.stored !== undefined) {
      return handOver(replayedEnd(answer.stored.value as StoredEnd, guard.options.marker)) as Result
    }
    if (answer?.code === 'replayed') return response as Result
    return await refuse(answer, response, args)
  }

  const layer = async (args: Args): Promise<Result | Refused> => {
    const { request, url, pattern } = args
    const how = { ...keyField, url, route: pattern, keepsRequest: true }
    const opened = await openFetch(guard, principal, args, request, how)
    if (opened.kind === 'answer') return await instead(opened, args)
    const { run } = opened
    if (run === undefined) {
      if (opened.unprotected !== true) return await action(args, undefined)
      return handOver(unprotected(await endOf(action, args, undefined))) as Result
    }
    let end: ActionEnd
    try {
      end = await endOf(action, args, run)
    } catch (error) {
      await guard.abandon(run, guard.threw(run))
      throw error
    }
    const settled = await settle(guard, run, end)
    return settled.kind === 'end' ? (handOver(settled.end) as Result) : await instead(settled, args)
  }
  return describeLayer(layer, operation)
}

function checkOptions(key: unknown, onRefused: unknown): void {
  if (key !== false && (typeof key !== 'string' || key === '')) {
    throw new InvalidOptionError('key', 'must be the name of a form field, or false', key)
  }
  if (onRefused !== undefined && typeof onRefused !== 'function') {
    throw new InvalidOptionError('onRefused', 'must be a function', onRefused)
  }
}

/** Runs the action. @throws what it throws that is no result */
async function endOf<Args, Result>(
  action: IdempotentActionHandler<Args, Result>,
  args: Args,
  run: GuardedRun | undefined,
): Promise<ActionEnd> {
  try {
    return { thrown: false, value: await action(args, run) }
  } catch (error) {
    if (!isThrownResult(error)) throw error
    return { thrown: true, value: error }
  }
}

function handOver({ thrown, value }: ActionEnd): unknown {
  if (thrown) throw value
  return value
}

type SettledEnd =
  | { readonly kind: 'end'; readonly end: ActionEnd }
  | (FetchOpened & { readonly kind: 'answer' })

/** Stores an end; what to hand over then. */
async function settle(guard: HttpGuard, run: GuardedRun, end: ActionEnd): Promise<SettledEnd> {
  let answer: ProtocolAnswer | undefined
  if (isResponse(end.value) && !end.thrown) {
    const recording = recordingOf(guard, run)
    const response = await recordFetchResponse(end.value, {
      ...recording,
      async settle(captured) {
        answer = await recording.settle(captured)
        return answer
      },
    })
    return answer === undefined
      ? { kind: 'end', end: { thrown: false, value: response } }
      : { kind: 'answer', answer, response }
  }
  const stored = await storedEnd(end, guard.options.responseBytesMax)
  answer = await guard.finishValue(run, statusOf(end), stored)
  return answer === undefined
    ? { kind: 'end', end }
    : { kind: 'answer', answer, response: toFetchResponse(answer) }
}

/** The store is down and the options say to run: said where there is a header to say it in. */
function unprotected({ thrown, value }: ActionEnd): ActionEnd {
  if (isResponse(value)) return { thrown, value: markUnprotected(value) }
  if (!isData(value)) return { thrown, value }
  const headers = new Headers(value.init?.headers)
  headers.set(...unprotectedLine)
  return { thrown, value: dataOf(value.data, { ...value.init, headers }) }
}
