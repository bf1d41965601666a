/** Handlers that throw, break off or misuse their response: every key ends settled, and nothing runs twice unasked. */
import express from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { idempotent as idempotentExpress } from '../../src/http/express.ts'
import { idempotency } from '../../src/http/fastify.ts'
import { idempotent as idempotentFetch } from '../../src/http/fetch.ts'
import { idempotent as idempotentHono } from '../../src/http/hono.ts'
import { idempotent as idempotentNode } from '../../src/http/node.ts'
import type { Preset } from '../../src/http/options.ts'
import { codeOf, instance, post, serve } from './serving.ts'
import { eventually } from '../eventually.ts'

const request = (): Request =>
  new Request('http://service/x', { method: 'POST', body: 'a', headers: { 'Idempotency-Key': 'k' } })

/** Warnings of the process are how plain Node handlers report what they threw. */
function captureWarnings(): unknown[] {
  const warnings: unknown[] = []
  vi.spyOn(process, 'emitWarning').mockImplementation((warning) => {
    warnings.push(warning)
  })
  return warnings
}

afterEach(() => {
  vi.restoreAllMocks()
})

describe('a handler that throws', () => {
  const presets: readonly [Preset, number][] = [
    ['default', 2],
    ['money', 1],
    ['stripe', 1],
  ]

  test.each(presets)('node, preset %s: runs %i times for two requests', async (preset, runs) => {
    const warnings = captureWarnings()
    let ran = 0
    const { origin } = await serve(
      idempotentNode(instance(), { principal: 'anonymous', preset }, () => {
        ran++
        throw new Error('boom')
      }),
    )
    expect((await post(origin)).status).toBe(500)
    await post(origin)
    expect(ran).toBe(runs)
    expect(warnings).toHaveLength(runs)
  })

  test.each(presets)('fetch, preset %s: runs %i times for two requests', async (preset, runs) => {
    let ran = 0
    const handler = idempotentFetch(instance(), { principal: 'anonymous', preset }, () => {
      ran++
      throw new Error('boom')
    })
    await expect(handler(request())).rejects.toThrow('boom')
    await handler(request()).catch(() => undefined)
    expect(ran).toBe(runs)
  })

  test.each(presets)('hono, preset %s: runs %i times for two requests', async (preset, runs) => {
    vi.spyOn(console, 'error').mockImplementation(() => {})
    let ran = 0
    const app = new Hono()
    app.post('/x', idempotentHono(instance(), { principal: 'anonymous', preset }), () => {
      ran++
      throw new Error('boom')
    })
    expect((await app.fetch(request())).status).toBe(500)
    await app.fetch(request())
    expect(ran).toBe(runs)
  })

  test('an error that a framework turns into a 404 is an outcome like a written 404', async () => {
    let ran = 0
    const app = new Hono()
    app.post('/x', idempotentHono(instance(), { principal: 'anonymous' }), () => {
      ran++
      throw new HTTPException(404, { message: 'no such account' })
    })
    expect((await app.fetch(request())).status).toBe(404)
    expect((await app.fetch(request())).headers.get('Idempotent-Replayed')).toBe('true')
    expect(ran).toBe(1)
  })

  test('an error that a framework hides behind a success is no outcome', async () => {
    let ran = 0
    const app = new Hono()
    app.onError((_, c) => c.text('never mind', 200))
    app.post('/x', idempotentHono(instance(), { principal: 'anonymous' }), () => {
      ran++
      throw new Error('boom')
    })
    await app.fetch(request())
    await app.fetch(request())
    expect(ran).toBe(2)
  })

  test('what the handler said before it threw counts', async () => {
    captureWarnings()
    let ran = 0
    const { origin } = await serve(
      idempotentNode(instance(), { principal: 'anonymous' }, (_request, _response, idempotency) => {
        ran++
        idempotency?.unknown()
        throw new Error('after the effect')
      }),
    )
    expect((await post(origin)).status).toBe(500)
    const second = await post(origin)
    expect([second.status, codeOf(second)]).toEqual([409, 'outcome-unknown'])
    expect(ran).toBe(1)
  })

  test('after it has begun its answer breaks the connection and leaves no outcome', async () => {
    captureWarnings()
    let ran = 0
    const { origin } = await serve(
      idempotentNode(instance(), { principal: 'anonymous' }, (_request, response) => {
        response.writeHead(201)
        response.write('half')
        if (ran++ === 0) throw new Error('boom')
        response.end(' and half')
      }),
    )
    await expect(post(origin)).rejects.toThrow()
    const second = await post(origin)
    expect([second.status, second.body.toString(), second.replayed]).toEqual([201, 'half and half', false])
  })
})

