/** Whoever reads the body after the layer finds it whole; whoever read it before leaves enough to compare. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serve as serveHono } from '@hono/node-server'
import express, { type RequestHandler } from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import { describe, expect, onTestFinished, test } from 'vitest'
import { idempotent, keepRawBody } from '../../src/http/express.ts'
import { idempotency } from '../../src/http/fastify.ts'
import { idempotent as idempotentFetch } from '../../src/http/fetch.ts'
import { idempotent as idempotentHono } from '../../src/http/hono.ts'
import { idempotent as idempotentNode } from '../../src/http/node.ts'
import { openSocket, type Received, type Sent, send } from './raw-client.ts'
import { instance, serve } from './serving.ts'
import { eventually } from '../eventually.ts'

const anonymous = { principal: 'anonymous' } as const

const large = JSON.stringify({ text: 'é'.repeat(100_000) })

/** Bodies that a JSON parser must find as they were sent. */
const jsonBodies: readonly (readonly [string, Sent['body'], string])[] = [
  ['small', '{"amount":1}', '{"amount":1}'],
  ['chunked', ['{"amo', 'unt"', ':1}'], '{"amount":1}'],
  ['200 KB', large, large],
  ['200 KB, chunked', [large.slice(0, 70_000), large.slice(70_000)], large],
]

/** Sends a request twice: both answers hold `expected`, and the second is a replay. */
async function expectEcho(port: number, sent: Sent, expected: string): Promise<void> {
  const first = await send(port, sent)
  expect([first.status, first.body.toString() === expected]).toEqual([200, true])
  const replay = await send(port, sent)
  expect(replay.header('idempotent-replayed')).toBe('true')
  expect(replay.body.equals(first.body)).toBe(true)
}

const echoParsed: RequestHandler = (req, res) =>
  void res.type('text').send(JSON.stringify(req.body) ?? 'none')

describe('Express, parser after the layer', () => {
  async function served(parser: RequestHandler, more: { requestBytesMax?: number } = {}): Promise<number> {
    const app = express()
    app.post('/x', idempotent(instance(), { ...anonymous, ...more }), parser, echoParsed)
    return (await serve(app)).port
  }

  test.each(jsonBodies)('express.json: %s', async (_, body, expected) => {
    await expectEcho(
      await served(express.json({ limit: '1mb' })),
      body === undefined ? {} : { body },
      expected,
    )
  })

  test.each<[string, Sent['body']]>([
    ['empty', ''],
    ['empty, chunked', []],
  ])('express.json: %s, as without the layer', async (_, body = '') => {
    const app = express()
    app.post('/x', express.json(), echoParsed)
    const plain = await send((await serve(app)).port, { body })
    expect(plain.status).toBe(200)
    await expectEcho(await served(express.json()), { body }, plain.body.toString())
  })

  test('express.urlencoded', async () => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    const sent = { headers, body: 'a=1&b=two+words' }
    await expectEcho(await served(express.urlencoded()), sent, '{"a":"1","b":"two words"}')
  })

  test('express.raw and express.text', async () => {
    const body = Uint8Array.from([0, 255, 128])
    const raw = { headers: { 'content-type': 'application/octet-stream' }, body }
    await expectEcho(await served(express.raw()), raw, '{"type":"Buffer","data":[0,255,128]}')
    const text = { headers: { 'content-type': 'text/plain' }, body: 'plain' }
    await expectEcho(await served(express.text()), text, '"plain"')
  })

  test('a body that the parser refuses is answered by the parser', async () => {
    const port = await served(express.json())
    expect((await send(port, { body: '{' })).status).toBe(400)
  })

  test('a body over requestBytesMax is refused before anything runs, framed either way', async () => {
    let ran = 0
    const app = express()
    app.post('/x', idempotent(instance(), { ...anonymous, requestBytesMax: 10 }), (_, res) => {
      ran++
      res.end()
    })
    const { port } = await serve(app)
    expect((await send(port, { body: '12345678901' })).status).toBe(413)
    expect((await send(port, { body: ['123456', '78901'] })).status).toBe(413)
    expect(ran).toBe(0)
    expect((await send(port, { body: '1234567890' })).status).toBe(200)
    expect(ran).toBe(1)
  })
})

