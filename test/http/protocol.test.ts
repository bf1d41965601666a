/** Every answer that the protocol gives by itself, and the options that change it. */
import { readFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { StoreError } from '../../src/core/errors.ts'
import type { IdempotencyStore } from '../../src/core/store.ts'
import { onEvent } from '../../src/engine/events.ts'
import { createIdempotency, type Idempotency } from '../../src/engine/idempotency.ts'
import { idempotent, type IdempotencyContext, type IdempotentOptions } from '../../src/http/node.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { type Received, type Sent, send, storeWith } from './raw-client.ts'
import { serve } from './serving.ts'

type Options = Partial<IdempotentOptions<IncomingMessage>>
type Handler = (context: IdempotencyContext | undefined, run: number) => Answer | Promise<Answer>
type Answer = { status?: number; headers?: Record<string, string | string[]>; body?: string }

interface Service {
  readonly idem: Idempotency
  readonly ran: () => number
  readonly send: (sent?: Sent) => Promise<Received>
}

async function service(
  given: { options?: Options; handler?: Handler; store?: IdempotencyStore } = {},
): Promise<Service> {
  const { options = {}, store = memoryStore() } = given
  const handler: Handler = given.handler ?? (() => ({ status: 201 }))
  const idem = createIdempotency({ store, sweep: false })
  onTestFinished(() => idem.close())
  let ran = 0
  const { port } = await serve(
    idempotent(idem, { principal: 'anonymous', ...options }, async (_, res, context) => {
      const run = ++ran
      const { status = 200, headers = {}, body = `run ${run}` } = await handler(context, run)
      res.writeHead(status, headers)
      res.end(body)
    }),
  )
  return { idem, ran: () => ran, send: (sent) => send(port, sent) }
}

const headings = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8').matchAll(
  /^## (\S+)$/gm,
)
const documented = new Set([...headings].map(([, heading]) => heading))

function failing(verb: 'claim' | 'settle'): IdempotencyStore {
  return storeWith(memoryStore(), {
    [verb]: () => Promise.reject(new StoreError('permanent', 'disk full')),
  })
}

/** Leaves the key `k` as it was left by a handler that said its outcome is unknown. */
const unknownHandler: Handler = (context) => {
  context?.unknown()
  return { status: 500 }
}

interface Refusal {
  readonly code: string
  readonly status: number
  readonly retry: boolean
  readonly handlerRuns: number
  readonly cause: (options: Options) => Promise<{ answer: Received; ran: number }>
}

async function asked(made: Service, ...all: Sent[]): Promise<{ answer: Received; ran: number }> {
  let answer: Received | undefined
  for (const sent of all) answer = await made.send(sent)
  return { answer: answer as Received, ran: made.ran() }
}

