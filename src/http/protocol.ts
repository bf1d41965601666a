/**
 * The HTTP protocol of idempotency keys (draft-ietf-httpapi-idempotency-key-header-07), without any framework:
 * a request comes in as its parts, and every end of the engine becomes an answer in one function.
 *
 *   readKey  pass | a key | an answer (missing, malformed)
 *   open     run | unprotected (store down, and the options say so) | an answer (replay or refusal)
 *   finish   send the handler's answer as it is, or another one instead of it
 */
import { isIdempotencyError } from '../core/errors.ts'
import { parsedBodyFingerprint, requestFingerprint } from '../core/fingerprint.ts'
import { parseKeyLines } from '../core/key.ts'
import type { HeaderLine, Outcome, ResponseOutcome } from '../core/outcome.ts'
import type { Fingerprint } from '../core/record.ts'
import { checkPrincipal } from '../core/scope.ts'
import type { NotRun, Settled, TransactionAttempt } from '../engine/attempt.ts'
import { report } from '../engine/events.ts'
import { GuardedRun } from '../engine/guarded-run.ts'
import type { Policy } from '../engine/policy.ts'
import { replayHeaders, storedHeaders } from './headers.ts'
import type { GuardOptions, HttpEngine } from './options.ts'
import { problemDocument, type ProtocolAnswer } from './problem.ts'

export type { IdempotencyContext } from './context.ts'
export { GuardedRun } from '../engine/guarded-run.ts'
export type { ProtocolAnswer } from './problem.ts'

/** What a handler answered, or what is known of it. */
export interface CapturedAnswer {
  readonly status: number
  readonly headers: readonly HeaderLine[]
  readonly body: Uint8Array | 'omitted'
}

export type KeyRead =
  /** Not guarded: another method, or no key where none is required. */
  | { readonly kind: 'pass' }
  | { readonly kind: 'key'; readonly key: string }
  | { readonly kind: 'answer'; readonly answer: ProtocolAnswer }

/** A body as octets, or, where a parser ran before, as the value that it left. */
export type RequestBody =
  | { readonly kind: 'octets'; readonly octets: Uint8Array }
  | { readonly kind: 'parsed'; readonly value: unknown }

export interface GuardedRequest {
  readonly key: string
  /** As the resolver returned it. */
  readonly principal: unknown
  readonly method: string
  /** As sent, without the query. */
  readonly path: string
  /** As sent, without the `?`. */
  readonly query: string
  readonly mediaType: string | undefined
  readonly contentEncoding: string | undefined
  readonly body: RequestBody
  /** The framework's route, for events and lists; the path where there is none. */
  readonly route?: string | undefined
  /** Of this request alone, where the host limits its time; the layer's where absent. */
  readonly policy?: Policy | undefined
}

export type Opened =
  | { readonly kind: 'run'; readonly run: GuardedRun }
  | { readonly kind: 'unprotected' }
  | { readonly kind: 'answer'; readonly answer: ProtocolAnswer }

/** A run in a transaction. */
class TransactionRun extends GuardedRun {
  get tx(): unknown {
    return (this.attempt as TransactionAttempt<unknown>).tx
  }
}

export interface HttpGuard {
  readonly options: GuardOptions
  /** Reads the key from the field's lines, one string for each line. */
  readKey(method: string, lines: readonly string[]): KeyRead
  /** Never rejects for what a client or the store can cause; those are answers. */
  open(request: GuardedRequest): Promise<Opened>
  /** Settles what the handler answered. An answer: send it instead of the handler's. */
  finish(run: GuardedRun, captured: CapturedAnswer): Promise<ProtocolAnswer | undefined>
  /**
   * Settles a result that is a value and no HTTP answer, judged by the status that it stands for. Its replay is an
   * answer with `stored`. What `encodeValue` refuses leaves `outcome-unstorable` behind: the effect took place.
   */
  finishValue(run: GuardedRun, status: number, value: unknown): Promise<ProtocolAnswer | undefined>
  /**
   * The handler threw. Unless it said otherwise before, that counts as an answer of 500; where such an answer would
   * be kept and there is none, the outcome is unknown.
   */
  threw(run: GuardedRun): 'release' | 'unknown'
  /** Settles a run whose handler ended without an answer. */
  abandon(run: GuardedRun, verdict: 'release' | 'unknown'): Promise<ProtocolAnswer | undefined>
  /** The refusal for an error code that the adapter found out about. */
  problem(code: ProblemCode, detail?: string): ProtocolAnswer
}

