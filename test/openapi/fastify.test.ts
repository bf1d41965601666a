/** Fastify with @fastify/swagger: its document tells of guarded routes, and the routes behave as before. */
import swagger from '@fastify/swagger'
import Fastify, { type FastifyInstance } from 'fastify'
import { describe, expect, onTestFinished, test } from 'vitest'
import { parse } from 'yaml'
import { createIdempotency, memoryStore } from '../../src/index.ts'
import { type FastifyIdempotencyOptions, idempotency } from '../../src/http/fastify.ts'

interface Operation {
  readonly summary?: string
  readonly parameters?: readonly { readonly name?: string; readonly $ref?: string }[]
  readonly responses: Record<
    string,
    {
      readonly $ref?: string
      readonly description?: string
      readonly headers?: object
      readonly content?: object
    }
  >
  readonly 'x-idempotency'?: { readonly required: boolean }
}

interface Document {
  readonly openapi?: string
  readonly paths: Record<string, Record<string, Operation | undefined> | undefined>
  readonly components: Record<string, Record<string, unknown> | undefined>
  readonly definitions?: Record<string, unknown>
}

function options(own: Partial<FastifyIdempotencyOptions> = {}): FastifyIdempotencyOptions {
  const idem = createIdempotency({ store: memoryStore() })
  return { idem, principal: 'anonymous', ...own }
}

function app(): FastifyInstance {
  const made = Fastify()
  onTestFinished(() => made.close())
  return made
}

const openapi = { openapi: '3.1.0', info: { title: 'Shop', version: '1' } }
const answer = async (): Promise<object> => ({ id: 'ch_1' })

async function documentOf(fastify: FastifyInstance): Promise<Document> {
  await fastify.ready()
  return fastify.swagger() as unknown as Document
}

const guarded = ['400', '409', '413', '422', '503']

function isDocumented(operation: Operation | undefined): boolean {
  return (
    operation !== undefined &&
    operation['x-idempotency'] !== undefined &&
    operation.parameters?.some(({ $ref }) => $ref === '#/components/parameters/IdempotencyKey') === true &&
    guarded.every((status) => status in operation.responses)
  )
}