const refusals: Readonly<Record<string, Refusal>> = {
  'no key where one is required': {
    code: 'key-missing',
    status: 400,
    retry: false,
    handlerRuns: 0,
    cause: async (options) => asked(await service({ options: { required: true, ...options } }), { key: '' }),
  },
  'a malformed key': {
    code: 'key-malformed',
    status: 400,
    retry: false,
    handlerRuns: 0,
    cause: async (options) => asked(await service({ options }), { key: '"open' }),
  },
  'a large request': {
    code: 'request-too-large',
    status: 413,
    retry: false,
    handlerRuns: 0,
    cause: async (options) =>
      asked(await service({ options: { requestBytesMax: 3, ...options } }), { body: '1234' }),
  },
  'nobody logged in': {
    code: 'principal-invalid',
    status: 401,
    retry: false,
    handlerRuns: 0,
    cause: async (options) =>
      asked(await service({ options: { ...options, principal: () => undefined } }), {}),
  },
  'a principal of no use': {
    code: 'principal-invalid',
    status: 500,
    retry: false,
    handlerRuns: 0,
    cause: async (options) => asked(await service({ options: { ...options, principal: () => '' } }), {}),
  },
  'another request': {
    code: 'key-reused',
    status: 422,
    retry: false,
    handlerRuns: 1,
    cause: async (options) => asked(await service({ options }), {}, { body: '{"amount":2}' }),
  },
  'a key past its retention': {
    code: 'key-expired',
    status: 422,
    retry: false,
    handlerRuns: 1,
    cause: async (options) => {
      let now = 1_000_000
      const store = memoryStore({ clock: { now: () => now } })
      const made = await service({ store, options: { retention: '1h', tombstone: '1d', ...options } })
      await made.send()
      now += 2 * 3_600_000
      return asked(made, {})
    },
  },
  'the first still running': {
    code: 'in-progress',
    status: 409,
    retry: true,
    handlerRuns: 0,
    cause: async (options) => {
      const started = Promise.withResolvers<void>()
      const goOn = Promise.withResolvers<void>()
      const made = await service({
        options,
        handler: async () => {
          started.resolve()
          await goOn.promise
          return {}
        },
      })
      const first = made.send()
      await started.promise
      const second = await made.send()
      goOn.resolve()
      expect((await first).status).toBe(200)
      return { answer: second, ran: made.ran() - 1 }
    },
  },
  'an unknown outcome': {
    code: 'outcome-unknown',
    status: 409,
    retry: false,
    handlerRuns: 1,
    cause: async (options) => asked(await service({ options, handler: unknownHandler }), {}, {}),
  },
  'an outcome not stored': {
    code: 'outcome-unknown',
    status: 503,
    retry: true,
    handlerRuns: 1,
    cause: async (options) => asked(await service({ options, store: failing('settle') }), {}),
  },
  'a stored outcome that cannot be read': {
    code: 'outcome-unreadable',
    status: 503,
    retry: false,
    handlerRuns: 1,
    cause: async (options) => {
      const memory = memoryStore()
      const store = storeWith(memory, {
        settle: (settlements) =>
          memory.settle(
            settlements.map((one) =>
              one.to === 'completed' ? { ...one, outcome: Uint8Array.of(255, 255, 255, 255) } : one,
            ),
          ),
      })
      return asked(await service({ options, store }), {}, {})
    },
  },
  'a store that is down': {
    code: 'store-unavailable',
    status: 503,
    retry: true,
    handlerRuns: 0,
    cause: async (options) => asked(await service({ options, store: failing('claim') }), {}),
  },
  'an instance that was closed': {
    code: 'closed',
    status: 503,
    retry: true,
    handlerRuns: 0,
    cause: async (options) => {
      const made = await service({ options })
      await made.idem.close()
      return asked(made, {})
    },
  },
}