/** Codes that are answered over HTTP. */
export type ProblemCode =
  | 'key-missing'
  | 'key-malformed'
  | 'request-too-large'
  | 'input-unsupported'
  | 'principal-missing'
  | 'principal-invalid'
  | 'key-reused'
  | 'key-expired'
  | 'in-progress'
  | 'outcome-unknown'
  | 'outcome-not-stored'
  | 'outcome-unreadable'
  | 'outcome-unstorable'
  | 'outcome-undone'
  | 'not-applied'
  | 'store-unavailable'
  | 'closed'

interface ProblemRow {
  readonly status: number | 'mismatch' | 'inProgress' | 'unknown' | 'expired'
  readonly title: string
  readonly detail: string
  readonly retryAfterS?: number
}

const problemTable: Readonly<Record<ProblemCode, ProblemRow>> = {
  'key-missing': {
    status: 400,
    title: 'Idempotency key missing',
    detail: 'This operation requires an idempotency key. Send one, and the same one again with every retry.',
  },
  'key-malformed': {
    status: 400,
    title: 'Idempotency key malformed',
    detail: 'The idempotency key breaks a rule of its syntax.',
  },
  'request-too-large': {
    status: 413,
    title: 'Request too large',
    detail: 'The body is over the limit for a request with an idempotency key.',
  },
  'input-unsupported': {
    status: 500,
    title: 'Request not comparable',
    detail: 'The service read the body before it could be compared, so the request cannot be protected.',
  },
  'principal-missing': {
    status: 401,
    title: 'Caller not identified',
    detail: 'A request with an idempotency key must say who sends it.',
  },
  'principal-invalid': {
    status: 500,
    title: 'Caller not identified',
    detail: 'The service did not say who asks, so the request cannot be protected.',
  },
  'key-reused': {
    status: 'mismatch',
    title: 'Idempotency key reused',
    detail: 'The idempotency key was used before for a different request. Use a new key for a new request.',
  },
  'key-expired': {
    status: 'expired',
    title: 'Idempotency key expired',
    detail: 'The outcome of this idempotency key is no longer kept, and it will not run again.',
  },
  'in-progress': {
    status: 'inProgress',
    title: 'Request in progress',
    detail: 'The first request with this idempotency key is still running. Send it again, with the same key.',
    retryAfterS: 1,
  },
  'outcome-unknown': {
    status: 'unknown',
    title: 'Outcome unknown',
    detail:
      'The outcome of an earlier attempt is unknown and must be reconciled. Do not send it under a new key.',
  },
  'outcome-not-stored': {
    status: 503,
    title: 'Outcome unknown',
    detail:
      'The request may have taken effect, but its outcome could not be stored. Send it again, with the same key.',
    retryAfterS: 1,
  },
  'outcome-unreadable': {
    status: 503,
    title: 'Outcome unreadable',
    detail: 'The stored outcome of this idempotency key cannot be read. The operation is not run again.',
  },
  'outcome-unstorable': {
    status: 500,
    title: 'Outcome not stored',
    detail: 'The request took effect, but its answer could not be stored. It is not run again.',
  },
  'outcome-undone': {
    status: 500,
    title: 'Answer not storable',
    detail: 'The answer cannot be stored, so the request was rolled back. Nothing was applied.',
  },
  'not-applied': {
    status: 503,
    title: 'Not applied',
    detail:
      'The transaction of the request did not commit. Nothing was applied. Send it again, with the same key.',
    retryAfterS: 1,
  },
  'store-unavailable': {
    status: 503,
    title: 'Store unavailable',
    detail: 'The store of idempotency records cannot be reached. The request was not run. Send it again.',
    retryAfterS: 1,
  },
  closed: {
    status: 503,
    title: 'Service ending',
    detail: 'The service is ending. The request was not run. Send it again.',
    retryAfterS: 1,
  },
}

/** Two situations with one code: the documentation explains both under it. */
const publicCodes: Partial<Record<ProblemCode, string>> = {
  'outcome-not-stored': 'outcome-unknown',
  'outcome-undone': 'outcome-unstorable',
  'principal-missing': 'principal-invalid',
}

const noOctets = new Uint8Array(0)
const operationCharactersMax = 255

