/** The shapes on Express, 5 or 4. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import compression from 'compression'
import type { default as ExpressModule, NextFunction, Request, RequestHandler, Response } from 'express'
import type { Idempotency } from '../../../src/engine/idempotency.ts'
import { idempotent } from '../../../src/http/express.ts'
import {
  fidelityContent as content,
  type FidelityShapeName,
  fidelityShapes,
} from '../../../src/verification/http-fidelity.ts'
import type { RunningShapes, ShapeState } from './server.ts'

function handlersOf(file: string): Record<FidelityShapeName, (res: Response) => unknown> {
  return {
    json: (res) => res.status(201).location('/charges/1').json(content.json),
    octets: (res) => res.type('application/octet-stream').send(Buffer.from(content.octets)),
    text: (res) => res.type('text/plain').send(content.text),
    empty: (res) => res.end(),
    null: (res) => res.json(null),
    pieces(res) {
      const [first, second, third] = content.pieces
      res.write(first)
      res.write(second)
      res.end(third)
    },
    stream: (res) => pipeline(Readable.from(content.stream), res),
    head: (res) => {
      res.setHeader('X-One', '1')
      res.writeHead(202, { 'X-Twice': ['1', '2'] }).end('accepted')
    },
    'no-content': (res) => res.sendStatus(204),
    redirect: (res) => res.redirect(303, '/charges/1'),
    file: (res) => res.sendFile(file),
    cookies: (res) => res.cookie('a', '1').cookie('b', '2').json({}),
    megabyte: (res) => pipeline(Readable.from(content.megabyte), res),
    declined: (res) => res.status(402).json(content.declined),
    validator: (res) => res.set({ ETag: '"1"', 'Cache-Control': 'private' }).json({}),
    'not-modified': (res) => res.status(304).set('ETag', '"1"').end(),
    'event-stream'(res) {
      res.type('text/event-stream')
      for (const event of content.events) res.write(event)
      res.end()
    },
    thrown() {
      throw new Error('boom')
    },
    'thrown-late'(res) {
      res.write('half')
      throw new Error('boom')
    },
  }
}

export async function expressShapes(
  express: typeof ExpressModule,
  idem: Idempotency,
  state: ShapeState,
  file: string,
): Promise<RunningShapes> {
  const app = express()
  const layer = idempotent(idem, { principal: 'anonymous' })
  const counted =
    (shape: string, handler: (res: Response) => unknown): RequestHandler =>
    async (req, res, next) => {
      if (req.method === 'POST') state.ran(shape)
      try {
        await handler(res)
      } catch (error) {
        next(error)
      }
    }
  const handlers = handlersOf(file)
  app.use('/zipped', compression({ threshold: 0 }))
  for (const { name } of fidelityShapes) {
    const plain: RequestHandler = async (_req, res, next) => {
      try {
        await handlers[name](res)
      } catch (error) {
        // Express 4 leaves what an async handler throws to itself.
        next(error)
      }
    }
    app.route(`/plain/${name}`).post(plain).head(plain)
    app.route(`/keyed/${name}`).post(layer, counted(name, handlers[name])).head(layer, plain)
  }
  app.post('/zipped/file', layer, counted('file', handlers.file))
  const gated = async (res: Response): Promise<unknown> => {
    await state.opened
    return res.json({ opened: true })
  }
  app.post('/keyed/gated', layer, counted('gated', gated))
  app.post('/open-gate', (_req, res) => {
    state.open()
    res.end()
  })
  app.get('/runs', (_req, res) => void res.json(state.runs))
  app.use((_error: Error, _req: Request, res: Response, next: NextFunction) => {
    if (res.headersSent) next(new Error('half an answer'))
    else res.status(500).json({ error: 'failed' })
  })
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
