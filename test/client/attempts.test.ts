/** The rules of one logical call, on an imagined server and a clock that the test turns. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type Call, type Ended, runCall } from '../../src/client/attempts.ts'
import { circuitBreaker, type RetryOptions } from '../../src/client/index.ts'
import { readOptions } from '../../src/client/options.ts'
import { platform } from '../../src/client/platform.ts'
import type { Answer } from '../../src/client/signals.ts'

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse('2026-11-30T12:00:00Z') })
})
afterEach(() => {
  vi.useRealTimers()
})

const refused = new Error('connection refused')
const reset = new Error('connection reset')

/** What an attempt meets: an answer, an error, or silence until it is aborted. */
type Met = number | Answer<string> | Error | 'silence'

interface Rig {
  readonly ended: Promise<Ended<string>>
  /** When each attempt was sent, in milliseconds since the call began. */
  readonly sentAt: number[]
}

function answer(
  status: number,
  fields: Readonly<Record<string, string>> = {},
  code?: string,
): Answer<string> {
  return { status, header: (name) => fields[name], code, raw: `answer ${status}` }
}

/** A call that meets these, one after the other, and the last one for ever. */
function start(mets: readonly Met[], options: RetryOptions = {}, given: Partial<Call<string>> = {}): Rig {
  const begunAt = performance.now()
  const sentAt: number[] = []
  const ended = runCall<string>(readOptions(platform, { budget: { perSecond: 100 }, ...options }), {
    ...{ origin: 'https://api.example', method: 'POST', key: 'k' },
    ...{ sentSince: undefined, signal: undefined, refresh: undefined, setField: () => {} },
    wasNeverSent: (error) => error === refused,
    async send(signal) {
      const met = mets[Math.min(sentAt.length, mets.length - 1)] as Met
      sentAt.push(performance.now() - begunAt)
      if (met instanceof Error) throw met
      if (met === 'silence') {
        return await new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason))
        })
      }
      return typeof met === 'number' ? answer(met) : met
    },
    ...given,
  })
  ended.catch(() => {})
  return { ended, sentAt }
}

async function end(rig: Rig): Promise<unknown> {
  await vi.runAllTimersAsync()
  return await rig.ended.then(
    ({ answer: { raw }, report: { attempts } }) => `${raw} after ${attempts}`,
    (error: unknown) => error,
  )
}

describe('how a call ends', () => {
  test('with the answer of the operation, as soon as there is one', async () => {
    expect(await end(start([reset, 503, refused, 201]))).toBe('answer 201 after 4')
  })

  test('unknown, where an attempt may have taken effect and no later one told', async () => {
    expect(await end(start([reset, refused]))).toMatchObject({
      ...{ code: 'outcome-unknown', reason: 'retries', key: 'k', attempts: 5, cause: refused },
    })
    expect(await end(start([503, 429]))).toMatchObject({
      ...{ code: 'outcome-unknown', reason: 'retries', response: 'answer 429' },
    })
  })

  test('not applied, where nothing was ever sent', async () => {
    expect(await end(start([refused]))).toMatchObject({
      ...{ code: 'not-applied', reason: 'retries', attempts: 5, cause: refused },
    })
  })

  test('with the answer that turned every attempt away', async () => {
    expect(await end(start([refused, 429]))).toBe('answer 429 after 5')
    expect(await end(start([403]))).toBe('answer 403 after 1')
    expect(await end(start([308]))).toBe('answer 308 after 1')
  })

  test('unknown, where the last answer turned away and an earlier attempt may have taken effect', async () => {
    for (const status of [401, 403, 308]) {
      expect(await end(start([reset, status]))).toMatchObject({
        ...{ code: 'outcome-unknown', reason: 'server', attempts: 2, response: `answer ${status}` },
      })
    }
  })

  test('with the answer of the operation, whatever earlier attempts left open', async () => {
    expect(await end(start([reset, 404]))).toBe('answer 404 after 2')
  })

  test('unknown, where an earlier process may have sent it', async () => {
    expect(await end(start([refused], {}, { sentSince: Date.now() }))).toMatchObject({
      code: 'outcome-unknown',
    })
  })

  test('refused, where the key is at fault', async () => {
    expect(await end(start([answer(422, {}, 'key-reused')]))).toMatchObject({
      ...{ code: 'key-refused', serverCode: 'key-reused', reason: 'key', attempts: 1 },
    })
  })

  test('unknown, where the server does not know it either, or no more', async () => {
    for (const code of ['outcome-unknown', 'key-expired']) {
      expect(await end(start([answer(409, {}, code)]))).toMatchObject({
        ...{ code: 'outcome-unknown', reason: 'server', serverCode: code, attempts: 1 },
      })
    }
  })

  test('unknown, where a browser was redirected', async () => {
    expect(await end(start([0]))).toMatchObject({ code: 'outcome-unknown', reason: 'redirect', attempts: 1 })
  })
})

