/** The doctor reads real apps of each framework. */
import { createRequire } from 'node:module'
import express from 'express'
import compression from 'compression'
import Router from '@koa/router'
import { Elysia } from 'elysia'
import Fastify from 'fastify'
import { H3 } from 'h3'
import { Hono } from 'hono'
import Koa from 'koa'
import { describe, expect, onTestFinished, test } from 'vitest'
import { examine, type Finding, warnUnprotected, watchReplays } from '../../src/doctor/index.ts'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { idempotent as idempotentExpress } from '../../src/http/express.ts'
import { idempotency } from '../../src/http/fastify.ts'
import { idempotent as idempotentHono } from '../../src/http/hono.ts'
import { idempotent as idempotentKoa } from '../../src/http/koa.ts'
import { describeLayer, type ProtectedOperation } from '../../src/openapi/protected-operation.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { post, serve } from '../http/serving.ts'

// It has no types under this name; Express 5's fit what is used here.
const express4 = createRequire(import.meta.url)('express-4') as typeof express
const idem = createIdempotency({ store: memoryStore(), sweep: false })
const principal = (): string => 'tenant'

const guarding: ProtectedOperation = {
  methods: ['POST', 'PATCH'],
  required: false,
  header: 'Idempotency-Key',
  keyLengthMin: 1,
  keyLengthMax: 255,
  scope: 'principal',
  transaction: false,
  anonymous: false,
  retentionMs: 1,
  tombstoneMs: 0,
  statuses: { mismatch: 422, inProgress: 409, unknown: 409, expired: 422 },
  marker: false,
  documentation: '',
}

/** A layer as other frameworks mount it. */
const described = <Layer extends object>(layer: Layer): Layer => describeLayer(layer, guarding)

const shown = (findings: readonly Finding[]): string[] =>
  findings.map(({ level, code, operation }) => `${level} ${code} ${operation}`)

