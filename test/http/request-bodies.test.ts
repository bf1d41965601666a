/** Bodies that are compared in an unusual way, or cannot be. */
import { gzipSync } from 'node:zlib'
import express, { type RequestHandler } from 'express'
import Fastify from 'fastify'
import { expect, onTestFinished, test } from 'vitest'
import { idempotent } from '../../src/http/express.ts'
import { idempotency } from '../../src/http/fastify.ts'
import { codeOf, instance, post, serve } from './serving.ts'

/** An app that answers with what its handler finds in `req.body`. */
async function appWith(
  before: readonly RequestHandler[],
  after: readonly RequestHandler[],
): Promise<{ origin: string; runs: () => number }> {
  const app = express()
  let runs = 0
  app.post(
    '/x',
    ...before,
    idempotent(instance(), { principal: 'anonymous' }),
    ...after,
    (request, response) => {
      runs++
      response.status(201).json({ found: request.body as unknown })
    },
  )
  return { origin: (await serve(app)).origin, runs: () => runs }
}

test.each(['file', 'files'])(
  'a parser that took %s before the layer: refused, nothing runs',
  async (member) => {
    const upload: RequestHandler = (request, _response, next) => {
      request.resume().once('end', () => {
        Object.assign(request, { body: { name: 'a' }, [member]: [{ path: '/uploads/1' }] })
        next()
      })
    }
    const { origin, runs } = await appWith([upload], [])
    const answer = await post(origin)
    expect([answer.status, codeOf(answer), runs()]).toEqual([500, 'input-unsupported', 0])
  },
)

test('a coded body is compared as it was sent, and reaches the parser', async () => {
  const { origin } = await appWith([], [express.json()])
  const coded: RequestInit = { headers: { 'Content-Encoding': 'gzip' }, body: gzipSync('{"amount":100}') }
  expect((await post(origin, coded)).body.toString()).toBe('{"found":{"amount":100}}')
  expect((await post(origin, coded)).replayed).toBe(true)
  expect(codeOf(await post(origin))).toBe('key-reused')
})

test('JSON that is nested beyond reason is compared by its octets', async () => {
  const { origin } = await appWith([], [express.text({ type: () => true })])
  const nested = '['.repeat(20_000) + ']'.repeat(20_000)
  expect((await post(origin, { body: nested })).status).toBe(201)
  expect((await post(origin, { body: nested })).replayed).toBe(true)
  expect(codeOf(await post(origin, { body: `${nested} ` }))).toBe('key-reused')
})

test('a parsed value that is nested beyond reason is refused, nothing runs', async () => {
  const { origin, runs } = await appWith([express.json()], [])
  const answer = await post(origin, { body: '['.repeat(20_000) + ']'.repeat(20_000) })
  expect([answer.status, codeOf(answer), runs()]).toEqual([413, 'request-too-large', 0])
})

test('fastify: what its schema refuses is no outcome', async () => {
  const app = Fastify()
  onTestFinished(() => app.close())
  await app.register(idempotency, { idem: instance(), principal: 'anonymous' })
  const schema = { body: { type: 'object', required: ['amount'] } }
  app.post('/x', { schema }, async (_request, reply) => await reply.code(201).send({ made: true }))
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })
  expect((await post(origin, { body: '{}' })).status).toBe(400)
  expect(await post(origin)).toMatchObject({ status: 201, replayed: false })
})
