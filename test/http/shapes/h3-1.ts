/** The shapes on h3 1. */
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import compression from 'compression'
import {
  createApp,
  createError,
  createRouter,
  defineEventHandler,
  fromNodeMiddleware,
  type H3Event,
  type NodeMiddleware,
  sendNoContent,
  sendRedirect,
  setCookie,
  setResponseHeaders,
  setResponseStatus,
  toNodeListener,
} from 'h3-1'
import type { Idempotency } from '../../../src/engine/idempotency.ts'
import { idempotent } from '../../../src/http/h3-1.ts'
import {
  fidelityContent as content,
  type FidelityShapeName,
  fidelityShapes,
} from '../../../src/verification/http-fidelity.ts'
import type { RunningShapes, ShapeState } from './server.ts'

function handlersOf(file: string): Record<FidelityShapeName, (event: H3Event) => unknown> {
  return {
    json(event) {
      setResponseStatus(event, 201)
      setResponseHeaders(event, { Location: '/charges/1' })
      return content.json
    },
    octets(event) {
      setResponseHeaders(event, { 'Content-Type': 'application/octet-stream' })
      return content.octets
    },
    text(event) {
      setResponseHeaders(event, { 'Content-Type': 'text/plain; charset=utf-8' })
      return content.text
    },
    empty: () => '',
    null(event) {
      setResponseHeaders(event, { 'Content-Type': 'application/json' })
      return 'null'
    },
    pieces(event) {
      const { res } = event.node
      const [first, second, third] = content.pieces
      res.write(first)
      res.write(second)
      res.end(third)
    },
    stream: () => Readable.from(content.stream),
    head(event) {
      const { res } = event.node
      res.setHeader('X-One', '1')
      res.writeHead(202, { 'X-Twice': ['1', '2'] }).end('accepted')
    },
    'no-content': (event) => sendNoContent(event),
    redirect: (event) => sendRedirect(event, '/charges/1', 303),
    file(event) {
      setResponseHeaders(event, { 'Content-Type': 'text/plain' })
      return createReadStream(file)
    },
    cookies(event) {
      setCookie(event, 'a', '1')
      setCookie(event, 'b', '2')
      return {}
    },
    megabyte: () => Readable.from(content.megabyte),
    declined(event) {
      setResponseStatus(event, 402)
      return content.declined
    },
    validator(event) {
      setResponseHeaders(event, { ETag: '"1"', 'Cache-Control': 'private' })
      return {}
    },
    'not-modified'(event) {
      setResponseHeaders(event, { ETag: '"1"' })
      return sendNoContent(event, 304)
    },
    'event-stream'(event) {
      setResponseHeaders(event, { 'Content-Type': 'text/event-stream' })
      return Readable.toWeb(Readable.from(content.events.map((text) => Buffer.from(text))))
    },
    thrown() {
      throw createError({ statusCode: 500, message: 'boom' })
    },
    'thrown-late': () =>
      Readable.from(
        (async function* () {
          yield 'half'
          yield ' and '
          throw new Error('boom')
        })(),
      ),
  }
}

export async function h31Shapes(idem: Idempotency, state: ShapeState, file: string): Promise<RunningShapes> {
  const app = createApp()
  const router = createRouter()
  const handlers = handlersOf(file)
  const keyed = (
    shape: string,
    handler: (event: H3Event) => unknown,
  ): ReturnType<typeof defineEventHandler> => {
    const counted = (event: H3Event): unknown => {
      if (event.method === 'POST') state.ran(shape)
      return handler(event)
    }
    return defineEventHandler(idempotent(idem, { principal: 'anonymous' }, counted))
  }
  app.use('/zipped', fromNodeMiddleware(compression({ threshold: 0 }) as unknown as NodeMiddleware))
  for (const { name } of fidelityShapes) {
    router.use(`/plain/${name}`, defineEventHandler(handlers[name]), ['post', 'head'])
    router.use(`/keyed/${name}`, keyed(name, handlers[name]), ['post', 'head'])
  }
  const gated = async (): Promise<unknown> => {
    await state.opened
    return { opened: true }
  }
  router.post('/keyed/gated', keyed('gated', gated))
  router.post('/zipped/file', keyed('file', handlers.file))
  router.post(
    '/open-gate',
    defineEventHandler(() => {
      state.open()
      return null
    }),
  )
  router.get(
    '/runs',
    defineEventHandler(() => state.runs),
  )
  app.use(router)
  const server = createServer(toNodeListener(app))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      server.closeAllConnections()
      server.close()
    },
  }
}
