/** Events of HTTP requests: what is one request, what a result becomes, and how an attempt ends. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { APIGatewayProxyResult } from 'aws-lambda'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { idempotentApi } from '../../src/lambda/index.ts'
import { descriptionOf } from '../../src/openapi/protected-operation.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { storeWith } from '../http/raw-client.ts'
import { instance } from '../http/serving.ts'
import { StoreError } from '../../src/core/errors.ts'
import { apiV1, apiV2 } from './events.ts'

const context = { getRemainingTimeInMillis: () => 29_000 }
const anonymous = { principal: 'anonymous' } as const

/** A handler that counts, behind the layer. */
function counted(options: Partial<Parameters<typeof idempotentApi>[1]> = {}, idem = instance()) {
  let runs = 0
  const handler = idempotentApi(idem, { ...anonymous, ...options }, () => ({
    statusCode: 201,
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ run: (runs += 1) }),
  }))
  return { handler, runs: () => runs }
}

function codeOf(answer: { readonly body?: string }): unknown {
  return (JSON.parse(answer.body ?? '') as { code?: unknown }).code
}

describe('what is one request', () => {
  test('the same event again is a replay, in the form of its host', async () => {
    const { handler, runs } = counted()
    const first = await handler(apiV2(), context)
    const again = await handler(apiV2(), context)
    expect(again).toEqual({
      ...first,
      headers: {
        'Content-Type': 'application/json',
        'Cache-Control': 'no-store',
        'Idempotent-Replayed': 'true',
      },
      isBase64Encoded: false,
    })
    expect(runs()).toBe(1)
  })

  test('JSON is compared by value, and a body in base64 by its octets', async () => {
    const { handler, runs } = counted()
    await handler(apiV2(), context)
    const spaced = Buffer.from('{ "amount": 100 }').toString('base64')
    await handler({ ...apiV2({ body: spaced }), isBase64Encoded: true }, context)
    expect(runs()).toBe(1)
  })

  test.each([
    ['the body', apiV2({ body: '{"amount":200}' })],
    ['the path', apiV2({ path: '/refunds' })],
    ['the query', apiV2({ query: 'a=1' })],
    ['the method', apiV2({ method: 'PATCH' })],
  ])('another request by %s is refused', async (_, other) => {
    const { handler, runs } = counted()
    await handler(apiV2(), context)
    const refused = await handler(other, context)
    expect([refused.statusCode, codeOf(refused), runs()]).toEqual([422, 'key-reused', 1])
  })

  test('in format 1.0 the query counts, whatever the order that its map has', async () => {
    const { handler, runs } = counted()
    await handler(apiV1({ query: 'a=1&b=2&b=3' }), context)
    expect((await handler(apiV1({ query: 'b=2&b=3&a=1' }), context)).statusCode).toBe(201)
    expect((await handler(apiV1({ query: 'a=1&b=3&b=2' }), context)).statusCode).toBe(422)
    expect(runs()).toBe(1)
  })

  test('two lines of the key, in whatever case, name no key', async () => {
    const { handler } = counted()
    const event = apiV1()
    const twice = { ...event.multiValueHeaders, 'IDEMPOTENCY-KEY': ['other'] }
    const refused = await handler({ ...event, multiValueHeaders: twice }, context)
    expect([refused.statusCode, codeOf(refused)]).toEqual([400, 'key-malformed'])
  })

  test('a body over the limit is refused before it is compared', async () => {
    const { handler, runs } = counted({ requestBytesMax: 13 })
    const refused = await handler(apiV2(), context)
    expect([refused.statusCode, codeOf(refused), runs()]).toEqual([413, 'request-too-large', 0])
  })

  test('the principal is read from the authorizer, and is part of the scope', async () => {
    let runs = 0
    const handler = idempotentApi(
      instance(),
      { principal: (event) => (event.requestContext.authorizer as { claims: { sub: string } }).claims.sub },
      (_event: ReturnType<typeof apiV1>) => ({ statusCode: 200, body: String((runs += 1)) }),
    )
    const stranger = apiV1()
    stranger.requestContext.authorizer = { claims: { sub: 'user-2' } } as never
    expect([(await handler(apiV1(), context)).body, (await handler(stranger, context)).body]).toEqual([
      '1',
      '2',
    ])
    const nobody = apiV1()
    nobody.requestContext.authorizer = null as never
    const refused = await handler(nobody, context)
    expect([refused.statusCode, codeOf(refused)]).toEqual([500, 'principal-invalid'])
  })

  test('an event that is none of HTTP names the handler to use', async () => {
    const { handler } = counted()
    await expect(handler({ Records: [] } as never, context)).rejects.toThrow(/idempotentHandler/)
  })
})

