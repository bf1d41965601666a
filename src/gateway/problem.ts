/** Refusals that only a gateway gives; those of the protocol itself come from the HTTP room. */
import { STATUS_CODES } from 'node:http'
import { defaultGuardOptions } from '../http/options.ts'
import type { UpstreamFailure } from './upstream.ts'

export interface GatewayProblem {
  readonly status: number
  /** Stable; the documentation has a heading for it. */
  readonly code: string
  readonly detail: string
  readonly retryAfterS?: number
  /** The connection ends with the answer. */
  readonly closes?: true
}

type ProblemName =
  | 'badTarget'
  | 'methodOverride'
  | 'earlyData'
  | 'principalMissing'
  | 'draining'
  | 'notFound'
  | 'failed'

export const problems: Readonly<Record<ProblemName, GatewayProblem>> = {
  badTarget: { status: 400, code: 'target-invalid', detail: 'The request target is not a path.' },
  methodOverride: {
    status: 400,
    code: 'method-override',
    detail:
      'A field that overrides the method is not accepted where either method is protected. Send the method itself.',
  },
  earlyData: {
    status: 425,
    code: 'early-data',
    detail: 'This request came in TLS early data, which can be replayed. Send it again after the handshake.',
  },
  principalMissing: {
    status: 401,
    code: 'principal-invalid',
    detail: 'A request with an idempotency key must say who sends it, and the field for it is missing.',
  },
  draining: {
    status: 503,
    code: 'closed',
    detail: 'The gateway is ending. The request was not passed on. Send it again.',
    retryAfterS: 1,
    closes: true,
  },
  notFound: { status: 404, code: 'not-found', detail: 'The gateway has no such page.' },
  failed: { status: 500, code: 'gateway-failed', detail: 'The gateway failed.' },
}

/** What a failed exchange with the upstream is to the client. `held`: a record now says that it is unknown. */
export function upstreamProblem(failure: UpstreamFailure, held: boolean): GatewayProblem {
  switch (failure) {
    case 'unsendable':
      return { status: 400, code: 'request-unsendable', detail: 'The request cannot be passed on as it is.' }
    case 'unreachable':
      return {
        status: 502,
        code: 'upstream-unreachable',
        detail: 'The service behind the gateway cannot be reached. Nothing was sent to it. Try again.',
        retryAfterS: 1,
      }
    case 'timeout':
      return {
        status: 504,
        code: held ? 'outcome-unknown' : 'upstream-timeout',
        detail: `The service behind the gateway did not answer in time.${held ? unknown : ''}`,
      }
    case 'broken':
      return {
        status: 502,
        code: held ? 'outcome-unknown' : 'upstream-broken',
        detail: `The service behind the gateway broke off its answer.${held ? unknown : ''}`,
      }
    default:
      return failure satisfies never
  }
}

const unknown = ' The operation may have taken effect. Ask with the same key, never with a new one.'

/** The page whose `#<code>` anchor explains a problem. */
export function pageOf(problem: GatewayProblem): string {
  return `${defaultGuardOptions.documentation}#${problem.code}`
}

/** The problem document (RFC 9457). */
export function problemBody(problem: GatewayProblem): Buffer {
  const { status, code, detail } = problem
  return Buffer.from(
    JSON.stringify({ type: pageOf(problem), title: STATUS_CODES[status], status, detail, code }),
  )
}
