/** Events of any kind: where the key stands, what is compared, and what whoever invoked it gets. */
import { describe, expect, test } from 'vitest'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { type HandlerOptions, idempotentHandler } from '../../src/lambda/index.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { instance } from '../http/serving.ts'
import { paymentAuthorized } from './events.ts'

const context = { getRemainingTimeInMillis: () => 29_000 }
type Event = ReturnType<typeof paymentAuthorized>

function counted(options: Partial<HandlerOptions<Event, unknown>>, idem = instance()) {
  let runs = 0
  const given = { operation: 'capture', principal: 'anonymous' as const, key: 'id', ...options }
  const handler = idempotentHandler<Event, unknown>(idem, given, ({ detail }) => ({
    run: (runs += 1),
    cents: BigInt(detail.cents),
  }))
  return { handler, runs: () => runs }
}

const detail = { paymentId: 'pay_1', cents: 100 }

describe('keys', () => {
  test('a delivery that comes again returns the value of the first one', async () => {
    const { handler, runs } = counted({})
    const first = await handler(paymentAuthorized('e1', detail), context)
    expect(await handler(paymentAuthorized('e1', detail), context)).toEqual(first)
    await handler(paymentAuthorized('e2', detail), context)
    expect(runs()).toBe(2)
  })

  test('a path leads to a member; a whole number counts as its digits', async () => {
    const { handler, runs } = counted({ key: 'detail.paymentId', fingerprint: (event) => event.detail })
    await handler(paymentAuthorized('e1', detail), context)
    await handler(paymentAuthorized('e2', detail), context)
    await handler(paymentAuthorized('e3', { paymentId: 42, cents: 1 }), context)
    await handler(paymentAuthorized('e4', { paymentId: 42, cents: 1 }), context)
    expect(runs()).toBe(2)
  })

  test('another event under the key is refused', async () => {
    const { handler, runs } = counted({ key: (event) => String(event.detail.paymentId) })
    await handler(paymentAuthorized('e1', detail), context)
    const other = paymentAuthorized('e1', { ...detail, cents: 200 })
    await expect(handler(other, context)).rejects.toMatchObject({ code: 'key-reused' })
    expect(runs()).toBe(1)
  })

  test.each([
    ['absent', 'detail.orderId', 'key-missing'],
    ['an object', 'detail', 'key-malformed'],
    ['inherited', 'constructor.name', 'key-missing'],
    ['a part of a text', 'id.length', 'key-missing'],
  ])('%s: nothing runs', async (_, key, code) => {
    const { handler, runs } = counted({ key })
    await expect(handler(paymentAuthorized('e1', detail), context)).rejects.toMatchObject({ code })
    expect(runs()).toBe(0)
  })

  test('the principal is part of the scope', async () => {
    const { handler, runs } = counted({ principal: (event) => event.account })
    await handler(paymentAuthorized('e1', detail), context)
    await handler({ ...paymentAuthorized('e1', detail), account: '444455556666' }, context)
    expect(runs()).toBe(2)
    const nobody = { ...paymentAuthorized('e1', detail), account: undefined as never }
    await expect(handler(nobody, context)).rejects.toMatchObject({ code: 'principal-invalid' })
  })
})

describe('ends', () => {
  test('beside the first delivery a second one is told to come again', async () => {
    const inHandler = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    const options = { operation: 'o', principal: 'anonymous', key: 'id' } as const
    const handler = idempotentHandler(instance(), options, async (_event: { id: string }) => {
      inHandler.resolve()
      await goOn.promise
      return 'done'
    })
    const first = handler({ id: 'a' }, context)
    await inHandler.promise
    await expect(handler({ id: 'a' }, context)).rejects.toMatchObject({ code: 'in-progress' })
    goOn.resolve()
    expect([await first, await handler({ id: 'a' }, context)]).toEqual(['done', 'done'])
  })

  test.each([
    ['release', ['boom', 'boom'], 2],
    ['keep', ['boom', 'boom'], 1],
    ['unknown', ['boom', 'The outcome of an earlier attempt is unknown'], 1],
  ] as const)('a handler that throws, with onError %s', async (onError, messages, runsExpected) => {
    let runs = 0
    const options = { operation: 'o', principal: 'anonymous', key: 'id', onError } as const
    const handler = idempotentHandler(instance(), options, (_event: { id: string }) => {
      runs += 1
      throw new Error('boom')
    })
    for (const message of messages) await expect(handler({ id: 'a' }, context)).rejects.toThrow(message)
    expect(runs).toBe(runsExpected)
  })

  test('an unknown outcome is asked about', async () => {
    let now = 1_000_000
    const store = memoryStore({ clock: { now: () => now } })
    const options = {
      operation: 'o',
      principal: 'anonymous',
      key: 'id',
      onUnknown: 'reconcile',
      reconcile: async ({ id }: { id: string }) => ({ kind: 'applied', value: `found ${id}` }) as const,
    } as const
    const dead = createIdempotency({ store, sweep: false })
    void idempotentHandler(
      dead,
      options,
      (_event: { id: string }) => new Promise<string>(() => {}),
    )({ id: 'a' }, context)
    await new Promise(setImmediate)
    const alive = idempotentHandler(createIdempotency({ store, sweep: false }), options, () => 'ran')
    await expect(alive({ id: 'a' }, context)).rejects.toMatchObject({ code: 'in-progress' })
    now += 31_000
    expect(await alive({ id: 'a' }, context)).toBe('found a')
  })
})

test('options are checked where the handler is made', () => {
  const good = { operation: 'o', principal: 'anonymous', key: 'id' }
  const make = (changed: object) => () =>
    idempotentHandler(instance(), { ...good, ...changed } as never, () => 1)
  expect(make({ key: undefined })).toThrow(/key must be a function/)
  expect(make({ key: 'a..b' })).toThrow(/key must be a function/)
  expect(make({ operation: '' })).toThrow(/operation must be/)
  expect(make({ principal: undefined })).toThrow(/principal must be/)
  expect(make({ onUnknown: 'reconcile' })).toThrow(/reconcile is required/)
  expect(make({ retain: '1h' })).toThrow(/Did you mean|is not known/)
  expect(make({ abortBefore: -1 })).toThrow(/abortBefore/)
})
