/** The handler ran, but its answer does not count: its lease was taken over, or its outcome could not be stored. */
import express from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import { getRequestListener } from '@hono/node-server'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createIdempotency, type Idempotency } from '../../src/engine/idempotency.ts'
import { idempotent as idempotentExpress } from '../../src/http/express.ts'
import { idempotency as idempotencyFastify } from '../../src/http/fastify.ts'
import { idempotent as idempotentFetch } from '../../src/http/fetch.ts'
import { idempotent as idempotentHono } from '../../src/http/hono.ts'
import { idempotent as idempotentNode } from '../../src/http/node.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { faultyStore, type FaultyStore } from '../engine/faulty-store.ts'
import { codeOf, post, serve } from './serving.ts'

/** A handler's answer: the number of its run, once `before` lets it. */
type Work = () => Promise<{ readonly run: number }>
type Adapter = (idem: Idempotency, work: Work) => Promise<string>

const options = { principal: 'anonymous', onUnknown: 'rerun' } as const
const draft = { 'X-Draft': 'discarded' }

const adapters: Readonly<Record<string, Adapter>> = {
  async node(idem, work) {
    const listener = idempotentNode(idem, options, async (_request, response) => {
      const body = JSON.stringify(await work())
      response.writeHead(201, 'Made', { 'Content-Type': 'application/json', ...draft }).end(body)
    })
    return (await serve(listener)).origin
  },
  async express(idem, work) {
    const app = express()
    app.use((_request, response, next) => {
      response.set('Access-Control-Allow-Origin', '*')
      next()
    })
    app.post('/x', idempotentExpress(idem, options), async (_request, response) => {
      response
        .status(201)
        .set(draft)
        .json(await work())
    })
    return (await serve(app)).origin
  },
  async fastify(idem, work) {
    const app = Fastify()
    onTestFinished(() => app.close())
    await app.register(idempotencyFastify, { idem, ...options })
    app.post('/x', async (_request, reply) => {
      reply.code(201).headers(draft)
      return await work()
    })
    return await app.listen({ port: 0, host: '127.0.0.1' })
  },
  async hono(idem, work) {
    const app = new Hono()
    app.post('/x', idempotentHono(idem, options), async (c) => c.json(await work(), 201, draft))
    return (await serve(getRequestListener(app.fetch))).origin
  },
  async fetch(idem, work) {
    const handler = idempotentFetch(idem, options, async () =>
      Response.json(await work(), { status: 201, headers: draft }),
    )
    return (await serve(getRequestListener(handler))).origin
  },
}

function processOn(store: FaultyStore): Idempotency {
  const idem = createIdempotency({ store, lease: '500ms', sweep: false })
  onTestFinished(() => idem.close())
  return idem
}

describe.each(Object.entries(adapters))('%s', (_name, start) => {
  test('a holder that lost its lease answers with the outcome of the one that took over', async () => {
    const records = memoryStore()
    const stalled = faultyStore(records)
    const first = Promise.withResolvers<void>()
    const started = Promise.withResolvers<void>()
    const slow = await start(processOn(stalled), async () => {
      started.resolve()
      await first.promise
      return { run: 1 }
    })
    const other = await start(processOn(faultyStore(records)), async () => ({ run: 2 }))
    const discarded = post(slow)
    await started.promise
    stalled.breakAll('request-lost', ['renew'])
    let winner = await post(other)
    while (winner.status === 409) winner = await post(other)
    stalled.heal()
    first.resolve()

    const answer = await discarded
    expect([winner.status, winner.body.toString(), winner.replayed]).toEqual([201, '{"run":2}', false])
    expect([answer.status, answer.body.toString(), answer.replayed]).toEqual([201, '{"run":2}', true])
  })

  test('an outcome that cannot be stored is not sent as if it were', async () => {
    const store = faultyStore(memoryStore())
    let runs = 0
    const origin = await start(processOn(store), async () => {
      store.breakAll('permanent', ['settle', 'renew'])
      return { run: ++runs }
    })
    const answer = await post(origin)
    expect([answer.status, codeOf(answer)]).toEqual([503, 'outcome-unknown'])
    expect(answer.headers.get('Retry-After')).toBe('1')
    expect(answer.headers.get('X-Draft')).toBeNull()
    expect(answer.headers.get('Content-Type')).toBe('application/problem+json')
    expect(runs).toBe(1)
  })

  test('a store that is down before the handler is a 503, and the handler does not run', async () => {
    const store = faultyStore(memoryStore())
    store.breakAll('permanent')
    let runs = 0
    const origin = await start(processOn(store), async () => ({ run: ++runs }))
    const answer = await post(origin)
    expect([answer.status, codeOf(answer), runs]).toEqual([503, 'store-unavailable', 0])
    expect(answer.headers.get('Retry-After')).toMatch(/^[1-9]\d*$/)
    store.heal()
    expect((await post(origin)).status).toBe(201)
  })
})

test('a head that has left cannot be taken back: the connection breaks', async () => {
  const store = faultyStore(memoryStore())
  const { origin } = await serve(
    idempotentNode(processOn(store), options, (_request, response) => {
      response.writeHead(201)
      response.flushHeaders()
      store.breakAll('permanent', ['settle', 'renew'])
      response.end('whole')
    }),
  )
  await expect(post(origin)).rejects.toThrow()
})