describe('a document', () => {
  test('tells of guarded routes, when @fastify/swagger came first', async () => {
    const fastify = app()
    await fastify.register(swagger, { openapi })
    await fastify.register(idempotency, options())
    fastify.post('/charges', { config: { idempotency: { required: true } } }, answer)
    fastify.get('/charges', answer)
    const { paths, components } = await documentOf(fastify)
    expect(isDocumented(paths['/charges']?.['post'])).toBe(true)
    expect(paths['/charges']?.['post']?.['x-idempotency']).toEqual({
      required: true,
      retention: 'PT24H',
      scope: 'principal',
      header: 'Idempotency-Key',
    })
    expect(paths['/charges']?.['post']?.responses['200']?.headers).toEqual({
      'Idempotent-Replayed': { $ref: '#/components/headers/Idempotent-Replayed' },
    })
    expect(components['parameters']?.['IdempotencyKey']).toMatchObject({ in: 'header', required: true })
    expect(components['schemas']?.['IdempotencyProblem']).toMatchObject({ type: 'object' })
    expect(paths['/charges']?.['get']).toEqual({ responses: { '200': { description: 'Default Response' } } })
  })

  test('tells of them when @fastify/swagger came after the plugin', async () => {
    const fastify = app()
    await fastify.register(idempotency, options())
    await fastify.register(swagger, { openapi })
    fastify.post('/charges', answer)
    expect(isDocumented((await documentOf(fastify)).paths['/charges']?.['post'])).toBe(true)
  })

  test('tells of them in scopes of their own, under prefixes and with parameters', async () => {
    const fastify = app()
    await fastify.register(swagger, { openapi })
    await fastify.register(
      async (scope) => {
        await scope.register(idempotency, options())
        scope.patch('/charges/:id', answer)
        scope.post('/:from(^\\d+$)/to/:to', answer)
        scope.post('/jobs::run', answer)
      },
      { prefix: '/v1' },
    )
    fastify.post('/unguarded', answer)
    const { paths } = await documentOf(fastify)
    expect(isDocumented(paths['/v1/charges/{id}']?.['patch'])).toBe(true)
    expect(isDocumented(paths['/v1/{from}/to/{to}']?.['post'])).toBe(true)
    expect(isDocumented(paths['/v1/jobs:run']?.['post'])).toBe(true)
    expect(paths['/unguarded']?.['post']).toEqual({
      responses: { '200': { description: 'Default Response' } },
    })
  })

  test('of a scope tells of its routes, when the plugin is outside', async () => {
    const fastify = app()
    await fastify.register(idempotency, options())
    let scoped: FastifyInstance | undefined
    await fastify.register(async (scope) => {
      await scope.register(swagger, { openapi })
      scope.post('/charges', answer)
      scoped = scope as unknown as FastifyInstance
    })
    await fastify.ready()
    const document = scoped?.swagger() as unknown as Document | undefined
    expect(isDocumented(document?.paths['/charges']?.['post'])).toBe(true)
  })

  test('has each registration with its own options', async () => {
    const fastify = app()
    await fastify.register(swagger, { openapi })
    for (const required of [true, false]) {
      await fastify.register(
        async (scope) => {
          await scope.register(idempotency, options({ required }))
          scope.post('/charges', answer)
        },
        { prefix: `/${required}` },
      )
    }
    const { paths, components } = await documentOf(fastify)
    expect(paths['/true/charges']?.['post']?.['x-idempotency']?.required).toBe(true)
    expect(paths['/false/charges']?.['post']?.['x-idempotency']?.required).toBe(false)
    expect(Object.keys(components['parameters'] ?? {})).toEqual(['IdempotencyKey', 'IdempotencyKey2'])
  })

  test('keeps hidden routes hidden and unguarded ones plain', async () => {
    const fastify = app()
    await fastify.register(swagger, { openapi })
    await fastify.register(idempotency, options())
    fastify.post('/hidden', { schema: { hide: true } }, answer)
    fastify.post('/off', { config: { idempotency: false } }, answer)
    fastify.post('/silent', { schema: { 'x-idempotency': false } as object }, answer)
    const { paths } = await documentOf(fastify)
    expect(Object.keys(paths)).toEqual(['/off', '/silent'])
    expect(paths['/off']?.['post']).toEqual({ responses: { '200': { description: 'Default Response' } } })
    expect(paths['/silent']?.['post']).toEqual({
      'x-idempotency': false,
      responses: { '200': { description: 'Default Response' } },
    })
  })

  test('of a route with several methods tells of the guarded ones', async () => {
    const fastify = app()
    await fastify.register(swagger, { openapi })
    await fastify.register(idempotency, options())
    fastify.route({ method: ['GET', 'POST'], url: '/charges', handler: answer })
    const { paths } = await documentOf(fastify)
    expect(isDocumented(paths['/charges']?.['post'])).toBe(true)
    expect(paths['/charges']?.['get']).toEqual({ responses: { '200': { description: 'Default Response' } } })
  })

  test('follows a transform that moves or rebuilds routes', async () => {
    const moved = app()
    await moved.register(swagger, {
      openapi,
      transform: ({ schema, url }) => ({ schema, url: url.replace('/internal', '') }),
    })
    await moved.register(idempotency, options())
    moved.post('/internal/charges', answer)
    expect(isDocumented((await documentOf(moved)).paths['/charges']?.['post'])).toBe(true)

    const rebuilt = app()
    await rebuilt.register(swagger, {
      openapi: { ...openapi, servers: [{ url: 'https://shop.example/api' }] },
      transform: ({ url }) => ({ schema: { summary: 'Pay' }, url }),
    })
    await rebuilt.register(idempotency, options())
    rebuilt.post('/api/charges/:id', answer)
    const operation = (await documentOf(rebuilt)).paths['/charges/{id}']?.['post']
    expect(operation?.summary).toBe('Pay')
    expect(isDocumented(operation)).toBe(true)
  })

  test('keeps what its author wrote, and what transformObject made', async () => {
    const fastify = app()
    await fastify.register(swagger, {
      openapi,
      transformObject: (given) => {
        const document = 'openapiObject' in given ? given.openapiObject : given.swaggerObject
        return Object.assign({}, document, { 'x-own': true })
      },
    })
    await fastify.register(idempotency, options())
    const key = { type: 'string', format: 'uuid' }
    fastify.post(
      '/charges',
      {
        schema: {
          headers: { type: 'object', properties: { 'idempotency-key': key } },
          response: {
            409: { description: 'Taken.', type: 'object', properties: { taken: { type: 'boolean' } } },
          },
        },
      },
      answer,
    )
    const document = await documentOf(fastify)
    const operation = document.paths['/charges']?.['post']
    expect(document).toMatchObject({ 'x-own': true })
    expect(operation?.parameters).toEqual([
      { name: 'idempotency-key', in: 'header', required: false, schema: key },
    ])
    expect(operation?.responses['409']?.description).toMatch(/^Taken\.\n\nRefused/)
    expect(Object.keys(operation?.responses['409']?.content ?? {})).toEqual([
      'application/json',
      'application/problem+json',
    ])
  })

  test('is the same object each time, and the same document as YAML', async () => {
    const fastify = app()
    await fastify.register(swagger, { openapi })
    await fastify.register(idempotency, options())
    fastify.post('/charges', answer)
    const document = await documentOf(fastify)
    expect(fastify.swagger()).toBe(document)
    const yaml = fastify.swagger({ yaml: true })
    expect(parse(yaml)).toEqual(JSON.parse(JSON.stringify(document)))
    expect(fastify.swagger({ yaml: true })).toBe(yaml)
  })

  test('without guarded routes is that of @fastify/swagger, to the letter', async () => {
    const texts: string[] = []
    for (const withPlugin of [true, false]) {
      const fastify = app()
      await fastify.register(swagger, { openapi })
      if (withPlugin) await fastify.register(idempotency, options())
      fastify.get('/charges', answer)
      await fastify.ready()
      texts.push(JSON.stringify(fastify.swagger()), fastify.swagger({ yaml: true }))
    }
    expect(texts.slice(0, 2)).toEqual(texts.slice(2))
  })

  test('of Swagger 2.0 tells of them in its words', async () => {
    const fastify = app()
    await fastify.register(swagger, { swagger: { basePath: '/api' } })
    await fastify.register(idempotency, options())
    fastify.post('/api/charges/:id', answer)
    fastify.post('/api/silent', { schema: { 'x-idempotency': false } as object }, answer)
    const { paths, definitions, ...top } = await documentOf(fastify)
    const operation = paths['/charges/{id}']?.['post']
    expect(operation?.parameters).toContainEqual({ $ref: '#/parameters/IdempotencyKey' })
    expect(top).toMatchObject({ parameters: { IdempotencyKey: { in: 'header', type: 'string' } } })
    expect(definitions).toMatchObject({ IdempotencyProblem: { type: 'object' } })
    expect(Object.keys(operation?.responses ?? {})).toEqual(['200', ...guarded])
    expect(Object.keys(paths['/silent']?.['post']?.responses ?? {})).toEqual(['200'])
  })

  test('that an application decorates by itself is left alone', async () => {
    const fastify = app()
    const own = (): string => 'mine'
    fastify.decorate('swagger', own as never)
    await fastify.register(idempotency, options())
    fastify.post('/charges', answer)
    await fastify.ready()
    expect(fastify.swagger()).toBe('mine')
  })
})