describe('routes without protection', () => {
  /** Each app: POST /charges and PATCH /v1/charges/:id are protected, POST /v1/refunds and POST /login are not. */
  const apps: Readonly<Record<string, () => unknown>> = {
    'express 5': () => {
      const app = express()
      const layer = idempotentExpress(idem, { principal })
      const router = express.Router()
      router.patch('/charges/:id', layer, (_, res) => void res.end())
      router.post('/refunds', (_, res) => void res.end())
      app.use('/v1', router)
      app.get('/charges', (_, res) => void res.end())
      app.post('/charges', layer, (_, res) => void res.end())
      app.post('/login', (_, res) => void res.end())
      return app
    },
    'express 4': () => {
      const app = express4()
      const layer = idempotentExpress(idem, { principal })
      const router = express4.Router()
      router.patch('/charges/:id', layer, (_, res) => void res.end())
      router.post('/refunds', (_, res) => void res.end())
      app.use('/v1', router)
      app.get('/charges', (_, res) => void res.end())
      app.post('/charges', layer, (_, res) => void res.end())
      app.post('/login', (_, res) => void res.end())
      return app
    },
    koa: () => {
      const app = new Koa()
      const layer = described(async (_: Koa.Context, next: Koa.Next) => await next())
      const router = new Router()
      router.get('/charges', () => {})
      router.post('/charges', layer, () => {})
      router.post('/login', () => {})
      const v1 = new Router({ prefix: '/v1' })
      v1.patch('/charges/:id', layer, () => {})
      v1.post('/refunds', () => {})
      return app.use(v1.routes()).use(router.routes())
    },
    hono: () => {
      const layer = idempotentHono(idem, { principal })
      const v1 = new Hono()
      v1.patch('/charges/:id', layer, (c) => c.body(null))
      v1.post('/refunds', (c) => c.body(null))
      const app = new Hono()
      app.route('/v1', v1)
      app.get('/charges', (c) => c.body(null))
      app.post('/charges', layer, (c) => c.body(null))
      app.post('/login', (c) => c.body(null))
      return app
    },
    fastify: async () => {
      const app = Fastify()
      app.post('/login', async () => '')
      await app.register(
        async (inner) => {
          inner.post('/refunds', async () => '')
        },
        { prefix: '/v1' },
      )
      await app.register(idempotency, { idem, principal })
      app.get('/charges', async () => '')
      app.post('/charges', async () => '')
      app.post('/metrics', { config: { idempotency: false } }, async () => '')
      await app.register(
        async (inner) => {
          inner.patch('/charges/:id', async () => '')
        },
        { prefix: '/v1' },
      )
      await app.ready()
      onTestFinished(() => app.close())
      return app
    },
    elysia: () => {
      const beforeHandle = described(() => {})
      return new Elysia()
        .get('/charges', () => '')
        .post('/charges', () => '', { beforeHandle })
        .post('/login', () => '')
        .group('/v1', (app) =>
          app.patch('/charges/:id', () => '', { beforeHandle }).post('/refunds', () => ''),
        )
    },
    h3: () => {
      const app = new H3()
      app.get('/charges', () => '')
      app.post(
        '/charges',
        described(() => ''),
      )
      app.post('/login', () => '')
      app.patch(
        '/v1/charges/:id',
        described(() => ''),
      )
      app.post('/v1/refunds', () => '')
      return app
    },
  }

  test.each(Object.entries(apps))('%s', async (_, make) => {
    const app = await make()
    const { findings, ...counts } = examine(app, { exempt: ['POST /login'] })
    expect(shown(findings)).toEqual(['problem route-unprotected POST /v1/refunds'])
    expect(counts).toMatchObject({ protected: 2, unprotected: 2 })
    const both = shown(examine(app).findings)
    expect(both.toSorted()).toEqual([
      'problem route-unprotected POST /login',
      'problem route-unprotected POST /v1/refunds',
    ])
  })

  test('a layer in front of a whole router protects its routes', () => {
    const app = express()
    app.use('/v1', idempotentExpress(idem, { principal }))
    app.post('/v1/charges', (_, res) => void res.end())
    app.post('/v2/charges', (_, res) => void res.end())
    expect(shown(examine(app).findings)).toEqual(['problem route-unprotected POST /v2/charges'])
    const hono = new Hono()
    hono.use('/v1/*', idempotentHono(idem, { principal }))
    hono.post('/v1/charges', (c) => c.body(null))
    hono.post('/v2/charges', (c) => c.body(null))
    expect(shown(examine(hono).findings)).toEqual(['problem route-unprotected POST /v2/charges'])
  })

  test('a layer in a Hono application with an error handler that is mounted in another one', () => {
    const inner = new Hono()
    inner.onError((_, c) => c.body(null, 500))
    inner.post('/charges', idempotentHono(idem, { principal }), (c) => c.body(null))
    inner.post('/refunds', (c) => c.body(null))
    const app = new Hono().route('/v1', inner)
    expect(shown(examine(app).findings)).toEqual(['problem route-unprotected POST /v1/refunds'])
  })

  test('a layer that comes too late protects nothing', () => {
    const app = express()
    app.post('/charges', (_, res) => void res.end())
    app.use(idempotentExpress(idem, { principal }))
    expect(shown(examine(app).findings)).toEqual(['problem route-unprotected POST /charges'])
  })

  test('a layer for other methods protects nothing', () => {
    const app = express()
    app.post('/x', idempotentExpress(idem, { principal, methods: ['PUT'] }), (_, res) => void res.end())
    expect(shown(examine(app).findings)).toEqual(['problem route-unprotected POST /x'])
  })

  test('a handler for every method is worth a look', () => {
    const app = new Hono().all('/hook', (c) => c.body(null))
    expect(shown(examine(app).findings)).toEqual(['advice route-unprotected ALL /hook'])
  })
})

describe('order and options', () => {
  test('compression behind the layer', () => {
    const app = express()
    const layer = idempotentExpress(idem, { principal })
    app.post('/inside', layer, compression(), (_, res) => void res.end())
    app.post('/outside', compression(), layer, (_, res) => void res.end())
    expect(shown(examine(app).findings)).toEqual(['problem compression-inside POST /inside'])
  })

  test('a parser in front of the layer', () => {
    const app = express()
    app.use(express.json())
    app.post('/x', idempotentExpress(idem, { principal }), (_, res) => void res.end())
    expect(shown(examine(app).findings)).toEqual(['advice parser-before POST /x'])
  })

  test('one scope for all callers', () => {
    const app = new Hono().post('/x', idempotentHono(idem, { principal: 'anonymous' }), (c) => c.body(null))
    expect(shown(examine(app).findings)).toEqual(['advice principal-anonymous POST /x'])
  })
})

test('what is no app, and what is no operation, is refused', () => {
  expect(() => examine({})).toThrow(expect.objectContaining({ code: 'option-invalid' }))
  expect(() => examine(undefined)).toThrow(expect.objectContaining({ code: 'option-invalid' }))
  expect(() => examine(express(), { exempt: ['login'] })).toThrow("'POST /login'")
})

