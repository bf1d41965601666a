import { once } from 'node:events'
import { request } from 'node:http'
import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { call, codeOf, rawExchange, startGateway, startRawUpstream, startUpstream, until } from './harness.ts'

const everyOctet = Buffer.from(Array.from({ length: 256 }, (_, octet) => octet))

describe('requests that are not protected', () => {
  test('octets go through unchanged in both directions', async () => {
    const upstream = await startUpstream(async (incoming, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of incoming) chunks.push(chunk as Buffer)
      response.writeHead(200, { 'Content-Type': 'application/octet-stream' })
      response.end(Buffer.concat(chunks))
    })
    const { origin } = await startGateway(upstream.origin)
    const answer = await call(origin, { method: 'PUT', path: '/blob?x=%20', body: everyOctet })
    expect(answer.body.equals(everyOctet)).toBe(true)
  })

  test('a 5 MB body without a key streams through', async () => {
    const body = Buffer.alloc(5_000_000, 7)
    const upstream = await startUpstream(async (incoming, response) => {
      const hash = createHash('sha256')
      for await (const chunk of incoming) hash.update(chunk as Buffer)
      response.end(hash.digest('hex'))
    })
    const { origin } = await startGateway(upstream.origin)
    const answer = await call(origin, { body })
    expect(answer.body.toString()).toBe(createHash('sha256').update(body).digest('hex'))
  })

  test('an answer streams: its first part arrives while the upstream still writes', async () => {
    const finish = Promise.withResolvers<void>()
    const upstream = await startUpstream(async (_, response) => {
      response.write('first')
      await finish.promise
      response.end('last')
    })
    const { origin } = await startGateway(upstream.origin)
    const sent = request(`${origin}/events`).end()
    const [response] = await once(sent, 'response')
    const parts: string[] = []
    response.on('data', (chunk: Buffer) => {
      parts.push(chunk.toString())
      finish.resolve()
    })
    await once(response, 'end')
    expect(parts.join('')).toBe('firstlast')
    expect(parts[0]).toBe('first')
  })

  test('the head of an event stream does not wait for its first event', async () => {
    const upstream = await startUpstream((_, response) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' })
      response.flushHeaders()
    })
    const { origin } = await startGateway(upstream.origin)
    const sent = request(`${origin}/events`).end()
    sent.on('error', () => {})
    const [response] = await once(sent, 'response')
    expect(response.headers['content-type']).toBe('text/event-stream')
    sent.destroy()
  })

  test('a client that does not read slows the upstream down', async () => {
    let written = 0
    let closed = false
    const { promise: leaving, resolve: leave } = Promise.withResolvers<void>()
    const chunk = Buffer.alloc(256 * 1024)
    const total = 512
    const upstream = await startUpstream(async (_, response) => {
      response.on('close', () => {
        closed = true
        leave()
      })
      for (; written < total && !closed; written += 1) {
        if (!response.write(chunk) && !closed) {
          await Promise.race([new Promise((resolve) => response.once('drain', resolve)), leaving])
        }
      }
      response.end()
    })
    const { port } = await startGateway(upstream.origin)
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write('GET /big HTTP/1.1\r\nHost: a\r\n\r\n')
    await once(socket, 'readable')
    let before = -1
    // Settled once nothing more was written over many turns of the event loop.
    while (before !== written) {
      before = written
      for (let turn = 0; turn < 2_000; turn += 1) await new Promise((resolve) => setImmediate(resolve))
    }
    expect(written).toBeLessThan(total)
    socket.destroy()
    await until(() => closed)
  })

  test('an answer that the upstream breaks off breaks off at the client too', async () => {
    const upstream = await startRawUpstream((socket) => {
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf')
    })
    const { origin } = await startGateway(upstream.origin)
    await expect(call(origin, { method: 'GET' })).rejects.toThrow()
  })

  test('an upstream that cannot be reached is 502', async () => {
    const upstream = await startUpstream(() => {})
    upstream.server.close()
    await once(upstream.server, 'close')
    const { origin } = await startGateway(upstream.origin)
    const answer = await call(origin, { method: 'GET' })
    expect(answer.status).toBe(502)
    expect(answer.headers['content-type']).toBe('application/problem+json')
    expect(codeOf(answer)).toBe('upstream-unreachable')
  })
})

