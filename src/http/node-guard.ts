/** The protocol on a Node request and response: what `node:http`, Express and others of their kind share. */
import { unprotectedLine } from './headers.ts'
import type { IdempotentOptions } from './options.ts'
import { sendAnswer, sendRefusal } from './node-answer.ts'
import { isRecorded, recordResponse, type StartedRecording } from './node-recorder.ts'
import {
  type BodyLeft,
  fieldLines,
  mayHaveLostFields,
  type NodeRequest,
  type NodeResponse,
  readBody,
  targetOf,
} from './node-request.ts'
import { resolvePrincipal } from './principal.ts'
import type { GuardedRun, HttpGuard, KeyRead, ProtocolAnswer } from './protocol.ts'

/** Reads the key of a Node request. */
export function readNodeKey(guard: HttpGuard, request: NodeRequest): KeyRead {
  const method = request.method ?? ''
  const lines = fieldLines(request, guard.options.header)
  if (lines.length === 0 && guard.options.methods.has(method) && mayHaveLostFields(request)) {
    const detail = 'The request has so many header fields that the idempotency key may have been lost.'
    return { kind: 'answer', answer: guard.problem('key-malformed', detail) }
  }
  return guard.readKey(method, lines)
}

export type NodeOpened =
  /** Call the handler: it runs under this attempt. */
  | { readonly kind: 'run'; readonly run: GuardedRun }
  /** Call the handler without protection. */
  | { readonly kind: 'unprotected' }
  | { readonly kind: 'answer'; readonly answer: ProtocolAnswer }
  /** The client left before its request was whole. */
  | { readonly kind: 'gone' }

/** From a key to the right to run its request, or to the answer. `left`: where a parser leaves what it has read. */
export async function openNode<Request extends NodeRequest>(
  guard: HttpGuard,
  key: string,
  principal: IdempotentOptions<Request>['principal'],
  request: Request,
  response: NodeResponse,
  route?: string,
  left?: BodyLeft,
): Promise<NodeOpened> {
  const resolved = await resolvePrincipal(principal, request)
  if (resolved.kind === 'failed') return { kind: 'answer', answer: guard.problem('principal-invalid') }
  const body = await readBody(request, response, guard.options.requestBytesMax, left)
  if (body.kind === 'broken-off') return { kind: 'gone' }
  if (body.kind === 'too-large') return { kind: 'answer', answer: guard.problem('request-too-large') }
  if (body.kind === 'files') return { kind: 'answer', answer: guard.problem('input-unsupported') }
  return await guard.open({
    key,
    principal: resolved.principal,
    method: request.method ?? '',
    ...targetOf(request),
    mediaType: request.headers['content-type'],
    contentEncoding: request.headers['content-encoding'],
    body,
    route,
  })
}

/** Records what the handler answers to a request that runs. */
export function recordNode(guard: HttpGuard, run: GuardedRun, response: NodeResponse): StartedRecording {
  return recordResponse(response, {
    bytesMax: guard.options.responseBytesMax,
    holds: guard.options.transaction,
    settle: (captured) => guard.finish(run, captured),
    abandon: () => {
      guard.abandon(run, 'unknown').catch(() => {})
    },
    isOver: () => run.signal.aborted,
  })
}

/**
 * Guards one request. `run` is called at most once, with the attempt, or with `undefined` where the request is not
 * protected.
 */
export async function guardNode<Request extends NodeRequest>(
  guard: HttpGuard,
  principal: IdempotentOptions<Request>['principal'],
  request: Request,
  response: NodeResponse,
  run: (guarded: GuardedRun | undefined) => void,
  route?: string,
  left?: BodyLeft,
): Promise<void> {
  if (isRecorded(response)) return run(undefined)
  const field = readNodeKey(guard, request)
  if (field.kind === 'answer') return sendRefusal(request, response, field.answer)
  if (field.kind === 'pass') return run(undefined)
  const opened = await openNode(guard, field.key, principal, request, response, route, left)
  switch (opened.kind) {
    case 'answer':
      return request.complete
        ? sendAnswer(response, opened.answer)
        : sendRefusal(request, response, opened.answer)
    case 'gone':
      response.destroy()
      return
    case 'unprotected':
      response.setHeader(...unprotectedLine)
      return run(undefined)
    case 'run':
      recordNode(guard, opened.run, response)
      return run(opened.run)
    default:
      return opened satisfies never
  }
}
