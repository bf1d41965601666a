import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import type { IdempotencyStore } from '../../src/core/store.ts'
import { StoreError } from '../../src/core/errors.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import {
  call,
  codeOf,
  freshKey,
  rawExchange,
  startGateway,
  startRawUpstream,
  startUpstream,
  until,
} from './harness.ts'

const everyOctet = Buffer.from(Array.from({ length: 256 }, (_, octet) => octet))

/** Counts its runs and answers 201 with the number. */
async function startCounter(): Promise<{ origin: string; runs: () => number }> {
  let runs = 0
  const upstream = await startUpstream(async (incoming, response) => {
    for await (const _ of incoming);
    runs += 1
    response.writeHead(201, { 'Content-Type': 'application/json', Location: `/charges/${runs}` })
    response.end(JSON.stringify({ id: runs }))
  })
  return { origin: upstream.origin, runs: () => runs }
}

describe('a key makes a request safe to repeat', () => {
  test('the same request gets the same answer, and the upstream ran once', async () => {
    const upstream = await startCounter()
    const { origin, events } = await startGateway(upstream.origin)
    const sent = { headers: { 'Idempotency-Key': freshKey() }, body: '{"amount":1}' }
    const first = await call(origin, sent)
    const second = await call(origin, sent)
    expect(first.status).toBe(201)
    expect(first.headers['idempotent-replayed']).toBeUndefined()
    expect(second.status).toBe(201)
    expect(second.headers['idempotent-replayed']).toBe('true')
    expect(second.headers.location).toBe('/charges/1')
    expect(second.body.equals(first.body)).toBe(true)
    expect(upstream.runs()).toBe(1)
    expect(events).toEqual([expect.objectContaining({ event: 'replayed', method: 'POST', status: 201 })])
  })

  test('another body, path or query under the key is 422', async () => {
    const upstream = await startCounter()
    const { origin } = await startGateway(upstream.origin)
    const headers = { 'Idempotency-Key': freshKey() }
    await call(origin, { headers, body: 'a' })
    expect((await call(origin, { headers, body: 'b' })).status).toBe(422)
    expect((await call(origin, { headers, body: 'a', path: '/refunds' })).status).toBe(422)
    expect((await call(origin, { headers, body: 'a', path: '/charges?x' })).status).toBe(422)
    expect(upstream.runs()).toBe(1)
  })

  test('two clients at once: one runs, the other is told to wait or waits', async () => {
    const finish = Promise.withResolvers<void>()
    let runs = 0
    const upstream = await startUpstream(async (_, response) => {
      runs += 1
      await finish.promise
      response.writeHead(201).end('done')
    })
    const { origin } = await startGateway(
      upstream.origin,
      'routes: [{ match: POST /patient, inFlight: wait 30s }]',
    )
    const refused = { headers: { 'Idempotency-Key': freshKey() }, body: 'a' }
    const patient = { headers: { 'Idempotency-Key': freshKey() }, body: 'a', path: '/patient' }
    const firsts = [call(origin, refused), call(origin, patient)]
    await until(() => runs === 2)
    const second = await call(origin, refused)
    expect(second.status).toBe(409)
    expect(codeOf(second)).toBe('in-progress')
    expect(Number(second.headers['retry-after'])).toBeGreaterThanOrEqual(1)
    const waiting = call(origin, patient)
    finish.resolve()
    expect((await Promise.all(firsts)).map(({ status }) => status)).toEqual([201, 201])
    expect((await waiting).headers['idempotent-replayed']).toBe('true')
    expect(runs).toBe(2)
  })

  test('binary bodies and binary answers are kept octet for octet', async () => {
    const upstream = await startUpstream(async (incoming, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of incoming) chunks.push(chunk as Buffer)
      response.writeHead(201, { 'Content-Type': 'application/octet-stream' })
      for (const chunk of chunks) response.write(chunk)
      response.end()
    })
    const { origin } = await startGateway(upstream.origin)
    const sent = { headers: { 'Idempotency-Key': freshKey() }, body: everyOctet }
    expect((await call(origin, sent)).body.equals(everyOctet)).toBe(true)
    expect((await call(origin, sent)).body.equals(everyOctet)).toBe(true)
  })

  test('two requests with one key in one packet run once', async () => {
    const upstream = await startCounter()
    const { port } = await startGateway(upstream.origin)
    const fields = `Host: a\r\nIdempotency-Key: ${freshKey()}\r\nContent-Length: 1\r\n`
    const answers = await rawExchange(
      port,
      `POST /charges HTTP/1.1\r\n${fields}\r\naPOST /charges HTTP/1.1\r\n${fields}Connection: close\r\n\r\na`,
    )
    expect(answers.match(/HTTP\/1\.1 \d+/g)).toHaveLength(2)
    expect(answers).toMatch(/^HTTP\/1\.1 201 /)
    expect(upstream.runs()).toBe(1)
  })

  test('interim answers of the upstream are no answers', async () => {
    const upstream = await startRawUpstream((socket) =>
      socket.write(
        'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok',
      ),
    )
    const { origin } = await startGateway(upstream.origin)
    const sent = { headers: { 'Idempotency-Key': freshKey() }, body: 'a' }
    expect((await call(origin, sent)).status).toBe(201)
    expect((await call(origin, sent)).body.toString()).toBe('ok')
    expect(upstream.requests).toHaveLength(1)
  })

  test('an upstream that restarted between two requests is connected to again', async () => {
    const first = await startUpstream((_, response) => response.writeHead(201).end('one'))
    const { origin } = await startGateway(first.origin)
    expect((await call(origin, { headers: { 'Idempotency-Key': freshKey() }, body: 'a' })).status).toBe(201)
    first.server.close()
    first.server.closeAllConnections()
    await once(first.server, 'close')
    await startUpstream((_, response) => response.writeHead(201).end('two'), first.port)
    expect((await call(origin, { headers: { 'Idempotency-Key': freshKey() }, body: 'a' })).status).toBe(201)
  })

  test.each([
    ['nested deeply', '['.repeat(100_000) + ']'.repeat(100_000)],
    ['with a name twice', '{"a":1,"a":2}'],
    ['with __proto__', '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}'],
    ['with a lone surrogate', '{"a":"\\ud800"}'],
    ['cut off', '{"a":'],
  ])('JSON %s is data: it runs once and replays', async (_, body) => {
    const upstream = await startCounter()
    const { origin } = await startGateway(upstream.origin)
    const headers = { 'Idempotency-Key': freshKey(), 'Content-Type': 'application/json' }
    expect((await call(origin, { headers, body })).status).toBe(201)
    expect((await call(origin, { headers, body })).headers['idempotent-replayed']).toBe('true')
    expect((await call(origin, { headers, body: `${body} 1` })).status).toBe(422)
    expect(upstream.runs()).toBe(1)
  })

  test('scripts of a listed origin may read replays and refusals, others may not', async () => {
    const upstream = await startCounter()
    const { origin } = await startGateway(upstream.origin, 'cors: [https://shop.example]')
    const key = freshKey()
    const ask = (from: string, body = 'a') =>
      call(origin, { headers: { 'Idempotency-Key': key, Origin: from }, body })
    await ask('https://shop.example')
    const replay = await ask('https://shop.example')
    expect(replay.headers['access-control-allow-origin']).toBe('https://shop.example')
    expect(replay.headers['access-control-expose-headers']).toContain('Idempotent-Replayed')
    expect(replay.headers.vary).toBe('Origin')
    const refusal = await ask('https://shop.example', 'b')
    expect([refusal.status, refusal.headers['access-control-allow-origin']]).toEqual([
      422,
      'https://shop.example',
    ])
    expect((await ask('https://other.example')).headers['access-control-allow-origin']).toBeUndefined()
  })

  test('the key and its spelling go to the upstream as they came', async () => {
    const upstream = await startRawUpstream((socket) =>
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'),
    )
    const { origin } = await startGateway(upstream.origin)
    const key = `"${freshKey()}"`
    await call(origin, { headers: { 'Idempotency-Key': key }, body: 'a' })
    expect(upstream.requests[0]).toContain(`Idempotency-Key: ${key}\r\n`)
  })
})

