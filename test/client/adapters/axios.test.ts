/** What axios has that other libraries have not. */
import { Readable } from 'node:stream'
import axios, { AxiosError, CanceledError } from 'axios'
import { expect, test } from 'vitest'
import { callOf, idempotency, idempotentAdapter } from '../../../src/client/axios.ts'
import { isClientError } from '../../../src/client/errors.ts'
import { answers, lost, problem, redirects, scripted, silent } from './scripted-server.ts'

const quick = { backoff: 1, backoffMax: 2, budget: { perSecond: 1_000 } } as const
const adapter = idempotentAdapter(axios, quick)

test('interceptors and transforms run once for a call, and see its end', async () => {
  const server = await scripted(lost, answers(503), answers(201, { id: 1 }))
  const api = axios.create({ baseURL: server.origin, adapter })
  const seen: string[] = []
  api.interceptors.request.use((config) => {
    seen.push('request')
    return config
  })
  api.interceptors.response.use((response) => {
    seen.push(`response ${response.status}`)
    return response
  })
  const { data } = await api.post(
    '/charges',
    { amount: 100 },
    {
      transformRequest: [
        (given: object) => {
          seen.push('transformRequest')
          return JSON.stringify(given)
        },
      ],
    },
  )
  expect(data).toEqual({ id: 1 })
  expect(seen).toEqual(['request', 'transformRequest', 'response 201'])
  expect(server.received).toHaveLength(3)
})

test('a last answer that is no success is an AxiosError as without the adapter', async () => {
  const server = await scripted(answers(503), answers(409, { reason: 'sold out' }))
  const api = axios.create({ baseURL: server.origin, adapter })
  const error = await api.post('/charges', { amount: 100 }).catch((reason: unknown) => reason)
  if (!(error instanceof AxiosError)) throw error
  expect(error).toMatchObject({ code: 'ERR_BAD_REQUEST', status: 409 })
  expect(error.response?.data).toEqual({ reason: 'sold out' })
  expect(callOf(error.response as object)).toMatchObject({ attempts: 2 })
  // The caller's own configuration, and not that of an attempt.
  expect([error.config?.baseURL, error.config?.signal, error.config?.maxRedirects]).toEqual([
    server.origin,
    undefined,
    undefined,
  ])
  expect(error.response?.config).toBe(error.config)
})

test('`validateStatus` says which last answers are errors, and nothing of retries', async () => {
  const server = await scripted(answers(503), answers(409))
  const api = axios.create({ adapter, validateStatus: null })
  expect((await api.post(server.origin)).status).toBe(409)
  const strict = axios.create({ adapter, validateStatus: (status) => status === 204 })
  await expect(strict.post((await scripted(answers(201))).origin)).rejects.toThrow(AxiosError)
})

test('an error of the client has the last answer, with its data read', async () => {
  const server = await scripted(answers(503, { title: 'down' }))
  const error = await axios
    .create({ adapter })
    .post(server.origin)
    .catch((reason: unknown) => reason)
  expect(isClientError(error, 'outcome-unknown')).toBe(true)
  expect((error as { response: unknown }).response).toMatchObject({ status: 503, data: { title: 'down' } })
})

test.each(['http', 'fetch'])("the `timeout` of axios is each attempt's (%s)", async (name) => {
  const server = await scripted(silent, answers(201))
  const api = axios.create({ adapter: idempotentAdapter(axios, { ...quick, adapter: name }), timeout: 100 })
  const response = await api.post(server.origin, { amount: 100 })
  // A busy machine may miss it again.
  expect(callOf(response)?.attempts).toBeGreaterThan(1)
})

test('a CancelToken ends the call', async () => {
  const source = axios.CancelToken.source()
  const server = await scripted(() => source.cancel('enough'))
  const call = axios.create({ adapter }).post(server.origin, {}, { cancelToken: source.token })
  await expect(call).rejects.toThrow(CanceledError)
  await expect(call).rejects.toThrow('enough')
  expect(server.received).toHaveLength(1)
})

