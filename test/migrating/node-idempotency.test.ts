/** What `docs/migrating.md` says of @node-idempotency/core 1.0.11, on the same requests as ours. */
import { Idempotency, type IdempotencyParams, IdempotencyErrorCodes } from '@node-idempotency/core'
import type { RequestHandler } from 'express'
import { describe, expect, test } from 'vitest'
import { idempotent } from '../../src/http/express.ts'
import { codeOf, instance } from '../http/serving.ts'
import { charge, shop } from './served.ts'

/** Storage of the peer: a map, with the time to live of each key as it was given last. */
function mapStorage(): {
  ttls: Map<string, number | undefined>
  storage: ConstructorParameters<typeof Idempotency>[0]
} {
  const values = new Map<string, string>()
  const ttls = new Map<string, number | undefined>()
  return {
    ttls,
    storage: {
      async setIfNotExists(key, value, { ttl } = {}): Promise<boolean> {
        if (values.has(key)) return false
        values.set(key, value)
        ttls.set(key, ttl)
        return true
      },
      async set(key, value, { ttl }): Promise<void> {
        values.set(key, value)
        ttls.set(key, ttl)
      },
      get: async (key) => values.get(key),
    },
  }
}

function request(given: Partial<IdempotencyParams> & { key?: string } = {}): IdempotencyParams {
  const { key = 'k', ...rest } = given
  return {
    method: 'POST',
    path: '/charges',
    headers: { 'idempotency-key': key },
    body: { amount: 100 },
    ...rest,
  }
}

const answer = { body: { id: 1 }, additional: { status: 201 } }

/** The core as its page shows it, in a middleware. */
function peer(idempotency: Idempotency): RequestHandler {
  return async (req, res, next) => {
    const asked: IdempotencyParams = {
      method: req.method,
      path: req.path,
      headers: req.headers,
      body: req.body as Record<string, unknown>,
    }
    try {
      const known = await idempotency.onRequest<object, unknown>(asked)
      if (known !== undefined) {
        res.status(Number(known.additional?.['status'])).json(known.body)
        return
      }
    } catch (error) {
      const { code } = error as { code: IdempotencyErrorCodes }
      const mismatch = code === IdempotencyErrorCodes.IDEMPOTENCY_FINGERPRINT_MISSMATCH
      res.status(mismatch ? 422 : 409).end()
      return
    }
    const { json } = res
    res.json = (body: object) => {
      void idempotency
        .onResponse(asked, { body, additional: { status: res.statusCode } })
        .then(() => json.call(res, body))
      return res
    }
    next()
  }
}

function ours(): RequestHandler {
  return idempotent(instance(), { principal: (req) => req.get('x-user') ?? 'nobody' }) as RequestHandler
}

describe('the same requests', () => {
  test('the order of members makes another request, and does not', async () => {
    const theirs = await shop(peer(new Idempotency(mapStorage().storage)))
    const mine = await shop(ours())
    for (const each of [theirs, mine]) await charge(each, { body: '{"amount":100,"to":"a"}' })
    const body = '{"to":"a","amount":100}'
    expect((await charge(theirs, { body })).status).toBe(422)
    expect(await charge(mine, { body })).toMatchObject({ status: 201, replayed: true })
  })

  test('one caller gets the answer of another', async () => {
    const theirs = await shop(peer(new Idempotency(mapStorage().storage)))
    const mine = await shop(ours())
    for (const each of [theirs, mine]) await charge(each, { headers: { 'X-User': 'alice' } })
    const bob = { headers: { 'X-User': 'bob' } }
    expect((await charge(theirs, bob)).body.toString()).toBe('{"id":1}')
    expect((await charge(mine, bob)).body.toString()).toBe('{"id":2}')
  })

  test('a key on another path runs, and is refused', async () => {
    const theirs = await shop(peer(new Idempotency(mapStorage().storage)))
    const mine = await shop(ours())
    for (const each of [theirs, mine]) await charge(each)
    const elsewhere = { path: '/declined' }
    expect((await charge(theirs, elsewhere)).status).toBe(402)
    const refused = await charge(mine, elsewhere)
    expect([refused.status, codeOf(refused)]).toEqual([422, 'key-reused'])
  })

  test('the switch: with both mounted, the old one outside, no request runs twice', async () => {
    const old = peer(new Idempotency(mapStorage().storage))
    const layer = ours()
    const [before, during, after] = [await shop(old), await shop(old, layer), await shop(layer)]
    const first = await charge(before, { key: 'old' })
    expect((await charge(during, { key: 'old' })).body).toEqual(first.body)
    const second = await charge(during, { key: 'both' })
    expect((await charge(before, { key: 'both' })).body).toEqual(second.body)
    expect((await charge(after, { key: 'both' })).body).toEqual(second.body)
    expect(before.runs() + during.runs() + after.runs()).toBe(2)
  })
})

describe('the core', () => {
  test('a crash locks the key for as long as an answer is kept: a day', async () => {
    const { storage, ttls } = mapStorage()
    await new Idempotency(storage).onRequest(request())
    expect([...ttls.values()]).toEqual([24 * 3_600_000])
  })

  test('another request under a key that is running looks like a retry of it', async () => {
    const idempotency = new Idempotency(mapStorage().storage)
    await idempotency.onRequest(request())
    const other = idempotency.onRequest(request({ body: { amount: 200 } }))
    await expect(other).rejects.toMatchObject({ code: IdempotencyErrorCodes.REQUEST_IN_PROGRESS })
  })

  test('path and key run together: two requests share a record', async () => {
    const idempotency = new Idempotency(mapStorage().storage)
    await idempotency.onRequest(request({ path: '/a', key: 'b:c' }))
    await idempotency.onResponse(request({ path: '/a', key: 'b:c' }), answer)
    expect(await idempotency.onRequest(request({ path: '/a:b', key: 'c' }))).toEqual(answer)
  })

  test('whoever writes last is the outcome', async () => {
    const idempotency = new Idempotency(mapStorage().storage)
    await idempotency.onRequest(request())
    await idempotency.onResponse(request(), answer)
    await idempotency.onResponse(request(), { body: { id: 2 } })
    expect(await idempotency.onRequest(request())).toEqual({ body: { id: 2 } })
  })
})
