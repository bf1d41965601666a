/** Against real servers on the loopback. */
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import undici from 'undici'
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  callOf,
  createIdempotentFetch,
  type IdempotentFetch,
  type IdempotentFetchOptions,
  type Retry,
} from '../../src/client/index.ts'
import { cutBody, problem, recording, type Reply, reset, status } from './serving.ts'

const uuid = /^"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"$/

/** Does not wait for long. */
function client(options: IdempotentFetchOptions = {}): IdempotentFetch {
  return createIdempotentFetch({ backoff: 1, backoffMax: 5, budget: { perSecond: 100 }, ...options })
}

const failure = (error: unknown): unknown => error

type Fetch = Required<IdempotentFetchOptions>['fetch']

/** The `fetch` of the package undici, which has responses of its own. */
const undiciFetch =
  (options: object = {}): Fetch =>
  async (input, init) =>
    (await undici.fetch(input as never, { ...init, ...options } as never)) as unknown as Response

/** A server that says these octets to each connection, and ends it. */
async function saying(
  text: string,
): Promise<{ readonly origin: string; readonly connections: () => number }> {
  let connections = 0
  const server = createServer((socket) => {
    connections += 1
    socket.on('error', () => {})
    socket.once('data', () => socket.end(Buffer.from(text, 'latin1')))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: () => connections,
  }
}

describe('the key', () => {
  test('is new for each call, and one for all attempts of a call', async () => {
    const server = await recording(status(503), reset, status(201), status(201))
    const fetch = client()
    const init = { method: 'POST', body: '{"amount":100}', headers: { 'content-type': 'application/json' } }
    const responses = [await fetch(server.origin, init), await fetch(server.origin, init)]
    expect(responses.map((response) => response.status)).toEqual([201, 201])
    const keys = server.received.map(({ headers }) => headers['idempotency-key'])
    expect(keys).toHaveLength(4)
    expect(keys[0]).toMatch(uuid)
    expect(keys.slice(0, 3)).toEqual([keys[0], keys[0], keys[0]])
    expect(keys[3]).toMatch(uuid)
    expect(keys[3]).not.toBe(keys[0])
    for (const { body, headers } of server.received) {
      expect([body.toString(), headers['content-type']]).toEqual(['{"amount":100}', 'application/json'])
    }
    expect(responses.map(callOf)).toEqual([
      { key: keys[0]?.slice(1, -1), attempts: 3, replayed: false },
      { key: keys[3]?.slice(1, -1), attempts: 1, replayed: false },
    ])
  })

  test('may be given, in the call or in its own field, which is sent as it was written', async () => {
    const server = await recording(status(201))
    const fetch = client()
    const field = { 'Idempotency-Key': 'from-field' }
    const post = { method: 'POST' }
    const calls = [
      await fetch(server.origin, { ...post, idempotency: { key: 'from-call' } }),
      await fetch(server.origin, { ...post, headers: field }),
      await fetch(server.origin, { ...post, headers: { 'idempotency-key': '"quoted"' } }),
      await fetch(server.origin, { ...post, headers: field, idempotency: { key: 'from-call' } }),
      await fetch(new Request(server.origin, { ...post, headers: field })),
      await fetch(server.origin, { method: 'GET', idempotency: { key: 'from-call' } }),
    ]
    expect(server.received.map(({ headers }) => headers['idempotency-key'])).toEqual([
      '"from-call"',
      'from-field',
      '"quoted"',
      '"from-call"',
      'from-field',
      '"from-call"',
    ])
    expect(calls.map((response) => callOf(response)?.key)).toEqual([
      'from-call',
      'from-field',
      'quoted',
      'from-call',
      'from-field',
      'from-call',
    ])
  })

  test('is made where the field is empty, and refused where it is none', async () => {
    const server = await recording(status(201))
    const post = { method: 'POST', headers: { 'idempotency-key': '' } }
    await client()(server.origin, post)
    expect(server.received[0]?.headers['idempotency-key']).toMatch(uuid)
    for (const written of ['""', '"one", "two"']) {
      await expect(
        client()(server.origin, { ...post, headers: { 'idempotency-key': written } }),
      ).rejects.toThrow('Option key must be 1 to 255')
    }
    expect(server.received).toHaveLength(1)
  })

  test('has a name, a form and methods by option', async () => {
    const server = await recording(status(201))
    const fetch = client({ keyHeader: 'X-Request-Id', keyFormat: 'bare', methods: ['put', 'POST'] })
    for (const method of ['PUT', 'POST', 'PATCH', 'DELETE', 'GET']) {
      await fetch(server.origin, { method, idempotency: method === 'PUT' ? { key: 'k' } : {} })
    }
    expect(server.received.map(({ headers }) => typeof headers['x-request-id'])).toEqual([
      'string',
      'string',
      'undefined',
      'undefined',
      'undefined',
    ])
    expect(server.received[0]?.headers['x-request-id']).toBe('k')
    expect(server.received.some(({ headers }) => 'idempotency-key' in headers)).toBe(false)
  })

  test.each(['', 'a b', 'a"b', 'a,b', 'a;b', 'a\\b', 'ä', 'x'.repeat(256)])(
    '%o is refused before anything is sent',
    async (key) => {
      const server = await recording(status(201))
      await expect(client()(server.origin, { method: 'POST', idempotency: { key } })).rejects.toMatchObject({
        ...{ code: 'option-invalid', option: 'key' },
      })
      expect(server.received).toEqual([])
    },
  )

  test('is made for PATCH in lower case, too, also of a Request', async () => {
    const server = await recording(status(200))
    await client()(server.origin, { method: 'patch' })
    await client()(new Request(server.origin, { method: 'patch' }))
    for (const { method, headers } of server.received) {
      expect([method, headers['idempotency-key']]).toEqual(['PATCH', expect.stringMatching(uuid)])
    }
  })
})

describe('as fetch', () => {
  test('idempotency: false sends once, without a key', async () => {
    const server = await recording(status(503))
    const response = await client()(server.origin, { method: 'POST', idempotency: false })
    expect([response.status, server.received.length, callOf(response)]).toEqual([503, 1, undefined])
    expect(server.received[0]?.headers).not.toHaveProperty('idempotency-key')
  })

  test('the response is whole, and where it came from', async () => {
    const fields = { 'content-type': 'application/json', 'set-cookie': 'a=1', 'x-one': '1' }
    const server = await recording(status(201, fields, '{"id":1}'), status(204, {}, ''))
    const fetch = client()
    const response = await fetch(`${server.origin}/charges?a=1`, { method: 'POST' })
    expect(response).toMatchObject({
      ...{ status: 201, statusText: 'Created', ok: true, url: `${server.origin}/charges?a=1` },
    })
    expect([response.headers.get('x-one'), response.headers.getSetCookie()]).toEqual(['1', ['a=1']])
    expect(await response.json()).toEqual({ id: 1 })
    expect((await fetch(server.origin, { method: 'POST' })).status).toBe(204)
  })

  test('an answer is one whatever its phrase and its number', async () => {
    const { origin } = await saying('HTTP/1.1 201 Créé\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}')
    const [response, plain] = [await client()(origin, { method: 'POST' }), await fetch(origin)]
    expect([response.status, response.statusText]).toEqual([201, plain.statusText])
    expect(await response.clone().blob()).toMatchObject({ size: 2 })
    const odd = await recording(status(999, {}, 'odd'))
    const error: unknown = await client({ retries: 0 })(odd.origin, { method: 'POST' }).catch(failure)
    expect(error).toMatchObject({ code: 'outcome-unknown', response: { status: 999 } })
  })

  test('answers that are not given out free their connections', async () => {
    const large = 'x'.repeat(200_000)
    const server = await recording(status(503, {}, large), status(401, {}, large), status(200))
    const dispatcher = new undici.Agent({ connections: 1 })
    onTestFinished(() => dispatcher.close())
    const fetch = client({ fetch: undiciFetch({ dispatcher }), refresh: () => ({ authorization: 'new' }) })
    const response = await fetch(server.origin)
    expect([response.status, callOf(response)?.attempts]).toEqual([200, 3])
  })

  test('what is hidden because the caller wants it so is an answer', async () => {
    const opaque = createIdempotentFetch({ fetch: async () => Response.error() })
    const hidden = [
      { method: 'GET', redirect: 'manual' },
      { method: 'POST', redirect: 'manual' },
      { method: 'GET', mode: 'no-cors' },
    ] as const
    for (const init of hidden) expect((await opaque('https://api.example', init)).status).toBe(0)
  })

  test('types of media are read in any case', async () => {
    const upper = { 'content-type': 'Application/Problem+JSON' }
    const server = await recording(status(409, upper, '{"code":"outcome-unknown"}'))
    await expect(client()(server.origin, { method: 'POST' })).rejects.toMatchObject({
      ...{ code: 'outcome-unknown', serverCode: 'outcome-unknown' },
    })
  })

  test('what fetch never takes is thrown as fetch throws it, and not tried again', async () => {
    const server = await recording(status(201))
    const retries: Retry[] = []
    const fetch = client({ onRetry: (retry) => retries.push(retry) })
    for (const [url, init] of [
      [server.origin, { method: 'GET', body: 'x' }],
      [`http://user:word@127.0.0.1:${server.port}`, { method: 'POST' }],
      [server.origin, { method: 'CONNECT' }],
      ['not a url', { method: 'POST' }],
      [server.origin, { method: 'POST', headers: { 'bad name': 'x' } }],
    ] as const) {
      expect(await fetch(url, init).catch(failure)).toBeInstanceOf(TypeError)
    }
    expect([server.received.length, retries.length]).toEqual([0, 0])
  })

  test('a GET streams, and the signal of the caller ends it', async () => {
    const server = await recording((response) => {
      response.writeHead(200).write('first')
    })
    const abort = new AbortController()
    const response = await client()(server.origin, { signal: abort.signal })
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    expect(Buffer.from((await reader.read()).value as Uint8Array).toString()).toBe('first')
    const reason = new Error('enough')
    abort.abort(reason)
    expect(await reader.read().catch(failure)).toBe(reason)
  })

  test('an event stream is given as it comes', async () => {
    const server = await recording((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' }).write('data: 1\n\n')
    })
    const response = await client()(server.origin, { method: 'POST' })
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    expect(Buffer.from((await reader.read()).value as Uint8Array).toString()).toBe('data: 1\n\n')
    await reader.cancel()
  })

  test('the fetch of the option sends', async () => {
    const seen: unknown[] = []
    const fetch = client({
      async fetch(input, init) {
        seen.push([input, init.method, new Headers(init.headers).get('x')])
        return new Response('made')
      },
    })
    expect(await (await fetch('http://a.example/b', { method: 'POST', headers: { x: '1' } })).text()).toBe(
      'made',
    )
    expect(seen).toEqual([['http://a.example/b', 'POST', '1']])
  })

  test('a fetch with responses of its own sends, too', async () => {
    const server = await recording(reset, status(201, { 'x-one': '1' }, '{"amount":100}'))
    const response = await client({ fetch: undiciFetch() })(server.origin, { method: 'POST', body: 'a' })
    expect([response.status, response.headers.get('x-one'), callOf(response)?.attempts]).toEqual([
      201,
      '1',
      2,
    ])
    expect([response.url, await response.json()]).toEqual([`${server.origin}/`, { amount: 100 }])
  })

  test('the global fetch is the one of the moment', async () => {
    const fetch = client()
    const before = globalThis.fetch
    onTestFinished(() => {
      globalThis.fetch = before
    })
    globalThis.fetch = async () => new Response('another')
    expect(await (await fetch('http://a.example', { method: 'POST' })).text()).toBe('another')
  })
})

describe('retries', () => {
  const after = { 'retry-after': '0' }
  test.each<[string, Reply]>([
    ['500', status(500)],
    ['502', status(502)],
    ['503', status(503)],
    ['504', status(504)],
    ['408', status(408)],
    ['425', status(425)],
    ['429', status(429)],
    ['421', status(421)],
    ['a reset', reset],
    ['a body that broke off', cutBody],
    ['409 in-progress', problem(409, 'in-progress')],
    ['409 with Retry-After', status(409, after)],
    ['503 store-unavailable', problem(503, 'store-unavailable')],
  ])('after %s', async (_name, reply) => {
    const server = await recording(reply, status(201))
    const response = await client()(server.origin, { method: 'POST', body: 'x' })
    expect([response.status, server.received.length]).toEqual([201, 2])
  })

  test.each<[string, Reply]>([
    ['201', status(201)],
    ['400', status(400)],
    ['404', status(404)],
    ['409', status(409)],
    ['422', status(422)],
    ['501', status(501)],
    ['a replayed 500', status(500, { 'idempotent-replayed': 'true', 'retry-after': '0' })],
    ['a problem that is no JSON', status(400, { 'content-type': 'application/problem+json' }, '{')],
    ['a problem of nothing', status(400, { 'content-type': 'application/problem+json' }, 'null')],
    ['a problem without a code', status(400, { 'content-type': 'application/problem+json' }, '{}')],
  ])('not after %s', async (_name, reply) => {
    const server = await recording(reply)
    const response = await client()(server.origin, { method: 'POST' })
    expect(server.received).toHaveLength(1)
    // Reading it for its code has not used it up.
    expect((await response.text()).length).toBeGreaterThan(0)
  })

  test('a timeout is unknown, never failed, and the next attempt is the same', async () => {
    const server = await recording(() => {})
    const error = await client({ timeout: 500, retries: 1 })(server.origin, {
      method: 'POST',
      body: 'same octets',
    }).catch(failure)
    expect(error).toMatchObject({
      ...{ code: 'outcome-unknown', reason: 'retries', attempts: 2, cause: { name: 'TimeoutError' } },
    })
    const [one, two] = server.received
    expect(two).toEqual(one)
    expect((error as { key: string }).key).toBe(one?.headers['idempotency-key']?.slice(1, -1))
  })

  test('a timeout while the body comes', async () => {
    const server = await recording((response) => {
      response.writeHead(201, { 'content-length': '100' }).write('a part')
    }, status(201))
    const response = await client({ timeout: 500 })(server.origin, { method: 'POST' })
    expect([await response.text(), server.received.length]).toEqual(['answer 201', 2])
  })

  test('a replay is told', async () => {
    const server = await recording(status(201, { 'idempotent-replayed': 'true' }))
    const response = await client()(server.origin, { method: 'POST' })
    expect(callOf(response)?.replayed).toBe(true)
  })

  test('a refused key', async () => {
    const server = await recording(problem(422, 'key-reused'))
    expect(await client()(server.origin, { method: 'POST' }).catch(failure)).toMatchObject({
      ...{ code: 'key-refused', serverCode: 'key-reused', attempts: 1 },
    })
  })

  test('PUT and DELETE are repeated without a key; a POST without one is not', async () => {
    const fetch = client({ methods: [] })
    for (const method of ['PUT', 'DELETE']) {
      const server = await recording(reset, cutBody, status(200))
      expect((await fetch(server.origin, { method })).status).toBe(200)
      expect(server.received).toHaveLength(3)
    }
    for (const reply of [reset, cutBody, status(500)]) {
      const server = await recording(reply)
      expect(await fetch(server.origin, { method: 'POST' }).catch(failure)).toMatchObject({
        ...{ code: 'outcome-unknown', reason: 'no-key', attempts: 1, key: undefined },
      })
      expect(server.received).toHaveLength(1)
    }
  })

  test('a GET is repeated, and ends as fetch ends', async () => {
    const server = await recording(reset, status(503), status(200))
    expect((await client()(server.origin)).status).toBe(200)
    const broken = await recording(reset)
    expect(await client({ retries: 1 })(broken.origin).catch(failure)).toBeInstanceOf(TypeError)
    expect(broken.received).toHaveLength(2)
  })

  test('a key that was sent before is asked for again', async () => {
    const server = await recording(status(403))
    const idempotency = { key: 'k', sentSince: Date.now() - 1_000 }
    expect(await client()(server.origin, { method: 'POST', idempotency }).catch(failure)).toMatchObject({
      code: 'outcome-unknown',
    })
    const old = { key: 'k', sentSince: Date.now() - 13 * 3_600_000 }
    expect(await client()(server.origin, { method: 'POST', idempotency: old }).catch(failure)).toMatchObject({
      ...{ code: 'horizon-passed', attempts: 0 },
    })
    expect(server.received).toHaveLength(1)
  })
})

describe('401', () => {
  test('is refreshed once, with the same key and octets', async () => {
    const server = await recording(status(401), status(201))
    const tokens: number[] = []
    const fetch = client({
      refresh(response, signal) {
        tokens.push(response.status, signal.aborted ? 1 : 0)
        return { authorization: 'Bearer new' }
      },
    })
    const headers = { authorization: 'Bearer old' }
    const response = await fetch(server.origin, { method: 'POST', body: 'x', headers })
    expect([response.status, tokens]).toEqual([201, [401, 0]])
    const [old, fresh] = server.received
    expect([old?.headers.authorization, fresh?.headers.authorization]).toEqual(['Bearer old', 'Bearer new'])
    expect([fresh?.headers['idempotency-key'], fresh?.body]).toEqual([
      old?.headers['idempotency-key'],
      old?.body,
    ])
  })

  test('again is the answer, and so it is where nothing else is to be had', async () => {
    const server = await recording(status(401))
    const refreshing = client({ refresh: () => ({ authorization: 'Bearer new' }) })
    expect((await refreshing(server.origin, { method: 'POST' })).status).toBe(401)
    expect(server.received).toHaveLength(2)
    expect((await client({ refresh: () => undefined })(server.origin, { method: 'POST' })).status).toBe(401)
    expect((await client()(server.origin, { method: 'POST' })).status).toBe(401)
    expect(server.received).toHaveLength(4)
  })
})

describe("the caller's signal", () => {
  const reason = new Error('enough')

  test('aborted before: nothing is sent', async () => {
    const server = await recording(status(201))
    const init = { method: 'POST', signal: AbortSignal.abort(reason) }
    expect(await client()(server.origin, init).catch(failure)).toBe(reason)
    expect(await client()(new Request(server.origin, init)).catch(failure)).toBe(reason)
    expect(server.received).toEqual([])
  })

  test('aborted during an attempt, and during a wait', async () => {
    const abort = new AbortController()
    const server = await recording(() => abort.abort(reason))
    expect(await client()(server.origin, { method: 'POST', signal: abort.signal }).catch(failure)).toBe(
      reason,
    )
    expect(server.received).toHaveLength(1)

    const waiting = new AbortController()
    const busy = await recording(status(503, { 'retry-after': '30' }))
    const fetch = client({ onRetry: () => setTimeout(() => waiting.abort(reason), 1) })
    expect(await fetch(busy.origin, { method: 'POST', signal: waiting.signal }).catch(failure)).toBe(reason)
    expect(busy.received).toHaveLength(1)
  })

  test('of a Request, and null', async () => {
    const abort = new AbortController()
    const server = await recording(() => abort.abort(reason))
    const request = new Request(server.origin, { method: 'POST', signal: abort.signal })
    expect(await client()(request).catch(failure)).toBe(reason)
    const other = await recording(status(201))
    expect((await client()(other.origin, { method: 'POST', signal: null })).status).toBe(201)
    const forgetful = new Request(other.origin, { method: 'POST', signal: abort.signal })
    expect((await client()(forgetful, { signal: null })).status).toBe(201)
  })
})

test('an answer after the deadline is none', async () => {
  const server = await recording((response) => void setTimeout(() => response.end('late'), 200))
  expect(await client({ deadline: 100 })(server.origin, { method: 'POST' }).catch(failure)).toMatchObject({
    ...{ code: 'outcome-unknown', reason: 'deadline', attempts: 1 },
  })
})

test('a connection that is closed before any answer', async () => {
  const { origin, connections } = await saying('')
  const error = await client({ retries: 2 })(origin, { method: 'POST' }).catch(failure)
  expect(error).toMatchObject({ code: 'outcome-unknown', reason: 'retries', attempts: 3 })
  expect(connections()).toBe(3)
})
