import { createServer, type RequestListener } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import express from 'express'
import fastify from 'fastify'
import { Hono } from 'hono'
import { expect, onTestFinished, test } from 'vitest'
import { StoreError } from '../../src/core/errors.ts'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { idempotent as idempotentExpress } from '../../src/http/express.ts'
import { idempotency } from '../../src/http/fastify.ts'
import { idempotent as idempotentFetch } from '../../src/http/fetch.ts'
import { idempotent as idempotentHono } from '../../src/http/hono.ts'
import { idempotent as idempotentNode } from '../../src/http/node.ts'
import { memoryStore } from '../../src/stores/memory.ts'

const store = memoryStore()
store.claim = () => Promise.reject(new StoreError('permanent', 'down'))
const idem = createIdempotency({ store, sweep: false })
const options = { principal: 'anonymous', onStoreError: 'run' } as const

const listeners: Record<string, () => RequestListener | Promise<RequestListener>> = {
  node: () => idempotentNode(idem, options, (_, response) => response.writeHead(201).end('ran')),
  express: () =>
    express().post('/x', idempotentExpress(idem, options), (_, response) => {
      response.status(201).send('ran')
    }),
  fastify: async () => {
    const app = fastify()
    await app.register(idempotency, { idem, ...options })
    app.post('/x', (_, reply) => reply.code(201).send('ran'))
    await app.ready()
    return (request, response) => app.routing(request, response)
  },
  hono: () => {
    const app = new Hono().post('/x', idempotentHono(idem, options), (c) => c.text('ran', 201))
    const listener = getRequestListener(app.fetch)
    return (request, response) => void listener(request, response)
  },
  fetch: () => {
    const listener = getRequestListener(
      idempotentFetch(idem, options, () => new Response('ran', { status: 201 })),
    )
    return (request, response) => void listener(request, response)
  },
}

test.each(Object.keys(listeners))('%s marks an answer that ran while the store was down', async (name) => {
  const listener = (await listeners[name]?.()) as RequestListener
  const server = createServer(listener).listen(0, '127.0.0.1')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const answer = await fetch(`http://127.0.0.1:${port}/x`, {
    method: 'POST',
    headers: { 'Idempotency-Key': 'k' },
  })
  expect([answer.status, await answer.text()]).toEqual([201, 'ran'])
  expect(answer.headers.get('idempotency-unprotected')).toBe('store-unavailable')
  const unkeyed = await fetch(`http://127.0.0.1:${port}/x`, { method: 'POST' })
  expect(unkeyed.headers.has('idempotency-unprotected')).toBe(false)
})