describe('without a key', () => {
  const plain = { key: undefined }

  test('what took no effect is sent again', async () => {
    expect(await end(start([refused, 429, 425, 421, 201], {}, plain))).toBe('answer 201 after 5')
  })

  test.each([500, 502, 503, 504, 408, reset])('%s is unknown', async (met) => {
    expect(await end(start([met], {}, plain))).toMatchObject({
      ...{ code: 'outcome-unknown', reason: 'no-key', attempts: 1, key: undefined },
    })
  })

  test('a conflict is the answer, and so is what a server wants to be sent again', async () => {
    expect(await end(start([answer(409, { 'retry-after': '1' })], {}, plain))).toBe('answer 409 after 1')
    expect(await end(start([answer(400, { 'x-should-retry': 'true' })], {}, plain))).toBe(
      'answer 400 after 1',
    )
  })

  test('a hint that a lost answer may be asked for again does not make it safe', async () => {
    expect(await end(start([answer(500, { 'x-should-retry': 'true' })], {}, plain))).toMatchObject({
      ...{ code: 'outcome-unknown', attempts: 1 },
    })
  })
})

describe('what changes nothing (GET)', () => {
  const safe = { key: undefined, method: 'GET' }

  test('ends as fetch does', async () => {
    expect(await end(start([503], {}, safe))).toBe('answer 503 after 5')
    expect(await end(start([503, reset], {}, safe))).toBe(reset)
    expect(await end(start([503, reset], {}, { ...safe, sentSince: Date.now() }))).toBe(reset)
  })

  test('is not subject to the horizon of a key that it does not have', async () => {
    expect(await end(start([503, 200], {}, { ...safe, sentSince: 0 }))).toBe('answer 200 after 2')
  })
})

describe('hints', () => {
  test('of a server that wants it again win', async () => {
    expect(await end(start([answer(409, { 'stripe-should-retry': 'true' }), 201]))).toBe('answer 201 after 2')
    expect(await end(start([answer(422, { 'transient-error': 'true' })]))).toBe('answer 422 after 5')
  })

  test('of a server that does not want it again win', async () => {
    expect(await end(start([answer(500, { 'x-should-retry': 'false' })]))).toMatchObject({
      ...{ code: 'outcome-unknown', reason: 'server', attempts: 1 },
    })
    expect(await end(start([answer(429, { 'x-should-retry': 'false' })]))).toBe('answer 429 after 1')
  })
})

