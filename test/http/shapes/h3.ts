/** The shapes on h3 2. */
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { fromNodeHandler, H3, type H3Event, HTTPError, redirect, setCookie, toResponse } from 'h3'
import { toNodeHandler } from 'h3/node'
import type { Idempotency } from '../../../src/engine/idempotency.ts'
import { idempotent } from '../../../src/http/h3.ts'
import {
  fidelityContent as content,
  type FidelityShapeName,
  fidelityShapes,
} from '../../../src/verification/http-fidelity.ts'
import type { RunningShapes, ShapeState } from './server.ts'

function handlersOf(file: string): Record<FidelityShapeName, (event: H3Event) => unknown> {
  return {
    json(event) {
      event.res.status = 201
      event.res.headers.set('Location', '/charges/1')
      return content.json
    },
    octets(event) {
      event.res.headers.set('Content-Type', 'application/octet-stream')
      return content.octets
    },
    text: () => content.text,
    empty: () => '',
    null: () => null,
    pieces: (event) =>
      fromNodeHandler((_request, given) => {
        const response = given as ServerResponse
        const [first, second, third] = content.pieces
        response.write(first)
        response.write(second)
        response.end(third)
      })(event),
    stream: () => Readable.toWeb(Readable.from(content.stream)),
    // A `Response` joins what it has in two lines.
    head: () =>
      new Response('accepted', {
        status: 202,
        headers: [
          ['X-One', '1'],
          ['X-Twice', '1'],
          ['X-Twice', '2'],
        ],
      }),
    'no-content': () => new Response(null, { status: 204 }),
    redirect: () => redirect('/charges/1', 303),
    file(event) {
      event.res.headers.set('Content-Type', 'text/plain')
      return createReadStream(file)
    },
    cookies(event) {
      setCookie(event, 'a', '1')
      setCookie(event, 'b', '2')
      return {}
    },
    megabyte: () => Readable.toWeb(Readable.from(content.megabyte)),
    // h3's own way: an error that says what it answers.
    declined() {
      throw Object.assign(new HTTPError({ status: 402 }), { toJSON: () => content.declined })
    },
    validator(event) {
      event.res.headers.set('ETag', '"1"')
      event.res.headers.set('Cache-Control', 'private')
      return {}
    },
    'not-modified'(event) {
      event.res.headers.set('ETag', '"1"')
      event.res.status = 304
      return ''
    },
    'event-stream'(event) {
      event.res.headers.set('Content-Type', 'text/event-stream')
      return Readable.toWeb(Readable.from(content.events.map((text) => Buffer.from(text))))
    },
    thrown() {
      throw new Error('boom')
    },
    'thrown-late': () =>
      Readable.toWeb(
        Readable.from(
          (async function* () {
            yield Buffer.from('half')
            yield Buffer.from(' and ')
            throw new Error('boom')
          })(),
        ),
      ),
  }
}

export async function h3Shapes(idem: Idempotency, state: ShapeState, file: string): Promise<RunningShapes> {
  const app = new H3({ silent: true })
  const options = { toResponse, principal: 'anonymous' } as const
  const handlers = handlersOf(file)
  const counted =
    (shape: string, handler: (event: H3Event) => unknown) =>
    (event: H3Event): unknown => {
      if (event.req.method === 'POST') state.ran(shape)
      return handler(event)
    }
  for (const { name } of fidelityShapes) {
    app.post(`/plain/${name}`, handlers[name]).head(`/plain/${name}`, handlers[name])
    const keyed = idempotent<H3Event>(idem, options, counted(name, handlers[name]))
    app.post(`/keyed/${name}`, keyed).head(`/keyed/${name}`, keyed)
  }
  const gated = async (): Promise<unknown> => {
    await state.opened
    return { opened: true }
  }
  app.post('/keyed/gated', idempotent<H3Event>(idem, options, counted('gated', gated)))
  app.post('/open-gate', () => {
    state.open()
    return null
  })
  app.get('/runs', () => state.runs)
  const server = createServer(toNodeHandler(app) as Parameters<typeof createServer>[1])
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
