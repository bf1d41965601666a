/** What got has that other libraries have not. */
import { Readable } from 'node:stream'
import got, { AbortError, HTTPError, ParseError, TimeoutError } from 'got'
import { expect, test } from 'vitest'
import { isClientError } from '../../../src/client/errors.ts'
import { callOf, idempotency, idempotentGot } from '../../../src/client/got.ts'
import { answers, lost, redirects, scripted, silent, type Step } from './scripted-server.ts'

const quick = { backoff: 1, backoffMax: 2, budget: { perSecond: 1_000 } } as const
const api = got.extend(idempotentGot(quick))

const keysOf = (server: Awaited<ReturnType<typeof scripted>>): Set<unknown> =>
  new Set(server.received.map(({ headers }) => headers['idempotency-key']))

const notJson: Step = (response) => response.writeHead(200, { 'content-type': 'application/json' }).end('{')

test('shortcuts read the last answer, and ask for its type in each attempt', async () => {
  const server = await scripted(lost, answers(503), answers(201, { id: 1 }))
  expect(await api.post(server.origin, { json: { amount: 100 } }).json()).toEqual({ id: 1 })
  expect(server.received.map(({ headers }) => headers.accept)).toEqual(Array(3).fill('application/json'))
})

test('`resolveBodyOnly`', async () => {
  const server = await scripted(lost, answers(201, { id: 1 }))
  const body = await api.post(server.origin, { json: {}, responseType: 'json', resolveBodyOnly: true })
  expect(body).toEqual({ id: 1 })
})

test('hooks see each attempt, and handlers that are added later the call', async () => {
  const server = await scripted(lost, answers(201))
  const seen: string[] = []
  const extended = api.extend({
    handlers: [
      (options, next) => {
        seen.push('handler')
        return next(options)
      },
    ],
    hooks: {
      beforeRequest: [(_options, { retryCount }) => void seen.push(`request ${retryCount}`)],
      beforeRetry: [(_error, retryCount) => void seen.push(`retry ${retryCount}`)],
    },
  })
  await extended.post(server.origin, { json: {} })
  expect(seen).toEqual(['handler', 'request 0', 'retry 1', 'request 1'])
})

test("got's own `retry` settings change nothing", async () => {
  const server = await scripted(answers(503))
  const eager = api.extend({ retry: { limit: 50, methods: ['POST'] } })
  const error = await eager.post(server.origin).catch((reason: unknown) => reason)
  expect(isClientError(error, 'outcome-unknown')).toBe(true)
  expect(server.received).toHaveLength(5)
})

test('`throwHttpErrors: false` gives the last answer, and still throws errors of the client', async () => {
  const server = await scripted(answers(503), answers(409))
  const response = await api.post(server.origin, { throwHttpErrors: false })
  expect([response.statusCode, callOf(response)?.attempts]).toEqual([409, 2])
  const down = await scripted(answers(503))
  await expect(api.post(down.origin, { throwHttpErrors: false })).rejects.toMatchObject({
    code: 'outcome-unknown',
  })
})

test('the report of an answer that is thrown', async () => {
  const server = await scripted(answers(503), answers(409))
  const error = await api.post(server.origin).catch((reason: unknown) => reason)
  if (!(error instanceof HTTPError)) throw error
  expect(callOf(error.response)).toMatchObject({ attempts: 2, replayed: false })
})

test("got's `timeout.request` is each attempt's, and its error is the cause", async () => {
  const server = await scripted(silent)
  const limited = api.extend({ timeout: { request: 100 } })
  const error = await limited.post(server.origin).catch((reason: unknown) => reason)
  expect(error).toMatchObject({ code: 'outcome-unknown', attempts: 5 })
  expect((error as Error).cause).toBeInstanceOf(TimeoutError)
})

test('a whole answer that cannot be parsed is not asked for again', async () => {
  const server = await scripted(notJson)
  await expect(api.post(server.origin, { responseType: 'json' })).rejects.toThrow(ParseError)
  expect(server.received).toHaveLength(1)
})

test('a retry that a hook asks for keeps the key', async () => {
  const server = await scripted(answers(401), answers(201))
  const extended = api.extend({
    hooks: {
      afterResponse: [
        (response, retry) =>
          response.statusCode === 401 ? retry({ headers: { authorization: 'Bearer 1' } }) : response,
      ],
    },
  })
  expect((await extended.post(server.origin, { json: {} })).statusCode).toBe(201)
  expect(server.received.map(({ headers }) => headers.authorization)).toEqual([undefined, 'Bearer 1'])
  expect(keysOf(server).size).toBe(1)
})

test('an error of a hook ends the call as it is', async () => {
  const server = await scripted(lost, answers(201))
  const extended = api.extend({
    hooks: {
      beforeRetry: [
        () => {
          throw new Error('of a hook')
        },
      ],
    },
  })
  await expect(extended.post(server.origin)).rejects.toThrow('of a hook')
  expect(server.received).toHaveLength(1)
})