describe('what is refused before anything runs', () => {
  test.each([
    ['no key where one is required', {}, 400, 'key-missing'],
    ['an empty key', { 'Idempotency-Key': '' }, 400, 'key-malformed'],
    ['two keys', { 'Idempotency-Key': ['a', 'b'] }, 400, 'key-malformed'],
    ['the same key twice', { 'Idempotency-Key': ['a', 'a'] }, 400, 'key-malformed'],
    ['a long key', { 'Idempotency-Key': 'k'.repeat(256) }, 400, 'key-malformed'],
    ['no principal', { 'Idempotency-Key': 'k' }, 401, 'principal-invalid'],
    ['an empty principal', { 'Idempotency-Key': 'k', Authorization: '' }, 401, 'principal-invalid'],
  ])('%s', async (_, headers, status, code) => {
    const upstream = await startCounter()
    const { origin } = await startGateway(
      upstream.origin,
      'principal: { header: authorization }\ndefaults: { required: true }',
    )
    const answer = await call(origin, { headers, body: 'a' })
    expect(answer.status).toBe(status)
    expect(codeOf(answer)).toBe(code)
    expect(answer.headers['content-type']).toBe('application/problem+json')
    expect(upstream.runs()).toBe(0)
  })

  test('a key behind thousands of other fields is seen', async () => {
    const upstream = await startRawUpstream((socket) =>
      socket.write('HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n'),
    )
    const { port } = await startGateway(upstream.origin)
    const key = freshKey()
    const fields = Array.from({ length: 2_500 }, (_, at) => `x-${at}: 1\r\n`).join('')
    const sent = `POST /charges HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${fields}Idempotency-Key: ${key}\r\nContent-Length: 1\r\n\r\na`
    await rawExchange(port, sent)
    expect(await rawExchange(port, sent)).toMatch(/idempotent-replayed: true/i)
    expect(upstream.requests).toHaveLength(1)
  })

  test('one caller never gets the answer of another', async () => {
    const upstream = await startCounter()
    const { origin } = await startGateway(upstream.origin, 'principal: { header: authorization }')
    const key = freshKey()
    const long = 'x'.repeat(8_000)
    const ask = (token: string) =>
      call(origin, { headers: { 'Idempotency-Key': key, Authorization: token }, body: 'a' })
    await ask(`Bearer a${long}`)
    const other = await ask(`Bearer b${long}`)
    expect(other.headers['idempotent-replayed']).toBeUndefined()
    expect((await ask(`Bearer a${long}`)).headers['idempotent-replayed']).toBe('true')
    expect(upstream.runs()).toBe(2)
  })

  test('a body over the bound is 413, and a route may have another bound', async () => {
    const upstream = await startCounter()
    const { origin } = await startGateway(
      upstream.origin,
      'routes: [{ match: POST /uploads, requestBytesMax: 8MiB }]',
    )
    const body = Buffer.alloc(5_000_000, 1)
    const refused = await call(origin, { headers: { 'Idempotency-Key': freshKey() }, body })
    expect(refused.status).toBe(413)
    const chunked = { 'Idempotency-Key': freshKey(), 'Transfer-Encoding': 'chunked' }
    expect((await call(origin, { headers: chunked, body })).status).toBe(413)
    expect(upstream.runs()).toBe(0)
    const taken = { headers: { 'Idempotency-Key': freshKey() }, body, path: '/uploads' }
    expect((await call(origin, taken)).status).toBe(201)
    expect((await call(origin, taken)).headers['idempotent-replayed']).toBe('true')
  })

  test('a client that leaves in the middle of its body runs nothing and leaves no record', async () => {
    const upstream = await startCounter()
    const { origin, port } = await startGateway(upstream.origin)
    const key = freshKey()
    const socket = connect(port, '127.0.0.1')
    socket.write(
      `POST /charges HTTP/1.1\r\nHost: a\r\nIdempotency-Key: ${key}\r\nContent-Length: 10\r\n\r\nhalf`,
    )
    await once(socket, 'connect')
    socket.destroy()
    await once(socket, 'close')
    const whole = await call(origin, { headers: { 'Idempotency-Key': key }, body: 'half and ha' })
    expect(whole.status).toBe(201)
    expect(upstream.runs()).toBe(1)
  })

  test('Expect: 100-continue is refused before the body where the fields decide, and otherwise continued', async () => {
    const upstream = await startCounter()
    const { port } = await startGateway(upstream.origin, 'defaults: { required: true }')
    const head = 'POST /charges HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n'
    const refused = connect(port, '127.0.0.1')
    refused.write(`${head}\r\n`)
    const [answer] = await once(refused, 'data')
    expect(String(answer)).toMatch(/^HTTP\/1\.1 400 /)
    refused.destroy()
    const continued = connect(port, '127.0.0.1')
    continued.write(`${head}Idempotency-Key: ${freshKey()}\r\n\r\n`)
    const [interim] = await once(continued, 'data')
    expect(String(interim)).toBe('HTTP/1.1 100 Continue\r\n\r\n')
    continued.write('a')
    const [final] = await once(continued, 'data')
    expect(String(final)).toMatch(/^HTTP\/1\.1 201 /)
    continued.destroy()
  })

  test('a refusal without a body to read keeps the connection', async () => {
    const upstream = await startCounter()
    const { origin } = await startGateway(upstream.origin)
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const headers = { 'X-HTTP-Method-Override': 'DELETE' }
    for (let round = 0; round < 2; round += 1) {
      const sent = request(`${origin}/charges`, { method: 'POST', headers, agent }).end()
      const [response] = await once(sent, 'response')
      expect([response.statusCode, sent.reusedSocket]).toEqual([400, round === 1])
      response.resume()
      await once(response, 'close')
    }
    agent.destroy()
  })

  test('a route that requires a key is not passed by another spelling of its path', async () => {
    const upstream = await startCounter()
    const { origin } = await startGateway(
      upstream.origin,
      'routes: [{ match: POST /charges, required: true }, { match: POST /open/*, bypass: true }]',
    )
    for (const path of ['/charges', '/%63harges', '//charges', '/charges/', '/a/../charges', '/charges;x']) {
      // As octets: a client library would tidy the path.
      const sent = request(origin, { method: 'POST', path })
      sent.end()
      const [response] = await once(sent, 'response')
      response.resume()
      expect([path, response.statusCode]).toEqual([path, 400])
    }
    expect((await call(origin, { path: '/open/x' })).status).toBe(201)
    expect((await call(origin, { path: '/other' })).status).toBe(201)
  })
})

