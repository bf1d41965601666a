/** What `docs/migrating.md` says of express-idempotency 1.0.6, on the same requests as ours. */
import type { Request, RequestHandler } from 'express'
import {
  type IdempotencyResource,
  type IIdempotencyDataAdapter,
  getSharedIdempotencyService,
  idempotency,
} from 'express-idempotency'
import { describe, expect, test } from 'vitest'
import { idempotent } from '../../src/http/express.ts'
import { codeOf, instance } from '../http/serving.ts'
import { charge, shop } from './served.ts'

/** The storage of the peer: a map, whose insert fails where the key is there. */
function mapAdapter(): {
  stored: Map<string, IdempotencyResource>
  adapter: IIdempotencyDataAdapter
} {
  const stored = new Map<string, IdempotencyResource>()
  return {
    stored,
    adapter: {
      findByIdempotencyKey: async (key) => stored.get(key) as IdempotencyResource,
      async create(resource): Promise<void> {
        if (stored.has(resource.idempotencyKey)) throw new Error('Duplicate')
        stored.set(resource.idempotencyKey, resource)
      },
      async update(resource): Promise<void> {
        stored.set(resource.idempotencyKey, resource)
      },
      async delete(key): Promise<void> {
        stored.delete(key)
      },
    },
  }
}

function peer(adapter = mapAdapter().adapter): RequestHandler {
  return idempotency({ dataAdapter: adapter }) as unknown as RequestHandler
}

function ours(): RequestHandler {
  return idempotent<Request>(instance(), {
    principal: (req) => req.get('x-user') ?? 'nobody',
  }) as RequestHandler
}

describe('the same requests', () => {
  test('a replay calls the handler, unless it asks whether it is one', async () => {
    const theirs = await shop(peer())
    const mine = await shop(ours())
    for (const each of [theirs, mine]) {
      const first = await charge(each)
      const second = await charge(each)
      expect(second.body).toEqual(first.body)
    }
    expect(theirs.runs()).toBe(2)
    expect(mine.runs()).toBe(1)
  })

  test('fields of the answer other than its type are lost', async () => {
    const theirs = await shop(peer())
    const mine = await shop(ours())
    await charge(theirs)
    await charge(mine)
    expect((await charge(theirs)).headers.get('location')).toBeNull()
    expect((await charge(mine)).headers.get('location')).toBe('/charges/1')
  })

  test('another request under the key: 417, and 422', async () => {
    const theirs = await shop(peer())
    const mine = await shop(ours())
    await charge(theirs)
    await charge(mine)
    const body = '{"amount":200}'
    expect((await charge(theirs, { body })).status).toBe(417)
    const refused = await charge(mine, { body })
    expect([refused.status, codeOf(refused)]).toEqual([422, 'key-reused'])
  })

  test('an answer that is not sent by send, and a throw, leave the key locked', async () => {
    const theirs = await shop(peer())
    const mine = await shop(ours())
    expect((await charge(theirs, { path: '/redirect' })).status).toBe(303)
    expect((await charge(theirs, { path: '/redirect' })).status).toBe(409)
    await charge(mine, { path: '/redirect' })
    const redirected = await charge(mine, { path: '/redirect' })
    expect([redirected.status, redirected.headers.get('location')]).toEqual([303, '/charges/1'])

    const failing = { path: '/failing', key: 'f' }
    const broken = await shop(peer())
    expect((await charge(broken, failing)).status).toBe(500)
    expect((await charge(broken, failing)).status).toBe(409)
    const mended = await shop(ours())
    expect((await charge(mended, failing)).status).toBe(500)
    expect((await charge(mended, failing)).status).toBe(200)
  })

  test('whether a request is a replay is what the client says in x-hit', async () => {
    const hits: boolean[] = []
    const ask: RequestHandler = (req, _res, next) => {
      hits.push(getSharedIdempotencyService().isHit(req as never))
      next()
    }
    await charge(await shop(peer(), ask), { headers: { 'x-hit': 'true' } })
    expect(hits).toEqual([true])
  })

  test('a 4xx of the handler runs again, and is kept', async () => {
    const theirs = await shop(peer())
    const mine = await shop(ours())
    const declined = { path: '/declined' }
    for (const each of [theirs, mine]) expect((await charge(each, declined)).status).toBe(402)
    await charge(theirs, declined)
    expect(theirs.runs()).toBe(2)
    expect((await charge(mine, declined)).replayed).toBe(true)
    expect(mine.runs()).toBe(1)
  })

  test('one caller gets the answer of another', async () => {
    const theirs = await shop(peer())
    const mine = await shop(ours())
    for (const each of [theirs, mine]) await charge(each, { headers: { 'X-User': 'alice' } })
    const bob = { headers: { 'X-User': 'bob' } }
    expect((await charge(theirs, bob)).body.toString()).toBe('{"id":1}')
    expect((await charge(mine, bob)).body.toString()).toBe('{"id":2}')
  })

  test('the request is stored with its credentials, and for ever', async () => {
    const { stored, adapter } = mapAdapter()
    const theirs = await shop(peer(adapter))
    await charge(theirs, { headers: { Authorization: 'Bearer s3cret' } })
    expect(JSON.stringify([...stored.values()])).toContain('s3cret')
  })
})

/** The old layer goes on where it has answered: nothing behind it may run then. */
const unlessAnswered: RequestHandler = (_req, res, next) => {
  if (!res.headersSent) next()
}

test('the switch: with both mounted, the old one outside, no request runs twice', async () => {
  const old = peer(mapAdapter().adapter)
  const layer = ours()
  const before = await shop(old, unlessAnswered)
  const during = await shop(old, unlessAnswered, layer)
  const after = await shop(layer)
  // What a process did that has not been switched is honoured by one that has, and the other way round.
  const first = await charge(before, { key: 'old' })
  expect((await charge(during, { key: 'old' })).body).toEqual(first.body)
  const second = await charge(during, { key: 'both' })
  expect((await charge(before, { key: 'both' })).body).toEqual(second.body)
  expect((await charge(during, { key: 'both' })).body).toEqual(second.body)
  // The old layer is gone, and what was sent while both were there is known.
  expect((await charge(after, { key: 'both' })).body).toEqual(second.body)
  expect(before.runs() + during.runs() + after.runs()).toBe(2)
})
