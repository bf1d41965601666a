/** What is particular to a framework: its own error path, context, parsers, and layers around the layer. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { bodyParser } from '@koa/bodyparser'
import { Router } from '@koa/router'
import { Elysia } from 'elysia'
import type { default as ExpressModule } from 'express'
import { H3, type H3Event, HTTPError, toResponse } from 'h3'
import { toNodeHandler } from 'h3/node'
import { createApp, createError, defineEventHandler, readBody, toNodeListener } from 'h3-1'
import Koa, { type Context } from 'koa'
import { describe, expect, onTestFinished, test } from 'vitest'
import { InvalidOptionError } from '../../src/core/errors.ts'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { idempotencyOf, idempotent as idempotentElysia } from '../../src/http/elysia.ts'
import { idempotent as idempotentExpress } from '../../src/http/express.ts'
import { idempotent as idempotentH3 } from '../../src/http/h3.ts'
import { idempotent as idempotentH31 } from '../../src/http/h3-1.ts'
import { idempotent as idempotentKoa } from '../../src/http/koa.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { descriptionOf } from '../../src/openapi/protected-operation.ts'
import { openSocket } from './raw-client.ts'
import { codeOf, instance, post, type Served, serve } from './serving.ts'
import { eventually } from '../eventually.ts'

const anonymous = { principal: 'anonymous' } as const
const larger = '{"amount":9007199254740993}'
const smaller = '{"amount":9007199254740992}'

/** Leaves once the handler is at work. */
async function sendAndLeave(port: number, begun: Promise<unknown>): Promise<void> {
  const { socket } = openSocket(port)
  socket.write('POST /x HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nIdempotency-Key: k\r\n')
  socket.write('Content-Length: 14\r\n\r\n{"amount":100}')
  await begun
  socket.destroy()
}

describe('Express 4', () => {
  const express = createRequire(import.meta.url)('express-4') as typeof ExpressModule

  test('an error that is given to next is answered by the error handler, and judged by its status', async () => {
    const app = express()
    let ran = 0
    app.post('/x', idempotentExpress(instance(), anonymous), (_req, _res, next) => {
      next(Object.assign(new Error('boom'), { status: ran++ === 0 ? 500 : 402 }))
    })
    app.use(((error, _req, res, _next) => {
      res.status((error as { status: number }).status).json({ run: ran })
    }) as ExpressModule.ErrorRequestHandler)
    const { origin } = await serve(app)
    expect(await post(origin)).toMatchObject({ status: 500, replayed: false })
    expect(await post(origin)).toMatchObject({ status: 402, replayed: false })
    const third = await post(origin)
    expect([third.status, third.replayed, third.body.toString()]).toEqual([402, true, '{"run":2}'])
  })

  test('an async handler that passes its rejection on releases the key', async () => {
    const app = express()
    let ran = 0
    app.post('/x', idempotentExpress(instance(), anonymous), (_req, res, next) => {
      const work = async (): Promise<void> => {
        await Promise.resolve()
        if (ran++ === 0) throw new Error('boom')
        res.status(201).end()
      }
      work().catch(next)
    })
    app.use(((_error, _req, res, _next) => void res.status(500).end()) as ExpressModule.ErrorRequestHandler)
    const { origin } = await serve(app)
    expect((await post(origin)).status).toBe(500)
    expect(await post(origin)).toMatchObject({ status: 201, replayed: false })
  })

  test('the router that stands in front does not change what is compared', async () => {
    const app = express()
    const router = express.Router()
    router.post('/x', idempotentExpress(instance(), anonymous), (_req, res) => void res.status(201).end())
    app.use(['/one', '/two'], router)
    const { origin } = await serve(app)
    expect((await post(origin, {}, '/one/x')).status).toBe(201)
    expect((await post(origin, {}, '/two/x')).status).toBe(422)
  })
})

