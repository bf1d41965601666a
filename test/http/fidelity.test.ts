/** What a client gets through the layer equals what it gets without it, and a replay equals the first answer. */
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, OutgoingHttpHeader, ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { gunzipSync } from 'node:zlib'
import compression from 'compression'
import express, { type Express, type Request, type RequestHandler } from 'express'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import { StoreError } from '../../src/core/errors.ts'
import type { IdempotencyStore } from '../../src/core/store.ts'
import { createIdempotency, type Idempotency } from '../../src/engine/idempotency.ts'
import { idempotent, type IdempotentOptions } from '../../src/http/express.ts'
import { isOfThisSending } from '../../src/http/headers.ts'
import { idempotent as idempotentNode } from '../../src/http/node.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { openSocket, type Received, send, storeWith } from './raw-client.ts'
import { instance, serve } from './serving.ts'
import { eventually } from '../eventually.ts'

const folder = mkdtempSync(join(tmpdir(), 'fidelity-'))
const file = join(folder, 'receipt.txt')
writeFileSync(file, 'receipt '.repeat(1000))
afterAll(() => rmSync(folder, { recursive: true }))

const binary = Uint8Array.from({ length: 512 }, (_, at) => at & 255)

function on(store: IdempotencyStore): Idempotency {
  const idem = createIdempotency({ store, sweep: false })
  onTestFinished(() => idem.close())
  return idem
}

function appOf(
  handler: RequestHandler,
  idem: Idempotency = instance(),
  more: Partial<IdempotentOptions<Request>> = {},
): Express {
  const app = express()
  app.post('/plain', handler)
  app.post('/x', idempotent<Request>(idem, { principal: 'anonymous', ...more }), handler)
  return app
}

/** Fields that belong to one connection, or to how the octets were framed on it. */
const hop = new Set(['connection', 'keep-alive', 'transfer-encoding', 'date', 'content-length'])

function endToEnd(answer: Received): (readonly [string, string])[] {
  const kept = answer.lines.filter(([name]) => !hop.has(name.toLowerCase()))
  return kept.toSorted(([a], [b]) =>
    a.toLowerCase() < b.toLowerCase() ? -1 : a.toLowerCase() > b.toLowerCase() ? 1 : 0,
  )
}

function expectSameAnswer(first: Received, plain: Received): void {
  expect(first.status).toBe(plain.status)
  expect(first.body.equals(plain.body)).toBe(true)
  expect(endToEnd(first)).toEqual(endToEnd(plain))
  expect([first.whole, plain.whole]).toEqual([true, true])
}

function expectReplay(replay: Received, first: Received): void {
  expect(replay.status).toBe(first.status)
  expect(replay.body.equals(first.body)).toBe(true)
  const kept = endToEnd(first).filter(([name]) => !isOfThisSending(name.toLowerCase()))
  const without = new Set(['idempotent-replayed', 'cache-control'])
  expect(endToEnd(replay).filter(([name]) => !without.has(name.toLowerCase()))).toEqual(
    kept.filter(([name]) => !without.has(name.toLowerCase())),
  )
  expect(replay.header('idempotent-replayed')).toBe('true')
  expect(replay.header('cache-control')).toBeDefined()
  expect(first.header('idempotent-replayed')).toBeUndefined()
}

