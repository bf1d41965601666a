/** One server in a process of its own: `http-server.ts <framework> <bare|keyed>`. */
import { once } from 'node:events'
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import express from 'express'
import fastify from 'fastify'
import { Hono } from 'hono'
import { idempotent as idempotentExpress } from '../src/http/express.ts'
import { idempotency as idempotencyFastify } from '../src/http/fastify.ts'
import { idempotent as idempotentHono } from '../src/http/hono.ts'
import { idempotent as idempotentNode, keepRawBody } from '../src/http/node.ts'
import { createIdempotency, memoryStore } from '../src/index.ts'
import { serveParent } from './child.ts'

const [, , framework = '', kind = ''] = process.argv
const keyed = kind === 'keyed'
const idem = createIdempotency({ store: memoryStore(), sweep: false })
const principal = 'anonymous'

interface Charge {
  readonly amount: number
}

const chargeOf = ({ amount }: Charge): object => ({ id: 'ch_3PqT1x', amount, status: 'succeeded' })

function expressListener(): RequestListener {
  const app = express()
  app.use(express.json({ verify: keepRawBody }))
  if (keyed) app.use(idempotentExpress(idem, { principal }))
  app.post('/charges', (request, response) => {
    response.status(201).json(chargeOf(request.body as Charge))
  })
  return app
}

async function fastifyServer(): Promise<Server> {
  const app = fastify()
  if (keyed) await app.register(idempotencyFastify, { idem, principal })
  app.post('/charges', (request, reply) => reply.code(201).send(chargeOf(request.body as Charge)))
  await app.listen({ host: '127.0.0.1', port: 0 })
  return app.server
}

function honoListener(): RequestListener {
  const app = new Hono()
  if (keyed) app.use(idempotentHono(idem, { principal }))
  app.post('/charges', async (context) => context.json(chargeOf(await context.req.json<Charge>()), 201))
  const serve = getRequestListener(app.fetch)
  return (request, response) => void serve(request, response)
}

function nodeListener(): RequestListener {
  const listener = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const charge = chargeOf(JSON.parse(Buffer.concat(chunks).toString()) as Charge)
    response.writeHead(201, { 'content-type': 'application/json' }).end(JSON.stringify(charge))
  }
  return keyed ? idempotentNode(idem, { principal }, listener) : listener
}

async function start(): Promise<Server> {
  switch (framework) {
    case 'fastify':
      return fastifyServer()
    case 'express':
      return listening(expressListener())
    case 'hono':
      return listening(honoListener())
    case 'node':
      return listening(nodeListener())
    default:
      throw new Error(`There is no framework ${framework}.`)
  }
}

async function listening(listener: RequestListener): Promise<Server> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

serveParent(((await start()).address() as AddressInfo).port)