describe('Koa', () => {
  async function served(
    build: (router: Router) => unknown,
    before: (app: Koa) => unknown = () => undefined,
  ): Promise<Served> {
    const app = new Koa()
    app.silent = true
    before(app)
    const router = new Router()
    build(router)
    app.use(router.routes())
    return await serve(app.callback())
  }

  test('the principal and the attempt are of its own context', async () => {
    const seen: unknown[] = []
    const layer = idempotentKoa(instance(), { principal: (ctx: Context) => ctx.state['user'] as string })
    const { origin } = await served(
      (router) =>
        router.post('/x', layer, (ctx) => {
          seen.push(ctx.idempotency?.key, ctx.idempotency?.fence)
          ctx.body = { user: ctx.state['user'] as string }
        }),
      (app) =>
        app.use((ctx, next) => {
          ctx.state['user'] = ctx.get('x-user') || undefined
          return next()
        }),
    )
    const a = await post(origin, { headers: { 'x-user': 'a' } })
    const b = await post(origin, { headers: { 'x-user': 'b' } })
    expect([a.body.toString(), b.body.toString()]).toEqual(['{"user":"a"}', '{"user":"b"}'])
    expect(seen).toEqual(['k', 1, 'k', 1])
    expect((await post(origin)).status).toBe(401)
  })

  test.each([
    ['before', true],
    ['after', false],
  ])('a body parser %s the layer: large integers tell requests apart', async (_, isBefore) => {
    const layer = idempotentKoa(instance(), anonymous)
    const { origin } = await served((router) => {
      if (isBefore) router.use(bodyParser())
      router.post('/x', layer, ...(isBefore ? [] : [bodyParser()]), (ctx) => {
        ctx.body = ctx.request.body as object
      })
    })
    expect((await post(origin, { body: larger })).body.toString()).toBe(smaller)
    expect(await post(origin, { body: larger })).toMatchObject({ replayed: true })
    expect((await post(origin, { body: smaller })).status).toBe(422)
  })

  test.each<[string, object, number, boolean]>([
    ['402 is an outcome', { status: 402, expose: true }, 402, true],
    ['429 is none', { status: 429 }, 429, false],
    ['500 is none', {}, 500, false],
  ])('an error that Koa answers: %s', async (_, fields, status, replayed) => {
    const { origin } = await served((router) =>
      router.post('/x', idempotentKoa(instance(), anonymous), () => {
        throw Object.assign(new Error('boom'), fields)
      }),
    )
    const first = await post(origin)
    const second = await post(origin)
    expect([first.status, second.status, second.replayed]).toEqual([status, status, replayed])
    expect(second.body.equals(first.body)).toBe(true)
  })

  test('an error that is hidden behind a success is no outcome', async () => {
    let ran = 0
    const { origin } = await served(
      (router) =>
        router.post('/x', idempotentKoa(instance(), anonymous), () => {
          ran++
          throw new Error('boom')
        }),
      (app) =>
        app.use(async (ctx, next) => {
          try {
            await next()
          } catch {
            ctx.body = 'never mind'
          }
        }),
    )
    expect((await post(origin)).status).toBe(200)
    await post(origin)
    expect(ran).toBe(2)
  })

  test('a client that leaves finds the answer: with a body, without one, and of an error', async () => {
    for (const [answer, status] of [
      [(ctx: Context) => (ctx.body = { made: true }), 200],
      [(ctx: Context) => (ctx.status = 202), 202],
      [(ctx: Context) => ctx.throw(402, 'declined'), 402],
    ] as const) {
      const begun = Promise.withResolvers<void>()
      const { origin, port } = await served((router) =>
        router.post('/x', idempotentKoa(instance(), anonymous), async (ctx) => {
          begun.resolve()
          if (!ctx.res.destroyed) await once(ctx.res, 'close')
          answer(ctx)
        }),
      )
      await sendAndLeave(port, begun.promise)
      await eventually(async () => expect(await post(origin)).toMatchObject({ status, replayed: true }))
      expect((await post(origin)).body.length).toBeGreaterThan(0)
    }
  })

  test('a stream that its client cut off leaves an unknown outcome', async () => {
    const begun = Promise.withResolvers<void>()
    const { origin, port } = await served((router) =>
      router.post('/x', idempotentKoa(instance(), anonymous), (ctx) => {
        const pieces = new PassThrough()
        pieces.write('one')
        setImmediate(() => pieces.write('two'))
        ctx.body = pieces
        begun.resolve()
      }),
    )
    await sendAndLeave(port, begun.promise)
    await eventually(async () => expect(codeOf(await post(origin))).toBe('outcome-unknown'))
  })

  test('a stream over responseBytesMax reaches its client and is not kept', async () => {
    const { origin } = await served((router) =>
      router.post('/x', idempotentKoa(instance(), { ...anonymous, responseBytesMax: 10 }), (ctx) => {
        ctx.length = 12
        ctx.body = Readable.from(['123456', '789012'])
      }),
    )
    const first = await post(origin)
    expect([first.body.toString(), first.headers.get('content-length')]).toEqual(['123456789012', '12'])
    const again = await post(origin)
    expect([again.body.length, again.headers.get('idempotency-replay-body')]).toEqual([0, 'omitted'])
  })

  test.each<[string, (ctx: Context) => unknown]>([
    ['in ctx.body', (ctx) => (ctx.body = Readable.from(['123456', '789012', '345678']))],
    [
      'written to ctx.res',
      (ctx) => {
        ctx.respond = false
        ctx.res.write('123456')
        ctx.res.write('789012')
        ctx.res.end('345678')
      },
    ],
  ])('in a transaction nothing of an answer leaves before the commit: %s', async (_, answer) => {
    const folder = mkdtempSync(join(tmpdir(), 'frameworks-'))
    const idem = createIdempotency({ store: sqliteStore({ file: join(folder, 'records.db') }), sweep: false })
    onTestFinished(async () => {
      await idem.close()
      rmSync(folder, { recursive: true })
    })
    const options = { ...anonymous, transaction: true, responseBytesMax: 10 } as const
    const { origin } = await served((router) =>
      router.post('/x', idempotentKoa(idem, options), (ctx) => void answer(ctx)),
    )
    // Too long to be held back, so that it is rolled back.
    const first = await post(origin)
    expect([first.status, codeOf(first)]).toEqual([500, 'outcome-unstorable'])
  })

  test('a layer inside a layer: the outer one guards', async () => {
    const idem = instance()
    let ran = 0
    const { origin } = await served((router) => {
      router.use(idempotentKoa(idem, anonymous))
      router.post('/x', idempotentKoa(idem, anonymous), (ctx) => {
        ctx.body = { run: ++ran }
      })
    })
    await post(origin)
    expect(await post(origin)).toMatchObject({ status: 200, replayed: true })
    expect(ran).toBe(1)
  })
})

