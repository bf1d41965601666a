/** A key is for one origin: where a redirect leads elsewhere, it does not follow. */
import { describe, expect, test } from 'vitest'
import { callOf, createIdempotentFetch } from '../../src/client/index.ts'
import { freePort } from '../../scripts/servers/process.ts'
import { recording, type Reply, reset, status } from './serving.ts'

const fetch = createIdempotentFetch({ backoff: 1, retries: 1, budget: { perSecond: 100 } })
const post = {
  method: 'POST',
  body: '{"amount":100}',
  headers: { 'content-type': 'application/json', authorization: 'Bearer a', cookie: 'a=1' },
}

const to = (code: number, location: string): Reply => status(code, { location })

describe('within the origin', () => {
  test.each([307, 308])('%i keeps key, method and octets, in each attempt', async (code) => {
    const server = await recording(to(code, '/moved?a=1'), reset, to(code, '/moved?a=1'), status(201))
    const response = await fetch(`${server.origin}/old`, post)
    expect([response.status, response.url]).toEqual([201, `${server.origin}/moved?a=1`])
    expect(server.received.map(({ url }) => url)).toEqual(['/old', '/moved?a=1', '/old', '/moved?a=1'])
    for (const { method, body, headers } of server.received) {
      expect([method, body.toString(), headers['idempotency-key'], headers.authorization]).toEqual([
        'POST',
        '{"amount":100}',
        server.received[0]?.headers['idempotency-key'],
        'Bearer a',
      ])
    }
  })

  test('a Request follows, too', async () => {
    const server = await recording(to(307, '/moved'), status(201))
    expect((await fetch(new Request(`${server.origin}/old`, post))).status).toBe(201)
    const [first, second] = server.received
    expect([second?.url, second?.body, second?.headers['idempotency-key']]).toEqual([
      '/moved',
      first?.body,
      first?.headers['idempotency-key'],
    ])
  })

  test.each([301, 302, 303])(
    '%i is the answer to a POST: what it names is read without the key',
    async (code) => {
      const server = await recording(to(code, '/charges/1'), status(200))
      const response = await fetch(`${server.origin}/charges`, post)
      expect([response.status, callOf(response)?.attempts]).toEqual([200, 1])
      const read = server.received[1]
      expect([read?.method, read?.url, read?.body.length, read?.headers.authorization]).toEqual([
        'GET',
        '/charges/1',
        0,
        'Bearer a',
      ])
      for (const name of ['idempotency-key', 'content-type', 'content-length']) {
        expect(read?.headers).not.toHaveProperty(name)
      }
    },
  )

  test.each([301, 302])('%i keeps a PATCH one, as fetch does', async (code) => {
    const server = await recording(to(code, '/moved'), status(200))
    await fetch(server.origin, { ...post, method: 'PATCH' })
    expect(server.received.map(({ method, url }) => `${method} ${url}`)).toEqual(['PATCH /', 'PATCH /moved'])
  })

  test('ends after twenty', async () => {
    const server = await recording(to(307, '/again'))
    expect((await fetch(server.origin, post)).status).toBe(307)
    expect(server.received).toHaveLength(21)
  })

  test('a redirect without a place is an answer', async () => {
    const server = await recording(status(303))
    expect((await fetch(server.origin, post)).status).toBe(303)
    expect(server.received).toHaveLength(1)
  })
})

describe('to another origin', () => {
  test.each([307, 308])('%i is given back, and nothing is sent there', async (code) => {
    const other = await recording(status(201))
    const server = await recording(to(code, `${other.origin}/charges`))
    const response = await fetch(server.origin, post)
    expect([response.status, response.headers.get('location')]).toEqual([code, `${other.origin}/charges`])
    expect([server.received.length, other.received.length]).toEqual([1, 0])
  })

  test('that is given back after a lost answer leaves the outcome unknown', async () => {
    const other = await recording(status(201))
    const server = await recording(reset, to(308, other.origin))
    await expect(fetch(server.origin, post)).rejects.toMatchObject({ code: 'outcome-unknown' })
    expect(other.received).toEqual([])
  })

  test('303 is read there, without the key and the credentials', async () => {
    const other = await recording(status(200))
    const server = await recording(to(303, `${other.origin}/charges/1`))
    expect((await fetch(server.origin, post)).status).toBe(200)
    const [read] = other.received
    expect([read?.method, read?.url]).toEqual(['GET', '/charges/1'])
    for (const name of ['idempotency-key', 'authorization', 'cookie', 'content-type']) {
      expect(read?.headers).not.toHaveProperty(name)
    }
  })

  test('a page that cannot be read does not make the operation not applied', async () => {
    const gone = `http://127.0.0.1:${await freePort()}/charges/1`
    const server = await recording(to(303, gone))
    await expect(fetch(server.origin, post)).rejects.toMatchObject({
      ...{ code: 'outcome-unknown', attempts: 2, cause: { name: 'RedirectError' } },
    })
  })
})

