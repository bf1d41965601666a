/** The same endpoint on real servers: who reads the body, and what is left of it. */
import { once } from 'node:events'
import { type AddressInfo } from 'node:net'
import { serve as serveHono } from '@hono/node-server'
import express from 'express'
// @ts-expect-error it has no types of its own, and those of Express 5 do not carry its other name
import express4 from 'express-4'
import Fastify from 'fastify'
import { Hono } from 'hono'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { keepRawBody, type Webhook } from '../../src/webhooks/index.ts'
import { exchange, serve } from '../http/serving.ts'
import { providers, type Sent, stripe, type TestProvider, twilioSms } from './deliveries.ts'
import { codeOf, counted, type Counted } from './harness.ts'

interface Host {
  readonly name: string
  /** Serves the endpoint at `/in` until the test ends; resolves to the origin. */
  start(hook: Webhook): Promise<string>
}

async function expressWith(
  use: (app: express.Express) => void,
  hook: Webhook,
  make = express,
): Promise<string> {
  const app = make()
  use(app)
  app.post('/in', hook.node)
  app.use((error: Error, _req: express.Request, res: express.Response, _next: express.NextFunction) => {
    res.status(500).json({ error: error.message })
  })
  return (await serve(app)).origin
}

const hosts: readonly Host[] = [
  { name: 'node:http', start: async (hook) => (await serve((req, res) => hook.node(req, res))).origin },
  { name: 'Express 5', start: (hook) => expressWith(() => {}, hook) },
  { name: 'Express 4', start: (hook) => expressWith(() => {}, hook, express4 as unknown as typeof express) },
  {
    name: 'Express behind express.raw()',
    start: (hook) => expressWith((app) => app.use(express.raw({ type: '*/*' })), hook),
  },
  {
    name: 'Express behind parsers that keep the octets',
    start: (hook) =>
      expressWith((app) => {
        app.use(express.json({ verify: keepRawBody }))
        app.use(express.urlencoded({ verify: keepRawBody }))
      }, hook),
  },
  {
    name: 'Fastify',
    async start(hook): Promise<string> {
      const app = Fastify()
      app.post('/other', async (request) => request.body)
      await app.register(async (hooks) => {
        hooks.removeAllContentTypeParsers()
        hooks.addContentTypeParser('*', (_request, _payload, done) => done(null))
        hooks.post('/in', (request, reply) => {
          reply.hijack()
          hook.node(request.raw, reply.raw)
        })
      })
      onTestFinished(() => app.close())
      return await app.listen({ port: 0, host: '127.0.0.1' })
    },
  },
  {
    name: 'Hono',
    async start(hook): Promise<string> {
      const app = new Hono()
      app.post('/in', (c) => hook.fetch(c.req.raw))
      const server = serveHono({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' })
      await once(server, 'listening')
      onTestFinished(async () => {
        const closed = once(server, 'close')
        server.close()
        await closed
      })
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    },
  },
]

async function post(
  origin: string,
  { headers, body }: Sent,
): Promise<{ status: number; text: string; headers: Headers }> {
  const response = await fetch(`${origin}/in?tenant=7`, { method: 'POST', headers, body })
  return { status: response.status, text: await response.text(), headers: response.headers }
}

/** Twilio signs the URL that it called, which is not the loopback address of a test. */
function endpointOf(provider: TestProvider, handler?: () => unknown): Counted {
  return counted(provider, provider === twilioSms ? { url: 'https://hooks.example.com/in' } : {}, handler)
}

describe.each(hosts)('$name', ({ start }) => {
  test.each(providers)('$provider is verified and applied once', async (provider) => {
    const { hook, events } = endpointOf(provider)
    const origin = await start(hook)
    const sent = await provider.send({ id: 'evt_1' })
    expect(await post(origin, { ...sent, body: sent.body.replace('e', 'E') })).toMatchObject({ status: 401 })
    expect(await post(origin, sent)).toMatchObject({ status: 200, text: '' })
    const again = await post(origin, sent)
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    expect(events).toHaveLength(1)
    expect(Buffer.from(events[0]?.body ?? []).toString()).toBe(sent.body)
  })

  test('what the handler throws is answered 500, and the event runs again', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    vi.spyOn(console, 'error').mockImplementation(() => {})
    onTestFinished(() => void vi.restoreAllMocks())
    let fails = true
    const { hook, events } = counted(stripe, {}, () => {
      if (fails) throw new Error('away')
    })
    const origin = await start(hook)
    const sent = await stripe.send({ id: 'evt_1' })
    expect(await post(origin, sent)).toMatchObject({ status: 500 })
    fails = false
    expect(await post(origin, sent)).toMatchObject({ status: 200 })
    expect(events).toHaveLength(2)
  })

  test('a body over the limit is not read', async () => {
    const { hook, events } = counted(stripe, { requestBytesMax: 100 })
    const origin = await start(hook)
    const large = await stripe.send({ id: 'evt_1', more: { filler: 'x'.repeat(200) } })
    expect(await post(origin, large)).toMatchObject({ status: 413 })
    const chunked = new ReadableStream({
      start(controller): void {
        controller.enqueue(new TextEncoder().encode(large.body))
        controller.close()
      },
    })
    const response = await fetch(`${origin}/in`, {
      method: 'POST',
      headers: large.headers,
      body: chunked,
      // Not in the types of browsers, which a package among the tests brings along.
      ...({ duplex: 'half' } as object),
    })
    expect(response.status).toBe(413)
    expect(events).toEqual([])
  })

  test('a signature in two lines is none', async () => {
    const { hook, events } = counted(stripe)
    const origin = await start(hook)
    const { body, headers } = await stripe.send({ id: 'evt_1' })
    const signature = `stripe-signature: ${headers['stripe-signature']}`
    const answer = await exchange(
      Number(new URL(origin).port),
      [
        'POST /in HTTP/1.1',
        'Host: x',
        'Connection: close',
        'Content-Type: application/json',
        `Content-Length: ${body.length}`,
        signature,
        signature,
        '',
        body,
      ].join('\r\n'),
    )
    expect(answer).toMatch(/^HTTP\/1\.1 401 /)
    expect(events).toEqual([])
  })

  test('a body that breaks off is no event', async () => {
    const { hook, events } = counted(stripe)
    const origin = await start(hook)
    const { body, headers } = await stripe.send({ id: 'evt_1' })
    const abort = new AbortController()
    const half = new ReadableStream({
      start: (controller) => controller.enqueue(new TextEncoder().encode(body.slice(0, 10))),
      pull: () => abort.abort(),
    })
    const broken = fetch(`${origin}/in`, {
      method: 'POST',
      headers,
      body: half,
      // Not in the types of browsers, which a package among the tests brings along.
      ...({ duplex: 'half' } as object),
      signal: abort.signal,
    })
    await expect(broken).rejects.toThrow()
    expect(await post(origin, { url: '', headers, body })).toMatchObject({ status: 200 })
    expect(events).toHaveLength(1)
  })
})

describe('a body that was parsed before', () => {
  test.each([
    ['JSON', express.json(), stripe],
    ['a form', express.urlencoded(), twilioSms],
  ] as const)(
    '%s without its octets is a fault of the service, and never passes',
    async (_, parser, provider) => {
      const { hook, events } = endpointOf(provider)
      const origin = await expressWith((app) => app.use(parser), hook)
      const answer = await post(origin, await provider.send({ id: 'evt_1' }))
      expect(answer.status).toBe(500)
      expect(codeOf(answer)).toBe('body-consumed')
      expect(answer.text).toContain('keepRawBody')
      expect(events).toEqual([])
    },
  )

  test('a stream that somebody read', async () => {
    const { hook, events } = counted(stripe)
    const { origin } = await serve((req, res) => {
      req.resume().on('end', () => hook.node(req, res))
    })
    expect(await post(origin, await stripe.send({ id: 'evt_1' }))).toMatchObject({ status: 500 })
    expect(events).toEqual([])
  })

  test('a fetch request whose body is used', async () => {
    const { hook, events } = counted(stripe)
    const { url, headers, body } = await stripe.send({ id: 'evt_1' })
    const request = new Request(url, { method: 'POST', headers, body })
    await request.json()
    expect((await hook.fetch(request)).status).toBe(500)
    expect(events).toEqual([])
  })
})

test('other methods are refused with the one that is meant', async () => {
  const { hook } = counted(stripe)
  const { origin } = await serve((req, res) => hook.node(req, res))
  const response = await fetch(`${origin}/in`)
  expect(response.status).toBe(405)
  expect(response.headers.get('allow')).toBe('POST')
})