describe('h3 2', () => {
  const onNode = (app: H3): Promise<Served> =>
    serve(toNodeHandler(app) as Parameters<typeof createServer>[1] & {})

  test('toResponse is required, and said so', () => {
    const options = { ...anonymous } as unknown as Parameters<typeof idempotentH3>[1]
    expect(() => idempotentH3(instance(), options)).toThrow(InvalidOptionError)
    expect(() => idempotentH3(instance(), options)).toThrow(/toResponse.*import \{ toResponse \} from 'h3'/)
  })

  test('as middleware: principal, body and attempt are of the event', async () => {
    const app = new H3()
    const principal = (event: H3Event): string | null => event.req.headers.get('x-user')
    app.use('/x', idempotentH3(instance(), { toResponse, principal }))
    app.post('/x', async (event) => ({ key: event.context.idempotency?.key, text: await event.req.text() }))
    const { origin } = await onNode(app)
    expect((await post(origin, { body: larger })).status).toBe(401)
    const headers = { 'x-user': 'a' }
    const first = await post(origin, { body: larger, headers })
    expect(JSON.parse(first.body.toString())).toEqual({ key: 'k', text: larger })
    expect(await post(origin, { body: larger, headers })).toMatchObject({ status: 200, replayed: true })
    expect((await post(origin, { body: smaller, headers })).status).toBe(422)
  })

  test('an error with a status is the answer that onError makes of it; another runs again', async () => {
    const app = new H3({
      silent: true,
      onError: (error) => Response.json({ e: 1 }, { status: error.status }),
    })
    let ran = 0
    const handler = (): never => {
      ran++
      throw ran === 1 ? new Error('boom') : new HTTPError({ status: 402 })
    }
    app.post('/x', idempotentH3(instance(), { toResponse, ...anonymous }, handler))
    const { origin } = await onNode(app)
    expect((await post(origin)).status).toBe(500)
    expect(await post(origin)).toMatchObject({ status: 402, replayed: false })
    const third = await post(origin)
    expect([third.status, third.replayed, third.body.toString(), ran]).toEqual([402, true, '{"e":1}', 2])
  })

  test('a body that was read before is refused, and nothing runs', async () => {
    const app = new H3()
    let ran = 0
    app.use(async (event) => void (await event.req.text()))
    app.post(
      '/x',
      idempotentH3(instance(), { toResponse, ...anonymous }, () => ++ran),
    )
    const { origin } = await onNode(app)
    expect(codeOf(await post(origin))).toBe('input-unsupported')
    expect(ran).toBe(0)
  })

  test('fields set before it are in the first answer and in replays; without a server of Node too', async () => {
    const app = new H3()
    app.use((event) => {
      event.res.headers.set('Access-Control-Allow-Origin', event.req.headers.get('origin') ?? '')
    })
    app.post(
      '/x',
      idempotentH3(instance(), { toResponse, ...anonymous }, () => ({ made: true })),
    )
    const answers: unknown[] = []
    for (const origin of ['http://one', 'http://two']) {
      const answer = await app.request('/x', {
        method: 'POST',
        headers: { 'Idempotency-Key': 'k', Origin: origin },
      })
      answers.push([
        answer.headers.get('access-control-allow-origin'),
        answer.headers.get('idempotent-replayed'),
      ])
      expect(await answer.json()).toEqual({ made: true })
    }
    expect(answers).toEqual([
      ['http://one', null],
      ['http://two', 'true'],
    ])
  })

  test('a wrapped handler and a middleware say what they protect', () => {
    const options = { toResponse, ...anonymous, required: true }
    expect(descriptionOf(idempotentH3(instance(), options))?.required).toBe(true)
    expect(descriptionOf(idempotentH3(instance(), options, () => null))?.required).toBe(true)
  })
})