describe('401', () => {
  test('asks for other credentials once, and sends at once', async () => {
    const refresh = vi.fn(async () => ({ authorization: 'new' }))
    const setField = vi.fn()
    const rig = start([401, 201], { retries: 0 }, { refresh, setField })
    expect(await end(rig)).toBe('answer 201 after 2')
    expect(rig.sentAt).toEqual([0, 0])
    expect(setField.mock.calls).toEqual([['authorization', 'new']])
    expect(await end(start([401], {}, { refresh }))).toBe('answer 401 after 2')
    expect(refresh).toHaveBeenCalledTimes(2)
  })

  test('is the answer where there are none', async () => {
    expect(await end(start([401], {}, { refresh: () => undefined }))).toBe('answer 401 after 1')
    expect(await end(start([401]))).toBe('answer 401 after 1')
  })

  test('an error of the refresh is told, with what is known of the operation', async () => {
    const broken = new Error('no token')
    const refresh = async (): Promise<undefined> => {
      throw broken
    }
    expect(await end(start([401], {}, { refresh }))).toMatchObject({ code: 'not-applied', cause: broken })
    expect(await end(start([reset, 401], {}, { refresh }))).toMatchObject({
      ...{ code: 'outcome-unknown', cause: broken },
    })
  })

  test('a refresh that does not look at its signal does not hold the call', async () => {
    const refresh = (): Promise<undefined> => new Promise(() => {})
    expect(await end(start([401], { timeout: '1s' }, { refresh }))).toMatchObject({
      ...{ code: 'not-applied', cause: { name: 'TimeoutError' } },
    })
    const abort = new AbortController()
    const rig = start([401], {}, { refresh, signal: abort.signal })
    await vi.advanceTimersByTimeAsync(0)
    abort.abort('enough')
    await expect(rig.ended).rejects.toBe('enough')
    expect(vi.getTimerCount()).toBe(0)
  })

  test('a refresh is told when its time is over', async () => {
    const refresh = (_answer: unknown, signal: AbortSignal): Promise<undefined> =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason))
      })
    expect(await end(start([401], { timeout: '1s' }, { refresh }))).toMatchObject({
      ...{ code: 'not-applied', cause: { name: 'TimeoutError' } },
    })
  })
})

describe('waits', () => {
  test('are at least what the server asks for, and at most a tenth more', async () => {
    const rig = start([answer(429, { 'retry-after': '10' }), 201])
    expect(await end(rig)).toBe('answer 201 after 2')
    expect(rig.sentAt[1]).toBeGreaterThanOrEqual(10_000)
    expect(rig.sentAt[1]).toBeLessThanOrEqual(11_001)
  })

  test('a listener that throws ends the call with what is known', async () => {
    const broken = new Error('listener')
    const onRetry = (): void => {
      throw broken
    }
    expect(await end(start([reset, 201], { onRetry }))).toMatchObject({
      ...{ code: 'outcome-unknown', reason: 'listener', attempts: 1, cause: broken },
    })
    expect(await end(start([refused, 201], { onRetry }))).toMatchObject({
      code: 'not-applied',
      cause: broken,
    })
  })

  test('let go of the answers that nobody gets', async () => {
    const discard = vi.fn()
    await end(start([503, reset, 429, 201], {}, { discard }))
    await end(start([401, 201], {}, { discard, refresh: () => ({}) }))
    await end(start([503], { retries: 0 }, { discard }))
    expect(discard.mock.calls).toEqual([['answer 503'], ['answer 429'], ['answer 401']])
  })

  test('are told before they begin', async () => {
    const onRetry = vi.fn()
    await end(start([reset, 503, 201], { onRetry }))
    expect(onRetry.mock.calls).toEqual([
      [{ attempts: 1, waitMs: expect.any(Number), status: undefined, error: reset }],
      [{ attempts: 2, waitMs: expect.any(Number), status: 503, error: undefined }],
    ])
  })

  test('that would end after the deadline do not begin, and the error has the time', async () => {
    const rig = start([answer(429, { 'retry-after': '3600' })], { deadline: '1m' })
    // The operation was turned away each time, so the answer is given back.
    expect(await end(rig)).toBe('answer 429 after 1')
    const begunAt = Date.now()
    const unknown = await end(start([answer(503, { 'retry-after': '3600' })], { deadline: '1m' }))
    expect(unknown).toMatchObject({ code: 'outcome-unknown', reason: 'deadline', attempts: 1 })
    const { retryAt } = unknown as { retryAt: number }
    expect(retryAt - begunAt).toBeGreaterThanOrEqual(3_600_000)
  })
})