describe('refusals', () => {
  test.each(Object.entries(refusals))('%s', async (_, { code, status, retry, handlerRuns, cause }) => {
    const { answer, ran } = await cause({ documentation: 'https://a.example/errors' })
    const problem = JSON.parse(answer.body.toString()) as Record<string, unknown>
    const page = `https://a.example/errors#${code}`
    expect(documented).toContain(code)
    expect(answer.status).toBe(status)
    expect(problem).toEqual({
      type: page,
      title: expect.any(String),
      status,
      detail: expect.any(String),
      code,
    })
    expect(answer.header('content-type')).toBe('application/problem+json')
    expect(answer.header('cache-control')).toBe('no-store')
    expect(answer.header('link')).toBe(`<${page}>; rel="describedby"`)
    expect(answer.header('idempotent-replayed')).toBeUndefined()
    if (retry) expect(answer.header('retry-after')).toMatch(/^[1-9]\d*$/)
    else expect(answer.header('retry-after')).toBeUndefined()
    expect(ran).toBe(handlerRuns)
  })

  test.each<[string, Options['statuses'], number]>([
    ['another request', { mismatch: 409 }, 409],
    ['another request', { mismatch: 400 }, 400],
    ['the first still running', { inProgress: 425 }, 425],
    ['the first still running', { inProgress: 423 }, 423],
    ['an unknown outcome', { unknown: 503 }, 503],
    ['a key past its retention', { expired: 410 }, 410],
    ['a key past its retention', { expired: 412 }, 412],
  ])('%s, with statuses %j: %i', async (name, statuses, status) => {
    const { answer } = await (refusals[name] as Refusal).cause({ statuses: { ...statuses } })
    expect(answer.status).toBe(status)
    expect(JSON.parse(answer.body.toString())).toMatchObject({ status, code: refusals[name]?.code })
  })

  test('without a documentation option the link names a page of this package', async () => {
    const { answer } = await (refusals['a malformed key'] as Refusal).cause({})
    expect(answer.header('link')).toMatch(/^<https:\/\/\S+\/errors\.md#key-malformed>; rel="describedby"$/)
  })
})

describe('what is guarded', () => {
  test.each(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])('%s is not, by default', async (method) => {
    const { send: ask, ran } = await service()
    for (const _ of [1, 2]) {
      expect((await ask({ method, body: [] })).header('idempotent-replayed')).toBeUndefined()
    }
    expect(ran()).toBe(2)
  })

  test.each(['POST', 'PATCH'])('%s is, by default', async (method) => {
    const { send: ask, ran } = await service()
    await ask({ method })
    expect((await ask({ method })).header('idempotent-replayed')).toBe('true')
    expect(ran()).toBe(1)
  })

  test('methods names others', async () => {
    const { send: ask, ran } = await service({ options: { methods: ['PUT'] } })
    await ask({ method: 'PUT' })
    await ask({ method: 'PUT' })
    await ask({ method: 'POST' })
    await ask({ method: 'POST' })
    expect(ran()).toBe(3)
  })

  test('without a key, where none is required, each request runs', async () => {
    const { send: ask, ran } = await service()
    await ask({ key: '' })
    await ask({ key: '' })
    expect(ran()).toBe(2)
  })
})

describe('presets and the result rule', () => {
  const kept = [200, 201, 302, 400, 402, 404, 409, 410, 422]
  const released = [401, 403, 407, 408, 421, 423, 425, 428, 429, 500, 502, 503]

  test.each([...kept.map((status) => [status, 1]), ...released.map((status) => [status, 2])])(
    'a %i runs %i times for two requests',
    async (status, runs) => {
      const { send: ask, ran } = await service({ handler: () => ({ status: status as number }) })
      expect([(await ask()).status, (await ask()).status, ran()]).toEqual([status, status, runs])
    },
  )

  test('money requires a key, and holds a key whose answer was a 5xx', async () => {
    const { send: ask, ran } = await service({
      options: { preset: 'money' },
      handler: () => ({ status: 502 }),
    })
    expect((await ask({ key: '' })).status).toBe(400)
    expect((await ask()).status).toBe(502)
    const held = await ask()
    expect([held.status, JSON.parse(held.body.toString()).code]).toEqual([409, 'outcome-unknown'])
    expect(ran()).toBe(1)
  })

  test('ietf takes quoted keys only', async () => {
    const { send: ask, ran } = await service({ options: { preset: 'ietf' } })
    expect((await ask({ key: 'bare' })).status).toBe(400)
    expect((await ask({ key: '"quoted"' })).status).toBe(201)
    expect(ran()).toBe(1)
  })

  test('stripe replays a 5xx', async () => {
    const { send: ask, ran } = await service({
      options: { preset: 'stripe' },
      handler: () => ({ status: 503 }),
    })
    await ask()
    const replay = await ask()
    expect([replay.status, replay.header('idempotent-replayed'), ran()]).toEqual([503, 'true', 1])
  })

  test('an option given beside a preset wins', async () => {
    const { send: ask } = await service({ options: { preset: 'money', required: false } })
    expect((await ask({ key: '' })).status).toBe(201)
  })

  test('result decides instead', async () => {
    const { send: ask, ran } = await service({
      options: { result: (status) => (status === 404 ? 'release' : 'keep') },
      handler: (_, run) => ({ status: run === 1 ? 404 : 500 }),
    })
    expect([(await ask()).status, (await ask()).status, (await ask()).status, ran()]).toEqual([
      404, 500, 500, 2,
    ])
  })

  test.each<['keep' | 'release' | 'unknown', number, number, number]>([
    ['keep', 500, 500, 1],
    ['release', 200, 200, 2],
    ['unknown', 200, 409, 1],
  ])('%s(), said by the handler, wins over the status', async (word, status, second, runs) => {
    const handler: Handler = (context) => {
      context?.[word]()
      return { status }
    }
    const { send: ask, ran } = await service({ handler })
    expect([(await ask()).status, (await ask()).status, ran()]).toEqual([status, second, runs])
  })
})