describe('an operation that answered with a redirect', () => {
  const plain = createIdempotentFetch({ methods: [], backoff: 1, retries: 3, budget: { perSecond: 100 } })

  test.each(['POST', 'DELETE'])('is not sent again without a key, where a %s led nowhere', async (method) => {
    const gone = `http://127.0.0.1:${await freePort()}/charges/1`
    const server = await recording(to(303, gone))
    await expect(plain(server.origin, { method })).rejects.toMatchObject({ code: 'outcome-unknown' })
    expect(server.received).toHaveLength(method === 'POST' ? 1 : 4)
  })

  test.each([429, 401, 403])('is not sent again without a key for the %i of what it named', async (code) => {
    const server = await recording(to(303, '/charges/1'), status(code))
    const refreshing = createIdempotentFetch({ methods: [], refresh: () => ({ authorization: 'new' }) })
    await expect(refreshing(server.origin, post)).rejects.toMatchObject({ code: 'outcome-unknown' })
    expect(server.received.map(({ method }) => method)).toEqual(['POST', 'GET'])
  })

  test('may have taken effect, whatever comes later', async () => {
    const server = await recording(to(303, '/charges/1'), status(429), status(403))
    await expect(fetch(server.origin, post)).rejects.toMatchObject({
      ...{ code: 'outcome-unknown', attempts: 2, response: { status: 403 } },
    })
  })

  test('has answered, also where the redirect names no place that can be reached', async () => {
    for (const place of ['http://[bad', 'ftp://127.0.0.1/charges/1']) {
      const server = await recording(to(303, place))
      await expect(fetch(server.origin, post)).rejects.toMatchObject({ code: 'outcome-unknown' })
    }
  })

  test('is told as redirected', async () => {
    const server = await recording(to(303, '/charges/1'), status(200))
    const response = await fetch(server.origin, post)
    expect([response.redirected, response.url]).toEqual([true, `${server.origin}/charges/1`])
  })
})

test('without a key a 307 to another origin is followed, without the credentials', async () => {
  const other = await recording(status(201))
  const server = await recording(to(307, other.origin))
  const response = await createIdempotentFetch({ methods: [] })(server.origin, post)
  const [received] = other.received
  expect([response.status, received?.method, received?.body.toString()]).toEqual([201, 'POST', post.body])
  for (const name of ['authorization', 'cookie']) expect(received?.headers).not.toHaveProperty(name)
})

describe('what the caller chose', () => {
  test('manual gives the redirect', async () => {
    const server = await recording(to(307, '/moved'))
    expect((await fetch(server.origin, { ...post, redirect: 'manual' })).status).toBe(307)
    const request = new Request(server.origin, { ...post, redirect: 'manual' })
    expect((await fetch(request)).status).toBe(307)
    expect(server.received).toHaveLength(2)
  })

  test('error fails', async () => {
    const server = await recording(to(307, '/moved'))
    await expect(fetch(server.origin, { ...post, redirect: 'error' })).rejects.toMatchObject({
      code: 'outcome-unknown',
    })
    expect(server.received.every(({ url }) => url === '/')).toBe(true)
  })

  test('without a key fetch follows by itself', async () => {
    const other = await recording(status(200))
    const server = await recording(to(302, other.origin))
    expect((await fetch(server.origin)).redirected).toBe(true)
    expect(other.received).toHaveLength(1)
  })
})