describe('Express, parser before the layer', () => {
  const larger = '{"amount":9007199254740993}'
  const smaller = '{"amount":9007199254740992}'

  async function served(parser: RequestHandler): Promise<number> {
    const app = express()
    app.use(parser)
    app.post('/x', idempotent(instance(), anonymous), echoParsed)
    return (await serve(app)).port
  }

  test('with keepRawBody large integers tell requests apart', async () => {
    const port = await served(express.json({ verify: keepRawBody }))
    await expectEcho(port, { body: larger }, smaller)
    expect((await send(port, { body: smaller })).status).toBe(422)
  })

  test('without it they look alike, and other differences are still found', async () => {
    const port = await served(express.json())
    await expectEcho(port, { body: larger }, smaller)
    expect((await send(port, { body: smaller })).header('idempotent-replayed')).toBe('true')
    expect((await send(port, { body: '{"amount":1}' })).status).toBe(422)
  })

  test('a form that was parsed before', async () => {
    const port = await served(express.urlencoded())
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    await expectEcho(port, { headers, body: 'a=1' }, '{"a":"1"}')
    expect((await send(port, { headers, body: 'a=2' })).status).toBe(422)
  })

  test('octets that were read before', async () => {
    const port = await served(express.raw({ type: '*/*' }))
    await expectEcho(port, { body: '[1]' }, '{"type":"Buffer","data":[91,49,93]}')
    expect((await send(port, { body: '[2]' })).status).toBe(422)
  })
})

/** Answers what it read, in one of the ways in which Node programs read. */
const readers: Readonly<Record<string, (request: IncomingMessage, response: ServerResponse) => void>> = {
  'data and end events': (request, response) => {
    const pieces: Buffer[] = []
    request.on('data', (piece: Buffer) => pieces.push(piece))
    request.on('end', () => response.end(Buffer.concat(pieces)))
  },
  'async iteration': async (request, response) => {
    const pieces: Buffer[] = []
    for await (const piece of request) pieces.push(piece as Buffer)
    response.end(Buffer.concat(pieces))
  },
  'readable and read()': (request, response) => {
    const pieces: Buffer[] = []
    request.on('readable', () => {
      for (let piece = request.read(); piece !== null; piece = request.read()) pieces.push(piece as Buffer)
    })
    request.on('end', () => response.end(Buffer.concat(pieces)))
  },
  'async iteration that begins later': async (request, response) => {
    await new Promise((resolve) => setImmediate(resolve))
    const pieces: Buffer[] = []
    for await (const piece of request) pieces.push(piece as Buffer)
    response.end(Buffer.concat(pieces))
  },
  'events with an encoding': (request, response) => {
    let text = ''
    request.setEncoding('utf8')
    request.on('data', (piece: string) => {
      text += piece
    })
    request.on('end', () => response.end(text))
  },
}

describe.each(Object.entries(readers))('node:http, by %s', (_, reader) => {
  test.each([...jsonBodies, ['empty', '', ''] as const, ['empty, chunked', [], ''] as const])(
    '%s',
    async (_name, body, expected) => {
      const { port } = await serve(idempotentNode(instance(), anonymous, reader))
      await expectEcho(port, body === undefined ? {} : { body }, expected)
    },
  )
})

describe('Expect: 100-continue', () => {
  const head =
    'POST /x HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n'

  async function continuing(listener: RequestListener, handled: boolean): Promise<number> {
    const server = createServer(listener)
    if (handled) server.on('checkContinue', listener)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(async () => {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    })
    return (server.address() as AddressInfo).port
  }

  test.each([
    ['sent by Node', false],
    ['left to the listener (checkContinue)', true],
  ])('%s: 100 is sent once and the body is read', async (_, handled) => {
    const app = express()
    app.post('/x', idempotent(instance(), anonymous), express.json(), echoParsed)
    const { socket, text } = openSocket(await continuing(app, handled))
    socket.write(`${head}Content-Length: 7\r\n\r\n`)
    await eventually(() => expect(text()).toBe('HTTP/1.1 100 Continue\r\n\r\n'))
    socket.write('{"a":1}')
    await eventually(() => expect(text()).toMatch(/HTTP\/1.1 200 OK[^]*\{"a":1\}$/))
    expect(text().match(/100 Continue/g)).toHaveLength(1)
  })

  test('a body that would be too large is refused without inviting it', async () => {
    let ran = 0
    const app = express()
    app.post('/x', idempotent(instance(), { ...anonymous, requestBytesMax: 5 }), (_, res) => {
      ran++
      res.end()
    })
    const { socket, text } = openSocket(await continuing(app, true))
    socket.write(`${head}Content-Length: 7\r\n\r\n`)
    await eventually(() => expect(text()).toMatch(/^HTTP\/1.1 413 /))
    expect(ran).toBe(0)
  })
})

