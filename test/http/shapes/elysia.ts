/** The shapes on Elysia, served on Node. */
import { createReadStream } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { node } from '@elysiajs/node'
import { getRequestListener } from '@hono/node-server'
import { type AnyElysia, type Context, Elysia } from 'elysia'
import type { Idempotency } from '../../../src/engine/idempotency.ts'
import { idempotent } from '../../../src/http/elysia.ts'
import {
  fidelityContent as content,
  type FidelityShapeName,
  fidelityShapes,
} from '../../../src/verification/http-fidelity.ts'
import type { RunningShapes, ShapeState } from './server.ts'

function streamOf(
  pieces: Iterable<unknown> | AsyncIterable<unknown>,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  return Readable.toWeb(Readable.from(pieces)) as unknown as ReadableStream<Uint8Array<ArrayBuffer>>
}

function handlersOf(file: string): Record<FidelityShapeName, (context: Context) => unknown> {
  return {
    json({ set }) {
      set.status = 201
      set.headers['location'] = '/charges/1'
      return content.json
    },
    octets: () =>
      new Response(content.octets as Uint8Array<ArrayBuffer>, {
        headers: { 'Content-Type': 'application/octet-stream' },
      }),
    text: () => content.text,
    empty: () => '',
    null: () => null,
    *pieces() {
      yield* content.pieces
    },
    stream: () => new Response(streamOf(content.stream)),
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
    // On Node its own `redirect` takes no path.
    redirect({ set }) {
      set.status = 303
      set.headers['location'] = '/charges/1'
      return ''
    },
    file: () => new Response(streamOf(createReadStream(file)), { headers: { 'Content-Type': 'text/plain' } }),
    cookies({ cookie }) {
      for (const [name, value] of [
        ['a', '1'],
        ['b', '2'],
      ] as const)
        cookie[name]?.set({ value, path: '' })
      return {}
    },
    megabyte: () => new Response(streamOf(content.megabyte)),
    declined: ({ status }) => status(402, content.declined),
    validator({ set }) {
      Object.assign(set.headers, { etag: '"1"', 'cache-control': 'private' })
      return {}
    },
    'not-modified': () => new Response(null, { status: 304, headers: { ETag: '"1"' } }),
    'event-stream'() {
      return new Response(streamOf(content.events.map((text) => Buffer.from(text))), {
        headers: { 'Content-Type': 'text/event-stream' },
      })
    },
    thrown() {
      throw new Error('boom')
    },
    'thrown-late': () =>
      new Response(
        streamOf(
          (async function* () {
            yield Buffer.from('half')
            yield Buffer.from(' and ')
            throw new Error('boom')
          })(),
        ),
      ),
  }
}

/** `web`: the app's `fetch` on a server of another kind. */
export async function elysiaShapes(
  served: 'node' | 'web',
  idem: Idempotency,
  state: ShapeState,
  file: string,
): Promise<RunningShapes> {
  const handlers = handlersOf(file)
  const counted =
    (shape: string, handler: (context: Context) => unknown) =>
    (context: Context): unknown => {
      if (context.request.method === 'POST') state.ran(shape)
      return handler(context)
    }
  const plain = new Elysia({ prefix: '/plain' })
  const keyed = new Elysia({ prefix: '/keyed' }).use(idempotent(idem, { principal: 'anonymous' }))
  for (const { name } of fidelityShapes) {
    plain.post(`/${name}`, handlers[name]).head(`/${name}`, handlers[name])
    const handler = counted(name, handlers[name])
    keyed.post(`/${name}`, handler).head(`/${name}`, handler)
  }
  const gated = async (): Promise<unknown> => {
    await state.opened
    return { opened: true }
  }
  keyed.post('/gated', counted('gated', gated))
  const app = (served === 'node' ? new Elysia({ adapter: node() }) : new Elysia())
    .use(plain)
    .use(keyed)
    .post('/open-gate', () => {
      state.open()
      return ''
    })
    .get('/runs', () => state.runs)
  const server =
    served === 'node'
      ? await listening(app)
      : createServer(getRequestListener(app.fetch, { overrideGlobalObjects: false }))
  if (served === 'web') {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
  }
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

/** The server that `@elysiajs/node` makes. */
function listening(app: AnyElysia): Promise<Server> {
  return new Promise((resolve) => {
    app.listen({ port: 0, hostname: '127.0.0.1' }, ({ raw }) => {
      const { server } = (raw as unknown as { node: { server: Server } }).node
      if (server.listening) resolve(server)
      else server.once('listening', () => resolve(server))
    })
  })
}
