/**
 * A second copy of a request that takes unusually long. Only where the server makes of both one: the request has a
 * key. Off unless it is given as the option `fetch`.
 */
import { type Duration, toMilliseconds } from '../core/duration.ts'
import { refuseUnknownOptions } from '../core/options.ts'
import { eachOrigin, sharedBudgets } from './budget.ts'
import { retryAfterMs } from './delays.ts'
import { type Answer, type Effect, signalOf } from './signals.ts'

type Fetch = (input: string | Request, init: RequestInit) => Promise<Response>

export interface HedgeOptions {
  /** How long the first request may take, or `'p95'`: as long as 95 of 100 answers of its origin took lately. */
  readonly after: Duration | 'p95'
  /** What sends the requests. Default: the global `fetch`, as it is at each call. */
  readonly fetch?: Fetch
  /** Name of the key's field. Default `'idempotency-key'`. */
  readonly keyHeader?: string
}

/** What is known of an origin. */
interface Origin {
  /** Of the last answers, in milliseconds. */
  readonly latencies: number[]
  /** Until then it is not asked twice, because it has said that it is too much. */
  quietUntil: number
}

const latenciesMax = 100
/** Fewer say nothing of their twentieth part. */
const latenciesMin = 20
/** How long an origin is spared that says it is busy, unless it asks for longer. */
const quietMs = 10_000

/**
 * For the option `fetch` of `createIdempotentFetch`: sends a request with a key once more if it is not answered after
 * some time, and takes the answer that comes first. At most one more; none while the origin says that it is busy
 * (429, 503, `Retry-After`); each one is paid from the retry budget that all clients of the process share.
 *
 * @throws InvalidOptionError
 * @example
 * const pay = createIdempotentFetch({ fetch: hedgedFetch({ after: 'p95' }) })
 */
export function hedgedFetch(options: HedgeOptions): Fetch {
  refuseUnknownOptions('hedgedFetch', options, ['after', 'fetch', 'keyHeader'])
  const { after, keyHeader = 'idempotency-key' } = options
  const send: Fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init))
  const fixedMs = after === 'p95' ? undefined : toMilliseconds('after', after, { min: '1ms', max: '24d' })
  const origins = eachOrigin((): Origin => ({ latencies: [], quietUntil: 0 }))
  return async (input, init) => {
    const headers = new Headers(init.headers ?? (input as Request).headers)
    if (!headers.has(keyHeader)) return await send(input, init)
    const name = new URL(input instanceof Request ? input.url : input).origin
    const origin = origins(name)
    const begunAt = performance.now()
    const afterMs = begunAt < origin.quietUntil ? undefined : (fixedMs ?? p95(origin.latencies))
    const response = await race(send, input, init, afterMs, () => {
      return performance.now() >= origin.quietUntil && sharedBudgets(name).spend()
    })
    const now = performance.now()
    const { status, headers: fields } = response
    if (status === 429 || status === 503 || fields.has('retry-after')) {
      const answer = { status, header: (field: string) => fields.get(field), raw: response }
      origin.quietUntil = now + Math.max(quietMs, retryAfterMs(answer, Date.now()))
    } else {
      origin.latencies.push(now - begunAt)
      if (origin.latencies.length > latenciesMax) origin.latencies.shift()
    }
    return response
  }
}

function p95(latencies: readonly number[]): number | undefined {
  if (latencies.length < latenciesMin) return undefined
  return latencies.toSorted((one, other) => one - other)[Math.floor(latencies.length * 0.95)]
}

/** What came of one of two requests. */
type Outcome = { readonly response: Response; readonly effect: Effect } | { readonly error: unknown }

/**
 * Gives the first answer that is the operation's own, and aborts the other request. That a request is in progress,
 * or was turned away, says nothing of the other one, which is waited for then. Where neither has such an answer, what
 * leaves most open counts: nobody shall take for refused what the other request may have done.
 */
async function race(
  send: Fetch,
  input: string | Request,
  init: RequestInit,
  afterMs: number | undefined,
  mayHedge: () => boolean,
): Promise<Response> {
  const start = (abort: AbortController): Promise<Response> =>
    send(input, {
      ...init,
      signal: init.signal ? AbortSignal.any([init.signal, abort.signal]) : abort.signal,
    })
  const aborts = [new AbortController(), new AbortController()] as const
  const first = start(aborts[0])
  if (afterMs === undefined || !(await isSlow(first, afterMs)) || init.signal?.aborted || !mayHedge()) {
    return await first
  }
  const both = [first, start(aborts[1])]
  const won = Promise.withResolvers<Response>()
  const outcomes = await Promise.race([
    won.promise,
    Promise.all(
      both.map(async (end, at): Promise<Outcome> => {
        try {
          const response = await end
          const { effect } = signalOf(await answerOf(response))
          if (effect === 'told') {
            won.resolve(response)
            // Only the winner's body is read.
            if ((await won.promise) === response) aborts[1 - at]?.abort()
          }
          return { response, effect }
        } catch (error) {
          return { error }
        }
      }),
    ),
  ])
  if (!Array.isArray(outcomes)) return outcomes
  const responses = outcomes.flatMap((outcome) => ('response' in outcome ? outcome : []))
  const errors = outcomes.flatMap((outcome) => ('error' in outcome ? outcome.error : []))
  const open = responses.find(({ effect }) => effect !== 'none')
  if (open === undefined && errors.length > 0)
    throw new AggregateError(errors, 'Neither request was answered.')
  const taken = open ?? (responses[0] as (typeof responses)[number])
  // A body that nobody reads holds its connection.
  for (const { response } of responses) {
    if (response !== taken.response) response.body?.cancel().catch(() => {})
  }
  return taken.response
}

async function answerOf(response: Response): Promise<Answer<Response>> {
  const { status, headers } = response
  const isProblem = status >= 400 && /^application\/problem\+json/i.test(headers.get('content-type') ?? '')
  const document = isProblem
    ? await response
        .clone()
        .json()
        .catch(() => null)
    : null
  const { code } = (document ?? {}) as { readonly code?: string }
  return { status, header: (name) => headers.get(name), code, raw: response }
}

/** Whether it takes longer. */
async function isSlow(end: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<true>((resolve) => {
    timer = setTimeout(() => resolve(true), ms)
  })
  try {
    return await Promise.race([late, end.then(inTime, inTime)])
  } finally {
    clearTimeout(timer)
  }
}

const inTime = (): false => false
