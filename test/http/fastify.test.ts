/** Ways to answer that only Fastify has: each is stored whatever it goes through, and replayed as it was. */
import { Readable } from 'node:stream'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { describe, expect, onTestFinished, test } from 'vitest'
import { InvalidOptionError } from '../../src/core/errors.ts'
import { idempotency, type FastifyIdempotencyOptions } from '../../src/http/fastify.ts'
import { codeOf, instance, post } from './serving.ts'

async function appWith(options: Partial<FastifyIdempotencyOptions> = {}): Promise<FastifyInstance> {
  const app = Fastify()
  onTestFinished(() => app.close())
  await app.register(idempotency, { idem: instance(), principal: 'anonymous', ...options })
  return app
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown

const shapes: Readonly<Record<string, Handler>> = {
  'a returned object': async () => ({ made: true }),
  'a returned null': async () => null,
  'octets without a media type': async (_, reply) => await reply.send(Buffer.from([0, 255, 1])),
  'no content': async (_, reply) => await reply.code(204).send(),
  'a redirect': async (_, reply) => await reply.redirect('/there', 303),
  'a stream': async (_, reply) => await reply.type('text/plain').send(Readable.from(['a', 'b', 'c'])),
  'a web stream without a media type': async (_, reply) =>
    await reply.send(new Blob(['web stream']).stream()),
  'a web response': async (_, reply) =>
    await reply.send(new Response('web', { status: 202, headers: { 'X-App': '1' } })),
  'send in a callback': (_, reply) => void setImmediate(() => reply.code(201).send({ made: true })),
  'a hijacked reply': (_, reply) => {
    reply.hijack()
    reply.raw.writeHead(201, ['X-App', '1', 'X-App', '2'])
    reply.raw.end('raw')
  },
  'a raw response': (_, reply) => {
    reply.raw.statusCode = 201
    reply.raw.end('raw')
  },
  'the not found handler': (_, reply) => reply.callNotFound(),
}

describe('the same answer, first and again', () => {
  test.each(Object.entries(shapes))('%s', async (_name, handler) => {
    const app = await appWith()
    let runs = 0
    app.post('/x', (request, reply) => {
      runs++
      return handler(request, reply)
    })
    const origin = await app.listen({ port: 0, host: '127.0.0.1' })
    const first = await post(origin)
    const again = await post(origin)
    expect([first.replayed, again.replayed, runs]).toEqual([false, true, 1])
    expect([again.status, again.body]).toEqual([first.status, first.body])
    for (const name of ['content-type', 'location', 'x-app']) {
      expect([name, again.headers.get(name)]).toEqual([name, first.headers.get(name)])
    }
  })
})

describe('the plugin', () => {
  test('guards by method, and a route may change or end that', async () => {
    const app = await appWith({ required: true })
    const made: Handler = async (_, reply) => await reply.code(201).send({ made: true })
    app.post('/x', made)
    app.post('/optional', { config: { idempotency: { required: false } } }, made)
    app.post('/open', { config: { idempotency: false } }, made)
    app.get('/x', async () => ({ read: true }))
    const status = async (method: 'GET' | 'POST', url: string): Promise<number> =>
      (await app.inject({ method, url })).statusCode
    expect(await status('POST', '/x')).toBe(400)
    expect(await status('GET', '/x')).toBe(200)
    expect(await status('POST', '/optional')).toBe(201)
    const headers = { 'Idempotency-Key': 'k' }
    for (const url of ['/open', '/open']) {
      const answer = await app.inject({ method: 'POST', url, headers })
      expect([answer.statusCode, answer.headers['idempotent-replayed']]).toEqual([201, undefined])
    }
  })

  test('decides after the authentication of hooks that came before', async () => {
    const app = Fastify()
    onTestFinished(() => app.close())
    let allowed = true
    app.addHook('preHandler', async (_request, reply) => {
      if (!allowed) await reply.code(403).send({ error: 'revoked' })
    })
    await app.register(idempotency, { idem: instance(), principal: 'anonymous' })
    app.post('/x', async (_, reply) => await reply.code(201).send({ made: true }))
    const origin = await app.listen({ port: 0, host: '127.0.0.1' })
    expect((await post(origin)).status).toBe(201)
    allowed = false
    expect(await post(origin)).toMatchObject({ status: 403, replayed: false })
  })

  test('gives the handler its attempt', async () => {
    const app = await appWith()
    app.post('/x', async ({ idempotency: attempt }, reply) => {
      attempt?.release()
      return await reply.code(201).send({ key: attempt?.key, fence: attempt?.fence })
    })
    const origin = await app.listen({ port: 0, host: '127.0.0.1' })
    expect((await post(origin)).body.toString()).toBe('{"key":"k","fence":1}')
    expect((await post(origin)).body.toString()).toBe('{"key":"k","fence":2}')
  })

  test('refuses wrong options when it is registered, those of a route too', async () => {
    const refused = (options: object): Promise<unknown> =>
      Promise.resolve(Fastify().register(idempotency, options as FastifyIdempotencyOptions)).catch(
        (error: unknown) => error,
      )
    expect(await refused({})).toBeInstanceOf(InvalidOptionError)
    expect(await refused({ idem: instance() })).toMatchObject({ option: 'principal' })
    const app = await appWith()
    expect(() =>
      app.post('/x', { config: { idempotency: { scope: 'global' as 'endpoint' } } }, async () => ({})),
    ).toThrow(InvalidOptionError)
  })

  test('leaves no outcome where the parser refuses the body', async () => {
    const app = await appWith()
    app.post('/x', async (_, reply) => await reply.code(201).send({ made: true }))
    const origin = await app.listen({ port: 0, host: '127.0.0.1' })
    expect((await post(origin, { body: '{"amount":' })).status).toBe(400)
    expect(await post(origin)).toMatchObject({ status: 201, replayed: false })
    expect(codeOf(await post(origin, { body: '{"amount":200}' }))).toBe('key-reused')
  })
})
