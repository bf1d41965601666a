/** The shapes on Elysia, served on Node. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { readFile } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { node } from '@elysiajs/node'
import { getRequestListener } from '@hono/node-server'
import { type Context, Elysia, redirect } from 'elysia'
import type { Idempotency } from '../../../src/engine/idempotency.ts'
import { idempotent } from '../../../src/http/elysia.ts'
import {
  fidelityContent as content,
  type FidelityShapeName,
  fidelityShapes,
} from '../../../src/verification/http-fidelity.ts'
import type { RunningShapes, ShapeState } from './server.ts'

function handlersOf(file: string): Record<FidelityShapeName, (context: Context) => unknown> {
  return {
    json({ set }) {
      set.status = 201
      set.headers['location'] = '/charges/1'
      return content.json
    },
    octets: () => content.octets,
    text: () => content.text,
    empty: () => '',
    null: () => null,
    pieces: async function* () {
      yield* content.pieces
    },
    stream: ({ set }) => {
      set.headers['content-type'] = 'application/x-stream'
      return Readable.toWeb(Readable.from(content.stream))
    },
    head: () =>
      new Response('accepted', {
        status: 202,
        headers: [
          ['X-One', '1'],
          ['X-Twice', '1'],
          ['X-Twice', '2'],
        ],
      }),
    'no-content': ({ set }) => {
      set.status = 204
    },
    redirect: () => redirect('/charges/1', 303),
    file: async ({ set }) => {
      set.headers['content-type'] = 'text/plain'
      return new Blob([await readFile(file)], { type: 'text/plain' })
    },
    cookies({ cookie }) {
      cookie['a']!.value = '1'
      cookie['b']!.value = '2'
      return {}
    },
    megabyte: () => new Response(Readable.toWeb(Readable.from(content.megabyte)) as ReadableStream),
    declined: ({ status }) => status(402, content.declined),
    validator({ set }) {
      Object.assign(set.headers, { etag: '"1"', 'cache-control': 'private' })
      return {}
    },
    'not-modified'({ set }) {
      set.status = 304
      set.headers['etag'] = '"1"'
    },
    'event-stream'({ set }) {
      set.headers['content-type'] = 'text/event-stream'
      return Readable.toWeb(Readable.from(content.events.map((text) => Buffer.from(text))))
    },
    thrown() {
      throw new Error('boom')
    },
    'thrown-late': () =>
      new Response(
        Readable.toWeb(
          Readable.from(
            (async function* () {
              yield Buffer.from('half')
              yield Buffer.from(' and ')
              throw new Error('boom')
            })(),
          ),
        ) as ReadableStream,
      ),
  }
}