test('a stream as the body is read once and sent again', async () => {
  const server = await scripted(lost, answers(201))
  await api.post(server.origin, { body: Readable.from(['one ', 'two']) })
  expect(server.received.map(({ body }) => body.toString())).toEqual(['one two', 'one two'])
})

test('an abort and the deadline let go of a body that never ends', async () => {
  const server = await scripted(answers(201))
  const made: Readable[] = []
  const endless = (): Readable => {
    const body = new Readable({ read: () => {} })
    made.push(body)
    return body
  }
  const abort = new AbortController()
  const aborted = api.post(server.origin, { body: endless(), signal: abort.signal })
  setImmediate(() => abort.abort())
  await expect(aborted).rejects.toThrow(AbortError)
  const hurried = got.extend(idempotentGot({ ...quick, deadline: 50 }))
  await expect(hurried.post(server.origin, { body: endless() })).rejects.toMatchObject({
    code: 'not-applied',
    reason: 'deadline',
    attempts: 0,
  })
  expect(made.map(({ destroyed }) => destroyed)).toEqual([true, true])
  expect(server.received).toHaveLength(0)
})

test.each([
  ['timeout', { timeout: 50, retries: 1 }, 'retries'],
  ['deadline', { deadline: 50 }, 'deadline'],
])('a hook that does not settle: `%s` ends the call', async (_name, options, reason) => {
  const server = await scripted(answers(201))
  const hook = Promise.withResolvers<undefined>()
  const hooked = got.extend(idempotentGot({ ...quick, ...options }), {
    hooks: { beforeRequest: [() => hook.promise] },
  })
  await expect(hooked.post(server.origin)).rejects.toMatchObject({ code: 'outcome-unknown', reason })
  hook.resolve(undefined)
  // What has ended is not sent any more.
  await api.post(server.origin, { json: {} })
  expect(server.received).toHaveLength(1)
})

test('a hook that settles late makes no attempt more', async () => {
  const server = await scripted(answers(201))
  const hook = Promise.withResolvers<undefined>()
  const onRetry = (): void => hook.resolve(undefined)
  const hooked = got.extend(idempotentGot({ ...quick, timeout: 1_000, onRetry }), {
    hooks: { beforeRequest: [() => hook.promise] },
  })
  const response = await hooked.post(server.origin)
  expect([callOf(response)?.attempts, server.received.length]).toEqual([2, 1])
})

test('a late end of an attempt that was given up is not that of the next one', async () => {
  const server = await scripted(silent, answers(201))
  // got's timer begins after its hooks, so it fires after the one of the loop.
  const hooked = got.extend(idempotentGot({ ...quick, timeout: 1_000 }), {
    hooks: { beforeRequest: [() => new Promise((resolve) => void setTimeout(resolve, 50))] },
  })
  const response = await hooked.post(server.origin)
  expect([callOf(response)?.attempts, server.received.length, keysOf(server).size]).toEqual([2, 2, 1])
})

test("got's `methodRewriting` changes nothing for a call with a key", async () => {
  const server = await scripted(redirects(302, '/moved'), answers(200))
  await api.patch(server.origin, { json: { amount: 100 }, methodRewriting: true })
  expect(server.received.map(({ method, body }) => `${method} ${body.toString()}`)).toEqual(
    Array(2).fill('PATCH {"amount":100}'),
  )
})

test('`followRedirect` says which are followed', async () => {
  const server = await scripted(redirects(303, '/charges/1'))
  expect((await api.post(server.origin, { followRedirect: false })).statusCode).toBe(303)
  expect((await api.post(server.origin, { followRedirect: () => false })).statusCode).toBe(303)
  expect(server.received).toHaveLength(2)
})

test('`got.stream` is refused where a key is needed, and left alone elsewhere', async () => {
  const server = await scripted(answers(200, { id: 1 }))
  expect(() => api.stream.post(server.origin)).toThrow(/isStream must not be set for a call that has a key/)
  const octets = await api.stream(server.origin).toArray()
  expect(Buffer.concat(octets as Buffer[]).toString()).toBe('{"id":1}')
})

test('a loop of redirects ends in the error of got', async () => {
  const server = await scripted(redirects(307, '/'))
  await expect(api.post(server.origin, { maxRedirects: 2 })).rejects.toMatchObject({
    name: 'MaxRedirectsError',
  })
  expect(server.received).toHaveLength(3)
})

test('without a key, redirects are those of got', async () => {
  const other = await scripted(answers(200))
  const server = await scripted(redirects(302, other.origin))
  await api(server.origin)
  expect(other.received).toHaveLength(1)
})

test('pages are calls of their own', async () => {
  const server = await scripted(lost, answers(200, [1, 2]))
  expect(await api.paginate.all(server.origin, { pagination: { paginate: () => false } })).toEqual([1, 2])
})

test('the key of a call is one of its options', async () => {
  const server = await scripted(answers(201))
  await api.post(server.origin, { json: {}, ...idempotency({ key: 'k-1' }) })
  expect(server.received[0]?.headers['idempotency-key']).toBe('"k-1"')
})