describe('h3 1', () => {
  test('as middleware, behind a reader of the body', async () => {
    const app = createApp()
    app.use(defineEventHandler(async (event) => void (await readBody(event))))
    app.use('/x', defineEventHandler(idempotentH31(instance(), anonymous)))
    app.use(
      '/x',
      defineEventHandler(async (event) => ({
        key: event.context['idempotency']?.key,
        body: await readBody(event),
      })),
    )
    const { origin } = await serve(toNodeListener(app))
    expect((await post(origin, { body: larger })).body.toString()).toMatch(/^\{\s*"key":\s*"k"/)
    expect(await post(origin, { body: larger })).toMatchObject({ status: 200, replayed: true })
    expect((await post(origin, { body: smaller })).status).toBe(422)
  })

  test('an error is judged by the status that h3 answers', async () => {
    const app = createApp()
    let ran = 0
    const handler = (): never => {
      throw createError({ statusCode: ran++ === 0 ? 503 : 402 })
    }
    app.use('/x', defineEventHandler(idempotentH31(instance(), anonymous, handler)))
    const { origin } = await serve(toNodeListener(app))
    expect((await post(origin)).status).toBe(503)
    expect(await post(origin)).toMatchObject({ status: 402, replayed: false })
    expect(await post(origin)).toMatchObject({ status: 402, replayed: true })
    expect(ran).toBe(2)
  })

  test('a client that leaves before its body is whole ends nothing else', async () => {
    const app = createApp()
    let ran = 0
    app.use('/x', defineEventHandler(idempotentH31(instance(), anonymous, () => ({ run: ++ran }))))
    const { origin, port } = await serve(toNodeListener(app))
    const { socket } = openSocket(port)
    socket.write('POST /x HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 14\r\n\r\n{"amo')
    await post(origin, { headers: { 'Idempotency-Key': 'other' } })
    socket.destroy()
    expect(await post(origin)).toMatchObject({ status: 200, replayed: false })
    expect(ran).toBe(2)
  })
})

describe('Elysia', () => {
  const request = (path: string, body = '{"amount":100}', more: Record<string, string> = {}): Request =>
    new Request(`http://localhost${path}`, {
      method: 'POST',
      body,
      headers: { 'Content-Type': 'application/json', 'Idempotency-Key': 'k', ...more },
    })
  const replayed = (response: Response): boolean => response.headers.get('idempotent-replayed') === 'true'

  test('principal of derived context, typed body, attempt by request; large integers tell requests apart', async () => {
    const app = new Elysia()
      .derive(({ headers }) => ({ user: headers['x-user'] }))
      .use(idempotentElysia(instance(), { principal: ({ user }) => user as string | undefined }))
      .post('/x', ({ body, request: given, user }) => ({ body, user, key: idempotencyOf(given)?.key }))
    expect((await app.handle(request('/x'))).status).toBe(401)
    const user = { 'x-user': 'a' }
    const first = await app.handle(request('/x', larger, user))
    expect(await first.json()).toEqual({ body: { amount: Number('9007199254740993') }, user: 'a', key: 'k' })
    expect(replayed(await app.handle(request('/x', larger, user)))).toBe(true)
    expect((await app.handle(request('/x', smaller, user))).status).toBe(422)
  })

  test('a handler finds the request unread, with a key and without', async () => {
    const app = new Elysia()
      .use(idempotentElysia(instance(), anonymous))
      .post('/x', ({ request: given }) => given.text())
    expect(await (await app.handle(request('/x', larger))).text()).toBe(larger)
    const plain = new Request('http://localhost/x', { method: 'POST', body: larger })
    expect(await (await app.handle(plain)).text()).toBe(larger)
  })

  test('it guards what is registered after it, in its own scope, and globally where that is said', async () => {
    const idem = instance()
    let ran = 0
    const count = (): { run: number } => ({ run: ++ran })
    const scoped = new Elysia({ prefix: '/scoped' })
      .post('/before', count)
      .use(idempotentElysia(idem, { ...anonymous, scope: 'endpoint' }))
      .post('/after', count)
    const other = new Elysia({ prefix: '/other' })
      .use(idempotentElysia(idem, { ...anonymous, scope: 'endpoint' }))
      .post('/x', count)
    const app = new Elysia().use(scoped).use(other).post('/outside', count)
    const guarded = async (path: string): Promise<boolean> => {
      await app.handle(request(path))
      return replayed(await app.handle(request(path)))
    }
    expect(await guarded('/scoped/before')).toBe(false)
    expect(await guarded('/scoped/after')).toBe(true)
    expect(await guarded('/other/x')).toBe(true)
    expect(await guarded('/outside')).toBe(false)

    const everywhere = new Elysia()
      .use(idempotentElysia(idem, { ...anonymous, scope: 'endpoint' }))
      .as('global')
    const host = new Elysia().use(everywhere).post('/global', count)
    await host.handle(request('/global'))
    expect(replayed(await host.handle(request('/global')))).toBe(true)
  })

  test('errors are judged by what onError answers, unless that hides them', async () => {
    let ran = 0
    const app = (status: number): { handle(given: Request): Promise<Response> } =>
      new Elysia()
        .onError(({ set }) => {
          set.status = status
          return 'told'
        })
        .use(idempotentElysia(instance(), anonymous))
        .post('/x', () => {
          ran++
          throw new Error('boom')
        })
    for (const [status, runs] of [
      [402, 1],
      [500, 2],
      [200, 2],
    ] as const) {
      ran = 0
      const served = app(status)
      expect((await served.handle(request('/x'))).status).toBe(status)
      expect(await (await served.handle(request('/x'))).text()).toBe('told')
      expect(ran).toBe(runs)
    }
  })

  test('later hooks do not change a replay; fields for this sending stay', async () => {
    const app = new Elysia()
      .onRequest(({ request: given, set }) => {
        set.headers['access-control-allow-origin'] = given.headers.get('origin') ?? ''
      })
      .use(idempotentElysia(instance(), anonymous))
      .onAfterHandle(({ response }) => ({ data: response }))
      .post('/x', () => ({ made: true }))
    const first = await app.handle(request('/x', '{}', { Origin: 'http://one' }))
    const second = await app.handle(request('/x', '{}', { Origin: 'http://two' }))
    expect(await first.text()).toBe('{"data":{"made":true}}')
    expect(await second.text()).toBe('{"data":{"made":true}}')
    expect(second.headers.get('access-control-allow-origin')).toBe('http://two')
    expect(replayed(second)).toBe(true)
  })

  test('a body over requestBytesMax is refused, and only where it is protected', async () => {
    const app = new Elysia()
      .post('/plain', ({ body }) => body)
      .use(idempotentElysia(instance(), { ...anonymous, requestBytesMax: 20 }))
      .post('/x', ({ body }) => body)
    const long = JSON.stringify({ text: 'x'.repeat(100) })
    expect((await app.handle(request('/x', long))).status).toBe(413)
    expect(await (await app.handle(request('/plain', long))).text()).toBe(long)
  })

  test('aot: false is refused where the plugin is used', () => {
    const use = (): unknown => new Elysia({ aot: false }).use(idempotentElysia(instance(), anonymous))
    expect(use).toThrow(InvalidOptionError)
    expect(use).toThrow(/aot/)
  })

  test('names of hooks as Elysia 2 has them', () => {
    const added: string[] = []
    const app = Object.fromEntries(
      ['wrap', 'parse', 'transform', 'beforeHandle', 'afterHandle'].map((name) => [
        name,
        () => added.push(name),
      ]),
    )
    expect(idempotentElysia(instance(), anonymous)(app)).toBe(app)
    expect(added).toEqual(['wrap', 'parse', 'transform', 'beforeHandle', 'afterHandle'])
  })
})