/** Builds the guard that an adapter puts in front of a handler. */
export function createGuard(
  engine: Pick<HttpEngine, 'begin' | 'digest'>,
  options: GuardOptions,
  policy: Policy,
): HttpGuard {
  const Run = options.transaction ? TransactionRun : GuardedRun
  const problem = (code: ProblemCode, detail?: string, retryAfterMs?: number): ProtocolAnswer =>
    problemAnswer(options, code, detail, retryAfterMs)

  return {
    options,
    problem,

    readKey(method, lines): KeyRead {
      if (!options.methods.has(method)) return { kind: 'pass' }
      if (lines.length === 0) {
        return options.required ? { kind: 'answer', answer: problem('key-missing') } : { kind: 'pass' }
      }
      const parsed = parseKeyLines(lines, options.keySyntax, options.keyLimits)
      if (parsed.kind === 'key') return parsed
      return {
        kind: 'answer',
        answer: problem('key-malformed', `The idempotency key is malformed: ${parsed.rule}`),
      }
    },

    async open(request): Promise<Opened> {
      const { key, method, path, route = path } = request
      try {
        if (request.principal === undefined || request.principal === null) {
          return { kind: 'answer', answer: problem('principal-missing') }
        }
        const principal = checkPrincipal(request.principal)
        const fingerprint = fingerprintOf(engine, options, request)
        if (fingerprint === undefined)
          return { kind: 'answer', answer: problem('request-too-large', unsupportedBody) }
        const begun = await engine.begin({
          key,
          principal,
          scope: options.scope === 'endpoint' ? `${method} ${path}` : 'http',
          operation: `${method} ${route}`.slice(0, operationCharactersMax).toWellFormed(),
          fingerprint,
          policy: request.policy ?? policy,
        })
        if (begun.kind === 'run') return { kind: 'run', run: new Run(key, begun.attempt) }
        return { kind: 'answer', answer: answerOf(options, begun) }
      } catch (error) {
        if (isIdempotencyError(error, 'store-unavailable') && options.onStoreError === 'run') {
          report('unprotected', () => ({ operation: `${method} ${route}` }))
          return { kind: 'unprotected' }
        }
        return { kind: 'answer', answer: errorAnswer(options, error) }
      }
    },

    async finish(run, captured): Promise<ProtocolAnswer | undefined> {
      const { status, headers, body } = captured
      if (options.transaction && body === 'omitted') {
        const failed = await settle(options, () => run.attempt.unknown())
        return failed ?? problem('outcome-undone', unheldAnswer)
      }
      return await settleBy(options, run, status, () =>
        run.attempt.complete({ kind: 'response', status, headers: storedHeaders(headers), body }),
      )
    },

    async finishValue(run, status, value): Promise<ProtocolAnswer | undefined> {
      let stored: Outcome | undefined
      const instead = await settleBy(options, run, status, async () => {
        const settled = await run.attempt.complete({ kind: 'value', value })
        if (settled.kind === 'settled') stored = settled.outcome
        return settled
      })
      return stored?.kind === 'unstorable' ? problem('outcome-unstorable') : instead
    },

    threw(run): 'release' | 'unknown' {
      const verdict = run.verdict ?? options.result(500)
      if (verdict === 'release') run.release()
      else run.unknown()
      return verdict === 'release' ? 'release' : 'unknown'
    },

    abandon(run, verdict): Promise<ProtocolAnswer | undefined> {
      return settle(options, () => (verdict === 'release' ? run.attempt.release() : run.attempt.unknown()))
    },
  }
}

const unheldAnswer =
  'An event stream, or an answer over responseBytesMax, cannot be held back until its transaction commits. Nothing was applied.'
const unsupportedBody = 'The body holds more than can be compared.'

/** By the handler's own word, or by the status. */
function settleBy(
  options: GuardOptions,
  run: GuardedRun,
  status: number,
  complete: () => Promise<Settled>,
): Promise<ProtocolAnswer | undefined> {
  const verdict = run.verdict ?? options.result(status)
  return settle(options, () => {
    // What took effect in a transaction is rolled back, so that nothing of it is unknown.
    if (verdict === 'release' || (options.transaction && verdict !== 'keep')) return run.attempt.release()
    if (verdict === 'unknown') return run.attempt.unknown()
    return complete()
  })
}