const shapes: Readonly<Record<string, RequestHandler>> = {
  'res.json': (_, res) => void res.status(201).json({ id: 'ch_1', text: 'naïve ☃' }),
  'res.send of binary octets': (_, res) =>
    void res.type('application/octet-stream').send(Buffer.from(binary)),
  'res.end of a text': (_, res) => void res.end('x'),
  'res.end in another encoding': (_, res) => void res.end('68656c6c6f', 'hex'),
  'res.end of nothing': (_, res) => void res.end(),
  'one write, then end': (_, res) => {
    res.write('all')
    res.end()
  },
  'three writes, then end': (_, res) => {
    res.write('one ')
    res.write(Buffer.from('two '))
    res.write('dGhyZWU=', 'base64')
    res.end(' end')
  },
  'a piped stream': async (_, res) => {
    await pipeline(Readable.from(['a', 'b', Buffer.from(binary), 'c']), res)
  },
  'writeHead with an object': (_, res) => {
    res.setHeader('X-Before', 'kept')
    res.setHeader('X-Twice', 'old')
    res.writeHead(202, { 'Content-Type': 'text/plain', 'X-Twice': 'new', 'X-List': ['1', '2'] })
    res.end('accepted')
  },
  'writeHead with a reason and Content-Length': (_, res) => {
    res.writeHead(200, 'Fine', { 'Content-Length': 6 })
    res.write('abc')
    res.write('def')
    res.end()
  },
  'writeHead with a flat list and a repeated name': (_, res) => {
    res.writeHead(200, ['X-Many', 'a', 'X-Many', 'b', 'Content-Type', 'text/plain'])
    res.end('flat')
  },
  204: (_, res) => void res.status(204).end(),
  'a 204 that is given a body': (_, res) => void res.writeHead(204, { 'X-A': '1' }).end('never sent'),
  'a 304 with a validator': (_, res) => void res.status(304).set('ETag', '"1"').end(),
  'an empty field and a latin1 field': (_, res) =>
    void res.set({ 'X-Empty': '', 'X-Latin': 'caf\u00e9' }).end(Buffer.from('x')),
  'a field removed again': (_, res) => {
    res.set('X-Gone', '1')
    res.removeHeader('X-Gone')
    res.send('x')
  },
  'an attachment': (_, res) => void res.attachment('naïve ☃.txt').send('x'),
  'fields of a late kind: appended and linked': (_, res) =>
    void res.append('Warning', 'one').append('Warning', 'two').links({ next: '/2' }).vary('Accept').json([1]),
  'empty writes between': (_, res) => {
    res.write('')
    res.write('a')
    res.write(Buffer.alloc(0))
    res.end('')
  },
  'a buffer that is used again after its write': (_, res) => {
    const piece = Buffer.from('aaaa')
    res.write(piece, () => {
      piece.fill('b')
      res.write(piece, () => {
        piece.fill('c')
        res.end()
      })
    })
  },
  'a redirect': (_, res) => res.redirect(303, '/charges/1'),
  'a file': (_, res) => res.sendFile(file),
  'two cookies': (_, res) => void res.cookie('a', '1').cookie('b', '2').json({}),
  '1 MB in pieces': async (_, res) => {
    const piece = Buffer.alloc(65_536, 7)
    await pipeline(Readable.from(Array.from({ length: 16 }, () => piece)), res)
  },
  402: (_, res) => void res.status(402).json({ error: 'card declined' }),
  'res.format with an ETag': (_, res) =>
    void res.format({ json: () => res.json({ a: 1 }), text: () => res.send('a=1') }),
  'flushHeaders before the body': (_, res) => {
    res.setHeader('X-Early', '1')
    res.flushHeaders()
    res.end('late')
  },
  'caching fields of its own': (_, res) =>
    void res.set({ 'Cache-Control': 'private', Vary: 'Accept', 'X-Request-Id': '7' }).send('x'),
}

describe('the same answer, first and again', () => {
  test.each(Object.entries(shapes))('%s', async (_, handler) => {
    let ran = 0
    const counted: RequestHandler = (req, res, next) => {
      ran++
      return handler(req, res, next)
    }
    const { port } = await serve(appOf(counted))
    const plain = await send(port, { path: '/plain' })
    const first = await send(port)
    const replay = await send(port)
    expectSameAnswer(first, plain)
    expectReplay(replay, first)
    expect(ran).toBe(2)
    if (plain.header('content-length') !== undefined) {
      expect(first.header('content-length')).toBe(plain.header('content-length'))
    }
  })

  test('writeHead with pairs', async () => {
    const handler = (_: IncomingMessage, res: ServerResponse): void => {
      const pairs: unknown = [
        ['X-Many', 'a'],
        ['X-Many', 'b'],
        ['Content-Type', 'text/plain'],
      ]
      res.writeHead(200, pairs as OutgoingHttpHeader[])
      res.end('pairs')
    }
    const plain = await send((await serve(handler)).port)
    const { port } = await serve(idempotentNode(instance(), { principal: 'anonymous' }, handler))
    const first = await send(port)
    expectSameAnswer(first, plain)
    expectReplay(await send(port), first)
  })

  test('cookies and ids of the first sending are not in the replay', async () => {
    const { port } = await serve(
      appOf((_, res) => void res.cookie('a', '1').cookie('b', '2').set('X-Request-Id', '7').json({})),
    )
    const first = await send(port)
    const replay = await send(port)
    expect(first.lines.filter(([name]) => name === 'Set-Cookie')).toHaveLength(2)
    expect(replay.lines.map(([name]) => name.toLowerCase())).not.toContain('set-cookie')
    expect(replay.header('x-request-id')).toBeUndefined()
  })

  test('a thrown error is answered 500 and releases the key', async () => {
    let ran = 0
    const { port } = await serve(
      appOf((_, res) => {
        ran++
        // Express shows the stack, which differs by where the route was called from.
        if (ran <= 2) throw Object.assign(new Error('boom'), { stack: 'boom' })
        res.json({ ran })
      }),
    )
    const plain = await send(port, { path: '/plain' })
    expectSameAnswer(await send(port), plain)
    const again = await send(port)
    expect([again.status, again.body.toString(), again.header('idempotent-replayed')]).toEqual([
      200,
      '{"ran":3}',
      undefined,
    ])
  })
})

