/** The shapes on plain `node:http`. */
import { createReadStream } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Idempotency } from '../../../src/engine/idempotency.ts'
import { idempotent } from '../../../src/http/node.ts'
import {
  fidelityContent as content,
  type FidelityShapeName,
} from '../../../src/verification/http-fidelity.ts'
import { listenShapes } from './listen.ts'
import type { RunningShapes, ShapeState } from './server.ts'

type Handler = (response: ServerResponse) => unknown

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.statusCode = status
  response.setHeader('Content-Type', 'application/json')
  response.end(JSON.stringify(value))
}

function handlersOf(file: string): Record<FidelityShapeName, Handler> {
  const written =
    (pieces: readonly (string | Uint8Array)[], type?: string): Handler =>
    (response) => {
      if (type !== undefined) response.setHeader('Content-Type', type)
      for (const piece of pieces) response.write(piece)
      response.end()
    }
  return {
    json(response) {
      response.setHeader('Location', '/charges/1')
      sendJson(response, 201, content.json)
    },
    octets: (response) =>
      response.writeHead(200, { 'Content-Type': 'application/octet-stream' }).end(content.octets),
    text: (response) => response.writeHead(200, { 'Content-Type': 'text/plain' }).end(content.text),
    empty: (response) => response.end(),
    null: (response) => sendJson(response, 200, null),
    pieces: written(content.pieces),
    stream: (response) => pipeline(Readable.from(content.stream), response),
    head(response) {
      response.setHeader('X-One', '1')
      response.writeHead(202, { 'X-Twice': ['1', '2'] }).end('accepted')
    },
    'no-content': (response) => response.writeHead(204).end(),
    redirect: (response) => response.writeHead(303, { Location: '/charges/1' }).end(),
    file(response) {
      response.setHeader('Content-Type', 'text/plain')
      return pipeline(createReadStream(file), response)
    },
    cookies(response) {
      response.setHeader('Set-Cookie', ['a=1', 'b=2'])
      sendJson(response, 200, {})
    },
    megabyte: (response) => pipeline(Readable.from(content.megabyte), response),
    declined: (response) => sendJson(response, 402, content.declined),
    validator(response) {
      response.setHeader('ETag', '"1"').setHeader('Cache-Control', 'private')
      sendJson(response, 200, {})
    },
    'not-modified': (response) => response.writeHead(304, { ETag: '"1"' }).end(),
    'event-stream': written(content.events, 'text/event-stream'),
    thrown() {
      throw new Error('boom')
    },
    'thrown-late'(response) {
      response.write('half')
      throw new Error('boom')
    },
  }
}

export function nodeShapes(idem: Idempotency, state: ShapeState, file: string): Promise<RunningShapes> {
  const handlers = handlersOf(file)
  const shapeOf = (request: IncomingMessage): FidelityShapeName =>
    request.url?.split('/')[2] as FidelityShapeName
  // The layer answers 500 for a listener that throws; so does the plain one here.
  const failing = async (response: ServerResponse, handler: Handler): Promise<void> => {
    try {
      await handler(response)
    } catch {
      if (response.headersSent) response.destroy()
      else response.writeHead(500, { 'Content-Type': 'application/json' }).end('{"error":"failed"}')
    }
  }
  const guarded = idempotent(idem, { principal: 'anonymous' }, async (request, response) => {
    const shape: string = shapeOf(request)
    if (request.method === 'POST') state.ran(shape)
    if (shape !== 'gated') {
      await failing(response, handlers[shape as FidelityShapeName])
      return
    }
    await state.opened
    sendJson(response, 200, { opened: true })
  })
  return listenShapes((request, response) => {
    const { url = '/' } = request
    if (url === '/runs') sendJson(response, 200, state.runs)
    else if (url.startsWith('/keyed/')) guarded(request, response)
    else if (url.startsWith('/plain/')) void failing(response, handlers[shapeOf(request)])
    else {
      state.open()
      response.end()
    }
  }, true)
}