async function settle(
  options: GuardOptions,
  send: () => Promise<Settled>,
): Promise<ProtocolAnswer | undefined> {
  try {
    const settled = await send()
    return settled.kind === 'lost' ? answerOf(options, settled.instead) : undefined
  } catch (error) {
    return errorAnswer(options, error)
  }
}

function fingerprintOf(
  engine: Pick<HttpEngine, 'digest'>,
  options: GuardOptions,
  request: GuardedRequest,
): Fingerprint | undefined {
  const { method, path, query, mediaType, contentEncoding, body } = request
  const head = { method, path, query, mediaType }
  if (body.kind === 'octets') {
    const compared = {
      ...head,
      ...(contentEncoding === undefined ? {} : { contentEncoding }),
      body: body.octets,
    }
    return requestFingerprint(engine.digest, compared, { body: options.bodyCompare })
  }
  const comparison = options.bodyCompare === 'none' ? 'none' : 'auto'
  const made = parsedBodyFingerprint(engine.digest, { ...head, body: body.value }, { body: comparison })
  return made.kind === 'fingerprint' ? made.fingerprint : undefined
}

/** The one place where an end of the engine becomes an answer. */
function answerOf(options: GuardOptions, end: NotRun): ProtocolAnswer {
  switch (end.kind) {
    case 'replay':
      return replayOf(options, end.outcome)
    case 'mismatch':
      return problemAnswer(options, 'key-reused')
    case 'in-progress':
      return problemAnswer(options, 'in-progress', undefined, end.retryAfterMs)
    case 'unknown':
      return problemAnswer(options, 'outcome-unknown')
    case 'expired':
      return problemAnswer(options, 'key-expired')
    default:
      return end satisfies never
  }
}

function replayOf(options: GuardOptions, outcome: Outcome): ProtocolAnswer {
  if (outcome.kind === 'value') return storedReplayOf(options, outcome.value)
  if (outcome.kind !== 'response') return problemAnswer(options, 'outcome-unstorable')
  if (outcome.body === 'omitted') return omittedReplayOf(options, outcome)
  const headers = replayHeaders(outcome.headers, options.marker)
  return { status: outcome.status, headers, body: outcome.body, code: 'replayed' }
}

/** An adapter that stores no values has no use for one, and answers that there is no answer. */
function storedReplayOf(options: GuardOptions, value: unknown): ProtocolAnswer {
  return { ...problemAnswer(options, 'outcome-unstorable'), code: 'replayed', stored: { value } }
}

/** The body was too large to keep. Where the answer named its resource, the client is sent there. */
function omittedReplayOf(options: GuardOptions, outcome: ResponseOutcome): ProtocolAnswer {
  const located = outcome.headers.some(([name]) => name.toLowerCase() === 'location')
  // What describes the body would describe an empty one wrongly.
  const kept = outcome.headers.filter(([name]) => !/^(?:content-|etag$|digest$|repr-digest$)/i.test(name))
  const headers = [...replayHeaders(kept, options.marker), ['Idempotency-Replay-Body', 'omitted'] as const]
  return { status: located ? 303 : outcome.status, headers, body: noOctets, code: 'replayed' }
}

function errorAnswer(options: GuardOptions, error: unknown): ProtocolAnswer {
  if (!isIdempotencyError(error)) throw error
  switch (error.code) {
    case 'store-unavailable':
    case 'outcome-unreadable':
    case 'principal-invalid':
    case 'not-applied':
    case 'closed':
      return problemAnswer(options, error.code)
    case 'outcome-unknown': {
      const { settled } = error as { settled?: boolean }
      return problemAnswer(options, settled === true ? 'outcome-unknown' : 'outcome-not-stored')
    }
    // Only a transaction fails so: elsewhere the record says that the answer could not be stored.
    case 'outcome-unstorable':
      return problemAnswer(options, 'outcome-undone')
    default:
      throw error
  }
}

function problemAnswer(
  options: GuardOptions,
  code: ProblemCode,
  detail?: string,
  retryAfterMs?: number,
): ProtocolAnswer {
  const { status, title, detail: usual, retryAfterS }: ProblemRow = problemTable[code]
  return problemDocument(options.documentation, {
    status: typeof status === 'number' ? status : options.statuses[status],
    title,
    detail: detail ?? usual,
    code: publicCodes[code] ?? code,
    retryAfterS: retryAfterMs === undefined ? retryAfterS : Math.max(1, Math.ceil(retryAfterMs / 1000)),
  })
}
