/** The shapes on Hono. */
import { readFileSync } from 'node:fs'
import { getRequestListener } from '@hono/node-server'
import { type Context, Hono } from 'hono'
import { compress } from 'hono/compress'
import { setCookie } from 'hono/cookie'
import { stream, streamSSE } from 'hono/streaming'
import type { Idempotency } from '../../../src/engine/idempotency.ts'
import { idempotent } from '../../../src/http/hono.ts'
import {
  fidelityContent as content,
  type FidelityShapeName,
  fidelityShapes,
} from '../../../src/verification/http-fidelity.ts'
import { listenShapes } from './listen.ts'
import type { RunningShapes, ShapeState } from './server.ts'

type Handler = (c: Context) => Response | Promise<Response>

function handlersOf(file: string): Record<FidelityShapeName, Handler> {
  const streamed =
    (pieces: readonly (string | Uint8Array)[]): Handler =>
    (c) =>
      stream(c, async (out) => {
        for (const piece of pieces) await out.write(piece)
      })
  return {
    json: (c) => c.json(content.json, 201, { Location: '/charges/1' }),
    octets: (c) => c.body(Buffer.from(content.octets), 200, { 'Content-Type': 'application/octet-stream' }),
    text: (c) => c.text(content.text),
    empty: (c) => c.body(null),
    null: (c) => c.json(null),
    pieces: streamed(content.pieces),
    stream: streamed(content.stream),
    head: (c) => {
      c.status(202)
      c.header('X-Twice', '1')
      c.header('X-Twice', '2', { append: true })
      c.header('X-One', '1')
      // Left out, it depends on how the server looks at the response.
      c.header('Content-Type', 'text/plain')
      return c.body('accepted')
    },
    'no-content': (c) => c.body(null, 204),
    redirect: (c) => c.redirect('/charges/1', 303),
    file: (c) => c.text(readFileSync(file, 'utf8')),
    cookies: (c) => {
      setCookie(c, 'a', '1')
      setCookie(c, 'b', '2')
      return c.json({})
    },
    megabyte: streamed(content.megabyte),
    declined: (c) => c.json(content.declined, 402),
    validator: (c) => c.json({}, 200, { ETag: '"1"', 'Cache-Control': 'private' }),
    'not-modified': (c) => c.body(null, 304, { ETag: '"1"' }),
    'event-stream': (c) =>
      streamSSE(c, async (out) => {
        for (const event of content.events) await out.write(event)
      }),
    thrown() {
      throw new Error('boom')
    },
    'thrown-late': (c) =>
      c.body(
        new ReadableStream({
          start: (controller) => controller.enqueue(new TextEncoder().encode('half')),
          pull: (controller) => controller.error(new Error('boom')),
        }),
      ),
  }
}

export function honoShapes(idem: Idempotency, state: ShapeState, file: string): Promise<RunningShapes> {
  const app = new Hono()
  app.onError((_error, c) => c.json({ error: 'failed' }, 500))
  const layer = idempotent(idem, { principal: 'anonymous' })
  const handlers = handlersOf(file)
  const counted =
    (shape: string, handler: Handler): Handler =>
    (c) => {
      if (c.req.method === 'POST') state.ran(shape)
      return handler(c)
    }
  for (const { name } of fidelityShapes) {
    app.on(['POST', 'GET'], `/plain/${name}`, handlers[name])
    app.on(['POST', 'GET'], `/keyed/${name}`, layer, counted(name, handlers[name]))
  }
  app.use('/zipped/*', compress({ threshold: 0 }))
  app.post('/zipped/file', layer, counted('file', handlers.file))
  const gated: Handler = async (c) => {
    await state.opened
    return c.json({ opened: true })
  }
  app.post('/keyed/gated', layer, counted('gated', gated))
  app.post('/open-gate', (c) => {
    state.open()
    return c.body(null)
  })
  app.get('/runs', (c) => c.json(state.runs))
  const listener = getRequestListener(app.fetch, { errorHandler: () => {} })
  return listenShapes((request, response) => void listener(request, response), true)
}
