/** tRPC's own server and client over HTTP, batched and not. */
import { createTRPCClient, httpBatchLink, httpLink, type TRPCClient, TRPCClientError } from '@trpc/client'
import { initTRPC, TRPCError } from '@trpc/server'
import { type CreateHTTPContextOptions, createHTTPHandler } from '@trpc/server/adapters/standalone'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { InvalidOptionError } from '../../src/core/errors.ts'
import { decodeValue, encodeValue } from '../../src/core/outcome-value.ts'
import type { Idempotency } from '../../src/engine/idempotency.ts'
import {
  headerKey,
  idempotencyData,
  idempotent,
  keyHeaders,
  type TrpcIdempotency,
} from '../../src/rpc/trpc.ts'
import { eventually } from '../eventually.ts'
import { gate, instance, instanceWithoutStore, serve } from './serving.ts'

interface Context extends Pick<CreateHTTPContextOptions, 'req' | 'info'>, TrpcIdempotency {
  readonly tenant: string | undefined
}

function createContext({ req, info }: CreateHTTPContextOptions): Context {
  return { req, info, tenant: req.headers['x-tenant'] as string | undefined }
}

/** Carries what JSON cannot, as superjson does. */
const transformer = {
  serialize: (value: unknown): unknown => encodeValue(value),
  deserialize: (text: unknown): unknown => (text === undefined ? undefined : decodeValue(text as string)),
}

const t = initTRPC.context<Context>().create({
  isDev: false,
  transformer,
  errorFormatter: ({ shape, error }) => ({ ...shape, data: { ...shape.data, ...idempotencyData(error) } }),
})

const codes = ['NOT_FOUND', 'CONFLICT', 'BAD_REQUEST', 'FORBIDDEN', 'TOO_MANY_REQUESTS', 'TIMEOUT'] as const

function appOn(idem: Idempotency, options: { onStoreError?: 'run'; wait?: '10s'; preset?: 'money' } = {}) {
  const effects: string[] = []
  const waiting = gate()
  const byHeader = t.procedure.use(
    idempotent(idem, { ...options, principal: ({ ctx }) => ctx.tenant, key: headerKey }),
  )
  const byInput = t.procedure.input(z.object({ requestId: z.string(), amount: z.number() }))
  const required = idempotent<{ tenant: string | undefined }, { requestId: string }>(idem, {
    principal: ({ ctx }) => ctx.tenant,
    key: ({ input }) => input.requestId,
    required: true,
  })
  const router = t.router({
    charge: byInput.use(required).mutation(({ input, ctx }) => {
      effects.push(`charge ${input.amount}`)
      return { id: effects.length, fence: ctx.idempotency?.fence, pay: ctx.idempotency?.downstreamKey('pay') }
    }),
    twice: byInput
      .use(required)
      .use(required)
      .mutation(() => effects.push('twice')),
    pay: byHeader.input(z.object({ amount: z.number() })).mutation(({ input }) => {
      effects.push(`pay ${input.amount}`)
      return { id: effects.length }
    }),
    must: t.procedure
      .use(idempotent(idem, { principal: 'anonymous', key: headerKey, required: true }))
      .mutation(() => effects.push('must')),
    ship: byHeader.mutation(() => effects.push('ship')),
    rich: byHeader.mutation(() => {
      effects.push('rich')
      return {
        at: new Date(0),
        map: new Map([['a', 1n]]),
        set: new Set([1]),
        none: undefined,
        big: 2n ** 70n,
      }
    }),
    foreign: byHeader.mutation(() => {
      effects.push('foreign')
      return { url: new URL('https://example.com') }
    }),
    fail: byHeader.input(z.enum(codes)).mutation(({ input }) => {
      effects.push(`fail ${input}`)
      throw new TRPCError({ code: input, message: `Failed ${effects.length}`, cause: new Error('within') })
    }),
    crash: byHeader.mutation(() => {
      effects.push('crash')
      throw new Error('The database is away.')
    }),
    slow: byHeader.mutation(async () => {
      effects.push('slow')
      await waiting.opened
      return effects.length
    }),
    read: byHeader.query(() => effects.push('read')),
  })
  return { router, effects, gate: waiting }
}

