/** Hono: documents of hono-openapi and @hono/zod-openapi, told which routes are guarded. */
import { createRoute, OpenAPIHono, z } from '@hono/zod-openapi'
import { Hono } from 'hono'
import { describeRoute, generateSpecs, openAPIRouteHandler } from 'hono-openapi'
import { describe, expect, test } from 'vitest'
import { createIdempotency, memoryStore } from '../../src/index.ts'
import { idempotent, protectedRoutes } from '../../src/http/hono.ts'
import { documentIdempotency } from '../../src/openapi/index.ts'

const idem = createIdempotency({ store: memoryStore() })
const guard = idempotent(idem, { principal: 'anonymous', required: true })
const described = describeRoute({
  responses: { 201: { description: 'Made.' }, 409: { description: 'Taken.' } },
})

interface Operation {
  readonly parameters?: readonly object[]
  readonly responses?: Record<string, { readonly description?: string }>
  readonly 'x-idempotency'?: { readonly required: boolean }
}

function operationsIn(document: object): Record<string, Operation> {
  const { paths } = document as { paths: Record<string, Record<string, Operation>> }
  return Object.fromEntries(
    Object.entries(paths).flatMap(([path, item]) =>
      Object.entries(item).map(([method, operation]) => [`${method.toUpperCase()} ${path}`, operation]),
    ),
  )
}

function documentedIn(document: object): string[] {
  return Object.entries(operationsIn(document))
    .filter(([, operation]) => {
      const whole =
        operation.parameters?.some((one) => JSON.stringify(one).includes('IdempotencyKey')) === true &&
        ['400', '409', '422', '503'].every((status) => status in (operation.responses ?? {}))
      expect(whole).toBe(operation['x-idempotency'] !== undefined)
      return whole
    })
    .map(([name]) => name)
}

describe('hono-openapi', () => {
  test('a route with the layer on itself', async () => {
    const app = new Hono()
    app.post('/charges/:id', described, guard, (c) => c.json({}, 201))
    app.get('/charges/:id', described, (c) => c.json({}))
    app.post('/plain', described, (c) => c.json({}))
    const document = documentIdempotency(await generateSpecs(app), protectedRoutes(app))
    expect(documentedIn(document)).toEqual(['POST /charges/{id}'])
    const { responses } = operationsIn(document)['POST /charges/{id}'] ?? {}
    expect(responses?.['409']?.description).toMatch(/^Taken\.\n\nRefused/)
  })

  test('a layer above routes, in applications mounted in others, before and after what it covers', async () => {
    const inner = new Hono()
    inner.post('/early', described, (c) => c.json({}))
    inner.use('/*', guard)
    inner.post('/charges', described, (c) => c.json({}))
    inner.get('/charges', described, (c) => c.json({}))
    inner.onError((_, c) => c.text('inner', 500))
    const app = new Hono().basePath('/api')
    app.route('/v1', inner)
    app.post('/other', described, (c) => c.json({}))
    const document = documentIdempotency(await generateSpecs(app), protectedRoutes(app))
    expect(documentedIn(document)).toEqual(['POST /api/v1/charges'])
  })

  test('served as its readers get it', async () => {
    const app = new Hono()
    app.post('/charges', described, guard, (c) => c.json({}, 201))
    app.get('/openapi.json', async (c) =>
      c.json(documentIdempotency(await generateSpecs(app), protectedRoutes(app))),
    )
    app.get('/plain.json', openAPIRouteHandler(app))
    const served = (await (await app.request('/openapi.json')).json()) as object
    const plain = (await (await app.request('/plain.json')).json()) as object
    expect(documentedIn(served)).toEqual(['POST /charges'])
    expect(documentedIn(plain)).toEqual([])
  })
})

describe('@hono/zod-openapi', () => {
  const route = createRoute({
    method: 'post',
    path: '/charges/{id}',
    middleware: [guard] as const,
    request: { params: z.object({ id: z.string() }) },
    responses: { 201: { description: 'Made.' } },
  })
  const config = { openapi: '3.1.0', info: { title: 'Shop', version: '1' } }

  test('a route with the layer among its middleware, in 3.0 and 3.1', () => {
    const app = new OpenAPIHono()
    app.openapi(route, (c) => c.body(null, 201))
    for (const document of [
      app.getOpenAPIDocument({ ...config, openapi: '3.0.3' }),
      app.getOpenAPI31Document(config),
    ]) {
      expect(documentedIn(document)).toEqual([])
      expect(documentedIn(documentIdempotency(document, protectedRoutes(app)))).toEqual([
        'POST /charges/{id}',
      ])
    }
  })

  test('a layer above routes of a mounted application', () => {
    const inner = new OpenAPIHono()
    const { middleware: _, ...bare } = route
    inner.openapi({ ...bare, getRoutingPath: () => '/charges/:id' }, (c) => c.body(null, 201))
    const app = new OpenAPIHono()
    app.use('/v1/*', guard)
    app.route('/v1', inner)
    const document = documentIdempotency(app.getOpenAPI31Document(config), protectedRoutes(app))
    expect(documentedIn(document)).toEqual(['POST /v1/charges/{id}'])
  })
})