describe('the key and its scope', () => {
  test('by default a key is one request anywhere', async () => {
    const { send: ask } = await service()
    await ask({ path: '/a' })
    expect((await ask({ path: '/b' })).status).toBe(422)
  })

  test('scope endpoint makes keys independent for each method and path', async () => {
    const { send: ask, ran } = await service({ options: { scope: 'endpoint' } })
    await ask({ path: '/a' })
    expect((await ask({ path: '/b' })).status).toBe(201)
    expect((await ask({ path: '/a', method: 'PATCH' })).status).toBe(201)
    expect((await ask({ path: '/a' })).header('idempotent-replayed')).toBe('true')
    expect((await ask({ path: '/a?x=1' })).status).toBe(422)
    expect(ran()).toBe(3)
  })

  test('principals do not share keys', async () => {
    const { send: ask, ran } = await service({
      options: { principal: (request) => request.headers['x-tenant'] as string },
    })
    const [a, b] = await Promise.all(['a', 'b'].map((tenant) => ask({ headers: { 'x-tenant': tenant } })))
    expect([a?.status, b?.status, ran()]).toEqual([201, 201, 2])
  })

  test('"k" and k are one key, and case tells keys apart', async () => {
    const { send: ask, ran } = await service()
    await ask({ key: 'k' })
    expect((await ask({ key: '"k"' })).header('idempotent-replayed')).toBe('true')
    expect((await ask({ key: 'K' })).header('idempotent-replayed')).toBeUndefined()
    expect(ran()).toBe(2)
  })

  test('header names the field', async () => {
    const { send: ask, ran } = await service({ options: { header: 'X-Request-Key' } })
    const headers = { 'x-request-key': 'other' }
    await ask({ headers })
    expect((await ask({ headers })).header('idempotent-replayed')).toBe('true')
    await ask()
    await ask()
    expect(ran()).toBe(3)
  })

  test('keyLengthMin and keyLengthMax bound the key', async () => {
    const { send: ask } = await service({ options: { keyLengthMin: 3, keyLengthMax: 4 } })
    const statuses = []
    for (const key of ['ab', 'abc', 'abcd', 'abcde']) statuses.push((await ask({ key })).status)
    expect(statuses).toEqual([400, 201, 201, 400])
  })
})