describe('what the upstream does', () => {
  test('one that cannot be reached frees the key, and the retry works once it is up', async () => {
    const counter = await startUpstream((_, response) => response.writeHead(201).end('up'))
    counter.server.close()
    await once(counter.server, 'close')
    const { origin } = await startGateway(counter.origin)
    const sent = { headers: { 'Idempotency-Key': freshKey() }, body: 'a' }
    const down = await call(origin, sent)
    expect(down.status).toBe(502)
    expect(codeOf(down)).toBe('upstream-unreachable')
    await startUpstream((_, response) => response.writeHead(201).end('up'), counter.port)
    expect((await call(origin, sent)).status).toBe(201)
  })

  test.each([
    ['in a body with a length', 'HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\nhalf'],
    ['in a chunked body', 'HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n'],
    [
      'in a chunked body of a closing connection',
      'HTTP/1.1 201 Created\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n',
    ],
    [
      'in a body with a length of a closing connection',
      'HTTP/1.0 201 Created\r\nContent-Length: 10\r\n\r\nhalf',
    ],
    ['in the head', 'HTTP/1.1 201 Crea'],
    ['before the head', ''],
    ['with something that is no HTTP', 'SMTP ready\r\n\r\n'],
  ])(
    'an answer cut off %s is never stored nor sent as whole, and nothing is sent again',
    async (_, octets) => {
      const upstream = await startRawUpstream((socket) => socket.end(octets))
      const { origin } = await startGateway(upstream.origin)
      const sent = { headers: { 'Idempotency-Key': freshKey() }, body: 'a' }
      const first = await call(origin, sent)
      expect(first.status).toBe(502)
      expect(codeOf(first)).toBe('outcome-unknown')
      const second = await call(origin, sent)
      expect(second.status).toBe(409)
      expect(codeOf(second)).toBe('outcome-unknown')
      expect(upstream.requests).toHaveLength(1)
    },
  )

  test('one that does not answer in time leaves the outcome unknown, and rerun runs again', async () => {
    const upstream = await startRawUpstream((socket) => socket.write('HTTP/1.1 201 Created\r\n'))
    const { origin } = await startGateway(
      upstream.origin,
      'defaults: { upstreamTimeout: 50ms }\nroutes: [{ match: POST /again, onUnknown: rerun }]',
    )
    const held = { headers: { 'Idempotency-Key': freshKey() }, body: 'a' }
    const again = { headers: { 'Idempotency-Key': freshKey() }, body: 'a', path: '/again' }
    expect((await call(origin, held)).status).toBe(504)
    expect(codeOf(await call(origin, held))).toBe('outcome-unknown')
    expect(upstream.requests).toHaveLength(1)
    expect((await call(origin, again)).status).toBe(504)
    expect((await call(origin, again)).status).toBe(504)
    expect(upstream.requests).toHaveLength(3)
  })

  test('one that drips is ended by the bound on the whole exchange', async () => {
    const upstream = await startRawUpstream((socket) => {
      socket.write('HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n')
      const drip = setInterval(() => socket.write('1\r\na\r\n'), 5)
      socket.on('close', () => clearInterval(drip))
    })
    const { origin } = await startGateway(upstream.origin, 'defaults: { upstreamTimeout: 60ms }')
    const answer = await call(origin, { headers: { 'Idempotency-Key': freshKey() }, body: 'a' })
    expect(answer.status).toBe(504)
  })

  test('a 5xx frees the key by default, and is unknown with the preset money', async () => {
    let runs = 0
    const upstream = await startUpstream((_, response) => {
      runs += 1
      response.writeHead(runs === 2 ? 201 : 503).end('x')
    })
    const { origin } = await startGateway(upstream.origin, 'routes: [{ match: POST /money, preset: money }]')
    const free = { headers: { 'Idempotency-Key': freshKey() }, body: 'a' }
    expect((await call(origin, free)).status).toBe(503)
    expect((await call(origin, free)).status).toBe(201)
    const money = { headers: { 'Idempotency-Key': freshKey() }, body: 'a', path: '/money' }
    expect((await call(origin, money)).status).toBe(503)
    expect(codeOf(await call(origin, money))).toBe('outcome-unknown')
    expect(runs).toBe(3)
  })

  test('a client that leaves does not stop the upstream: the effect is kept and replayed', async () => {
    const finish = Promise.withResolvers<void>()
    let runs = 0
    let broken = false
    const upstream = await startUpstream(async (incoming, response) => {
      runs += 1
      incoming.on('aborted', () => (broken = true))
      await finish.promise
      response.writeHead(201).end('kept')
    })
    const { origin, port } = await startGateway(upstream.origin, 'defaults: { inFlight: wait 30s }')
    const key = freshKey()
    const socket = connect(port, '127.0.0.1')
    socket.write(`POST /charges HTTP/1.1\r\nHost: a\r\nIdempotency-Key: ${key}\r\nContent-Length: 1\r\n\r\na`)
    await until(() => runs === 1)
    socket.destroy()
    await once(socket, 'close')
    const waiting = call(origin, { headers: { 'Idempotency-Key': key }, body: 'a' })
    finish.resolve()
    const answer = await waiting
    expect(answer.headers['idempotent-replayed']).toBe('true')
    expect(answer.body.toString()).toBe('kept')
    expect([runs, broken]).toEqual([1, false])
  })

  test('a streamed answer is stored whole and replayed with a length', async () => {
    const upstream = await startUpstream(async (_, response) => {
      response.writeHead(201, { 'Content-Type': 'text/plain' })
      for (const part of ['one ', 'two ', 'three']) {
        response.write(part)
        await new Promise((resolve) => setImmediate(resolve))
      }
      response.end()
    })
    const { origin } = await startGateway(upstream.origin)
    const sent = { headers: { 'Idempotency-Key': freshKey() }, body: 'a' }
    expect((await call(origin, sent)).body.toString()).toBe('one two three')
    const replay = await call(origin, sent)
    expect(replay.body.toString()).toBe('one two three')
    expect(replay.headers['content-length']).toBe('13')
  })

  test.each([['with a length'], ['in chunks']])(
    'an answer over the bound, %s, reaches the client whole, and a retry gets its head without a second run',
    async (framing) => {
      const big = Buffer.alloc(300_000, 5)
      let runs = 0
      const upstream = await startUpstream((_, response) => {
        runs += 1
        const length = framing === 'with a length' ? { 'Content-Length': big.length } : {}
        response.writeHead(201, { Location: '/charges/1', ...length })
        response.end(big)
      })
      const { origin } = await startGateway(upstream.origin, 'defaults: { responseBytesMax: 64KiB }')
      const sent = { headers: { 'Idempotency-Key': freshKey() }, body: 'a' }
      expect((await call(origin, sent)).body.equals(big)).toBe(true)
      const retry = await call(origin, sent)
      expect([201, 303]).toContain(retry.status)
      expect(retry.body.length).toBe(0)
      expect(retry.headers['idempotent-replayed']).toBe('true')
      expect(retry.headers.location).toBe('/charges/1')
      expect(runs).toBe(1)
    },
  )

  test('an answer over the bound that breaks off breaks off at the client and is unknown', async () => {
    const upstream = await startRawUpstream((socket) => {
      socket.end(`HTTP/1.1 201 Created\r\nContent-Length: 200000\r\n\r\n${'x'.repeat(150_000)}`)
    })
    const { origin } = await startGateway(upstream.origin, 'defaults: { responseBytesMax: 64KiB }')
    const sent = { headers: { 'Idempotency-Key': freshKey() }, body: 'a' }
    await expect(call(origin, sent)).rejects.toThrow()
    expect(codeOf(await call(origin, sent))).toBe('outcome-unknown')
    expect(upstream.requests).toHaveLength(1)
  })

  test('a protected event stream arrives as it happens', async () => {
    const finish = Promise.withResolvers<void>()
    const upstream = await startUpstream(async (_, response) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' })
      response.write('data: 1\n\n')
      await finish.promise
      response.end('data: 2\n\n')
    })
    const { origin } = await startGateway(upstream.origin)
    const sent = request(`${origin}/chat`, { method: 'POST', headers: { 'Idempotency-Key': freshKey() } })
    sent.end('a')
    const [response] = await once(sent, 'response')
    let text = ''
    response.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      finish.resolve()
    })
    await once(response, 'end')
    expect(text).toBe('data: 1\n\ndata: 2\n\n')
  })
})