type Client = TRPCClient<ReturnType<typeof appOn>['router']>

async function start(idem: Idempotency = instance(), options: Parameters<typeof appOn>[1] = {}) {
  const app = appOn(idem, options)
  const url = await serve(createHTTPHandler({ router: app.router, createContext }))
  const requests: { url: string; text: string }[] = []
  const recorded: typeof fetch = async (...sent) => {
    const response = await fetch(...sent)
    requests.push({ url: String(sent[0]), text: await response.clone().text() })
    return response
  }
  const client = (tenant: string | undefined, isBatched: boolean): Client => {
    const fields = (keys: Record<string, string>) => ({
      ...keys,
      ...(tenant === undefined ? {} : { 'x-tenant': tenant }),
    })
    const shared = { url, transformer, fetch: recorded as never }
    const link = isBatched
      ? httpBatchLink({ ...shared, headers: (sent) => fields(keyHeaders(sent)) })
      : httpLink({ ...shared, headers: (sent) => fields(keyHeaders(sent)) })
    return createTRPCClient<ReturnType<typeof appOn>['router']>({ links: [link] })
  }
  return { ...app, url, requests, client, batched: client('t1', true), single: client('t1', false) }
}

/** The `context` option of a call. */
function keyed(key: string) {
  return { context: { idempotencyKey: key } }
}

/** The data of the error that a call ends with. */
async function failure(call: Promise<unknown>): Promise<Record<string, unknown>> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(TRPCClientError)
  return (error as { data: Record<string, unknown> }).data
}