describe('two pipelined requests with one key', () => {
  const request =
    'POST /x HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{"a":1}'

  test.each<[string, (counted: () => void) => RequestListener]>([
    [
      'express',
      (counted) => {
        const app = express()
        app.post('/x', idempotent(instance(), { ...anonymous, wait: '10s' }), express.json(), (req, res) => {
          counted()
          res.json(req.body)
        })
        return app
      },
    ],
    [
      'node',
      (counted) =>
        idempotentNode(instance(), { ...anonymous, wait: '10s' }, (req, res) => {
          counted()
          readers['data and end events']?.(req, res)
        }),
    ],
  ])('%s: one effect, and both are answered', async (_, listenerOf) => {
    let ran = 0
    const { port } = await serve(
      listenerOf(() => {
        ran++
      }),
    )
    const { socket, text } = openSocket(port)
    socket.write(request + request)
    await eventually(() => expect(text().match(/HTTP\/1.1 200 OK/g)).toHaveLength(2))
    await eventually(() => expect(text().match(/\{"a":1\}/g)).toHaveLength(2))
    expect(text().match(/Idempotent-Replayed: true/g)).toHaveLength(1)
    expect(ran).toBe(1)
  })
})

describe('Fastify', () => {
  async function served(): Promise<{ port: number; ran: () => number }> {
    let ran = 0
    const app = Fastify({ bodyLimit: 1 << 20 })
    onTestFinished(() => app.close())
    await app.register(idempotency, { idem: instance(), ...anonymous })
    app.addContentTypeParser('application/x-lines', { parseAs: 'string' }, (_request, body, done) => {
      done(null, (body as string).split('\n'))
    })
    app.addContentTypeParser(
      'application/x-stream',
      async (_request: unknown, payload: AsyncIterable<Buffer>) => {
        const pieces: Buffer[] = []
        for await (const piece of payload) pieces.push(piece)
        return Buffer.concat(pieces).toString()
      },
    )
    app.post('/x', async (request, reply) => {
      ran++
      return reply.type('text/plain').send(JSON.stringify(request.body) ?? 'none')
    })
    await app.listen({ port: 0, host: '127.0.0.1' })
    return { port: (app.server.address() as AddressInfo).port, ran: () => ran }
  }

  test.each(jsonBodies)('JSON: %s', async (_, body, expected) => {
    const { port, ran } = await served()
    await expectEcho(port, body === undefined ? {} : { body }, expected)
    expect(ran()).toBe(1)
  })

  test('large integers tell requests apart', async () => {
    const { port } = await served()
    await send(port, { body: '{"amount":9007199254740993}' })
    expect((await send(port, { body: '{"amount":9007199254740992}' })).status).toBe(422)
  })

  test('a content type parser of its own, of a string and of a stream', async () => {
    const { port } = await served()
    const lines = { key: 'lines', headers: { 'content-type': 'application/x-lines' }, body: 'a\nb' }
    await expectEcho(port, lines, '["a","b"]')
    expect((await send(port, { ...lines, body: 'a\nc' })).status).toBe(422)
    const stream = { key: 'stream', headers: { 'content-type': 'application/x-stream' }, body: ['a', 'b'] }
    await expectEcho(port, stream, '"ab"')
  })
})

