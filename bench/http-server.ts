/** One server in a process of its own: `http-server.ts <framework> <bare|keyed> <ms of work>`. */
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
import 'reflect-metadata'
import { bodyParser } from '@koa/bodyparser'
import { Body, Controller, Module, Post } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { Elysia } from 'elysia'
import express from 'express'
import fastify from 'fastify'
import { H3, type H3Event, toNodeHandler, toResponse } from 'h3'
import { Hono } from 'hono'
import Koa from 'koa'
import { idempotent as idempotentElysia } from '../src/http/elysia.ts'
import { idempotent as idempotentExpress } from '../src/http/express.ts'
import { idempotency as idempotencyFastify } from '../src/http/fastify.ts'
import { idempotent as idempotentFetch } from '../src/http/fetch.ts'
import { idempotent as idempotentH3 } from '../src/http/h3.ts'
import { idempotent as idempotentHono } from '../src/http/hono.ts'
import { idempotent as idempotentKoa } from '../src/http/koa.ts'
import { Idempotent, IdempotencyModule } from '../src/http/nest.ts'
import { idempotent as idempotentNext } from '../src/http/next.ts'
import { idempotent as idempotentNode, keepRawBody } from '../src/http/node.ts'
import { createIdempotency, memoryStore } from '../src/index.ts'
import { serveParent } from './child.ts'

const [, , framework = '', kind = '', work = '0'] = process.argv
const workMs = Number(work)
const keyed = kind === 'keyed'
const idem = createIdempotency({ store: memoryStore(), sweep: false })
const principal = 'anonymous'

interface Charge {
  readonly amount: number
}

/** The handler's work, which keeps the processor busy. */
function chargeOf({ amount }: Charge): object {
  for (const until = performance.now() + workMs; workMs > 0 && performance.now() < until; );
  return { id: 'ch_3PqT1x', amount, status: 'succeeded' }
}

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

function koaListener(): RequestListener {
  const app = new Koa()
  app.use(bodyParser())
  if (keyed) app.use(idempotentKoa(idem, { principal }))
  app.use((context) => {
    context.status = 201
    context.body = chargeOf(context.request.body as Charge)
  })
  const serve = app.callback()
  return (request, response) => void serve(request, response)
}

function h3Listener(): RequestListener {
  const app = new H3()
  const handler = async (event: H3Event): Promise<object> => {
    event.res.status = 201
    return chargeOf((await event.req.json()) as Charge)
  }
  app.post('/charges', keyed ? idempotentH3(idem, { toResponse, principal }, handler) : handler)
  return toNodeHandler(app) as RequestListener
}

function elysiaListener(): RequestListener {
  const app = new Elysia()
  if (keyed) app.use(idempotentElysia(idem, { principal }))
  app.post('/charges', ({ body, status }) => status(201, chargeOf(body as Charge)))
  return fetchListener((request) => app.fetch(request))
}

async function nestServer(): Promise<Server> {
  class Charges {
    charge(body: Charge): object {
      return chargeOf(body)
    }
  }
  // Written out, since Node strips types and runs no decorators.
  const { prototype } = Charges
  const descriptor = Object.getOwnPropertyDescriptor(prototype, 'charge') as PropertyDescriptor
  Controller()(Charges)
  Post('charges')(prototype, 'charge', descriptor)
  Body()(prototype, 'charge', 0)
  if (keyed) Idempotent()(prototype, 'charge', descriptor)
  class Shop {}
  const imports = keyed ? [IdempotencyModule.forRoot({ idem, principal })] : []
  Module({ controllers: [Charges], imports })(Shop)
  const app = await NestFactory.create(Shop, { rawBody: true, logger: false })
  await app.listen(0, '127.0.0.1')
  return app.getHttpServer() as Server
}

function fetchListener(handle: (request: Request) => Response | Promise<Response>): RequestListener {
  const serve = getRequestListener(handle)
  return (request, response) => void serve(request, response)
}

const fetchHandler = async (request: Request): Promise<Response> =>
  Response.json(chargeOf((await request.json()) as Charge), { status: 201 })

const listeners: Readonly<Record<string, () => RequestListener>> = {
  express: expressListener,
  koa: koaListener,
  hono: honoListener,
  h3: h3Listener,
  elysia: elysiaListener,
  fetch: () => fetchListener(keyed ? idempotentFetch(idem, { principal }, fetchHandler) : fetchHandler),
  next: () =>
    fetchListener(
      keyed
        ? (request) => idempotentNext(idem, { principal }, fetchHandler)(request, undefined)
        : fetchHandler,
    ),
  node: nodeListener,
}

/** Frameworks that listen by themselves. */
const servers: Readonly<Record<string, () => Promise<Server>>> = { fastify: fastifyServer, nest: nestServer }

function start(): Promise<Server> {
  const server = servers[framework]
  if (server !== undefined) return server()
  const listener = listeners[framework]
  if (listener === undefined) throw new Error(`There is no framework ${framework}.`)
  return listening(listener())
}

async function listening(listener: RequestListener): Promise<Server> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

serveParent(((await start()).address() as AddressInfo).port)