describe('what a result becomes', () => {
  test('format 2.0 takes a value without a status for the JSON of a 200', async () => {
    const handler = idempotentApi(instance(), anonymous, () => ({ id: 'ch_1' }))
    expect(await handler(apiV2(), context)).toEqual({ id: 'ch_1' })
    expect(await handler(apiV2(), context)).toMatchObject({
      statusCode: 200,
      headers: { 'Content-Type': 'application/json' },
      body: '{"id":"ch_1"}',
    })
  })

  test('format 1.0 answers such a value with 502, so the next attempt runs', async () => {
    let runs = 0
    const handler = idempotentApi(instance(), anonymous, () => ({ id: (runs += 1) }))
    expect([await handler(apiV1(), context), await handler(apiV1(), context)]).toEqual([{ id: 1 }, { id: 2 }])
  })

  test('octets that are no text come back in base64', async () => {
    const octets = Buffer.from([0, 255, 254, 10])
    const handler = idempotentApi(instance(), anonymous, () => ({
      statusCode: 200,
      body: octets.toString('base64'),
      isBase64Encoded: true,
    }))
    await handler(apiV1(), context)
    const replay = (await handler(apiV1(), context)) as APIGatewayProxyResult
    expect([replay.isBase64Encoded, Buffer.from(replay.body, 'base64')]).toEqual([true, octets])
  })

  test('repeated fields are a list in format 1.0 and one line in format 2.0', async () => {
    const handler = idempotentApi(instance(), anonymous, () => ({
      statusCode: 200,
      headers: { 'X-Two': '2', Link: '<c>' },
      multiValueHeaders: { Link: ['<a>', '<b>'], 'X-One': ['1'] },
      body: '',
    }))
    await handler(apiV1(), context)
    const replay = await handler(apiV1(), context)
    expect(replay).toMatchObject({
      headers: { 'X-One': '1', 'X-Two': '2' },
      multiValueHeaders: { Link: ['<a>', '<b>'] },
    })
    expect(replay.headers).not.toHaveProperty('Link')
  })

  test('cookies are of the first answer only', async () => {
    const handler = idempotentApi(instance(), anonymous, () => ({
      statusCode: 200,
      cookies: ['a=1'],
      body: '',
    }))
    expect(await handler(apiV2(), context)).toHaveProperty('cookies')
    expect(JSON.stringify(await handler(apiV2(), context))).not.toContain('a=1')
  })
})

