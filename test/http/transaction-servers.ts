/** One handler in transaction mode behind each adapter, and what a client sees of it. */
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { getRequestListener } from '@hono/node-server'
import express from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import Koa from 'koa'
import { onTestFinished } from 'vitest'
import type { TransactionContext } from '../../src/http/context.ts'
import { idempotent as idempotentExpress } from '../../src/http/express.ts'
import { idempotency as idempotencyFastify } from '../../src/http/fastify.ts'
import { idempotent as idempotentFetch } from '../../src/http/fetch.ts'
import { idempotent as idempotentHono } from '../../src/http/hono.ts'
import { idempotent as idempotentKoa } from '../../src/http/koa.ts'
import { idempotent as idempotentNode } from '../../src/http/node.ts'
import type { HttpEngine, IdempotentOptions } from '../../src/http/options.ts'
import { type Served, serve } from './serving.ts'

export type Options = Omit<IdempotentOptions<never>, 'principal'>

/** What the handler answers, in pieces where it is a list. `events`: it begins an event stream. */
export interface Answer {
  readonly status: number
  readonly body: string | readonly string[]
  readonly events?: true
}

export type Work<Tx> = (
  context: TransactionContext<Tx>,
  field: (name: string) => string | undefined,
) => Promise<Answer> | Answer

/** Serves `POST /x` until the test ends. */
export type Start = <Tx>(idem: HttpEngine<Tx>, options: Options, work: Work<Tx>) => Promise<Served>

const fieldOf =
  (request: IncomingMessage) =>
  (name: string): string | undefined =>
    request.headers[name] as string | undefined

const typeOf = ({ events }: Answer): string => (events ? 'text/event-stream' : 'text/plain')

function streamed(answer: Answer): Response {
  const { status, body } = answer
  const headers = { 'Content-Type': typeOf(answer) }
  if (typeof body === 'string') return new Response(body, { status, headers })
  const pieces = body.values()
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller): void {
      const { value, done } = pieces.next()
      if (done === true) controller.close()
      else controller.enqueue(new TextEncoder().encode(value))
    },
  })
  return new Response(stream, { status, headers })
}

export const starts: Readonly<Record<string, Start>> = {
  node: async (idem, options, work) =>
    await serve(
      idempotentNode(
        idem,
        { ...options, principal: 'anonymous', transaction: true },
        async (request, response, idempotency) => {
          const answer = await work(idempotency as never, fieldOf(request))
          response.writeHead(answer.status, { 'Content-Type': typeOf(answer) })
          response.flushHeaders()
          for (const piece of [answer.body].flat()) response.write(piece)
          if (!answer.events) response.end()
        },
      ),
    ),
  async express(idem, options, work) {
    const app = express()
    const layer = idempotentExpress(idem, { ...options, principal: 'anonymous', transaction: true })
    app.post('/x', layer, async (request, response) => {
      const answer = await work(request.idempotency as never, (name) => request.get(name))
      response.status(answer.status).type(typeOf(answer))
      if (typeof answer.body === 'string' && !answer.events) {
        response.send(answer.body)
        return
      }
      for (const piece of answer.body) response.write(piece)
      if (!answer.events) response.end()
    })
    app.use(((_error, _request, response, next) => {
      if (response.headersSent) next(_error)
      else response.status(500).end()
    }) satisfies express.ErrorRequestHandler)
    return await serve(app)
  },
  async koa(idem, options, work) {
    const app = new Koa()
    app.silent = true
    app.use(idempotentKoa(idem, { ...options, principal: 'anonymous', transaction: true }))
    app.use(async (context) => {
      const answer = await work(context['idempotency'] as never, (name) => context.get(name) || undefined)
      context.status = answer.status
      context.type = typeOf(answer)
      context.body = typeof answer.body === 'string' ? answer.body : Readable.from(answer.body)
    })
    return await serve(app.callback())
  },
  async fastify(idem, options, work) {
    const app = Fastify()
    onTestFinished(() => app.close())
    await app.register(idempotencyFastify, { idem, ...options, principal: 'anonymous', transaction: true })
    app.post('/x', async (request, reply) => {
      const answer = await work(request.idempotency as never, fieldOf(request.raw))
      reply.code(answer.status)
      if (typeof answer.body === 'string' && !answer.events) {
        return reply.type(typeOf(answer)).send(answer.body)
      }
      return reply.send(streamed(answer))
    })
    const origin = await app.listen({ port: 0, host: '127.0.0.1' })
    return { origin, port: Number(new URL(origin).port) }
  },
  async hono(idem, options, work) {
    const app = new Hono<{ Variables: { idempotency: never } }>()
    app.post(
      '/x',
      idempotentHono(idem, { ...options, principal: 'anonymous', transaction: true }),
      async (c) => streamed(await work(c.get('idempotency'), (name) => c.req.header(name))),
    )
    app.onError((_error, c) => c.text('failed', 500))
    return await serve(getRequestListener(app.fetch))
  },
  async fetch(idem, options, work) {
    const layer = idempotentFetch(
      idem,
      { ...options, principal: 'anonymous', transaction: true },
      async (request, idempotency) =>
        streamed(await work(idempotency as never, (name) => request.headers.get(name) ?? undefined)),
    )
    return await serve(getRequestListener(layer, { errorHandler: () => new Response(null, { status: 500 }) }))
  },
}

/** The request that `listen` sends, for `post`. */
export const listenedRequest: RequestInit = { body: 'x', headers: { 'Content-Type': 'text/plain' } }

/** Sends a request on a connection of its own, and keeps what comes back. */
export function listen(port: number): { octets(): string; leave(): Promise<unknown> } {
  const socket = connect(port, '127.0.0.1')
  onTestFinished(() => {
    socket.destroy()
  })
  let received = ''
  socket.setEncoding('latin1')
  socket.on('data', (piece: string) => {
    received += piece
  })
  socket.on('error', () => {})
  const fields = ['Host: x', 'Content-Type: text/plain', 'Content-Length: 1', 'Idempotency-Key: k']
  socket.write(`POST /x HTTP/1.1\r\n${fields.join('\r\n')}\r\n\r\nx`)
  return {
    octets: () => received,
    leave(): Promise<unknown> {
      socket.destroy()
      return once(socket, 'close')
    },
  }
}