describe('the fields of a replay', () => {
  async function replayOf(
    headers: Record<string, string | string[]>,
    options: Options = {},
  ): Promise<Received> {
    const { send: ask } = await service({ options, handler: () => ({ headers }) })
    await ask()
    return await ask()
  }

  test.each([
    ['Set-Cookie', 'a=1'],
    ['Age', '7'],
    ['Expires', 'Thu, 01 Jan 2099 00:00:00 GMT'],
    ['WWW-Authenticate', 'Basic'],
    ['Authentication-Info', 'x'],
    ['Via', '1.1 a'],
    ['Alt-Svc', 'h3=":443"'],
    ['Server-Timing', 'db;dur=3'],
    ['X-Request-Id', '7'],
    ['Traceparent', '00-1-2-01'],
    ['Proxy-Authenticate', 'Basic'],
    ['Access-Control-Allow-Origin', 'https://a.example'],
    ['RateLimit-Remaining', '3'],
    ['X-RateLimit-Remaining', '3'],
  ])('%s belongs to the first sending', async (name, value) => {
    expect((await replayOf({ [name]: value })).header(name)).toBeUndefined()
  })

  test('what Connection names belongs to the connection', async () => {
    const replay = await replayOf({ Connection: 'close, X-Hop', 'X-Hop': '1', 'X-End': '2' })
    expect([replay.header('x-hop'), replay.header('x-end')]).toEqual([undefined, '2'])
  })

  test.each([
    ['Location', '/charges/1'],
    ['ETag', '"1"'],
    ['Vary', 'Accept'],
    ['Content-Language', 'de'],
    ['Retry-After', '9'],
    ['Last-Modified', 'Thu, 01 Jan 2026 00:00:00 GMT'],
    ['X-Charge', '1'],
  ])('%s is part of the outcome', async (name, value) => {
    expect((await replayOf({ [name]: value })).header(name)).toBe(value)
  })

  test.each([
    [undefined, 'no-store'],
    ['max-age=60', 'no-store'],
    ['public', 'no-store'],
    ['s-maxage=5, private', 'no-store'],
    ['private', 'private'],
    ['no-cache', 'no-cache'],
    ['no-store', 'no-store'],
  ])('Cache-Control %s becomes %s', async (stored, replayed) => {
    const replay = await replayOf(stored === undefined ? {} : { 'Cache-Control': stored })
    expect(
      replay.lines.filter(([name]) => name.toLowerCase() === 'cache-control').map(([, value]) => value),
    ).toEqual([replayed])
  })

  test('marker names its field, or is not sent', async () => {
    const named = await replayOf({}, { marker: 'X-Replay' })
    expect([named.header('x-replay'), named.header('idempotent-replayed')]).toEqual(['true', undefined])
    const silent = await replayOf({}, { marker: false })
    expect([silent.status, silent.header('idempotent-replayed')]).toEqual([200, undefined])
  })

  test('a handler cannot make its first answer look like a stored one later', async () => {
    const replay = await replayOf({ 'Idempotent-Replayed': 'false', 'Idempotency-Replay-Body': 'omitted' })
    const markers = replay.lines.filter(([name]) => /^idempoten/i.test(name))
    expect(markers).toEqual([['Idempotent-Replayed', 'true']])
  })
})

describe('onStoreError run', () => {
  test('lets requests through unprotected, marks the answers, and reports each', async () => {
    const listener = vi.fn<(event: { readonly operation: string }) => void>()
    onTestFinished(onEvent('unprotected', listener))
    const contexts: unknown[] = []
    const { send: ask, ran } = await service({
      options: { onStoreError: 'run' },
      store: failing('claim'),
      handler: (context) => {
        contexts.push(context)
        return { status: 201, body: 'open' }
      },
    })
    for (const _ of [1, 2]) {
      const answer = await ask()
      expect([answer.status, answer.body.toString(), answer.header('idempotent-replayed')]).toEqual([
        201,
        'open',
        undefined,
      ])
      expect(answer.header('idempotency-unprotected')).toBe('store-unavailable')
    }
    expect(contexts).toEqual([undefined, undefined])
    expect(listener.mock.calls).toEqual([[{ operation: 'POST /x' }], [{ operation: 'POST /x' }]])
    expect(ran()).toBe(2)
  })

  test('does not excuse a malformed key or an unusable principal', async () => {
    const store = failing('claim')
    const malformed = await service({ options: { onStoreError: 'run' }, store })
    expect((await malformed.send({ key: '"open' })).status).toBe(400)
    const nobody = await service({ options: { onStoreError: 'run', principal: () => null }, store })
    expect((await nobody.send()).status).toBe(401)
    expect([malformed.ran(), nobody.ran()]).toEqual([0, 0])
  })
})

test('wait gives a duplicate the answer of the first', async () => {
  const started = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  const { send: ask, ran } = await service({
    options: { wait: '10s' },
    handler: async () => {
      started.resolve()
      await goOn.promise
      return { status: 201, body: 'once' }
    },
  })
  const first = ask()
  await started.promise
  const second = ask()
  goOn.resolve()
  expect([(await first).body.toString(), (await second).body.toString()]).toEqual(['once', 'once'])
  expect((await second).header('idempotent-replayed')).toBe('true')
  expect(ran()).toBe(1)
})
