/** The client leaves: before its request is whole nothing runs; afterwards the handler goes on and its answer counts. */
import { once } from 'node:events'
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { RequestListener, ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import express, { type RequestHandler } from 'express'
import Fastify from 'fastify'
import { getRequestListener } from '@hono/node-server'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import type { Idempotency } from '../../src/engine/idempotency.ts'
import { idempotent as idempotentExpress } from '../../src/http/express.ts'
import { idempotency as idempotencyFastify } from '../../src/http/fastify.ts'
import { idempotent as idempotentFetch } from '../../src/http/fetch.ts'
import { idempotent as idempotentNode } from '../../src/http/node.ts'
import { recordResponse } from '../../src/http/node-recorder.ts'
import { instance, post, type Served, serve } from './serving.ts'
import { eventually } from '../eventually.ts'

const body = '{"amount":100}'

function head(lengthOrFraming: string): string {
  const fields = ['Host: service', 'Content-Type: application/json', 'Idempotency-Key: k', lengthOrFraming]
  return `POST /x HTTP/1.1\r\n${fields.join('\r\n')}\r\n\r\n`
}

async function open(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

function expressApp(idem: Idempotency, handler: RequestHandler): express.Express {
  const app = express()
  app.post('/x', idempotentExpress(idem, { principal: 'anonymous' }), express.json(), handler)
  return app
}

const adapters: Readonly<Record<string, (idem: Idempotency, ran: () => void) => Promise<Served>>> = {
  express: (idem, ran) =>
    serve(
      expressApp(idem, (request, response) => {
        ran()
        response.status(201).json(request.body)
      }),
    ),
  node: (idem, ran) =>
    serve(
      idempotentNode(idem, { principal: 'anonymous' }, async (request, response) => {
        ran()
        response.writeHead(201)
        for await (const piece of request) response.write(piece)
        response.end()
      }),
    ),
  fetch: (idem, ran) =>
    serve(
      getRequestListener(
        idempotentFetch(idem, { principal: 'anonymous' }, async (request) => {
          ran()
          return new Response(await request.text(), { status: 201 })
        }),
      ),
    ),
  async fastify(idem, ran) {
    const app = Fastify()
    onTestFinished(() => app.close())
    await app.register(idempotencyFastify, { idem, principal: 'anonymous' })
    app.post('/x', async (request, reply) => {
      ran()
      return await reply.code(201).send(request.body)
    })
    const origin = await app.listen({ port: 0, host: '127.0.0.1' })
    return { origin, port: Number(new URL(origin).port) }
  },
}

describe.each(Object.entries(adapters))('%s', (_name, start) => {
  const broken: readonly (readonly [string, string])[] = [
    ['with a length', `${head(`Content-Length: ${body.length}`)}${body.slice(0, 5)}`],
    ['in chunks', `${head('Transfer-Encoding: chunked')}5\r\n${body.slice(0, 5)}\r\n`],
    ['in chunks, before the first', head('Transfer-Encoding: chunked')],
  ]
  test.each(broken)('a request that breaks off %s runs nothing and leaves no record', async (_how, text) => {
    const idem = instance()
    let runs = 0
    const { origin, port } = await start(idem, () => runs++)
    const socket = await open(port)
    socket.write(text)
    // The server has seen it once an answer to a later request is there.
    await post(origin, { headers: { 'Idempotency-Key': 'other' } })
    socket.destroy()
    const answer = await post(origin)
    expect([answer.status, answer.replayed, answer.body.toString()]).toEqual([201, false, body])
    expect(runs).toBe(2)
    const { records } = await idem.store.list({ limit: 10 })
    expect(records.map(({ phase }) => phase)).toEqual(['completed', 'completed'])
  })
})

describe('after the handler has begun', () => {
  const folder = mkdtempSync(join(tmpdir(), 'client-gone-'))
  const file = join(folder, 'large')
  writeFileSync(file, Buffer.alloc(900_000, 'large '))
  afterAll(() => rmSync(folder, { recursive: true }))

  /** Sends a whole request, leaves after the handler has begun, and tells when the handler has noticed. */
  async function sendAndLeave(port: number, begun: Promise<unknown>): Promise<void> {
    const socket = await open(port)
    socket.write(head(`Content-Length: ${body.length}`) + body)
    await begun
    socket.destroy()
  }

  test('an answer in one piece is stored and replayed', async () => {
    const begun = Promise.withResolvers<void>()
    let runs = 0
    const { origin, port } = await serve(
      expressApp(instance(), (_request, response) => {
        runs++
        begun.resolve()
        response.once('close', () => {
          response.status(201).json({ made: true })
        })
      }),
    )
    await sendAndLeave(port, begun.promise)
    await eventually(async () => {
      expect(await post(origin)).toMatchObject({ status: 201, replayed: true })
    })
    expect(runs).toBe(1)
  })

  test('a writer that waits for drains and callbacks comes to its end', async () => {
    const begun = Promise.withResolvers<void>()
    const { origin, port } = await serve(
      expressApp(instance(), async (_request, response) => {
        response.status(201)
        response.write(Buffer.alloc(100_000))
        begun.resolve()
        await once(response, 'close')
        for (let piece = 0; piece < 5; piece++) {
          if (!response.write(Buffer.alloc(100_000))) await once(response, 'drain')
        }
        await new Promise((resolve) => {
          response.write('last', resolve)
        })
        response.end()
      }),
    )
    await sendAndLeave(port, begun.promise)
    await eventually(async () => {
      const answer = await post(origin)
      expect([answer.status, answer.replayed, answer.body.length]).toEqual([201, true, 600_004])
    })
  })

  /** What the recorder is told, and what it tells. */
  async function record(handler: RequestListener, over = false): Promise<{ told: string[]; port: number }> {
    const told: string[] = []
    const { port } = await serve((request, response) => {
      recordResponse(response, {
        bytesMax: 2_000_000,
        stillMsMax: 25,
        settle: async ({ status, body }) => {
          told.push(`settled ${status} ${body.length}`)
          return undefined
        },
        abandon: () => told.push('abandoned'),
        isOver: () => over,
      })
      handler(request, response)
    })
    return { told, port }
  }

  const stopping: readonly (readonly [string, (response: ServerResponse) => void])[] = [
    ['a pipe', (response) => void createReadStream(file).pipe(response)],
    ['a pipeline', (response) => void pipeline(createReadStream(file), response).catch(() => {})],
    [
      'an event stream',
      (response) => {
        response.setHeader('Content-Type', 'text/event-stream')
        response.write('data: 1\n\n')
      },
    ],
  ]
  test.each(stopping)(
    '%s that stops with its client is abandoned, once, in bounded time',
    async (_, write) => {
      const begun = Promise.withResolvers<void>()
      const { told, port } = await record((_request, response) => {
        write(response)
        setImmediate(() => begun.resolve())
      })
      await sendAndLeave(port, begun.promise)
      await eventually(() => expect(told).toEqual(['abandoned']))
    },
  )

  test('a handler that has not begun to answer is not abandoned', async () => {
    const begun = Promise.withResolvers<void>()
    const { told, port } = await record((_request, response) => {
      begun.resolve()
      // Many times the bound after the client has left.
      response.once('close', () => setTimeout(() => response.end('made'), 250))
    })
    await sendAndLeave(port, begun.promise)
    await eventually(() => expect(told).toEqual(['settled 200 4']))
  })

  test('a handler that goes on writing is not abandoned', async () => {
    const begun = Promise.withResolvers<void>()
    const { told, port } = await record((_request, response) => {
      response.write('0')
      begun.resolve()
      let piece = 0
      const writing = setInterval(() => {
        response.write('1')
        if (++piece < 40) return
        clearInterval(writing)
        response.end()
      }, 5)
    })
    await sendAndLeave(port, begun.promise)
    await eventually(() => expect(told).toEqual(['settled 200 41']))
  })

  test('a handler whose attempt is over is abandoned, whatever it does', async () => {
    const begun = Promise.withResolvers<void>()
    const { told, port } = await record(() => begun.resolve(), true)
    await sendAndLeave(port, begun.promise)
    await eventually(() => expect(told).toEqual(['abandoned']))
  })
})