describe('answers that are not kept whole', () => {
  test.each([
    ['with a Location', '/charges/1', 303],
    ['without a Location', undefined, 201],
  ])('over responseBytesMax, %s', async (_, location, status) => {
    let ran = 0
    const large = Buffer.alloc(2_000, 1)
    const { port } = await serve(
      appOf(
        (_req, res) => {
          ran++
          if (location !== undefined) res.location(location)
          res.status(201).send(large)
        },
        instance(),
        { responseBytesMax: 1_999 },
      ),
    )
    const first = await send(port)
    expect([first.status, first.body.equals(large), first.whole]).toEqual([201, true, true])
    const replay = await send(port)
    expect([replay.status, replay.body.length]).toEqual([status, 0])
    expect(replay.header('idempotency-replay-body')).toBe('omitted')
    expect(replay.header('idempotent-replayed')).toBe('true')
    expect(replay.header('location')).toBe(location)
    expect(replay.header('etag')).toBeUndefined()
    expect(ran).toBe(1)
  })

  test('exactly responseBytesMax is kept', async () => {
    const { port } = await serve(
      appOf((_, res) => void res.send(Buffer.alloc(2_000, 1)), instance(), { responseBytesMax: 2_000 }),
    )
    const first = await send(port)
    expectReplay(await send(port), first)
  })

  test('an event stream leaves piece by piece, and its replay has no body', async () => {
    let finish = (): void => {}
    const { port } = await serve(
      appOf((_, res) => {
        res.writeHead(200, { 'Content-Type': 'text/event-stream' })
        res.write('data: 1\n\n')
        finish = () => res.end('data: 2\n\n')
      }),
    )
    const { socket, text } = openSocket(port)
    socket.write('POST /x HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n\r\n')
    await eventually(() => expect(text()).toContain('data: 1\n\n'))
    finish()
    await eventually(() => expect(text()).toMatch(/data: 2\n\n\r\n0\r\n\r\n$/))
    const again = openSocket(port)
    again.socket.write('POST /x HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n\r\n')
    await eventually(() => expect(again.text()).toMatch(/\r\n\r\n$/))
    expect(again.text()).toMatch(/^HTTP\/1.1 200 /)
    expect(again.text()).toMatch(/Idempotency-Replay-Body: omitted\r\n/)
    expect(again.text()).not.toContain('data:')
  })
})

describe('compression outside of the layer', () => {
  test.each<[string, RequestHandler]>([
    ['in one piece', (_, res) => void res.json({ text: 'long '.repeat(1000) })],
    [
      'in pieces',
      (_, res) => {
        res.type('text')
        for (let left = 3; left > 0; left--) res.write('piece '.repeat(1000))
        res.end('end')
      },
    ],
    [
      'with writeHead',
      (_, res) => void res.writeHead(200, { 'Content-Type': 'text/plain' }).end('x'.repeat(5000)),
    ],
  ])('%s: stored plain, so each client gets the coding that it asked for', async (_, handler) => {
    const app = express()
    app.use(compression({ threshold: 0 }))
    app.post('/x', idempotent(instance(), { principal: 'anonymous' }), handler)
    const { port } = await serve(app)
    const zipped = { 'accept-encoding': 'gzip' }
    const first = await send(port, { headers: zipped })
    expect([first.header('content-encoding'), first.whole]).toEqual(['gzip', true])
    const plain = await send(port, { headers: { 'accept-encoding': 'identity' } })
    expect([plain.header('content-encoding'), plain.header('idempotent-replayed')]).toEqual([
      undefined,
      'true',
    ])
    expect(gunzipSync(first.body).equals(plain.body)).toBe(true)
    const again = await send(port, { headers: zipped })
    expect(again.header('content-encoding')).toBe('gzip')
    expect(gunzipSync(again.body).equals(plain.body)).toBe(true)
  })
})