describe('time', () => {
  test('an attempt that is not answered in time is unclear, and sent again', async () => {
    const rig = start(['silence', 201], { timeout: '2s' })
    expect(await end(rig)).toBe('answer 201 after 2')
    expect(rig.sentAt[1]).toBeGreaterThanOrEqual(2_000)
    expect(rig.sentAt[1]).toBeLessThan(2_200)
  })

  test('the deadline ends an attempt, too', async () => {
    const rig = start(['silence'], { timeout: '2s', deadline: '3s' })
    expect(await end(rig)).toMatchObject({
      ...{ code: 'outcome-unknown', reason: 'deadline', attempts: 2, cause: { name: 'TimeoutError' } },
    })
    expect(performance.now()).toBeLessThanOrEqual(3_001)
  })

  test('a machine that slept past the deadline sends nothing more', async () => {
    const rig = start([answer(429, { 'retry-after': '1' }), 201], { deadline: '10s' })
    await vi.advanceTimersByTimeAsync(0)
    const awake = performance.now()
    vi.spyOn(performance, 'now').mockImplementation(() => awake + 60_000)
    expect(await end(rig)).toBe('answer 429 after 1')
    vi.restoreAllMocks()
  })

  test('what reads the octets may not take longer than the deadline', async () => {
    const never = (): Promise<unknown> => new Promise(() => {})
    const rig = start([201], { deadline: '3s' }, { prepare: never })
    expect(await end(rig)).toMatchObject({ code: 'not-applied', reason: 'deadline', attempts: 0 })
    expect(rig.sentAt).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })

  test('an age that is no number is past the horizon', async () => {
    const rig = start([201], {}, { sentSince: Number.NaN })
    expect(await end(rig)).toMatchObject({ code: 'horizon-passed', attempts: 0 })
    expect(rig.sentAt).toEqual([])
  })

  test('a key older than half of the lifetime is not sent', async () => {
    const hour = 3_600_000
    const old = { sentSince: Date.now() - 13 * hour }
    const rig = start([201], { lifetime: '24h' }, old)
    expect(await end(rig)).toMatchObject({ code: 'horizon-passed', reason: 'horizon', attempts: 0, key: 'k' })
    expect(rig.sentAt).toEqual([])
    const young = { sentSince: Date.now() - 11 * hour }
    expect(await end(start([201], { lifetime: '24h' }, young))).toBe('answer 201 after 1')
  })

  test('the horizon comes during a call', async () => {
    const wait = answer(503, { 'retry-after': '20' })
    expect(await end(start([wait], { lifetime: '30s' }))).toMatchObject({
      ...{ code: 'horizon-passed', attempts: 1 },
    })
    const refusing = answer(429, { 'retry-after': '20' })
    expect(await end(start([refusing], { lifetime: '30s' }))).toBe('answer 429 after 1')
  })
})