test("a stream and a form of axios's own kind are read once and sent again", async () => {
  const server = await scripted(lost, answers(201), lost, answers(201))
  const api = axios.create({ adapter })
  await api.post(server.origin, Readable.from(['one ', 'two']), { headers: { 'content-type': 'text/plain' } })
  const form = axios.toFormData({ amount: '100' })
  form.append('receipt', Readable.from(['octets']), { filename: 'receipt.txt' })
  await api.post(server.origin, form)
  const [one, two, three, four] = server.received
  expect([one?.body.toString(), two?.body.toString()]).toEqual(['one two', 'one two'])
  expect(three?.body.toString()).toContain('octets')
  expect(four?.body).toEqual(three?.body)
  expect(four?.headers['content-type']).toMatch(/^multipart\/form-data; boundary=/)
  expect(four?.headers['content-type']).toBe(three?.headers['content-type'])
})

test('a stream without a key is sent once, as axios sends it', async () => {
  const server = await scripted(answers(503))
  const api = axios.create({ adapter: idempotentAdapter(axios, { ...quick, methods: [] }) })
  await expect(api.post(server.origin, Readable.from(['one']))).rejects.toThrow(AxiosError)
  expect(server.received.map(({ body }) => body.toString())).toEqual(['one'])
})

test('a redirect is followed from where it leads, with the query of the call left behind', async () => {
  const server = await scripted(redirects(307, '/v2/charges?page=2'), redirects(307, 'more'), answers(201))
  const api = axios.create({ baseURL: `${server.origin}/v1`, adapter })
  await api.post('charges', { amount: 100 }, { params: { page: 1 } })
  const urls = server.received.map(({ url }) => url)
  expect(urls).toEqual(['/v1/charges?page=1', '/v2/charges?page=2', '/v2/more'])
})

test('`maxRedirects` holds', async () => {
  const server = await scripted(redirects(307, '/'))
  const api = axios.create({ adapter, maxRedirects: 2, validateStatus: null })
  expect((await api.post(server.origin)).status).toBe(307)
  expect(server.received).toHaveLength(3)
})

test('what axios does not take ends the call at once', async () => {
  const server = await scripted(answers(201))
  const api = axios.create({ adapter, maxBodyLength: 2 })
  await expect(api.post(server.origin, { amount: 100 })).rejects.toThrow(/maxBodyLength/)
  expect(server.received).toHaveLength(0)
})

test('an answer that is streamed counts from its head; one that is tried again frees its connection', async () => {
  const closed = Promise.withResolvers<void>()
  const server = await scripted(
    (response) => {
      response.on('close', closed.resolve)
      response.writeHead(503).write('no end')
    },
    answers(201, { id: 1 }),
  )
  const { data } = await axios
    .create({ adapter })
    .post<Readable>(server.origin, {}, { responseType: 'stream' })
  await closed.promise
  expect(Buffer.concat(await data.toArray()).toString()).toBe('{"id":1}')
})

test.each([
  ['http', 'stream', async (data: unknown) => Buffer.concat(await (data as Readable).toArray()).toString()],
  ['fetch', 'stream', async (data: unknown) => await new Response(data as ReadableStream).text()],
  ['fetch', 'blob', async (data: unknown) => await (data as Blob).text()],
  ['http', 'arraybuffer', (data: unknown) => (data as Buffer).toString()],
] as const)('a problem document as %s gives it, a %s, is read', async (name, responseType, text) => {
  const api = axios.create({ adapter: idempotentAdapter(axios, { ...quick, adapter: name }), responseType })
  const type = { 'content-type': 'Application/Problem+JSON; charset=utf-8' }
  const server = await scripted(problem(409, 'outcome-unknown', type), problem(409, 'sold-out'))
  const error = await api.post(server.origin).catch((reason: unknown) => reason)
  expect(error).toMatchObject({ name: 'UnknownOutcomeError', serverCode: 'outcome-unknown' })
  // What the caller asked for is there to be read.
  const { data } = (error as { response: { data: unknown } }).response
  expect(JSON.parse(await text(data))).toMatchObject({ code: 'outcome-unknown' })
  const refused = await api.post(server.origin).catch((reason: unknown) => reason)
  if (!(refused instanceof AxiosError)) throw refused
  expect(JSON.parse(await text(refused.response?.data))).toMatchObject({ code: 'sold-out' })
})

