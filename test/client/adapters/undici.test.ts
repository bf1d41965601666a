/** What undici has that other libraries have not. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable, Writable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import {
  Agent,
  Client,
  type Dispatcher,
  getGlobalDispatcher,
  interceptors,
  Pool,
  request,
  setGlobalDispatcher,
  stream,
} from 'undici'
import { expect, onTestFinished, test } from 'vitest'
import { isClientError } from '../../../src/client/errors.ts'
import { callOf, idempotency, idempotentInterceptor } from '../../../src/client/undici.ts'
import { bodyOctetsMax } from '../../../src/client/whole-body.ts'
import { answers, cut, lost, redirects, scripted, silent, type Step } from './scripted-server.ts'

const quick = { backoff: 1, backoffMax: 2, budget: { perSecond: 1_000 } } as const
const interceptor = idempotentInterceptor(quick)

function closed<Closing extends Dispatcher>(dispatcher: Closing): Closing {
  onTestFinished(() => dispatcher.destroy())
  return dispatcher
}

const agent = (): Dispatcher => closed(new Agent()).compose(interceptor)

const keysOf = (server: Awaited<ReturnType<typeof scripted>>): Set<unknown> =>
  new Set(server.received.map(({ headers }) => headers['idempotency-key']))

const large = Buffer.alloc(5 * 2 ** 20, 'large ')
const sendsLarge: Step = (response) => response.writeHead(201).end(large)

test.each([
  ['Client', (origin: string) => new Client(origin)],
  ['Pool', (origin: string) => new Pool(origin)],
])('%s', async (_name, make) => {
  const server = await scripted(lost, answers(201, { id: 1 }))
  const dispatcher = closed(make(server.origin)).compose(interceptor)
  const { statusCode, body, headers } = await dispatcher.request({
    path: '/charges',
    method: 'POST',
    body: '{}',
  })
  expect([statusCode, await body.json(), callOf({ headers })?.attempts]).toEqual([201, { id: 1 }, 2])
})

test("the global dispatcher, also of the platform's own fetch", async () => {
  const before = getGlobalDispatcher()
  onTestFinished(() => setGlobalDispatcher(before))
  setGlobalDispatcher(agent())
  const server = await scripted(lost, cut, answers(201, { id: 1 }))
  const form = new FormData()
  form.append('amount', '100')
  const response = await fetch(server.origin, { method: 'POST', body: form })
  expect([response.status, await response.json()]).toEqual([201, { id: 1 }])
  expect(new Set(server.received.map(({ body }) => body.toString())).size).toBe(1)
  expect([server.received.length, keysOf(server).size]).toEqual([3, 1])
})

test('`stream` gets the last answer, piece by piece', async () => {
  const server = await scripted(cut, sendsLarge)
  const pieces: Buffer[] = []
  await stream(server.origin, { method: 'POST', dispatcher: agent() }, ({ statusCode }) => {
    expect(statusCode).toBe(201)
    return new Writable({
      // Slow enough that the answer has to wait.
      highWaterMark: 1,
      write(piece: Buffer, _encoding, next) {
        pieces.push(piece)
        setImmediate(next)
      },
    })
  })
  expect(Buffer.concat(pieces).equals(large)).toBe(true)
})

test('a reader that pauses gets everything', async () => {
  const server = await scripted(sendsLarge)
  const { body } = await request(server.origin, { method: 'POST', dispatcher: agent() })
  const pieces: Buffer[] = []
  for await (const piece of body) {
    await pause(0)
    pieces.push(piece as Buffer)
  }
  expect(Buffer.concat(pieces).equals(large)).toBe(true)
})

test('an abort while the answer is read', async () => {
  const abort = new AbortController()
  const server = await scripted(sendsLarge)
  const dispatcher = agent()
  const { body } = await request(server.origin, { method: 'POST', dispatcher, signal: abort.signal })
  abort.abort(new Error('enough'))
  await expect(body.text()).rejects.toThrow('enough')
})

test('an answer that nobody reads to its end can be left', async () => {
  const server = await scripted(sendsLarge)
  const { body } = await request(server.origin, { method: 'POST', dispatcher: agent() })
  body.on('error', () => {}).destroy()
  await expect.poll(() => body.closed).toBe(true)
})

test('an answer to a GET passes through as it comes', async () => {
  const rest = Promise.withResolvers<void>()
  const server = await scripted(answers(503), (response) => {
    response.writeHead(200).write('first ')
    void rest.promise.then(() => response.end('second'))
  })
  const { body } = await request(server.origin, { dispatcher: agent() })
  const iterator = body[Symbol.asyncIterator]()
  expect(String((await iterator.next()).value)).toBe('first ')
  rest.resolve()
  expect(String((await iterator.next()).value)).toBe('second')
  expect((await iterator.next()).done).toBe(true)
})

test('an answer that passes through and breaks off is an error of its reader', async () => {
  const server = await scripted(cut)
  const { body } = await request(server.origin, { dispatcher: agent() })
  await expect(body.text()).rejects.toThrow()
  expect(server.received).toHaveLength(1)
})

test('an abort of an answer that passes through', async () => {
  const abort = new AbortController()
  const ended = Promise.withResolvers<void>()
  const server = await scripted((response) => {
    response.on('close', ended.resolve)
    response.writeHead(200).write('first ')
  })
  const { body } = await request(server.origin, { dispatcher: agent(), signal: abort.signal })
  abort.abort(new Error('enough'))
  await expect(body.text()).rejects.toThrow('enough')
  await ended.promise
})

test('an event stream has no end to wait for, also with a key', async () => {
  const server = await scripted(lost, (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
  })
  const { body } = await request(server.origin, { method: 'POST', dispatcher: agent() })
  const iterator = body[Symbol.asyncIterator]()
  expect(String((await iterator.next()).value)).toBe('data: 1\n\n')
  body.destroy()
})

test('interim answers, raw fields and trailers come through', async () => {
  const server = await scripted(lost, (response) => {
    response.writeEarlyHints({ link: '</x>; rel=preload' })
    response.writeHead(201, { 'X-Made': 'yes', trailer: 'x-sum' }).write('{}')
    response.addTrailers({ 'x-sum': '1' })
    response.end()
  })
  const hints: number[] = []
  const { headers, body, trailers } = await request(server.origin, {
    method: 'POST',
    dispatcher: agent(),
    responseHeaders: 'raw',
    onInfo: ({ statusCode }) => hints.push(statusCode),
  })
  expect(headers).toContain('X-Made')
  expect([await body.text(), trailers, hints]).toEqual(['{}', { 'x-sum': '1' }, [103]])
})

test.each([
  ['a stream', () => Readable.from(['one ', 'two'])],
  [
    'a generator',
    async function* pieces() {
      yield Buffer.from('one ')
      yield Buffer.from('two')
    },
  ],
])('%s as the body is read once and sent again', async (_name, body) => {
  const server = await scripted(lost, answers(201))
  await request(server.origin, { method: 'POST', body: body() as Readable, dispatcher: agent() })
  expect(server.received.map((each) => each.body.toString())).toEqual(['one two', 'one two'])
})

test('a body that is too large to be sent again is refused before anything is sent', async () => {
  const server = await scripted(answers(201))
  const piece = Buffer.alloc(2 ** 20)
  let given = 0
  const body = new Readable({
    read() {
      given += piece.length
      this.push(piece)
    },
  })
  const call = request(server.origin, { method: 'POST', body, dispatcher: agent() })
  await expect(call).rejects.toMatchObject({ name: 'InvalidOptionError', option: 'body' })
  expect(given).toBeLessThan(2 * bodyOctetsMax)
  expect(body.destroyed).toBe(true)
  expect(server.received).toHaveLength(0)
})

test('an abort while a body is read that never ends', async () => {
  const abort = new AbortController()
  const body = new Readable({ read: () => void setImmediate(() => abort.abort(new Error('enough'))) })
  const server = await scripted(answers(201))
  const dispatcher = agent()
  const call = request(server.origin, { method: 'POST', body, dispatcher, signal: abort.signal })
  await expect(call).rejects.toThrow('enough')
  await expect.poll(() => body.destroyed).toBe(true)
  expect(server.received).toHaveLength(0)
})

test('the deadline ends the reading of a body that never ends', async () => {
  const server = await scripted(answers(201))
  const dispatcher = closed(new Agent()).compose(idempotentInterceptor({ ...quick, deadline: 50 }))
  const call = request(server.origin, { method: 'POST', body: new Readable({ read: () => {} }), dispatcher })
  await expect(call).rejects.toMatchObject({ code: 'not-applied', reason: 'deadline', attempts: 0 })
  expect(server.received).toHaveLength(0)
})

test('the report of an answer that passes through is there with its head', async () => {
  const server = await scripted(lost, answers(200), (response) =>
    response
      .writeHead(200, { 'content-type': 'Text/Event-Stream', 'idempotent-replayed': 'true' })
      .write('data: 1'),
  )
  const dispatcher = agent()
  expect(callOf(await request(server.origin, { dispatcher }))).toEqual({
    key: undefined,
    attempts: 2,
    replayed: false,
  })
  const call = { method: 'POST', dispatcher, ...idempotency({ key: 'k-1' }) } as const
  const stored = await request(server.origin, call)
  expect(callOf(stored)).toEqual({ key: 'k-1', attempts: 1, replayed: true })
  stored.body.on('error', () => {}).destroy()
})

test("a handler that throws at its end is nobody else's error", async () => {
  const server = await scripted(answers(503))
  const unhandled: unknown[] = []
  const onUnhandled = (error: unknown): void => void unhandled.push(error)
  process.on('unhandledRejection', onUnhandled)
  onTestFinished(() => void process.off('unhandledRejection', onUnhandled))
  const told = Promise.withResolvers<Error>()
  agent().dispatch(
    { origin: server.origin, path: '/', method: 'POST' },
    {
      onResponseError(_controller, error) {
        told.resolve(error)
        throw new Error('of the handler')
      },
    },
  )
  expect(isClientError(await told.promise, 'outcome-unknown')).toBe(true)
  await new Promise(setImmediate)
  expect(unhandled).toEqual([])
})

test('a handler that pauses before its answer gets none of it until it resumes', async () => {
  const server = await scripted(answers(200, { id: 1 }))
  const dispatcher = agent()
  const started = Promise.withResolvers<Dispatcher.DispatchController>()
  const ended = Promise.withResolvers<void>()
  const pieces: Buffer[] = []
  dispatcher.dispatch(
    { origin: server.origin, path: '/', method: 'GET' },
    {
      onRequestStart: (controller) => controller.pause(),
      onResponseStart: (controller) => started.resolve(controller),
      onResponseData: (_controller, piece) => void pieces.push(piece),
      onResponseEnd: () => ended.resolve(),
      onResponseError: (_controller, error) => ended.reject(error),
    },
  )
  const controller = await started.promise
  await (await request(server.origin, { dispatcher })).body.text()
  expect(pieces).toEqual([])
  controller.resume()
  await ended.promise
  expect(Buffer.concat(pieces).toString()).toBe('{"id":1}')
})

test('a request that never had a connection was never sent', async () => {
  const server = await scripted(silent)
  const one = closed(new Pool(server.origin, { connections: 1 }))
  const busy = one.request({ path: '/', method: 'GET' }).catch((error: unknown) => error)
  await expect.poll(() => server.received.length).toBe(1)
  const dispatcher = one.compose(idempotentInterceptor({ ...quick, timeout: 50, retries: 1 }))
  const error = await dispatcher.request({ path: '/', method: 'POST' }).catch((reason: unknown) => reason)
  expect(error).toMatchObject({ code: 'not-applied', reason: 'retries', attempts: 2 })
  expect(server.received).toHaveLength(1)
  await one.destroy()
  await busy
})

test('what undici does not take ends the call at once', async () => {
  const server = await scripted(answers(201))
  const headers = { 'not a field': 'x' }
  const call = request(server.origin, { method: 'POST', headers, dispatcher: agent() })
  await expect(call).rejects.toMatchObject({ code: 'UND_ERR_INVALID_ARG' })
})

test.each([
  ['an object', { 'x-one': '1', 'x-many': ['2', '3'] }],
  ['pairs in a row', ['x-one', '1', 'x-many', '2, 3']],
  [
    'an iterable',
    new Map([
      ['x-one', '1'],
      ['x-many', '2, 3'],
    ]),
  ],
])('fields as %s', async (_name, headers) => {
  const server = await scripted(answers(201))
  await request(server.origin, { method: 'POST', headers: headers as string[], dispatcher: agent() })
  expect(server.received[0]?.headers).toMatchObject({ 'x-one': '1', 'x-many': '2, 3' })
  expect(keysOf(server).size).toBe(1)
})

test('with `redirect` outside, each origin has a key of its own', async () => {
  const other = await scripted(answers(201))
  const server = await scripted(redirects(307, other.origin))
  const dispatcher = closed(new Agent()).compose(interceptor, interceptors.redirect({ maxRedirections: 3 }))
  const { statusCode } = await request(server.origin, { method: 'POST', body: '{}', dispatcher })
  expect(statusCode).toBe(201)
  expect(other.received[0]?.headers['idempotency-key']).not.toBe(
    server.received[0]?.headers['idempotency-key'],
  )
})

test('an upgrade passes', async () => {
  const server = createServer()
  server.on('upgrade', (_request, socket) =>
    socket.end('HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo
  const dispatcher = closed(new Client(`http://127.0.0.1:${port}`)).compose(interceptor)
  const { socket } = await dispatcher.upgrade({ path: '/', protocol: 'x' })
  socket.destroy()
})

test('a handler that throws ends its request', async () => {
  const server = await scripted(answers(201))
  const call = stream(server.origin, { method: 'POST', dispatcher: agent() }, () => {
    throw new Error('of the factory')
  })
  await expect(call).rejects.toThrow('of the factory')
})

test('errors of the client are thrown as they are', async () => {
  const server = await scripted(answers(503))
  const error = await request(server.origin, {
    method: 'POST',
    dispatcher: agent(),
    ...idempotency({ key: 'k-1' }),
  }).catch((reason: unknown) => reason)
  expect(isClientError(error, 'outcome-unknown')).toBe(true)
  expect([...keysOf(server)]).toEqual(['"k-1"'])
})