describe('the warning in development', () => {
  async function warningsOf(environment: string | undefined, act: () => Promise<unknown>): Promise<string[]> {
    const before = process.env['NODE_ENV']
    const warnings: Error[] = []
    const listen = (warning: Error): void => void warnings.push(warning)
    process.on('warning', listen)
    if (environment === undefined) delete process.env['NODE_ENV']
    else process.env['NODE_ENV'] = environment
    try {
      await act()
      // Warnings are emitted in the next tick.
      await new Promise(setImmediate)
    } finally {
      process.env['NODE_ENV'] = before
      process.off('warning', listen)
    }
    return warnings
      .filter((warning) => (warning as { code?: string }).code === 'RETRYSAFE_UNPROTECTED')
      .map(({ message }) => message)
  }

  function app(): express.Express {
    const made = express()
    made.post('/x', idempotentExpress(idem, { principal }), (_, res) => void res.end())
    made.post('/refunds', (_, res) => void res.end())
    return made
  }

  test.each<[string | undefined, number]>([
    [undefined, 1],
    ['development', 1],
    ['production', 0],
    ['test', 0],
  ])('NODE_ENV %s: Express warns %i times, at the first request', async (environment, times) => {
    const { origin } = await serve(app())
    const warnings = await warningsOf(environment, async () => {
      await post(origin)
      await post(origin)
    })
    expect(warnings).toHaveLength(times)
    if (times > 0) expect(warnings[0]).toMatch(/^POST \/refunds takes no idempotency key/)
  })

  test('Koa warns at the first request', async () => {
    const koa = new Koa()
    const router = new Router()
    router.post('/x', idempotentKoa(idem, { principal }), (ctx) => void (ctx.body = ''))
    router.post('/refunds', () => {})
    koa.use(router.routes())
    const { origin } = await serve(koa.callback())
    const warnings = await warningsOf('development', async () => {
      await post(origin)
      await post(origin)
    })
    expect(warnings).toEqual([expect.stringMatching(/^POST \/refunds takes no/)])
  })

  test('Fastify warns when it is ready', async () => {
    const fastify = Fastify()
    fastify.post('/early', async () => '')
    await fastify.register(idempotency, { idem, principal })
    onTestFinished(() => fastify.close())
    const warnings = await warningsOf('development', async () => await fastify.ready())
    expect(warnings).toEqual([expect.stringMatching(/^POST \/early takes no/)])
  })

  test.each([{}, { handle() {}, use() {} }, { routes: [{}], fetch() {} }])(
    'an app that cannot be read fails no request',
    async (unknown) => {
      const layer = idempotentExpress(idem, { principal })
      const { origin } = await serve((req, res) =>
        layer(Object.assign(req, { app: unknown }) as never, res, () => res.end()),
      )
      const warnings = await warningsOf('development', async () => {
        const answer = await post(origin, { headers: { 'Idempotency-Key': crypto.randomUUID() } })
        expect([answer.status, answer.replayed]).toEqual([200, false])
      })
      expect(warnings).toEqual([])
    },
  )

  test('nothing to say, and an exempt route, warn of nothing', async () => {
    const hono = new Hono().post('/login', (c) => c.body(null))
    const warnings = await warningsOf('development', async () =>
      warnUnprotected(hono, { exempt: ['POST /login'] }),
    )
    expect(warnings).toEqual([])
  })
})

describe('late replays', () => {
  test('one in the second half of its retention is a problem, one before is not', async () => {
    let now = 1_000_000
    const store = memoryStore({ clock: { now: () => now } })
    const aged = createIdempotency({ store, sweep: false, retention: '10h' })
    onTestFinished(() => aged.close())
    const early = aged.operation('early', () => 'a')
    const late = aged.operation('late', () => 'a')
    using watch = watchReplays()
    const call = { key: 'k', principal: 'p', input: 1 }
    await early.run(call)
    await late.run(call)
    now += 4 * 3_600_000
    await early.run(call)
    now += 2 * 3_600_000
    await late.run(call)
    await late.run(call)
    expect(watch.latest().map(({ operation }) => operation)).toEqual(['early', 'late'])
    expect(shown(watch.findings())).toEqual(['problem retention-short late'])
    expect(watch.findings()[0]?.message).toContain('6 h after its outcome, of a retention of 10 h')
    watch.stop()
    now += 3_600_000
    await late.run(call)
    expect(watch.latest().find(({ operation }) => operation === 'late')?.ageMs).toBe(6 * 3_600_000)
  })
})