test('a problem document that never ends is no answer', async () => {
  const server = await scripted((response) => {
    response.writeHead(409, { 'content-type': 'application/problem+json' }).write('{')
  })
  const api = axios.create({ adapter: idempotentAdapter(axios, { ...quick, timeout: 100, retries: 0 }) })
  const call = api.post(server.origin, {}, { responseType: 'stream' })
  await expect(call).rejects.toMatchObject({ code: 'outcome-unknown', reason: 'retries' })
})

test.each(['http', 'fetch'])('an answer that is tried again frees its connection (%s)', async (name) => {
  const closed = Promise.withResolvers<void>()
  const server = await scripted((response) => {
    response.on('close', closed.resolve)
    response.writeHead(503).write('no end')
  }, answers(201))
  const api = axios.create({ adapter: idempotentAdapter(axios, { ...quick, adapter: name }) })
  expect((await api.post(server.origin, {}, { responseType: 'stream' })).status).toBe(201)
  await closed.promise
})

const endless = (): Readable => new Readable({ read: () => {} })

test('an abort and the deadline let go of a body that never ends', async () => {
  const server = await scripted(answers(201))
  const abort = new AbortController()
  const one = endless()
  const aborted = axios.create({ adapter }).post(server.origin, one, { signal: abort.signal })
  setImmediate(() => abort.abort())
  await expect(aborted).rejects.toThrow(CanceledError)
  const hurried = axios.create({ adapter: idempotentAdapter(axios, { ...quick, deadline: 50 }) })
  const two = endless()
  const cancelled = Promise.withResolvers<void>()
  const web = new ReadableStream({ cancel: () => cancelled.resolve() })
  for (const body of [two, web]) {
    await expect(hurried.post(server.origin, body)).rejects.toMatchObject({
      ...{ code: 'not-applied', reason: 'deadline', attempts: 0 },
    })
  }
  await cancelled.promise
  expect([one.destroyed, two.destroyed, server.received.length]).toEqual([true, true, 0])
})

test('without a key 307 is followed to another origin, without what is for the first one', async () => {
  const other = await scripted(answers(201))
  const server = await scripted(redirects(307, other.origin))
  const api = axios.create({ adapter: idempotentAdapter(axios, { ...quick, methods: [] }) })
  const headers = { authorization: 'Bearer 0', cookie: 'a=1', 'x-api-key': 'b' }
  const sensitiveHeaders = ['X-API-Key']
  expect((await api.post(server.origin, { amount: 100 }, { headers, sensitiveHeaders })).status).toBe(201)
  const auth = { username: 'a', password: 'b' }
  expect((await api.post(server.origin, { amount: 100 }, { auth })).status).toBe(201)
  expect(other.received.map(({ body }) => body.toString())).toEqual(['{"amount":100}', '{"amount":100}'])
  for (const each of other.received) {
    const { authorization, cookie, 'x-api-key': apiKey } = each.headers
    expect([authorization, cookie, apiKey]).toEqual([undefined, undefined, undefined])
    expect(`http://${each.headers.host}`).toBe(other.origin)
  }
})

test('the key of a call is one of its options', async () => {
  const server = await scripted(answers(201))
  await axios.create({ adapter }).post(server.origin, {}, idempotency({ key: 'k-1' }))
  expect(server.received[0]?.headers['idempotency-key']).toBe('"k-1"')
})