describe('a mutation', () => {
  test('runs once for its key, and answers with the same octets', async () => {
    const { single, effects, requests } = await start()
    const first = await single.charge.mutate({ requestId: 'k', amount: 1 })
    expect(first).toEqual({ id: 1, fence: 1, pay: expect.any(String) })
    expect(await single.charge.mutate({ requestId: 'k', amount: 1 })).toEqual(first)
    expect(requests[1]?.text).toBe(requests[0]?.text)
    expect(effects).toEqual(['charge 1'])
  })

  test('has one effect under twenty copies at once', async () => {
    const { single, effects } = await start(instance(), { wait: '10s' })
    const copies = Array.from({ length: 20 }, () => single.pay.mutate({ amount: 1 }, keyed('k')))
    expect(new Set((await Promise.all(copies)).map(({ id }) => id))).toEqual(new Set([1]))
    expect(effects).toEqual(['pay 1'])
  })

  test('with other input, or of another procedure, is refused under the key', async () => {
    const { single, effects } = await start()
    await single.pay.mutate({ amount: 1 }, keyed('k'))
    const expected = { code: 'UNPROCESSABLE_CONTENT', httpStatus: 422, idempotency: { code: 'key-reused' } }
    expect(await failure(single.pay.mutate({ amount: 2 }, keyed('k')))).toMatchObject(expected)
    expect(await failure(single.ship.mutate(undefined, keyed('k')))).toMatchObject(expected)
    expect(effects).toEqual(['pay 1'])
  })

  test('shares no key with another tenant', async () => {
    const { client, single, effects } = await start()
    await single.pay.mutate({ amount: 1 }, keyed('k'))
    expect(await client('t2', false).pay.mutate({ amount: 2 }, keyed('k'))).toEqual({ id: 2 })
    expect(effects).toHaveLength(2)
  })

  test('of nobody is unauthorized', async () => {
    const { client, effects } = await start()
    expect(await failure(client(undefined, false).pay.mutate({ amount: 1 }, keyed('k')))).toMatchObject({
      code: 'UNAUTHORIZED',
      idempotency: { code: 'principal-invalid' },
    })
    expect(effects).toEqual([])
  })

  test('that still runs is in progress, with a time to come back', async () => {
    const { single, effects, gate: waiting } = await start()
    const first = single.slow.mutate(undefined, keyed('k'))
    await eventually(() => expect(effects).toEqual(['slow']))
    expect(await failure(single.slow.mutate(undefined, keyed('k')))).toMatchObject({
      code: 'CONFLICT',
      idempotency: { code: 'in-progress', retryAfterMs: expect.any(Number) },
    })
    waiting.open()
    expect(await first).toBe(1)
    expect(await single.slow.mutate(undefined, keyed('k'))).toBe(1)
  })

  test('runs every time without a key, and is refused where one is required', async () => {
    const { single, effects } = await start()
    await single.pay.mutate({ amount: 1 })
    await single.pay.mutate({ amount: 1 })
    expect(effects).toHaveLength(2)
    const expected = { code: 'BAD_REQUEST', idempotency: { code: 'key-missing' } }
    expect(await failure(single.must.mutate())).toMatchObject(expected)
    expect(await failure(single.charge.mutate({ requestId: '', amount: 1 }))).toMatchObject({
      idempotency: { code: 'key-malformed' },
    })
    expect(effects).toHaveLength(2)
  })

  test('behind two layers runs once', async () => {
    const { single, effects } = await start()
    await single.twice.mutate({ requestId: 'k', amount: 1 })
    await single.twice.mutate({ requestId: 'k', amount: 1 })
    expect(effects).toEqual(['twice'])
  })

  test('brings back dates, maps, sets, bigints and undefined through the transformer', async () => {
    const { single, effects, requests } = await start()
    const first = await single.rich.mutate(undefined, keyed('k'))
    expect(first.map.get('a')).toBe(1n)
    expect(await single.rich.mutate(undefined, keyed('k'))).toEqual(first)
    expect(requests[1]?.text).toBe(requests[0]?.text)
    expect(effects).toEqual(['rich'])
  })

  test('whose value cannot be stored says so, and is not run again', async () => {
    const { single, effects } = await start()
    for (const _ of [1, 2]) {
      const error = await single.foreign.mutate(undefined, keyed('k')).catch((reason: unknown) => reason)
      expect(error).toMatchObject({
        message:
          'The outcome of the operation cannot be stored: it holds an instance of URL. Return plain data.',
        data: { code: 'INTERNAL_SERVER_ERROR', idempotency: { code: 'outcome-unstorable' } },
      })
    }
    expect(effects).toEqual(['foreign'])
  })

  test('is refused while the store is down, or passes where the options say so', async () => {
    const down = await start(instanceWithoutStore())
    expect(await failure(down.single.pay.mutate({ amount: 1 }, keyed('k')))).toMatchObject({
      code: 'SERVICE_UNAVAILABLE',
      idempotency: { code: 'store-unavailable', retryAfterMs: expect.any(Number) },
    })
    expect(down.effects).toEqual([])
    const open = await start(instanceWithoutStore(), { onStoreError: 'run' })
    expect(await open.single.pay.mutate({ amount: 1 }, keyed('k'))).toEqual({ id: 1 })
  })
})