describe('what a handler sees of its response', () => {
  test('flags follow its own calls', async () => {
    const seen: unknown[] = []
    const { port } = await serve(
      appOf((_, res) => {
        seen.push([res.headersSent, res.writableEnded])
        res.write('a')
        seen.push([res.headersSent, res.writableEnded])
        res.end()
        seen.push([res.headersSent, res.writableEnded])
      }),
    )
    await send(port)
    expect(seen).toEqual([
      [false, false],
      [true, false],
      [true, true],
    ])
  })

  test.each<[string, (res: express.Response) => unknown]>([
    ['setHeader', (res) => res.setHeader('X-Late', '1')],
    ['appendHeader', (res) => res.appendHeader('X-Late', '1')],
    ['removeHeader', (res) => res.removeHeader('X-Late')],
    ['writeHead', (res) => res.writeHead(201)],
    ['res.json', (res) => res.json({})],
  ])('%s after a write throws ERR_HTTP_HEADERS_SENT', async (_, late) => {
    let code: unknown
    const { port } = await serve(
      appOf((_req, res) => {
        res.write('a')
        try {
          late(res)
        } catch (error) {
          code = (error as { code?: unknown }).code
        }
        res.end('b')
      }),
    )
    const answer = await send(port)
    expect([code, answer.body.toString(), answer.whole]).toEqual(['ERR_HTTP_HEADERS_SENT', 'ab', true])
  })

  test('callbacks of write and end are called', async () => {
    const called: string[] = []
    const { port } = await serve(
      appOf((_, res) => {
        res.write('a', () => {
          called.push('first')
          res.write('b', 'utf8', () => {
            called.push('second')
            res.end('c', () => called.push('end'))
          })
        })
      }),
    )
    const answer = await send(port)
    expect(answer.body.toString()).toBe('abc')
    await eventually(() => expect(called).toEqual(['first', 'second', 'end']))
  })

  test('finish is emitted, and only after the answer was settled', async () => {
    const events: string[] = []
    const memory = memoryStore()
    const store = storeWith(memory, {
      settle: async (settlements) => {
        const replies = await memory.settle(settlements)
        events.push('settled')
        return replies
      },
    })
    const { port } = await serve(
      appOf((_, res) => {
        res.on('finish', () => events.push('finish'))
        res.send('x')
      }, on(store)),
    )
    await send(port)
    await eventually(() => expect(events).toEqual(['settled', 'finish']))
  })

  test('a writer that waits for drain gets on', async () => {
    const piece = Buffer.alloc(1 << 18, 1)
    const { port } = await serve(
      appOf(
        async (_, res) => {
          for (let left = 12; left > 0; left--) if (!res.write(piece)) await once(res, 'drain')
          res.end()
        },
        instance(),
        { responseBytesMax: 1 << 23 },
      ),
    )
    const first = await send(port)
    expect(first.body.length).toBe(12 * piece.length)
    expectReplay(await send(port), first)
  })

  test('a handler that throws after writing gives nobody a whole 2xx', async () => {
    const { promise: goOn, resolve } = Promise.withResolvers<void>()
    const { port } = await serve(
      appOf(async (_, res) => {
        res.write('half')
        // The end that a later step makes is what lets the instance close.
        void goOn.then(() => res.end())
        throw new Error('boom')
      }),
    )
    for (const _ of [1, 2]) {
      const answer = await send(port).catch(() => undefined)
      expect(answer === undefined || !answer.whole || answer.status >= 400).toBe(true)
    }
    resolve()
  })
})