describe('an answer that breaks off', () => {
  const broken = (pieces: number): ReadableStream => {
    let sent = 0
    return new ReadableStream({
      pull(controller): void {
        if (sent++ < pieces) controller.enqueue(new TextEncoder().encode('piece'))
        else controller.error(new Error('source broke'))
      },
    })
  }

  test.each([0, 1, 2, 5])('after %i pieces leaves the outcome unknown at once', async (pieces) => {
    let ran = 0
    const handler = idempotentFetch(instance(), { principal: 'anonymous' }, () => {
      ran++
      return new Response(broken(pieces))
    })
    await expect(handler(request()).then((response) => response.text())).rejects.toThrow('source broke')
    const second = await handler(request())
    expect([second.status, await second.json()]).toMatchObject([409, { code: 'outcome-unknown' }])
    expect(ran).toBe(1)
  })

  test('an event stream whose client leaves is cancelled, and its outcome is unknown', async () => {
    let cancelled = false
    const handler = idempotentFetch(instance(), { principal: 'anonymous' }, () => {
      const body = new ReadableStream({
        async pull(controller): Promise<void> {
          await new Promise(setImmediate)
          controller.enqueue(new TextEncoder().encode('data: tick\n\n'))
        },
        cancel(): void {
          cancelled = true
        },
      })
      return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } })
    })
    const reader = ((await handler(request())).body as ReadableStream<Uint8Array>).getReader()
    await reader.read()
    await reader.cancel()
    expect(cancelled).toBe(true)
    await eventually(async () => {
      const second = await handler(request())
      expect([second.status, await second.json()]).toMatchObject([409, { code: 'outcome-unknown' }])
    })
  })

  test('a stream whose client leaves is read to its end and replayed whole', async () => {
    const handler = idempotentFetch(instance(), { principal: 'anonymous' }, () => {
      const body = new ReadableStream({
        async start(controller): Promise<void> {
          for (const piece of ['a', 'b', 'c', 'd']) {
            await new Promise(setImmediate)
            controller.enqueue(new TextEncoder().encode(piece))
          }
          controller.close()
        },
      })
      return new Response(body, { status: 201 })
    })
    await ((await handler(request())).body as ReadableStream).cancel()
    await eventually(async () => {
      const second = await handler(request())
      expect([second.status, await second.text()]).toEqual([201, 'abcd'])
    })
  })
})

describe('misuse of a Node response', () => {
  test('an invalid status is thrown to the handler, where Node throws it', async () => {
    const warnings = captureWarnings()
    const { origin } = await serve(
      idempotentNode(instance(), { principal: 'anonymous' }, (_request, response) => {
        response.statusCode = 42
        response.end('x')
      }),
    )
    expect((await post(origin)).status).toBe(500)
    expect(warnings).toMatchObject([{ code: 'ERR_HTTP_INVALID_STATUS_CODE' }])
  })

  test('an answer that Node refuses once it is stored breaks the connection, not the process', async () => {
    const { origin } = await serve(
      idempotentNode(instance(), { principal: 'anonymous' }, (_request, response) => {
        response.statusMessage = 'two\nlines'
        response.end('x')
      }),
    )
    await expect(post(origin)).rejects.toThrow()
    expect(await post(origin)).toMatchObject({ status: 200, replayed: true })
  })

  test('headers after the head throw as in Node', async () => {
    const seen: unknown[] = []
    const { origin } = await serve(
      idempotentNode(instance(), { principal: 'anonymous' }, (_request, response) => {
        response.writeHead(201, { 'X-App': '1' })
        for (const misuse of [
          () => response.setHeader('X-Late', '1'),
          () => response.appendHeader('X-Late', '1'),
          () => response.removeHeader('X-App'),
          () => response.writeHead(500),
        ]) {
          try {
            misuse()
          } catch (error) {
            seen.push((error as { code?: unknown }).code)
          }
        }
        seen.push(response.headersSent, response.writableEnded)
        response.end('x')
        seen.push(response.writableEnded)
      }),
    )
    expect((await post(origin)).headers.get('X-App')).toBe('1')
    const late = 'ERR_HTTP_HEADERS_SENT'
    expect(seen).toEqual([late, late, late, late, true, false, true])
  })
})

describe('a layer inside a layer', () => {
  test('express: the outer one guards', async () => {
    const idem = instance()
    const layer = idempotentExpress(idem, { principal: 'anonymous' })
    const app = express()
    let ran = 0
    app.use(layer)
    app.post('/x', layer, (_request, response) => {
      response.status(201).json({ run: ++ran })
    })
    const { origin } = await serve(app)
    expect(await post(origin)).toMatchObject({ status: 201, replayed: false })
    expect(await post(origin)).toMatchObject({ status: 201, replayed: true })
    expect(ran).toBe(1)
  })

  test('fastify inside a plain listener: the outer one guards', async () => {
    const idem = instance()
    const app = Fastify()
    onTestFinished(() => app.close())
    let ran = 0
    await app.register(idempotency, { idem, principal: 'anonymous' })
    app.post('/x', async (_request, reply) => await reply.code(201).send({ run: ++ran }))
    await app.ready()
    const { origin } = await serve(
      idempotentNode(idem, { principal: 'anonymous' }, (request, response) => app.routing(request, response)),
    )
    expect(await post(origin)).toMatchObject({ status: 201, replayed: false })
    expect(await post(origin)).toMatchObject({ status: 201, replayed: true })
    expect(ran).toBe(1)
  })

  test('hono and fetch: the outer one guards', async () => {
    const idem = instance()
    const app = new Hono()
    let ran = 0
    app.use(idempotentHono(idem, { principal: 'anonymous' }))
    app.post('/x', idempotentHono(idem, { principal: 'anonymous' }), (c) => c.json({ run: ++ran }, 201))
    const handler = idempotentFetch(idem, { principal: 'anonymous' }, (inner) => app.fetch(inner))
    expect((await handler(request())).status).toBe(201)
    const second = await handler(request())
    expect([second.status, second.headers.get('Idempotent-Replayed'), ran]).toEqual([201, 'true', 1])
  })
})
