/** oRPC's own handler and client over HTTP, batched and not. */
import { createORPCClient, ORPCError, safe } from '@orpc/client'
import { RPCLink } from '@orpc/client/fetch'
import { BatchLinkPlugin } from '@orpc/client/plugins'
import { os, type RouterClient } from '@orpc/server'
import { RPCHandler } from '@orpc/server/node'
import {
  BatchHandlerPlugin,
  RequestHeadersPlugin,
  type RequestHeadersPluginContext,
} from '@orpc/server/plugins'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { Idempotency } from '../../src/engine/idempotency.ts'
import { headerKey, idempotent } from '../../src/rpc/orpc.ts'
import { eventually } from '../eventually.ts'
import { gate, instance, instanceWithoutStore, serve } from './serving.ts'

interface Context extends RequestHeadersPluginContext {
  readonly tenant: string | undefined
}

type Options = { onStoreError?: 'run'; wait?: '10s'; preset?: 'money' }

function appOn(idem: Idempotency, options: Options) {
  const effects: string[] = []
  const waiting = gate()
  const base = os.$context<Context>()
  const layer = idempotent<Context, unknown>(idem, {
    ...options,
    principal: ({ context }) => context.tenant,
    key: headerKey,
  })
  const byHeader = base.use(layer)
  const router = {
    charge: base
      .input(z.object({ requestId: z.string(), amount: z.number() }))
      .use(
        idempotent(idem, {
          principal: ({ context }) => context.tenant,
          key: ({ input }) => input.requestId,
        }),
      )
      .handler(({ input, context }) => {
        effects.push(`charge ${input.amount}`)
        return { id: effects.length, fence: context.idempotency?.fence }
      }),
    pay: byHeader.input(z.object({ amount: z.number() })).handler(({ input }) => {
      effects.push(`pay ${input.amount}`)
      return { id: effects.length, at: new Date(0), big: 2n ** 70n, map: new Map([['a', new Set([1])]]) }
    }),
    twice: byHeader
      .use(({ next }) => next())
      .use(layer)
      .handler(() => effects.push('twice')),
    must: base
      .use(idempotent(idem, { principal: 'anonymous', key: headerKey, required: true }))
      .handler(() => effects.push('must')),
    foreign: byHeader.handler(() => {
      effects.push('foreign')
      return { url: new URL('https://example.com') }
    }),
    fail: byHeader
      .errors({ OUT_OF_STOCK: { status: 410, data: z.object({ left: z.number() }) } })
      .input(z.object({ code: z.string(), status: z.number() }))
      .handler(({ input: { code, status }, errors }) => {
        effects.push('fail')
        if (code === 'OUT_OF_STOCK') throw errors.OUT_OF_STOCK({ data: { left: effects.length } })
        throw new ORPCError(code, { status, message: `Failed ${effects.length}`, data: { at: new Date(0) } })
      }),
    crash: byHeader.handler(() => {
      effects.push('crash')
      throw new Error('The database is away.')
    }),
    slow: byHeader.handler(async () => {
      effects.push('slow')
      await waiting.opened
      return effects.length
    }),
    read: byHeader.route({ method: 'GET' }).handler(() => effects.push('read')),
  }
  return { router, effects, gate: waiting }
}

async function start(idem: Idempotency = instance(), options: Options = {}) {
  const app = appOn(idem, options)
  const handler = new RPCHandler(app.router, {
    plugins: [new BatchHandlerPlugin(), new RequestHeadersPlugin()],
  })
  const url = await serve(async (req, res) => {
    await handler.handle(req, res, { context: { tenant: req.headers['x-tenant'] as string | undefined } })
  })
  const texts: string[] = []
  const client = (tenant: string | undefined, plugins: BatchLinkPlugin<{ key?: string }>[]) => {
    const link = new RPCLink<{ key?: string }>({
      url,
      plugins,
      headers: ({ context: { key } }) => ({
        ...(key === undefined ? {} : { 'idempotency-key': key }),
        ...(tenant === undefined ? {} : { 'x-tenant': tenant }),
      }),
      fetch: async (request, init) => {
        const response = await fetch(request, init)
        texts.push(await response.clone().text())
        return response
      },
    })
    return createORPCClient<RouterClient<typeof app.router, { key?: string }>>(link)
  }
  const batch = new BatchLinkPlugin<{ key?: string }>({
    mode: 'buffered',
    groups: [{ condition: () => true, context: {} }],
  })
  return { ...app, url, texts, client, single: client('t1', []), batched: client('t1', [batch]) }
}

const withKey = { context: { key: 'k' } }

async function failure(call: Promise<unknown>) {
  const { error } = await safe(call)
  expect(error).toBeInstanceOf(ORPCError)
  return error as ORPCError<string, unknown>
}

