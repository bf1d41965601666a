/** The one place where the end of a delivery becomes an answer. A provider takes 2xx as done and sends all else again. */
import { isIdempotencyError } from '../core/errors.ts'
import type { HeaderLine } from '../core/outcome.ts'
import type { AttemptResult } from '../engine/operation.ts'
import { errorsPage, type Problem, problemDocument, type ProtocolAnswer } from '../http/problem.ts'
import type { WebhookAnswer } from './event.ts'

/** What is stored for an event: what its deliveries are answered. */
export interface StoredAnswer {
  readonly status: number
  readonly contentType?: string
  readonly body?: string
}

type WebhookProblem =
  | 'method-not-allowed'
  | 'request-too-large'
  | 'body-consumed'
  | 'signature-invalid'
  | 'signature-unchecked'
  | 'event-malformed'
  | 'principal-invalid'
  | 'key-reused'
  | 'in-progress'
  | 'outcome-unknown'
  | 'outcome-not-stored'
  | 'outcome-unreadable'
  | 'outcome-unstorable'
  | 'store-unavailable'
  | 'not-applied'
  | 'closed'

type ProblemRow = Omit<Problem, 'code'>

const problemTable: Readonly<Record<WebhookProblem, ProblemRow>> = {
  'method-not-allowed': { status: 405, title: 'Method not allowed', detail: 'Webhooks are sent with POST.' },
  'request-too-large': { status: 413, title: 'Request too large', detail: 'The body is over the limit.' },
  'body-consumed': {
    status: 500,
    title: 'Body already parsed',
    detail:
      'A parser read the body before its signature could be checked. Mount the webhook before the parser, or keep the octets with keepRawBody.',
  },
  'signature-invalid': { status: 401, title: 'Signature invalid', detail: 'The signature is not valid.' },
  'signature-unchecked': {
    status: 503,
    title: 'Signature not checked',
    detail: 'The signature could not be checked now.',
    retryAfterS: 10,
  },
  'event-malformed': { status: 400, title: 'Event malformed', detail: 'The event cannot be read.' },
  'principal-invalid': {
    status: 500,
    title: 'Account not identified',
    detail: 'The service did not say whose endpoint this is.',
  },
  'key-reused': {
    status: 422,
    title: 'Event id reused',
    detail: 'The id was used before for an event of another type.',
  },
  'in-progress': {
    status: 503,
    title: 'Event in progress',
    detail: 'An earlier delivery of this event is still running. Send it again.',
    retryAfterS: 1,
  },
  'outcome-unknown': {
    status: 503,
    title: 'Outcome unknown',
    detail: 'The outcome of an earlier delivery is unknown and must be reconciled.',
    retryAfterS: 60,
  },
  'outcome-not-stored': {
    status: 503,
    title: 'Outcome unknown',
    detail: 'The event may have been applied, but that could not be stored. Send it again.',
    retryAfterS: 1,
  },
  'outcome-unreadable': {
    status: 503,
    title: 'Outcome unreadable',
    detail: 'The stored outcome of this event cannot be read. It is not run again.',
  },
  'outcome-unstorable': {
    status: 500,
    title: 'Outcome not stored',
    detail: 'The event was applied, but its answer could not be stored. It is not run again.',
  },
  'store-unavailable': {
    status: 503,
    title: 'Store unavailable',
    detail: 'The store of idempotency records cannot be reached. The event was not run. Send it again.',
    retryAfterS: 1,
  },
  'not-applied': {
    status: 503,
    title: 'Event not applied',
    detail: 'The transaction did not commit. Send the event again.',
    retryAfterS: 1,
  },
  closed: {
    status: 503,
    title: 'Service ending',
    detail: 'The service is ending. The event was not run. Send it again.',
    retryAfterS: 1,
  },
}

/** Situations that share a heading of the documentation. */
const publicCodes: Partial<Record<WebhookProblem, string>> = { 'outcome-not-stored': 'outcome-unknown' }

/** A refusal. `detail` says more than the usual sentence. */
export function webhookProblem(code: WebhookProblem, detail?: string, retryAfterMs?: number): ProtocolAnswer {
  const usual = problemTable[code]
  return problemDocument(errorsPage, {
    ...usual,
    code: publicCodes[code] ?? code,
    detail: detail ?? usual.detail,
    retryAfterS: retryAfterMs === undefined ? usual.retryAfterS : Math.max(1, Math.ceil(retryAfterMs / 1000)),
  })
}

const utf8 = new TextEncoder()

/** An answer of the handler's, or of the scheme's own. */
export function textAnswer(
  answer: StoredAnswer,
  code: string,
  marker: readonly HeaderLine[] = [],
): ProtocolAnswer {
  const { status, contentType, body = '' } = answer
  const headers: HeaderLine[] = contentType === undefined ? [] : [['Content-Type', contentType]]
  return {
    status,
    headers: [...headers, ['Cache-Control', 'no-store'], ...marker],
    body: utf8.encode(body),
    code,
  }
}

const marker: readonly HeaderLine[] = [['Idempotent-Replayed', 'true']]

/** The end of a delivery that reached the engine. */
export function answerOf(end: AttemptResult<StoredAnswer>): ProtocolAnswer {
  switch (end.kind) {
    case 'executed':
      return textAnswer(end.value, 'applied')
    case 'replayed':
      return textAnswer(end.value, 'replayed', marker)
    case 'expired':
      // Its tombstone says that the event was applied: that is all that a duplicate asks.
      return textAnswer({ status: 200 }, 'expired', marker)
    case 'mismatch':
      return webhookProblem('key-reused')
    case 'in-progress':
      return webhookProblem('in-progress', undefined, end.retryAfterMs)
    case 'unknown':
      return webhookProblem('outcome-unknown')
    case 'failed':
      return webhookProblem('outcome-unstorable')
    default:
      return end satisfies never
  }
}

/** The answer to an error of the engine, `undefined` for one of the handler's. */
export function errorAnswer(error: unknown): ProtocolAnswer | undefined {
  if (!isIdempotencyError(error)) return undefined
  switch (error.code) {
    case 'store-unavailable':
    case 'outcome-unreadable':
    case 'not-applied':
    case 'principal-invalid':
    case 'closed':
      return webhookProblem(error.code)
    case 'outcome-unknown': {
      const { settled } = error as { settled?: boolean }
      return webhookProblem(settled === true ? 'outcome-unknown' : 'outcome-not-stored')
    }
    default:
      return undefined
  }
}

/** Checks what a handler wants to be answered. @throws TypeError, which fails the handler */
export function checkAnswer(answer: WebhookAnswer): StoredAnswer {
  const { status = 200, contentType, body } = answer
  if (!Number.isInteger(status) || status < 200 || status > 299) {
    throw new TypeError(
      'The answer of a webhook has a status from 200 to 299: throw to be sent the event again.',
    )
  }
  if (typeof body !== 'string' || typeof contentType !== 'string' || !/^[\x20-\x7e]+$/.test(contentType)) {
    throw new TypeError('The answer of a webhook has a body and a content type, as text.')
  }
  return { status, contentType, body }
}