describe("the caller's signal", () => {
  const reason = new Error('enough')

  test('aborted before: nothing is sent', async () => {
    const rig = start([201], {}, { signal: AbortSignal.abort(reason) })
    expect(await end(rig)).toBe(reason)
    expect(rig.sentAt).toEqual([])
  })

  test('aborted during an attempt: its reason is thrown, and no breaker hears of it', async () => {
    const abort = new AbortController()
    const breaker = circuitBreaker({ failures: 1 })
    const rig = start(['silence'], { breaker }, { signal: abort.signal })
    await vi.advanceTimersByTimeAsync(100)
    abort.abort(reason)
    expect(await rig.ended.catch((error: unknown) => error)).toBe(reason)
    expect(breaker.blockedMs('https://api.example')).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('aborted during a wait: its reason is thrown at once', async () => {
    const abort = new AbortController()
    const rig = start([answer(503, { 'retry-after': '60' })], {}, { signal: abort.signal })
    await vi.advanceTimersByTimeAsync(100)
    expect(vi.getTimerCount()).toBe(1)
    abort.abort(reason)
    expect(await rig.ended.catch((error: unknown) => error)).toBe(reason)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('aborted by the one who is told of a retry', async () => {
    const abort = new AbortController()
    const onRetry = (): void => abort.abort(reason)
    const rig = start([answer(503, { 'retry-after': '60' })], { onRetry }, { signal: abort.signal })
    expect(await rig.ended.catch((error: unknown) => error)).toBe(reason)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('aborted during a refresh', async () => {
    const abort = new AbortController()
    const refresh = async (): Promise<undefined> => {
      abort.abort(reason)
      throw new Error('no token')
    }
    expect(await end(start([401], {}, { refresh, signal: abort.signal }))).toBe(reason)
  })

  test('null is none', async () => {
    expect(await end(start([503, 201], {}, { signal: null }))).toBe('answer 201 after 2')
  })
})

describe('the budget', () => {
  test('used up: the call ends', async () => {
    const options = { budget: { ratio: 0, perSecond: 2 }, backoff: 1 }
    expect(await end(start([503], options))).toMatchObject({
      ...{ code: 'outcome-unknown', reason: 'budget', attempts: 3 },
    })
    expect(await end(start([429], options))).toBe('answer 429 after 3')
  })
})

describe('the breaker', () => {
  const origin = 'https://api.example'

  test('stops a call between its attempts', async () => {
    const breaker = circuitBreaker({ failures: 2, coolDown: '1h' })
    expect(await end(start([503], { breaker }))).toMatchObject({
      ...{ code: 'outcome-unknown', reason: 'circuit-open', attempts: 2 },
    })
    const rig = start([201], { breaker })
    expect(await end(rig)).toMatchObject({ code: 'not-applied', reason: 'circuit-open', attempts: 0 })
    expect(rig.sentAt).toEqual([])
  })

  test('is not held by the attempt that tries where its caller ends it, or nothing can send it', async () => {
    const nothingCan = (): never => {
      throw new TypeError('no such method')
    }
    const abort = new AbortController()
    for (const [met, given] of [
      ['silence', { signal: abort.signal }],
      [reset, { wasNeverSent: nothingCan }],
    ] as const) {
      const breaker = circuitBreaker({ failures: 1, coolDown: '5s' })
      await end(start([503], { breaker, retries: 0 }))
      await vi.advanceTimersByTimeAsync(5_000)
      const tries = start([met], { breaker }, given)
      abort.abort()
      await tries.ended.catch(() => {})
      expect(tries.sentAt).toEqual([0])
      expect(await end(start([201], { breaker }))).toBe('answer 201 after 1')
    }
  })

  test('counts what is no usable answer', async () => {
    for (const [met, counts] of [
      [503, true],
      [reset, true],
      [refused, true],
      ['silence', true],
      [429, false],
      [404, false],
      [501, false],
      [answer(500, { 'idempotent-replayed': 'true' }), false],
    ] as const) {
      const breaker = circuitBreaker({ failures: 1, coolDown: '1h' })
      await end(start([met], { breaker, retries: 0 }))
      expect([met, breaker.blockedMs(origin) > 0]).toEqual([met, counts])
    }
  })
})

test('no retries: sent once', async () => {
  expect(await end(start([503], { retries: 0 }))).toMatchObject({ reason: 'retries', attempts: 1 })
})

test.each<[RetryOptions, string]>([
  [{ retries: -1 }, 'retries'],
  [{ retries: 1.5 }, 'retries'],
  [{ retries: 101 }, 'retries'],
  [{ backoff: 0 }, 'backoff'],
  [{ backoffMax: '30 s' as '30s' }, 'backoffMax'],
  [{ timeout: 0 }, 'timeout'],
  [{ deadline: '40d' }, 'deadline'],
  [{ lifetime: 0 }, 'lifetime'],
])('%o is refused', (options, name) => {
  expect(() => readOptions(platform, options)).toThrow(`Option ${name} must be `)
})