describe('a procedure', () => {
  test('runs once for a key in its input', async () => {
    const { single, effects } = await start()
    const first = await single.charge({ requestId: 'k', amount: 1 })
    expect(await single.charge({ requestId: 'k', amount: 1 })).toEqual(first)
    expect(first).toEqual({ id: 1, fence: 1 })
    expect(effects).toEqual(['charge 1'])
  })

  test('runs once for a key in its field, and answers with the same octets of rich values', async () => {
    const { single, effects, texts } = await start()
    const first = await single.pay({ amount: 1 }, withKey)
    expect(first.map.get('a')).toEqual(new Set([1]))
    expect(await single.pay({ amount: 1 }, withKey)).toEqual(first)
    expect(texts[1]).toBe(texts[0])
    expect(effects).toEqual(['pay 1'])
  })

  test('has one effect under twenty copies at once', async () => {
    const { single, effects } = await start(instance(), { wait: '10s' })
    await Promise.all(Array.from({ length: 20 }, () => single.pay({ amount: 1 }, withKey)))
    expect(effects).toEqual(['pay 1'])
  })

  test('with other input, or another procedure, is refused under the key', async () => {
    const { single, effects } = await start()
    await single.pay({ amount: 1 }, withKey)
    for (const call of [single.pay({ amount: 2 }, withKey), single.foreign(undefined, withKey)]) {
      expect(await failure(call)).toMatchObject({
        code: 'UNPROCESSABLE_CONTENT',
        status: 422,
        data: { code: 'key-reused' },
      })
    }
    expect(effects).toEqual(['pay 1'])
  })

  test('shares no key with another tenant, and needs one', async () => {
    const { client, single, effects } = await start()
    await single.pay({ amount: 1 }, withKey)
    expect(await client('t2', []).pay({ amount: 2 }, withKey)).toMatchObject({ id: 2 })
    expect(await failure(client(undefined, []).pay({ amount: 3 }, withKey))).toMatchObject({ status: 401 })
    expect(effects).toHaveLength(2)
  })

  test('that still runs is in progress, with a time to come back', async () => {
    const { single, effects, gate: waiting } = await start()
    const first = single.slow(undefined, withKey)
    await eventually(() => expect(effects).toEqual(['slow']))
    expect(await failure(single.slow(undefined, withKey))).toMatchObject({
      code: 'CONFLICT',
      data: { code: 'in-progress', retryAfterMs: expect.any(Number) },
    })
    waiting.open()
    expect(await first).toBe(1)
    expect(await single.slow(undefined, withKey)).toBe(1)
  })

  test('runs every time without a key, and is refused where one is required or malformed', async () => {
    const { single, effects } = await start()
    await single.pay({ amount: 1 })
    await single.pay({ amount: 1 })
    expect(effects).toHaveLength(2)
    expect(await failure(single.must())).toMatchObject({ status: 400, data: { code: 'key-missing' } })
    const malformed = single.pay({ amount: 1 }, { context: { key: 'a, b' } })
    expect(await failure(malformed)).toMatchObject({ data: { code: 'key-malformed' } })
    expect(effects).toHaveLength(2)
  })

  test('behind two layers runs once', async () => {
    const { single, effects } = await start()
    expect(await single.twice(undefined, withKey)).toBe(1)
    expect(await single.twice(undefined, withKey)).toBe(1)
    expect(effects).toEqual(['twice'])
  })

  test('routed as GET passes untouched', async () => {
    const { single } = await start()
    expect(await single.read(undefined, withKey)).toBe(1)
    expect(await single.read(undefined, withKey)).toBe(2)
  })

  test('whose output cannot be stored says so, and is not run again', async () => {
    const { single, effects } = await start()
    for (const _ of [1, 2]) {
      expect(await failure(single.foreign(undefined, withKey))).toMatchObject({
        status: 500,
        message:
          'The outcome of the operation cannot be stored: it holds an instance of URL. Return plain data.',
        data: { code: 'outcome-unstorable' },
      })
    }
    expect(effects).toEqual(['foreign'])
  })

  test('is refused while the store is down, or passes where the options say so', async () => {
    const down = await start(instanceWithoutStore())
    expect(await failure(down.single.pay({ amount: 1 }, withKey))).toMatchObject({
      status: 503,
      data: { code: 'store-unavailable', retryAfterMs: expect.any(Number) },
    })
    expect(down.effects).toEqual([])
    const open = await start(instanceWithoutStore(), { onStoreError: 'run' })
    expect(await open.single.pay({ amount: 1 }, withKey)).toMatchObject({ id: 1 })
  })
})

describe('errors', () => {
  test.each([
    ['NOT_FOUND', 404],
    ['CARD_DECLINED', 402],
    ['OUT_OF_STOCK', 410],
  ])('%s is a result and is kept', async (code, status) => {
    const { single, effects, texts } = await start()
    const first = await failure(single.fail({ code, status }, withKey))
    expect(first).toMatchObject({ code, status, defined: code === 'OUT_OF_STOCK' })
    expect(await failure(single.fail({ code, status }, withKey))).toEqual(first)
    expect(texts[1]).toBe(texts[0])
    expect(effects).toHaveLength(1)
  })

  test.each([
    ['FORBIDDEN', 403],
    ['TOO_MANY_REQUESTS', 429],
    ['BAD_GATEWAY', 502],
  ])('%s releases the key', async (code, status) => {
    const { single, effects } = await start()
    await failure(single.fail({ code, status }, withKey))
    await failure(single.fail({ code, status }, withKey))
    expect(effects).toHaveLength(2)
  })

  test('what is thrown releases the key; under money the outcome is unknown', async () => {
    const { single, effects } = await start()
    await failure(single.crash(undefined, withKey))
    await failure(single.crash(undefined, withKey))
    expect(effects).toHaveLength(2)
    const money = await start(instance(), { preset: 'money' })
    await failure(money.single.crash(undefined, withKey))
    expect(await failure(money.single.crash(undefined, withKey))).toMatchObject({
      data: { code: 'outcome-unknown' },
    })
    expect(money.effects).toHaveLength(1)
  })
})

test('calls of a batch have keys of their own', async () => {
  const { batched, effects, texts } = await start()
  const send = () =>
    Promise.all([
      batched.pay({ amount: 1 }, { context: { key: 'k1' } }),
      batched.pay({ amount: 1 }, { context: { key: 'k2' } }),
      batched.charge({ requestId: 'k3', amount: 1 }),
    ])
  const first = await send()
  expect(new Set(first.map(({ id }) => id))).toEqual(new Set([1, 2, 3]))
  expect(await send()).toEqual(first)
  expect(texts).toHaveLength(2)
  expect(effects).toHaveLength(3)
})
