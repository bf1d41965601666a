/** What ky has that other libraries have not. */
import ky, { HTTPError } from 'ky'
import { expect, test } from 'vitest'
import { isClientError } from '../../../src/client/errors.ts'
import { idempotency, idempotentKy } from '../../../src/client/ky.ts'
import { answers, lost, redirects, scripted, silent } from './scripted-server.ts'

const quick = { backoff: 1, backoffMax: 2, budget: { perSecond: 1_000 } } as const
const api = ky.extend(idempotentKy(quick))

const keysOf = (server: Awaited<ReturnType<typeof scripted>>): Set<unknown> =>
  new Set(server.received.map(({ headers }) => headers['idempotency-key']))

test('shortcuts read the last answer', async () => {
  const server = await scripted(lost, answers(503), answers(201, { id: 1 }))
  expect(await api.post(server.origin, { json: { amount: 100 } }).json()).toEqual({ id: 1 })
})

test('hooks run once for a call, and one that is extended later still may name the key', async () => {
  const server = await scripted(lost, answers(201))
  const seen: string[] = []
  const named = api.extend({
    hooks: {
      beforeRequest: [
        ({ request }) => {
          seen.push(request.headers.get('idempotency-key') ?? 'none')
          request.headers.set('idempotency-key', '"hooked"')
        },
      ],
      afterResponse: [({ response }) => void seen.push(String(response.status))],
    },
  })
  await named.post(server.origin)
  expect(seen).toEqual([expect.stringMatching(/^"[\da-f-]{36}"$/), '201'])
  expect([...keysOf(server)]).toEqual(['"hooked"'])
})

test('a hook sees where the answer came from', async () => {
  const server = await scripted(redirects(307, '/moved'), answers(201, { id: 1 }))
  const seen: string[] = []
  const watched = api.extend({ hooks: { afterResponse: [({ response }) => void seen.push(response.url)] } })
  const response = await watched.post(server.origin)
  expect([seen, response.url, await response.json()]).toEqual([
    [`${server.origin}/moved`],
    `${server.origin}/moved`,
    { id: 1 },
  ])
})

test('a hook that takes the field away leaves the call without a key', async () => {
  const server = await scripted(answers(201))
  const bare = api.extend({
    hooks: { beforeRequest: [({ request }) => request.headers.delete('idempotency-key')] },
  })
  await bare.post(server.origin)
  expect([...keysOf(server)]).toEqual([undefined])
})

test('`throwHttpErrors` is for the last answer', async () => {
  const server = await scripted(answers(503), answers(409))
  expect((await api.post(server.origin, { throwHttpErrors: false })).status).toBe(409)
  await expect(api.post(server.origin)).rejects.toThrow(HTTPError)
})

test("ky's own retries, turned on again, send the same key", async () => {
  const server = await scripted(answers(409), answers(201))
  const retry = { limit: 1, methods: ['post'], statusCodes: [409], delay: () => 1 }
  expect((await api.post(server.origin, { json: {}, retry })).status).toBe(201)
  expect(server.received).toHaveLength(2)
  expect(keysOf(server).size).toBe(1)
})

test("ky's timeouts, set again, end the whole call", async () => {
  const server = await scripted(silent)
  const call = api.post(server.origin, { timeout: 100 })
  await expect(call).rejects.toMatchObject({ name: 'TimeoutError' })
  expect(server.received).toHaveLength(1)
})

test('errors of the client go through `beforeError` as they are', async () => {
  const server = await scripted(answers(503))
  const seen: unknown[] = []
  const extended = api.extend({
    hooks: {
      beforeError: [
        ({ error }) => {
          seen.push(error)
          return error
        },
      ],
    },
  })
  const error = await extended
    .post(server.origin, idempotency({ key: 'k-1' }))
    .catch((reason: unknown) => reason)
  expect(isClientError(error, 'outcome-unknown')).toBe(true)
  expect(seen).toEqual([error])
})

test('an upload with progress is sent again', async () => {
  const server = await scripted(lost, answers(201))
  const onUploadProgress = (): void => {}
  expect((await api.post(server.origin, { body: 'octets', onUploadProgress })).status).toBe(201)
  expect(server.received.map(({ body }) => body.toString())).toEqual(['octets', 'octets'])
  expect(keysOf(server).size).toBe(1)
})