describe('when the store is down', () => {
  function breakable(): { store: IdempotencyStore; setDown: (down: boolean) => void } {
    const inner = memoryStore()
    let down = false
    const store = new Proxy(inner, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name)
        if (typeof value !== 'function') return value
        if (!down || name === 'close') return value.bind(target) as unknown
        return () => Promise.reject(new StoreError('permanent', 'down'))
      },
    })
    return { store, setDown: (to) => (down = to) }
  }

  test('requests with a key are 503 and do not run; the health page says so; both recover', async () => {
    const upstream = await startCounter()
    const { store, setDown } = breakable()
    const { origin } = await startGateway(upstream.origin, '', store)
    const health = () => call(origin, { method: 'GET', path: '/.retrysafe/health' })
    expect([(await health()).status, (await health()).body.toString()]).toEqual([200, '{"status":"ok"}\n'])
    setDown(true)
    const sent = { headers: { 'Idempotency-Key': freshKey() }, body: 'a' }
    const refused = await call(origin, sent)
    expect(refused.status).toBe(503)
    expect(codeOf(refused)).toBe('store-unavailable')
    expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(1)
    expect((await health()).status).toBe(503)
    expect(upstream.runs()).toBe(0)
    setDown(false)
    expect((await call(origin, sent)).status).toBe(201)
    expect((await health()).status).toBe(200)
  })

  test('a route that says run runs unprotected, and the log says so', async () => {
    const upstream = await startCounter()
    const { store, setDown } = breakable()
    const { origin, events } = await startGateway(upstream.origin, 'defaults: { onStoreError: run }', store)
    setDown(true)
    const answer = await call(origin, { headers: { 'Idempotency-Key': freshKey() }, body: '{"a":1}' })
    expect(answer.status).toBe(201)
    expect(upstream.runs()).toBe(1)
    expect(events.map(({ event }) => event)).toContain('unprotected')
    setDown(false)
  })
})

