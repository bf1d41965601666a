/** The shapes on Nest: any version, on either platform. */
import type { ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createReadStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { HttpServer, INestApplication } from '@nestjs/common'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import compression from 'compression'
import type { Idempotency } from '../../../src/engine/idempotency.ts'
import { IdempotencyModule, Idempotent } from '../../../src/http/nest.ts'
import {
  fidelityContent as content,
  type FidelityShapeName,
  fidelityShapes,
} from '../../../src/verification/http-fidelity.ts'
import { decorated } from '../nest/decorated.ts'
import type { Nest } from '../nest/packages.ts'
import type { RunningShapes, ShapeState } from './server.ts'

/** What both platforms have. */
interface Reply {
  header(name: string, value: string | string[]): unknown
  readonly raw?: ServerResponse
  hijack?(): unknown
}

interface ShapeHandler {
  readonly decorators: readonly MethodDecorator[]
  /** The handler sends its answer itself. */
  readonly sends?: true
  handle(reply: Reply): unknown
}

/** Node's response, which on Fastify must be taken from it first. */
function rawOf(reply: Reply): ServerResponse {
  reply.hijack?.()
  return reply.raw ?? (reply as unknown as ServerResponse)
}

function handlersOf({ common }: Nest, file: string): Record<FidelityShapeName, ShapeHandler> {
  const { Header, HttpCode, HttpException, Redirect, StreamableFile } = common
  const ok = HttpCode(200)
  return {
    json: { decorators: [Header('Location', '/charges/1')], handle: () => content.json },
    octets: { decorators: [ok], handle: () => new StreamableFile(content.octets) },
    text: { decorators: [ok, Header('Content-Type', 'text/plain')], handle: () => content.text },
    empty: { decorators: [ok], handle: () => undefined },
    null: {
      decorators: [ok, Header('Content-Type', 'application/json')],
      handle: () => new StreamableFile(Buffer.from('null')),
    },
    pieces: {
      decorators: [ok],
      sends: true,
      handle(reply) {
        const raw = rawOf(reply)
        const [first, second, third] = content.pieces
        raw.write(first)
        raw.write(second)
        raw.end(third)
      },
    },
    stream: { decorators: [ok], handle: () => new StreamableFile(Readable.from(content.stream)) },
    head: {
      decorators: [],
      sends: true,
      handle(reply) {
        const raw = rawOf(reply)
        raw.setHeader('X-One', '1')
        raw.writeHead(202, { 'X-Twice': ['1', '2'] }).end('accepted')
      },
    },
    'no-content': { decorators: [HttpCode(204)], handle: () => undefined },
    redirect: { decorators: [Redirect('/charges/1', 303)], handle: () => undefined },
    file: {
      decorators: [ok],
      handle: () => new StreamableFile(createReadStream(file), { type: 'text/plain' }),
    },
    cookies: {
      decorators: [ok],
      handle(reply) {
        reply.header('Set-Cookie', ['a=1', 'b=2'])
        return {}
      },
    },
    megabyte: {
      decorators: [ok],
      sends: true,
      handle: async (reply) => await pipeline(Readable.from(content.megabyte), rawOf(reply)),
    },
    declined: {
      decorators: [],
      handle() {
        throw new HttpException(content.declined, 402)
      },
    },
    validator: {
      decorators: [ok, Header('ETag', '"1"'), Header('Cache-Control', 'private')],
      handle: () => ({}),
    },
    'not-modified': { decorators: [HttpCode(304), Header('ETag', '"1"')], handle: () => undefined },
    'event-stream': {
      decorators: [ok],
      sends: true,
      handle(reply) {
        const raw = rawOf(reply)
        raw.setHeader('Content-Type', 'text/event-stream')
        for (const event of content.events) raw.write(event)
        raw.end()
      },
    },
    thrown: {
      decorators: [],
      handle() {
        throw new Error('boom')
      },
    },
    'thrown-late': {
      decorators: [ok],
      sends: true,
      handle(reply) {
        rawOf(reply).write('half')
        throw new Error('boom')
      },
    },
  }
}

type Controller = new () => object

function shapesAt(nest: Nest, path: string, file: string, ran?: (shape: string) => void): Controller {
  const { Controller, Head, Post, Res } = nest.common
  const handlers = handlersOf(nest, file)
  const shapes = class {}
  const methods: Parameters<typeof decorated>[2] = {}
  for (const { name } of fidelityShapes) {
    const { decorators, sends, handle } = handlers[name]
    const parameters = [sends ? Res() : Res({ passthrough: true })]
    for (const [method, on] of [
      ['post', Post],
      ['head', Head],
    ] as const) {
      const handler = (reply: Reply): unknown => {
        if (method === 'post') ran?.(name)
        return handle(reply)
      }
      Object.defineProperty(shapes.prototype, `${method} ${name}`, { value: handler, configurable: true })
      Object.assign(methods, { [`${method} ${name}`]: { method: [on(name), ...decorators], parameters } })
    }
  }
  return decorated(shapes, [Controller(path)], methods)
}

function controlsOf({ common }: Nest, state: ShapeState): readonly [keyed: Controller, open: Controller] {
  class Gate {
    async gated(): Promise<object> {
      state.ran('gated')
      await state.opened
      return { opened: true }
    }
  }
  class Controls {
    open(): void {
      state.open()
    }

    runs(): object {
      return state.runs
    }
  }
  return [
    decorated(Gate, [common.Controller('keyed'), Idempotent()], {
      gated: { method: [common.Post('gated'), common.HttpCode(200)] },
    }),
    decorated(Controls, [common.Controller()], {
      open: { method: [common.Post('open-gate')] },
      runs: { method: [common.Get('runs')] },
    }),
  ]
}

/** Which platform serves. */
export type Platform = 'express' | 'fastify' | 'fastify-http2'

async function appOf(
  nest: Nest,
  platform: Platform,
  [idem, state, file]: readonly [Idempotency, ShapeState, string],
): Promise<INestApplication> {
  const keyed = (path: string): Controller =>
    decorated(
      shapesAt(nest, path, file, (shape) => state.ran(shape)),
      [Idempotent()],
    )
  const module = decorated(class {}, [
    nest.common.Module({
      imports: [IdempotencyModule.forRoot({ idem, principal: 'anonymous' })],
      controllers: [
        shapesAt(nest, 'plain', file),
        keyed('keyed'),
        keyed('zipped'),
        ...controlsOf(nest, state),
      ],
    }),
  ])
  const options = { logger: false, rawBody: true, forceCloseConnections: true } as const
  const app =
    platform === 'express'
      ? await nest.core.NestFactory.create(module, options)
      : await nest.core.NestFactory.create(
          module,
          new FastifyAdapter(
            platform === 'fastify' ? {} : ({ http2: true } as object),
          ) as HttpServer as never,
          options,
        )
  if (platform === 'express') app.use('/zipped', compression({ threshold: 0 }))
  await app.listen(0, '127.0.0.1')
  return app
}

function portOf(app: INestApplication): number {
  return (app.getHttpServer() as { address(): AddressInfo }).address().port
}

/** Starts the shapes on Express. */
export async function nestShapes(
  nest: Nest,
  ...given: [Idempotency, ShapeState, string]
): Promise<RunningShapes> {
  const app = await appOf(nest, 'express', given)
  return { port: portOf(app), close: () => app.close() }
}

/** Starts the shapes on Fastify, over HTTP/1.1 and HTTP/2. */
export async function nestFastifyShapes(
  nest: Nest,
  ...given: [Idempotency, ShapeState, string]
): Promise<RunningShapes> {
  const app = await appOf(nest, 'fastify', given)
  const http2 = await appOf(nest, 'fastify-http2', given)
  return {
    port: portOf(app),
    http2Port: portOf(http2),
    close: () => Promise.all([app.close(), http2.close()]),
  }
}