test('documented routes check and answer as before', async () => {
  const fastify = app()
  await fastify.register(swagger, { openapi })
  await fastify.register(idempotency, options({ required: true }))
  const schema = {
    body: { type: 'object', properties: { amount: { type: 'integer' } }, additionalProperties: false },
  }
  fastify.post('/charges', { schema }, async (_, reply) =>
    reply.code(409).send({ code: 7, own: { deep: [1, 2] }, status: 'text' }),
  )
  const origin = await fastify.listen({ port: 0 })
  const post = (body: unknown, key?: string): Promise<Response> =>
    fetch(`${origin}/charges`, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: {
        'content-type': 'application/json',
        ...(key === undefined ? {} : { 'idempotency-key': key }),
      },
    })
  expect(Object.keys(schema)).toEqual(['body'])
  const first = await post({ amount: 1 }, 'k-1')
  expect(first.status).toBe(409)
  expect(await first.json()).toEqual({ code: 7, own: { deep: [1, 2] }, status: 'text' })
  const second = await post({ amount: 1 }, 'k-1')
  expect(second.headers.get('idempotent-replayed')).toBe('true')
  expect(await second.json()).toEqual({ code: 7, own: { deep: [1, 2] }, status: 'text' })
  expect(await (await post({ amount: 'much' }, 'k-2')).json()).toMatchObject({ code: 'FST_ERR_VALIDATION' })
  const refused = await post({ amount: 1 })
  expect(refused.headers.get('content-type')).toBe('application/problem+json')
  expect(await refused.json()).toMatchObject({ code: 'key-missing' })
})