describe('the answer waits for its record', () => {
  function gated(): { store: IdempotencyStore; settling: Promise<void>; open: () => void } {
    const memory = memoryStore()
    const gate = Promise.withResolvers<void>()
    const settling = Promise.withResolvers<void>()
    const store = storeWith(memory, {
      settle: async (settlements) => {
        settling.resolve()
        await gate.promise
        return await memory.settle(settlements)
      },
    })
    return { store, settling: settling.promise, open: () => gate.resolve() }
  }

  test.each<[string, RequestHandler, RegExp]>([
    ['with Content-Length', (_, res) => void res.send('the whole answer'), /the whole answer$/],
    [
      'with Content-Length, in pieces',
      (_, res) => {
        res.writeHead(200, { 'Content-Length': 9 })
        res.write('one')
        res.write('two')
        res.write('end')
        res.end()
      },
      /onetwoend$/,
    ],
    [
      'chunked',
      (_, res) => {
        res.write('one')
        res.write('two')
        res.end('end')
      },
      /\r\n0\r\n\r\n$/,
    ],
    [
      'with the head flushed',
      (_, res) => {
        res.flushHeaders()
        res.end()
      },
      /\r\n0\r\n\r\n$/,
    ],
    ['without a body', (_, res) => void res.status(204).end(), /^HTTP\/1.1 204[^]*\r\n\r\n$/],
  ])('%s', async (_, handler, whole) => {
    const { store, settling, open } = gated()
    const { port } = await serve(appOf(handler, on(store)))
    const { socket, text } = openSocket(port)
    socket.write('POST /x HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n\r\n')
    await settling
    // What was written before this answer on another connection has arrived when the answer has.
    await send(port, { path: '/nowhere' })
    expect(text()).not.toMatch(whole)
    open()
    await eventually(() => expect(text()).toMatch(whole))
  })

  test('a holder that lost its lease answers what the winner answered', async () => {
    let now = 1_000_000
    const store = memoryStore({ clock: { now: () => now } })
    let ran = 0
    const inHandler = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    const handler: RequestHandler = async (_, res) => {
      const run = ++ran
      if (run === 1) {
        inHandler.resolve()
        await goOn.promise
      }
      res
        .status(200 + run)
        .cookie('session', String(run))
        .json({ run })
    }
    const rerun = { onUnknown: 'rerun', lease: 10_000 } as const
    const one = await serve(appOf(handler, on(store), rerun))
    const other = await serve(appOf(handler, on(store), rerun))
    const slow = send(one.port)
    await inHandler.promise
    now += 60_000
    const winner = await send(other.port)
    expect([winner.status, winner.body.toString()]).toEqual([202, '{"run":2}'])
    goOn.resolve()
    const loser = await slow
    expect([loser.status, loser.body.toString()]).toEqual([202, '{"run":2}'])
    expect(loser.header('idempotent-replayed')).toBe('true')
    expect(loser.header('set-cookie')).toBeUndefined()
    expect(ran).toBe(2)
  })

  test('a lost holder whose head has left breaks the connection off', async () => {
    let now = 1_000_000
    const store = memoryStore({ clock: { now: () => now } })
    let ran = 0
    const inHandler = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    const handler: RequestHandler = async (_, res) => {
      const run = ++ran
      res.write('a')
      res.write('b')
      if (run === 1) {
        inHandler.resolve()
        await goOn.promise
      }
      res.end(String(run))
    }
    const rerun = { onUnknown: 'rerun', lease: 10_000 } as const
    const one = await serve(appOf(handler, on(store), rerun))
    const other = await serve(appOf(handler, on(store), rerun))
    const slow = send(one.port)
    await inHandler.promise
    now += 60_000
    expect((await send(other.port)).body.toString()).toBe('ab2')
    goOn.resolve()
    expect((await slow.catch(() => ({ whole: false }))).whole).toBe(false)
  })

  test('an outcome that could not be stored is not answered as if it were', async () => {
    const store = storeWith(memoryStore(), {
      settle: () => Promise.reject(new StoreError('permanent', 'disk full')),
    })
    const { port } = await serve(appOf((_, res) => void res.status(201).json({ secret: 'paid' }), on(store)))
    const answer = await send(port)
    expect(answer.status).toBe(503)
    expect(JSON.parse(answer.body.toString())).toMatchObject({ code: 'outcome-unknown', status: 503 })
    expect(Number(answer.header('retry-after'))).toBeGreaterThan(0)
    expect(answer.body.toString()).not.toContain('paid')
    expect(answer.header('etag')).toBeUndefined()
  })

  test('a client that leaves while the handler works finds the answer when it asks again', async () => {
    const inHandler = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    const left = Promise.withResolvers<void>()
    let effects = 0
    const { port } = await serve(
      appOf(async (_, res) => {
        res.on('close', () => left.resolve())
        inHandler.resolve()
        await goOn.promise
        effects++
        res.status(201).json({ effects })
      }),
    )
    const { socket } = openSocket(port)
    socket.write(
      'POST /x HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Type: application/json\r\n' +
        'Content-Length: 12\r\n\r\n{"amount":1}',
    )
    await inHandler.promise
    socket.destroy()
    await left.promise
    goOn.resolve()
    const answer = await eventually(async () => {
      const retried = await send(port)
      expect(retried.status).toBe(201)
      return retried
    })
    expect([answer.body.toString(), answer.header('idempotent-replayed'), effects]).toEqual([
      '{"effects":1}',
      'true',
      1,
    ])
  })
})
