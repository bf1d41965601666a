/** The shapes on Fastify. */
import { createReadStream } from 'node:fs'
import { Readable } from 'node:stream'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import type { Idempotency } from '../../../src/engine/idempotency.ts'
import { idempotency } from '../../../src/http/fastify.ts'
import {
  fidelityContent as content,
  type FidelityShapeName,
  fidelityShapes,
} from '../../../src/verification/http-fidelity.ts'
import type { RunningShapes, ShapeState } from './server.ts'

type Handler = (reply: FastifyReply) => unknown

function handlersOf(file: string): Record<FidelityShapeName, Handler> {
  return {
    json: (reply) => reply.code(201).header('Location', '/charges/1').send(content.json),
    octets: (reply) => reply.type('application/octet-stream').send(Buffer.from(content.octets)),
    text: (reply) => reply.type('text/plain').send(content.text),
    empty: (reply) => reply.send(),
    null: (reply) => reply.type('application/json').send('null'),
    pieces(reply) {
      const { raw } = reply.hijack()
      const [first, second, third] = content.pieces
      raw.write(first)
      raw.write(second)
      raw.end(third)
    },
    stream: (reply) => reply.send(Readable.from(content.stream)),
    head: (reply) => {
      const { raw } = reply.hijack()
      raw.setHeader('X-One', '1')
      raw.writeHead(202, { 'X-Twice': ['1', '2'] }).end('accepted')
    },
    'no-content': (reply) => reply.code(204).send(),
    redirect: (reply) => reply.redirect('/charges/1', 303),
    file: (reply) => reply.type('text/plain').send(createReadStream(file)),
    cookies: (reply) => reply.header('Set-Cookie', ['a=1', 'b=2']).send({}),
    megabyte: (reply) => reply.send(Readable.from(content.megabyte)),
    declined: (reply) => reply.code(402).send(content.declined),
    validator: (reply) => reply.headers({ ETag: '"1"', 'Cache-Control': 'private' }).send({}),
    'not-modified': (reply) => reply.code(304).header('ETag', '"1"').send(),
    'event-stream': (reply) => reply.type('text/event-stream').send(Readable.from(content.events)),
    thrown() {
      throw new Error('boom')
    },
    'thrown-late': (reply) =>
      reply.send(
        Readable.from(
          (async function* () {
            yield 'half'
            throw new Error('boom')
          })(),
        ),
      ),
  }
}

async function appOf(
  http2: boolean,
  idem: Idempotency,
  state: ShapeState,
  file: string,
): Promise<FastifyInstance> {
  const app = (http2 ? Fastify({ http2: true }) : Fastify()) as FastifyInstance
  await app.register(idempotency, { idem, principal: 'anonymous' })
  const handlers = handlersOf(file)
  const unguarded = { config: { idempotency: false } } as const
  const counted = (shape: string, handler: Handler) => (reply: FastifyReply) => {
    state.ran(shape)
    return handler(reply)
  }
  for (const { name } of fidelityShapes) {
    const handler = counted(name, handlers[name])
    app.post(`/plain/${name}`, unguarded, (_, reply) => handlers[name](reply))
    app.head(`/plain/${name}`, (_, reply) => handlers[name](reply))
    app.post(`/keyed/${name}`, (_, reply) => handler(reply))
    app.head(`/keyed/${name}`, (_, reply) => handlers[name](reply))
  }
  app.post('/keyed/gated', async () => {
    state.ran('gated')
    await state.opened
    return { opened: true }
  })
  app.post('/open-gate', unguarded, async () => state.open())
  app.get('/runs', async () => state.runs)
  return app
}

export async function fastifyShapes(...given: [Idempotency, ShapeState, string]): Promise<RunningShapes> {
  const apps = [await appOf(false, ...given), await appOf(true, ...given)] as const
  for (const app of apps) await app.listen({ port: 0, host: '127.0.0.1' })
  const [port, http2Port] = apps.map((app) => (app.server.address() as AddressInfo).port)
  return {
    port: port as number,
    http2Port: http2Port as number,
    close: () =>
      Promise.all(
        apps.map((app) => {
          app.server.closeAllConnections?.()
          return app.close()
        }),
      ),
  }
}