describe('fields', () => {
  test('those of one hop end here, in both directions, also those that Connection names', async () => {
    const upstream = await startRawUpstream((socket) => {
      socket.write(
        'HTTP/1.1 200 OK\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\n' +
          'Proxy-Authenticate: Basic\r\nX-Kept: a\r\nx-KEPT: b\r\nSet-Cookie: one\r\nSet-Cookie: two\r\n' +
          'Content-Length: 2\r\n\r\nok',
      )
    })
    const { port } = await startGateway(upstream.origin)
    const answer = await rawExchange(
      port,
      'GET /a?b=c HTTP/1.1\r\nHost: shop.example\r\nConnection: close, X-Private\r\nX-Private: 1\r\nTE: trailers\r\n' +
        'Proxy-Authorization: secret\r\nX-Forwarded-For: 10.0.0.1\r\nX-CASE: kept\r\nx-twice: 1\r\nx-twice: 2\r\n\r\n',
    )
    const [sent = ''] = upstream.requests
    expect(sent).toContain('GET /a?b=c HTTP/1.1\r\n')
    expect(sent).not.toMatch(/x-private|te:|proxy-authorization/i)
    expect(sent).toContain(`host: ${upstream.origin.slice(7)}`)
    expect(sent).toContain('X-Forwarded-For: 10.0.0.1, 127.0.0.1\r\n')
    expect(sent).toContain('X-Forwarded-Host: shop.example\r\n')
    expect(sent).toContain('X-Forwarded-Proto: http\r\n')
    expect(sent).toContain('Via: 1.1 retrysafe\r\n')
    expect(sent).toContain('X-CASE: kept\r\n')
    expect(sent).toContain('x-twice: 1\r\nx-twice: 2\r\n')

    expect(answer).not.toMatch(/x-hop|timeout=9|proxy-authenticate/i)
    expect(answer).toContain('X-Kept: a\r\nx-KEPT: b\r\nSet-Cookie: one\r\nSet-Cookie: two\r\n')
    expect(answer).toContain('Via: 1.1 retrysafe\r\n')
  })

  test('a target in absolute form goes to the upstream, whatever host it names', async () => {
    const upstream = await startRawUpstream((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
    })
    const { port } = await startGateway(upstream.origin)
    await rawExchange(
      port,
      'GET http://elsewhere.example/a?b HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n',
    )
    expect(upstream.requests[0]).toContain('GET /a?b HTTP/1.1\r\n')
  })

  test.each([
    ['Content-Length and Transfer-Encoding together', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n'],
    ['two lengths', 'Content-Length: 5\r\nContent-Length: 6\r\n'],
    ['a length that is no number', 'Content-Length: 5x\r\n'],
    ['an unknown transfer coding', 'Transfer-Encoding: chunked, identity\r\n'],
    ['a folded line', 'X-A: b\r\n c\r\nX-B: \0\r\n'],
  ])('%s is 400 and is not passed on', async (_, fields) => {
    const upstream = await startRawUpstream((socket) => socket.destroy())
    const { port } = await startGateway(upstream.origin)
    const answer = await rawExchange(
      port,
      `POST /charges HTTP/1.1\r\nHost: a\r\n${fields}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n`,
    )
    expect(answer).toMatch(/^HTTP\/1\.1 400 /)
    expect(upstream.requests).toEqual([])
  })

  test.each([
    ['POST', 'DELETE'],
    ['GET', 'POST'],
    ['PUT', 'patch '],
  ])('%s overridden as %s is 400', async (method, named) => {
    const upstream = await startRawUpstream((socket) => socket.destroy())
    const { origin } = await startGateway(upstream.origin)
    const answer = await call(origin, { method, headers: { 'X-HTTP-Method-Override': named } })
    expect(answer.status).toBe(400)
    expect(codeOf(answer)).toBe('method-override')
    expect(upstream.requests).toEqual([])
  })

  test('early data is refused for protected methods and passes for safe ones', async () => {
    const upstream = await startUpstream((_, response) => response.end('ok'))
    const { origin } = await startGateway(upstream.origin)
    const headers = { 'Early-Data': '1' }
    expect((await call(origin, { headers })).status).toBe(425)
    expect((await call(origin, { method: 'GET', headers })).status).toBe(200)
  })

  test('a head over the limit is 431', async () => {
    const upstream = await startUpstream((_, response) => response.end('ok'))
    const { origin } = await startGateway(upstream.origin)
    const answer = await call(origin, { method: 'GET', headers: { 'X-Long': 'x'.repeat(40_000) } })
    expect(answer.status).toBe(431)
  })
})

describe('WebSocket', () => {
  test('messages go through in both directions, and the end too', async () => {
    const upstream = await startUpstream(() => {})
    const sockets = new WebSocketServer({ server: upstream.server })
    onTestFinished(() => sockets.close())
    sockets.on('connection', (socket, incoming) => {
      socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
      socket.send(`path ${incoming.url}`)
    })
    const { port } = await startGateway(upstream.origin)
    const client = new WebSocket(`ws://127.0.0.1:${port}/live?x=1`, ['chat'])
    const [first] = await once(client, 'message')
    expect(String(first)).toBe('path /live?x=1')
    client.send(everyOctet)
    const [echoed] = await once(client, 'message')
    expect(everyOctet.equals(echoed as Buffer)).toBe(true)
    client.close(1000)
    const [code] = await once(client, 'close')
    expect(code).toBe(1000)
  })

  test('an upgrade that the upstream refuses is refused with its answer', async () => {
    const upstream = await startUpstream((_, response) => response.writeHead(403).end('no'))
    const { port } = await startGateway(upstream.origin)
    const client = new WebSocket(`ws://127.0.0.1:${port}/live`)
    const [, response] = await once(client, 'unexpected-response')
    expect(response.statusCode).toBe(403)
  })

  test('an upgrade without an upstream is 502', async () => {
    const upstream = await startUpstream(() => {})
    upstream.server.close()
    await once(upstream.server, 'close')
    const { port } = await startGateway(upstream.origin)
    const client = new WebSocket(`ws://127.0.0.1:${port}/live`)
    const [, response] = await once(client, 'unexpected-response')
    expect(response.statusCode).toBe(502)
  })

  test('a request that offers another protocol is answered as if it did not', async () => {
    const upstream = await startUpstream((_, response) => response.end('plain'))
    const { port } = await startGateway(upstream.origin)
    const answer = await rawExchange(
      port,
      'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n',
    )
    expect(answer).toMatch(/^HTTP\/1\.1 200 /)
  })
})
