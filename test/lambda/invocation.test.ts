/** The time of an invocation: what lease it makes, when the signal aborts, and what is left behind. */
import { expect, test } from 'vitest'
import type { Claim } from '../../src/core/store.ts'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { idempotentApi, idempotentBatch, idempotentHandler } from '../../src/lambda/index.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { storeWith } from '../http/raw-client.ts'
import { instance } from '../http/serving.ts'
import { apiV2, sqsRecord } from './events.ts'

const anonymous = { principal: 'anonymous' } as const

function context(remainingMs: number) {
  return { getRemainingTimeInMillis: () => remainingMs }
}

/** An instance that shows its claims. */
function shown() {
  const claims: Claim[] = []
  const memory = memoryStore()
  const store = storeWith(memory, {
    claim: (asked) => {
      claims.push(...asked)
      return memory.claim(asked)
    },
  })
  return { claims, idem: createIdempotency({ store, sweep: false, lease: '30s' }) }
}

test('the lease covers what is left of the invocation, and a second', async () => {
  const { claims, idem } = shown()
  const answer = () => ({ statusCode: 200, body: '' })
  await idempotentApi(idem, anonymous, answer)(apiV2({ key: 'a' }), context(600_000))
  await idempotentHandler(
    idem,
    { ...anonymous, operation: 'o', key: 'id' },
    () => 1,
  )({ id: 'b' }, context(600_000))
  const batch = idempotentBatch(idem, { ...anonymous, operation: 'o' }, () => {})
  await batch({ Records: [sqsRecord({ id: 'c' })] }, context(600_000))
  expect(claims).toHaveLength(3)
  for (const { leaseMs } of claims) {
    expect(leaseMs).toBeLessThanOrEqual(601_000)
    // The time that the test itself takes.
    expect(leaseMs).toBeGreaterThan(500_000)
  }
})

test.each([
  ['no context', undefined],
  ['a context that does not tell', {}],
  ['a context that tells nonsense', { getRemainingTimeInMillis: () => Number.NaN }],
])('%s: the lease of the options counts', async (_, given) => {
  const { claims, idem } = shown()
  const handler = idempotentApi(idem, anonymous, () => ({ statusCode: 200, body: '' }))
  await handler(apiV2(), given as never)
  expect(claims[0]?.leaseMs).toBe(30_000)
})

test('the signal aborts before the end, and what is thrown then leaves the outcome unknown', async () => {
  let runs = 0
  const handler = idempotentApi(instance(), anonymous, (_event, _context, idempotency) => {
    runs += 1
    const { signal } = idempotency as { signal: AbortSignal }
    return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  })
  await expect(handler(apiV2(), context(200))).rejects.toThrow('about to end')
  const refused = (await handler(apiV2(), context(29_000))) as { statusCode: number; body: string }
  expect([refused.statusCode, JSON.parse(refused.body)]).toMatchObject([409, { code: 'outcome-unknown' }])
  expect(runs).toBe(1)
})

test.each([
  [undefined, 1, { code: 'outcome-unknown' }],
  ['release', 2, { name: 'TimeoutError' }],
] as const)('of an event, with onError %s', async (onError, runsExpected, error) => {
  let runs = 0
  const options = { ...anonymous, operation: 'o', key: 'id', ...(onError === undefined ? {} : { onError }) }
  const handler = idempotentHandler(instance(), options, (_event: { id: string }, _context, { signal }) => {
    runs += 1
    return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  })
  await expect(handler({ id: 'a' }, context(200))).rejects.toMatchObject({ name: 'TimeoutError' })
  await expect(handler({ id: 'a' }, context(200))).rejects.toMatchObject(error)
  expect(runs).toBe(runsExpected)
})

test('a handler that stops when it is told to has its outcome stored', async () => {
  const handler = idempotentApi(instance(), anonymous, async (_event, _context, idempotency) => {
    const { signal } = idempotency as { signal: AbortSignal }
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    return { statusCode: 202, body: 'half of it' }
  })
  expect(await handler(apiV2(), context(200))).toMatchObject({ body: 'half of it' })
  expect(await handler(apiV2(), context(200))).toMatchObject({ statusCode: 202, body: 'half of it' })
})

test('no handler starts in the time that is left after the signal', async () => {
  let runs = 0
  const memory = memoryStore()
  const slow = storeWith(memory, {
    claim: async (asked) => {
      // Longer than the invocation lasts until its signal aborts.
      await new Promise((resolve) => setTimeout(resolve, 300))
      return await memory.claim(asked)
    },
  })
  const idem = createIdempotency({ store: slow, sweep: false })
  const api = idempotentApi(idem, anonymous, () => ({ statusCode: 200, body: String((runs += 1)) }))
  expect(await api(apiV2(), context(200))).toMatchObject({ statusCode: 409 })
  const options = { ...anonymous, operation: 'o', key: 'id' }
  const single = idempotentHandler(idem, options, (_event: { id: string }) => (runs += 1))
  await expect(single({ id: 'a' }, context(200))).rejects.toMatchObject({ code: 'in-progress' })
  expect(runs).toBe(0)
  expect(await api(apiV2(), context(29_000))).toMatchObject({ statusCode: 200, body: '1' })
  expect(await single({ id: 'a' }, context(29_000))).toBe(2)
})

test('waiting for another attempt ends with the invocation', async () => {
  const inHandler = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  const handler = idempotentApi(instance(), { ...anonymous, wait: '10m' }, async () => {
    inHandler.resolve()
    await goOn.promise
    return { statusCode: 200, body: '' }
  })
  const first = handler(apiV2(), context(900_000))
  await inHandler.promise
  expect(await handler(apiV2(), context(100))).toMatchObject({ statusCode: 409 })
  goOn.resolve()
  await first
})
