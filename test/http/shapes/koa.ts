/** The shapes on Koa. */
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { Router } from '@koa/router'
import Koa, { type Context, type Middleware } from 'koa'
import type { Idempotency } from '../../../src/engine/idempotency.ts'
import { idempotent } from '../../../src/http/koa.ts'
import {
  fidelityContent as content,
  type FidelityShapeName,
  fidelityShapes,
} from '../../../src/verification/http-fidelity.ts'
import { gzip } from '../gzip-koa.ts'
import type { RunningShapes, ShapeState } from './server.ts'

function handlersOf(file: string): Record<FidelityShapeName, (ctx: Context) => unknown> {
  return {
    json(ctx) {
      ctx.status = 201
      ctx.set('Location', '/charges/1')
      ctx.body = content.json
    },
    octets: (ctx) => (ctx.body = Buffer.from(content.octets)),
    text: (ctx) => (ctx.body = content.text),
    empty: (ctx) => (ctx.body = ''),
    null(ctx) {
      ctx.status = 200
      ctx.type = 'json'
      ctx.body = null
    },
    pieces(ctx) {
      ctx.respond = false
      ctx.status = 200
      const [first, second, third] = content.pieces
      ctx.res.write(first)
      ctx.res.write(second)
      ctx.res.end(third)
    },
    stream: (ctx) => (ctx.body = Readable.from(content.stream)),
    head(ctx) {
      ctx.respond = false
      ctx.set('X-One', '1')
      ctx.res.writeHead(202, { 'X-Twice': ['1', '2'] }).end('accepted')
    },
    'no-content': (ctx) => (ctx.status = 204),
    redirect(ctx) {
      ctx.redirect('/charges/1')
      ctx.status = 303
    },
    file(ctx) {
      ctx.type = 'text/plain'
      ctx.body = createReadStream(file)
    },
    cookies(ctx) {
      ctx.cookies.set('a', '1').set('b', '2')
      ctx.body = {}
    },
    megabyte: (ctx) => (ctx.body = Readable.from(content.megabyte)),
    declined(ctx) {
      ctx.status = 402
      ctx.body = content.declined
    },
    validator(ctx) {
      ctx.set({ ETag: '"1"', 'Cache-Control': 'private' })
      ctx.body = {}
    },
    'not-modified'(ctx) {
      ctx.status = 304
      ctx.etag = '1'
    },
    'event-stream'(ctx) {
      ctx.type = 'text/event-stream'
      ctx.body = Readable.from(content.events)
    },
    thrown() {
      throw new Error('boom')
    },
    'thrown-late'(ctx) {
      ctx.body = Readable.from(
        (async function* () {
          yield 'half'
          yield ' and '
          throw new Error('boom')
        })(),
      )
    },
  }
}

export async function koaShapes(idem: Idempotency, state: ShapeState, file: string): Promise<RunningShapes> {
  const app = new Koa()
  app.silent = true
  const router = new Router()
  const layer = idempotent(idem, { principal: 'anonymous' })
  const counted =
    (shape: string, handler: (ctx: Context) => unknown): Middleware =>
    async (ctx) => {
      if (ctx.method === 'POST') state.ran(shape)
      await handler(ctx)
    }
  const handlers = handlersOf(file)
  app.use((ctx, next) => (ctx.path.startsWith('/zipped') ? gzip(ctx, next) : next()))
  for (const { name } of fidelityShapes) {
    const plain: Middleware = (ctx) => void handlers[name](ctx)
    router.register(`/plain/${name}`, ['post', 'head'], plain)
    router.register(`/keyed/${name}`, ['post', 'head'], [layer, counted(name, handlers[name])])
  }
  router.post('/zipped/file', layer, counted('file', handlers.file))
  const gated = async (ctx: Context): Promise<void> => {
    await state.opened
    ctx.body = { opened: true }
  }
  router.post('/keyed/gated', layer, counted('gated', gated))
  router.post('/open-gate', (ctx) => {
    state.open()
    ctx.status = 204
  })
  router.get('/runs', (ctx) => {
    ctx.body = state.runs
  })
  app.use(router.routes())
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      server.closeAllConnections()
      server.close()
    },
  }
}