describe('Hono', () => {
  async function ported(app: Hono): Promise<number> {
    const server = serveHono({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' })
    onTestFinished(async () => {
      server.close()
      await once(server, 'close')
    })
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  }

  test.each(jsonBodies)('c.req.json: %s', async (_, body, expected) => {
    const app = new Hono()
    app.post('/x', idempotentHono(instance(), anonymous), async (c) =>
      c.text(JSON.stringify(await c.req.json())),
    )
    await expectEcho(await ported(app), body === undefined ? {} : { body }, expected)
  })

  test.each(jsonBodies)('c.req.text: %s', async (_, body, expected) => {
    const app = new Hono()
    app.post('/x', idempotentHono(instance(), anonymous), async (c) => c.text(await c.req.text()))
    await expectEcho(await ported(app), body === undefined ? {} : { body }, expected)
  })

  test('parseBody of a form', async () => {
    const app = new Hono()
    app.post('/x', idempotentHono(instance(), anonymous), async (c) =>
      c.text(JSON.stringify(await c.req.parseBody())),
    )
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    await expectEcho(await ported(app), { headers, body: 'a=1&b=2' }, '{"a":"1","b":"2"}')
  })

  test('parseBody of multipart, whose boundary is new with every retry', async () => {
    const app = new Hono()
    app.post('/x', idempotentHono(instance(), anonymous), async (c) =>
      c.text(JSON.stringify(await c.req.parseBody())),
    )
    const port = await ported(app)
    const form = (boundary: string, value: string): Sent => ({
      headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
      body: `--${boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\n${value}\r\n--${boundary}--\r\n`,
    })
    const answers: Received[] = []
    for (const sent of [form('one', '1'), form('two', '1'), form('three', '2')])
      answers.push(await send(port, sent))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 422])
    expect(answers[1]?.body.toString()).toBe('{"a":"1"}')
    expect(answers[1]?.header('idempotent-replayed')).toBe('true')
  })

  test('a validator that read the body before', async () => {
    const app = new Hono()
    app.use('/x', async (c, next) => {
      await c.req.json()
      await next()
    })
    app.post('/x', idempotentHono(instance(), anonymous), async (c) =>
      c.text(JSON.stringify(await c.req.json())),
    )
    const port = await ported(app)
    await expectEcho(port, { body: '{"a":1}' }, '{"a":1}')
    expect((await send(port, { body: '{"a":2}' })).status).toBe(422)
  })
})

describe('fetch', () => {
  const requestOf = (body: string | ReadableStream | null, type = 'application/json'): Request =>
    new Request('http://service/x', {
      method: 'POST',
      body,
      headers: { 'Idempotency-Key': 'k', 'Content-Type': type },
      ...(body instanceof ReadableStream ? { duplex: 'half' } : {}),
    } as RequestInit)

  test.each<[string, (request: Request) => Promise<string>]>([
    ['json', async (request) => JSON.stringify(await request.json())],
    ['text', (request) => request.text()],
    ['arrayBuffer', async (request) => Buffer.from(await request.arrayBuffer()).toString()],
    ['a clone', (request) => request.clone().text()],
    ['the stream', async (request) => Buffer.from(await new Response(request.body).arrayBuffer()).toString()],
  ])('by %s', async (_, read) => {
    for (const body of ['{"amount":1}', large]) {
      const handler = idempotentFetch(
        instance(),
        anonymous,
        async (request) => new Response(await read(request)),
      )
      const streamed = new Blob([body]).stream()
      expect((await (await handler(requestOf(streamed))).text()) === body).toBe(true)
      const replay = await handler(requestOf(body))
      expect(replay.headers.get('idempotent-replayed')).toBe('true')
      expect((await replay.text()) === body).toBe(true)
    }
  })

  test('formData', async () => {
    const handler = idempotentFetch(instance(), anonymous, async (request) =>
      Response.json([...(await request.formData())]),
    )
    const form = await handler(requestOf('a=1&b=2', 'application/x-www-form-urlencoded'))
    expect(await form.json()).toEqual([
      ['a', '1'],
      ['b', '2'],
    ])
  })

  test('no body, and one over requestBytesMax', async () => {
    let ran = 0
    const handler = idempotentFetch(instance(), { ...anonymous, requestBytesMax: 5 }, async (request) => {
      ran++
      return new Response(`got ${(await request.text()).length}`)
    })
    expect((await handler(requestOf('123456'))).status).toBe(413)
    expect((await handler(requestOf(new Blob(['123', '456']).stream()))).status).toBe(413)
    expect(ran).toBe(0)
    expect(await (await handler(requestOf(null))).text()).toBe('got 0')
  })
})