describe('errors', () => {
  test.each(['NOT_FOUND', 'CONFLICT', 'BAD_REQUEST'] as const)('%s is a result and is kept', async (code) => {
    const { single, effects, requests } = await start()
    const first = await failure(single.fail.mutate(code, keyed('k')))
    expect(first['code']).toBe(code)
    await failure(single.fail.mutate(code, keyed('k')))
    expect(requests[1]?.text).toBe(requests[0]?.text)
    expect(effects).toHaveLength(1)
  })

  test.each(['FORBIDDEN', 'TOO_MANY_REQUESTS', 'TIMEOUT'] as const)('%s releases the key', async (code) => {
    const { single, effects } = await start()
    await failure(single.fail.mutate(code, keyed('k')))
    await failure(single.fail.mutate(code, keyed('k')))
    expect(effects).toHaveLength(2)
  })

  test('what is thrown releases the key; under money the outcome is unknown', async () => {
    const { single, effects } = await start()
    await failure(single.crash.mutate(undefined, keyed('k')))
    await failure(single.crash.mutate(undefined, keyed('k')))
    expect(effects).toHaveLength(2)
    const money = await start(instance(), { preset: 'money' })
    await failure(money.single.crash.mutate(undefined, keyed('k')))
    expect(await failure(money.single.crash.mutate(undefined, keyed('k')))).toMatchObject({
      idempotency: { code: 'outcome-unknown' },
    })
    expect(money.effects).toHaveLength(1)
  })

  test('an input that does not pass keeps its issues on every try', async () => {
    const { single, requests, effects } = await start()
    await failure(single.pay.mutate({ amount: 'one' } as never, keyed('k')))
    await failure(single.pay.mutate({ amount: 'one' } as never, keyed('k')))
    expect(requests[0]?.text).toContain('expected number')
    expect(requests[1]?.text).toBe(requests[0]?.text)
    expect(effects).toEqual([])
  })
})

describe('a batch', () => {
  test('has a key for each call', async () => {
    const { batched, effects, requests } = await start()
    const send = () =>
      Promise.all([
        batched.pay.mutate({ amount: 1 }, keyed('k1')),
        batched.pay.mutate({ amount: 1 }, keyed('k2')),
        batched.ship.mutate(undefined, keyed('k"3')),
      ])
    const first = await send()
    expect(effects.toSorted()).toEqual(['pay 1', 'pay 1', 'ship'])
    expect(await send()).toEqual(first)
    expect(requests).toHaveLength(2)
    expect(requests[1]?.text).toBe(requests[0]?.text)
    expect(effects).toHaveLength(3)
  })

  test('may hold calls without a key', async () => {
    const { batched, effects } = await start()
    const send = () => Promise.all([batched.pay.mutate({ amount: 1 }, keyed('k1')), batched.ship.mutate()])
    await send()
    await send()
    expect(effects.toSorted()).toEqual(['pay 1', 'ship', 'ship'])
  })

  test('runs a call that it names twice under one key once', async () => {
    const { batched, effects } = await start(instance(), { wait: '10s' })
    const call = () => batched.pay.mutate({ amount: 1 }, keyed('k'))
    expect(await Promise.all([call(), call()])).toEqual([{ id: 1 }, { id: 1 }])
    expect(effects).toEqual(['pay 1'])
  })

  test('with one key in the field for two calls is refused, and merges nothing', async () => {
    const { url, effects } = await start()
    const response = await fetch(`${url}/pay,pay?batch=1`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-Tenant': 't1', 'Idempotency-Key': 'k' },
      body: JSON.stringify({ 0: encodeValue({ amount: 1 }), 1: encodeValue({ amount: 1 }) }),
    })
    expect((await response.text()).match(/key-malformed/g)).toHaveLength(2)
    expect(effects).toEqual([])
  })
})

test('queries pass untouched', async () => {
  const { single, batched, effects } = await start()
  expect(await single.read.query(undefined, keyed('k'))).toBe(1)
  expect(await single.read.query(undefined, keyed('k'))).toBe(2)
  await Promise.all([batched.read.query(undefined, keyed('k')), batched.read.query(undefined, keyed('k'))])
  expect(effects).toHaveLength(4)
})

const key = (): string => 'k'

test.each([
  [{ key }, 'principal'],
  [{ principal: 'anonymous' }, 'key'],
  [{ principal: 'anonymous', key, presett: 'money' }, 'idempotent.presett'],
  [{ principal: 'anonymous', key, scope: 'endpoint' }, 'scope'],
  [{ principal: 'anonymous', key, required: true, onStoreError: 'run' }, 'onStoreError'],
  [{ principal: 'anonymous', key, onUnknown: 'reconcile' }, 'onUnknown'],
])('options are checked at construction: %o', (options, option) => {
  const made = () => idempotent(instance(), options as never)
  expect(made).toThrow(InvalidOptionError)
  expect(made).toThrow(expect.objectContaining({ option }))
})