describe('how an attempt ends', () => {
  test('a duplicate beside the first one is refused, and a replay afterwards', async () => {
    const inHandler = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    const handler = idempotentApi(instance(), anonymous, async () => {
      inHandler.resolve()
      await goOn.promise
      return { statusCode: 201, body: 'done' }
    })
    const first = handler(apiV2(), context)
    await inHandler.promise
    const refused = await handler(apiV2(), context)
    expect(refused).toMatchObject({ statusCode: 409, headers: { 'Retry-After': '1' } })
    goOn.resolve()
    expect((await first).body).toBe('done')
    expect((await handler(apiV2(), context)).body).toBe('done')
  })

  test('what a handler throws goes on to Lambda, and the next attempt runs', async () => {
    let runs = 0
    const handler = idempotentApi(instance(), anonymous, () => {
      runs += 1
      if (runs === 1) throw new Error('boom')
      return { statusCode: 201, body: '' }
    })
    await expect(handler(apiV2(), context)).rejects.toThrow('boom')
    expect((await handler(apiV2(), context)).statusCode).toBe(201)
  })

  test('the handler decides by its attempt', async () => {
    let runs = 0
    const handler = idempotentApi(instance(), anonymous, (_event, _context, idempotency) => {
      runs += 1
      if (idempotency?.key === 'released') idempotency.release()
      else if (idempotency?.key === 'unknown') idempotency.unknown()
      return { statusCode: 201, body: '' }
    })
    for (const key of ['released', 'unknown']) await handler(apiV2({ key }), context)
    expect((await handler(apiV2({ key: 'released' }), context)).statusCode).toBe(201)
    expect(codeOf(await handler(apiV2({ key: 'unknown' }), context))).toBe('outcome-unknown')
    expect(runs).toBe(3)
  })

  test('a layer inside a layer leaves the request to the outer one', async () => {
    const idem = instance()
    const fences: unknown[] = []
    const inner = idempotentApi(idem, anonymous, (_event, _context, idempotency) => {
      fences.push(idempotency?.fence)
      return { statusCode: 201, body: 'inner' }
    })
    const handler = idempotentApi(idem, anonymous, inner)
    for (const _ of [1, 2]) expect((await handler(apiV2(), context)).body).toBe('inner')
    expect(fences).toEqual([1])
  })

  test('the answer is returned only after the record is stored', async () => {
    const memory = memoryStore()
    const order: string[] = []
    const store = storeWith(memory, {
      settle: async (settlements) => {
        const replies = await memory.settle(settlements)
        order.push('settled')
        return replies
      },
    })
    const { handler } = counted({}, createIdempotency({ store, sweep: false }))
    await handler(apiV2(), context)
    order.push('answered')
    expect(order).toEqual(['settled', 'answered'])
  })

  test('an outcome that could not be stored is not answered as if it were', async () => {
    const store = storeWith(memoryStore(), {
      settle: () => Promise.reject(new StoreError('permanent', 'disk full')),
    })
    const { handler } = counted({}, createIdempotency({ store, sweep: false }))
    const answer = await handler(apiV2(), context)
    expect([answer.statusCode, codeOf(answer)]).toEqual([503, 'outcome-unknown'])
  })

  test.each([
    ['format 2.0', apiV2, { id: 1 }, { headers: { 'Idempotency-Unprotected': 'store-unavailable' } }],
    [
      'format 1.0',
      apiV1,
      { statusCode: 200, headers: { A: '1' }, body: '' },
      { headers: { A: '1', 'Idempotency-Unprotected': 'store-unavailable' } },
    ],
  ])('without its store a request may run, and says so in %s', async (_, event, result, marked) => {
    const store = storeWith(memoryStore(), {
      claim: () => Promise.reject(new StoreError('permanent', 'down')),
    })
    const idem = createIdempotency({ store, sweep: false })
    const handler = idempotentApi(idem, { ...anonymous, onStoreError: 'run' }, () => result)
    expect(await handler(event() as never, context)).toMatchObject(marked)
  })
})

test('in transaction mode the handler gets its transaction, and what threw leaves nothing', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lambda-'))
  const idem = createIdempotency({ store: sqliteStore({ file: join(folder, 'shop.db') }), sweep: false })
  onTestFinished(async () => {
    await idem.close()
    rmSync(folder, { recursive: true })
  })
  let fails = true
  const handler = idempotentApi(
    idem,
    { principal: 'anonymous', transaction: true },
    (_event: ReturnType<typeof apiV2>, _context, idempotency) => {
      idempotency?.tx.exec("CREATE TABLE IF NOT EXISTS orders (id); INSERT INTO orders VALUES ('o-1')")
      const count = idempotency?.tx.prepare('SELECT count(*) AS orders FROM orders').get()
      if (fails) throw new Error('boom')
      return { statusCode: 201, body: JSON.stringify(count) }
    },
  )
  await expect(handler(apiV2(), context)).rejects.toThrow('boom')
  fails = false
  for (const _ of [1, 2]) expect((await handler(apiV2(), context)).body).toBe('{"orders":1}')
})

describe('options', () => {
  test('are checked where the layer is made', () => {
    const handler = () => ({ statusCode: 200 })
    const make = (options: object) => () => idempotentApi(instance(), options as never, handler)
    expect(make({})).toThrow(/principal/)
    expect(make({ ...anonymous, abortBefor: 1 })).toThrow(/abortBefor/)
    expect(make({ ...anonymous, abortBefore: 'soon' })).toThrow(/abortBefore must be/)
    expect(make({ ...anonymous, onUnknown: 'reconcile' })).toThrow(/onUnknown/)
  })

  test('describe the layer', () => {
    expect(descriptionOf(counted({ required: true }).handler)).toMatchObject({
      required: true,
      anonymous: true,
    })
  })
})