describe('ending', () => {
  test('close lets running requests end and answers them', async () => {
    const finish = Promise.withResolvers<void>()
    let runs = 0
    const upstream = await startUpstream(async (_, response) => {
      runs += 1
      await finish.promise
      response.writeHead(201).end('in time')
    })
    const { origin, gateway } = await startGateway(upstream.origin)
    const running = call(origin, { headers: { 'Idempotency-Key': freshKey() }, body: 'a' })
    await until(() => runs === 1)
    const closed = gateway.close()
    await expect(call(origin, { body: 'a' })).rejects.toThrow()
    finish.resolve()
    expect((await running).body.toString()).toBe('in time')
    await closed
  })

  test('what does not end in time is broken, and its outcome is unknown', async () => {
    let runs = 0
    const upstream = await startUpstream(() => {
      runs += 1
    })
    const inner = memoryStore()
    const kept = new Proxy(inner, {
      get(target, name) {
        if (name === 'close') return () => Promise.resolve()
        const value: unknown = Reflect.get(target, name)
        return typeof value === 'function' ? (value.bind(target) as unknown) : value
      },
    })
    const first = await startGateway(upstream.origin, 'drainTimeout: 20ms', kept)
    const sent = { headers: { 'Idempotency-Key': freshKey() }, body: 'a' }
    const running = call(first.origin, sent)
    await until(() => runs === 1)
    await first.gateway.close()
    expect((await running).status).toBe(502)
    const second = await startGateway(upstream.origin, '', kept)
    expect(codeOf(await call(second.origin, sent))).toBe('outcome-unknown')
    expect(runs).toBe(1)
  })

  test('a client that does not read its answer and an open WebSocket do not hold it up', async () => {
    const upstream = await startUpstream((_, response) => response.end(Buffer.alloc(64 * 1024 * 1024)))
    const sockets = new WebSocketServer({ server: upstream.server })
    onTestFinished(() => sockets.close())
    const { gateway, port } = await startGateway(upstream.origin, 'drainTimeout: 20ms')
    const live = new WebSocket(`ws://127.0.0.1:${port}/live`)
    await once(live, 'open')
    const deaf = connect(port, '127.0.0.1')
    deaf.on('error', () => {})
    deaf.write('GET /big HTTP/1.1\r\nHost: a\r\n\r\n')
    await once(deaf, 'readable')
    const closed = once(live, 'close')
    await gateway.close()
    await closed
    deaf.destroy()
  })
})
