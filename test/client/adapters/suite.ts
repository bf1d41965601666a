/** What every adapter has to do, with its real library and real servers. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Retry } from '../../../src/client/attempts.ts'
import { type ClientError, isClientError } from '../../../src/client/errors.ts'
import type { CallOptions, CallReport } from '../../../src/client/fetch.ts'
import type { KeyedOptions } from '../../../src/client/keyed-call.ts'
import { idempotent, keepRawBody } from '../../../src/http/express.ts'
import { startFaultProxy } from '../../../src/verification/fault-proxy.ts'
import { instance, serve } from '../../http/serving.ts'
import {
  answers,
  cut,
  lost,
  problem,
  type Received,
  redirects,
  scripted,
  type ScriptedServer,
  silent,
} from './scripted-server.ts'

export interface Sending {
  /** Default POST. */
  readonly method?: string
  readonly body?: unknown
  readonly headers?: Record<string, string>
  readonly signal?: AbortSignal
  readonly idempotency?: CallOptions | false
}

export interface Sent {
  readonly status: number
  readonly text: string
  readonly header: (name: string) => string | null | undefined
  readonly report: CallReport | undefined
  /** Name of the library's own error that brought the answer. */
  readonly thrownAs?: string
}

export type Send = (url: string, sending?: Sending) => Promise<Sent>

export type SuiteOptions = KeyedOptions<unknown>

/** How an adapter differs from others; the documentation shows it. */
export interface Differences {
  /** What a caller has of a last answer like 409: its library's error by name, or the answer. */
  readonly refusedAnswer: string
  /** Name of the error of a caller's abort. */
  readonly abort: string
  /** What a call with a key does on a redirect: within its origin, and to another one. */
  readonly redirects: 'within the origin' | 'none' | 'each with a key of its own'
  /** How the errors of the client come. */
  readonly errors: 'as they are' | 'as the cause of a TypeError'
  /** How a call says its key and when that was made. */
  readonly callOptions: 'init.idempotency' | 'idempotency()' | "the key's field"
  /** Whether the attempts of a call are known from its answer. */
  readonly report: boolean
}

export interface ClientAdapter {
  readonly name: string
  readonly differences: Differences
  make(options: SuiteOptions): Send
}

/** No budget but the test's own, and no waits to speak of. */
const quick: SuiteOptions = { backoff: 1, backoffMax: 2, budget: { perSecond: 1_000 } }

const charge = { body: { amount: 100 } }

/** The bodies that each library takes, and what they are on the wire. */
const bodies: Readonly<Record<string, () => unknown>> = {
  text: () => 'plain text, ünïcode',
  'a JSON object': () => ({ amount: 100, note: 'ä' }),
  octets: () => Buffer.from([0, 255, 1, 254]),
  'a form with a file': () => {
    const form = new FormData()
    form.append('amount', '100')
    form.append('receipt', new File(['octets of a file'], 'receipt.txt', { type: 'text/plain' }))
    return form
  },
  'URL-encoded fields': () => new URLSearchParams({ amount: '100', note: 'a b' }),
}

/** The error that a call of the client ends in. */
async function ended(call: Promise<unknown>): Promise<ClientError> {
  const error = await call.then(
    () => expect.unreachable('The call has an answer.'),
    (reason: unknown) => reason,
  )
  const cause = error instanceof TypeError ? error.cause : error
  if (!isClientError(cause)) throw error
  return cause
}

/** Express with Retrysafe in front of a handler that counts its runs. */
async function charges(
  work: () => Promise<void> = async () => {},
): Promise<{ port: number; runs: () => number }> {
  const app = express()
  let runs = 0
  app.use(express.json({ verify: keepRawBody }))
  app.post(
    '/charges',
    idempotent(instance(), { principal: 'anonymous', required: true }),
    async (request, response) => {
      runs += 1
      const id = runs
      await work()
      response.status(201).json({ id, amount: (request.body as { amount: number }).amount })
    },
  )
  const { port } = await serve(app)
  return { port, runs: () => runs }
}

const keysOf = ({ received }: ScriptedServer): Set<unknown> =>
  new Set(received.map(({ headers }) => headers['idempotency-key']))

/** A port that nothing listens on. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

export function clientAdapterSuite({ name, make, differences }: ClientAdapter): void {
  const send = (options: SuiteOptions = {}): Send => make({ ...quick, ...options })
  const follows = differences.redirects !== 'none'

  describe(name, () => {
    describe('against Express with Retrysafe', () => {
      test('a lost answer: one effect, and its answer', async () => {
        const server = await charges()
        const proxy = await startFaultProxy({ target: { port: server.port } })
        onTestFinished(() => proxy.close())
        proxy.cutOn('/charges', 'after')
        const sent = await send()(`http://127.0.0.1:${proxy.port}/charges`, charge)
        expect([sent.status, JSON.parse(sent.text), server.runs()]).toEqual([201, { id: 1, amount: 100 }, 1])
        expect(proxy.counts.cutAfter).toBe(1)
        expect(sent.header('idempotent-replayed')).toBe('true')
        const report = { key: expect.any(String) as unknown, attempts: 2, replayed: true }
        expect(sent.report).toEqual(differences.report ? report : undefined)
      })

      test('many calls at once, some of which lose their answer: each has one effect', async () => {
        const server = await charges()
        const proxy = await startFaultProxy({ target: { port: server.port } })
        onTestFinished(() => proxy.close())
        proxy.cutOn('/charges', 'after', 10)
        const api = send()
        const url = `http://127.0.0.1:${proxy.port}/charges`
        const sent = await Promise.all(Array.from({ length: 40 }, () => api(url, charge)))
        expect(new Set(sent.map(({ text }) => text)).size).toBe(40)
        expect([proxy.counts.cutAfter, server.runs()]).toEqual([10, 40])
      })

      test('an answer that is in progress is waited for', async () => {
        const refused = Promise.withResolvers<Retry>()
        const started = Promise.withResolvers<void>()
        const server = await charges(async () => {
          started.resolve()
          await refused.promise
        })
        const url = `http://127.0.0.1:${server.port}/charges`
        const first = send()(url, { ...charge, idempotency: { key: 'k-1' } })
        await started.promise
        const second = send({ onRetry: refused.resolve })(url, { ...charge, idempotency: { key: 'k-1' } })
        expect((await refused.promise).status).toBe(409)
        const [one, two] = await Promise.all([first, second])
        expect([one.status, two.status, two.text, server.runs()]).toEqual([201, 201, one.text, 1])
        expect(two.header('idempotent-replayed')).toBe('true')
      })

      test('a key that was used for another request is refused', async () => {
        const server = await charges()
        const url = `http://127.0.0.1:${server.port}/charges`
        await send()(url, { ...charge, idempotency: { key: 'k-1' } })
        const error = await ended(send()(url, { body: { amount: 200 }, idempotency: { key: 'k-1' } }))
        expect(error).toMatchObject({
          code: 'key-refused',
          serverCode: 'key-reused',
          attempts: 1,
          key: 'k-1',
        })
        expect(server.runs()).toBe(1)
      })
    })

    test('a refused connection was never sent: also without a key it is tried again', async () => {
      const port = await freePort()
      const servers: Server[] = []
      onTestFinished(() => servers.forEach((server) => server.close().closeAllConnections()))
      const onRetry = ({ attempts }: Retry): void => {
        if (attempts === 1) {
          servers.push(
            createServer((_request, response) => response.writeHead(201).end('{}')).listen(port, '127.0.0.1'),
          )
        }
      }
      const options = { methods: [], onRetry, retries: 50, backoff: 50, backoffMax: 50 }
      expect((await send(options)(`http://127.0.0.1:${port}/`, charge)).status).toBe(201)
      expect(servers).toHaveLength(1)
    })

    test('a connection that is refused to the end has applied nothing', async () => {
      const error = await ended(send({ retries: 1 })(`http://127.0.0.1:${await freePort()}/`, charge))
      expect(error).toMatchObject({ code: 'not-applied', reason: 'retries', attempts: 2 })
    })

    test('503 with Retry-After, then 201: the same key, and no shorter wait', async () => {
      const server = await scripted(answers(503, {}, { 'retry-after': '1' }), answers(201, { id: 1 }))
      const retries: Retry[] = []
      const sent = await send({ onRetry: (retry) => retries.push(retry) })(server.origin, charge)
      expect([sent.status, sent.text, server.received.length]).toEqual([201, '{"id":1}', 2])
      expect(keysOf(server).size).toBe(1)
      expect(server.received[0]?.headers['idempotency-key']).toMatch(/^"[\da-f-]{36}"$/)
      expect(retries).toMatchObject([{ attempts: 1, status: 503 }])
      expect(retries[0]?.waitMs).toBeGreaterThanOrEqual(1_000)
    })

    test('a 409 of the business is its answer', async () => {
      const server = await scripted(answers(409, { reason: 'sold out' }))
      const sent = await send()(server.origin, charge)
      expect([sent.status, sent.text, server.received.length]).toEqual([409, '{"reason":"sold out"}', 1])
      expect(sent.thrownAs ?? 'the answer').toBe(differences.refusedAnswer)
      expect(sent.report?.attempts).toBe(differences.report ? 1 : undefined)
    })

    test('an outcome that the server does not know is unknown', async () => {
      const server = await scripted(problem(409, 'outcome-unknown'))
      const error = await ended(send()(server.origin, charge))
      expect(error).toMatchObject({ name: 'UnknownOutcomeError', code: 'outcome-unknown', reason: 'server' })
      expect(server.received).toHaveLength(1)
    })

    test("the client's errors come as the documentation says", async () => {
      const { origin } = await scripted(answers(503))
      const error = await send({ retries: 0 })(origin, charge).catch((reason: unknown) => reason)
      const isWrapped = error instanceof TypeError && isClientError(error.cause)
      expect(isWrapped ? 'as the cause of a TypeError' : isClientError(error) && 'as they are').toBe(
        differences.errors,
      )
    })

    test('no answer in time is unknown, not failed', async () => {
      const server = await scripted(silent)
      const error = await ended(send({ timeout: 500, retries: 1 })(server.origin, charge))
      expect(error).toMatchObject({ code: 'outcome-unknown', reason: 'retries', attempts: 2 })
      expect(keysOf(server).size).toBe(1)
    })

    test('an answer that breaks off is none', async () => {
      const server = await scripted(cut, answers(201, { id: 1 }))
      const sent = await send()(server.origin, charge)
      expect([sent.status, sent.text, server.received.length]).toEqual([201, '{"id":1}', 2])
    })

    test.each(Object.keys(bodies))('%s: every attempt has the same octets', async (kind) => {
      const server = await scripted(lost, cut, answers(503), answers(201))
      await send()(server.origin, { body: bodies[kind]?.() })
      const seen = server.received.map(({ body, headers }) => [
        body.toString('latin1'),
        headers['content-type'],
      ])
      expect(seen).toHaveLength(4)
      expect(new Set(seen.map((each) => JSON.stringify(each))).size).toBe(1)
      expect(seen[0]?.[0]).not.toBe('')
      expect(keysOf(server).size).toBe(1)
    })

    test('what the bodies are on the wire', async () => {
      const server = await scripted(answers(201))
      for (const body of Object.values(bodies)) await send()(server.origin, { body: body() })
      const [text, json, octets, form, fields] = server.received
      expect(text?.body.toString()).toBe('plain text, ünïcode')
      expect(JSON.parse(json?.body.toString() ?? '')).toEqual({ amount: 100, note: 'ä' })
      expect(json?.headers['content-type']).toMatch(/^application\/json/)
      expect([...(octets?.body ?? [])]).toEqual([0, 255, 1, 254])
      const parsed = await new Response(form?.body as Uint8Array<ArrayBuffer>, {
        headers: { 'content-type': form?.headers['content-type'] ?? '' },
      }).formData()
      expect([parsed.get('amount'), await (parsed.get('receipt') as File).text()]).toEqual([
        '100',
        'octets of a file',
      ])
      expect(fields?.body.toString()).toBe('amount=100&note=a+b')
      expect(fields?.headers['content-type']).toMatch(/^application\/x-www-form-urlencoded/)
    })

    test('octets that the caller writes over later are not sent', async () => {
      const body = Buffer.from('first')
      const server = await scripted((response, request) => {
        body.write('other')
        lost(response, request)
      }, answers(201))
      await send()(server.origin, { body })
      expect(server.received.map((each) => each.body.toString())).toEqual(['first', 'first'])
    })

    test('no key follows a redirect to another origin', async () => {
      const other = await scripted(answers(200, { id: 'elsewhere' }))
      const server = await scripted(redirects(307, `${other.origin}/charges`))
      const call = send()(server.origin, charge)
      const leaves = differences.redirects === 'each with a key of its own'
      expect([(await call).status, other.received.length]).toEqual(leaves ? [200, 1] : [307, 0])
      expect(keysOf(server).size).toBe(1)
      expect(keysOf(other).has([...keysOf(server)][0])).toBe(false)
    })

    test('303: the answer is elsewhere, and looking takes no key', async () => {
      const server = await scripted(redirects(303, '/charges/1'), answers(200, { id: 1 }))
      const sent = await send()(server.origin, charge)
      expect(sent.status).toBe(follows ? 200 : 303)
      const asked = server.received.map(({ method, url, headers }) => [
        method,
        url,
        'idempotency-key' in headers,
      ])
      const looked = follows ? [['GET', '/charges/1', false]] : []
      expect(asked).toEqual([['POST', '/', true], ...looked])
      expect(server.received[1]?.body.length ?? 0).toBe(0)
    })

    test('303 to another origin', async () => {
      const other = await scripted(answers(200, { id: 1 }))
      const server = await scripted(redirects(303, other.origin))
      const sent = await send()(server.origin, { ...charge, headers: { authorization: 'Bearer 0' } })
      expect(sent.status).toBe(follows ? 200 : 303)
      const asked = other.received.map(({ method, headers, body }) => [
        method,
        headers['idempotency-key'],
        headers['authorization'],
        headers['content-type'],
        body.length,
      ])
      expect(asked).toEqual(follows ? [['GET', undefined, undefined, undefined, 0]] : [])
    })

    test.runIf(differences.redirects === 'within the origin')(
      'what fails after a 303 is not what was never sent',
      async () => {
        const server = await scripted(redirects(303, `http://127.0.0.1:${await freePort()}/`))
        const error = await ended(send({ retries: 1 })(server.origin, charge))
        expect(error).toMatchObject({ code: 'outcome-unknown', attempts: 2 })
      },
    )

    test.runIf(differences.redirects === 'within the origin')(
      '307 within the origin: the same key and octets',
      async () => {
        const server = await scripted(redirects(307, '/v2'), answers(201, { id: 1 }))
        expect((await send()(server.origin, charge)).status).toBe(201)
        const [one, two] = server.received
        expect([two?.method, two?.url, two?.body]).toEqual(['POST', '/v2', one?.body])
        expect(keysOf(server).size).toBe(1)
      },
    )

    describe.runIf(differences.redirects === 'within the origin')('an operation that has answered', () => {
      const bare = { methods: [], retries: 2 } as const
      // Over `fetch` a DELETE is sent again, which HTTP allows.
      const isFetch = ['fetch', 'ky', 'openapi-fetch'].includes(name)

      test.each(isFetch ? ['POST'] : ['POST', 'DELETE'])(
        'a %s is not sent again where a 303 leads nowhere',
        async (method) => {
          const server = await scripted(redirects(303, `http://127.0.0.1:${await freePort()}/`))
          const error = await ended(send(bare)(server.origin, { method }))
          expect(error).toMatchObject({ code: 'outcome-unknown', key: undefined })
          expect(server.received).toHaveLength(1)
        },
      )

      test.each([429, 401, 403, 503])('nor where that answers %i', async (status) => {
        const other = await scripted(answers(status))
        const server = await scripted(redirects(303, other.origin))
        const error = await ended(send(bare)(server.origin, charge))
        expect(error).toMatchObject({ code: 'outcome-unknown', attempts: 1 })
        expect([server.received.length, other.received.length]).toEqual([1, 1])
      })

      test.each([303, 302])(
        'a key changes nothing about a server that is gone after a %i',
        async (status) => {
          const port = await freePort()
          const other = createServer((_request, response) => {
            response.writeHead(429, { connection: 'close' }).end(() => other.close())
          }).listen(port, '127.0.0.1')
          await once(other, 'listening')
          const server = await scripted(redirects(status, `http://127.0.0.1:${port}/`))
          const error = await ended(send({ retries: 2 })(server.origin, charge))
          expect(error).toMatchObject({ code: 'outcome-unknown', reason: 'retries', attempts: 3 })
          expect(keysOf(server).size).toBe(1)
        },
      )

      test.each(['http://[bad', 'ftp://127.0.0.1/'])(
        'what it names cannot be asked: %s',
        async (location) => {
          const server = await scripted(redirects(303, location))
          expect(await ended(send({ retries: 1 })(server.origin, charge))).toMatchObject({
            code: 'outcome-unknown',
          })
          expect(await ended(send(bare)(server.origin, charge))).toMatchObject({ code: 'outcome-unknown' })
          expect(server.received.at(-1)?.headers['idempotency-key']).toBeUndefined()
        },
      )

      test.each([301, 302])('%i of a POST is read without key, body and content fields', async (status) => {
        const server = await scripted(redirects(status, '/charges/1'), answers(200, { id: 1 }))
        expect((await send()(server.origin, charge)).text).toBe('{"id":1}')
        const { method, headers, body } = server.received[1] as Received
        expect([method, headers['idempotency-key'], headers['content-type'], body.length]).toEqual([
          'GET',
          undefined,
          undefined,
          0,
        ])
      })

      test('302 of a PATCH keeps method, key and octets within the origin, and is the answer elsewhere', async () => {
        const other = await scripted(answers(200))
        const server = await scripted(redirects(302, '/moved'), redirects(302, other.origin))
        const sent = await send()(server.origin, { ...charge, method: 'PATCH' })
        expect([sent.status, other.received.length]).toEqual([302, 0])
        expect(server.received.map(({ method, url }) => `${method} ${url}`)).toEqual([
          'PATCH /',
          'PATCH /moved',
        ])
        expect(server.received[1]?.body).toEqual(server.received[0]?.body)
        expect(keysOf(server).size).toBe(1)
      })

      test('credentials that are taken anew are for their origin', async () => {
        const other = await scripted(answers(401), answers(200))
        const server = await scripted(redirects(307, other.origin))
        const refresh = (): Record<string, string> => ({ authorization: 'Bearer 1' })
        expect((await send({ methods: [], refresh })(server.origin, charge)).status).toBe(200)
        expect(other.received.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined])
      })
    })

    test('an abort ends the attempt that is sent', async () => {
      const abort = new AbortController()
      const server = await scripted(() => abort.abort())
      await expect(send()(server.origin, { ...charge, signal: abort.signal })).rejects.toMatchObject({
        name: differences.abort,
      })
      expect(server.received).toHaveLength(1)
    })

    test('an abort ends the wait for the next attempt', async () => {
      const abort = new AbortController()
      const server = await scripted(answers(503, {}, { 'retry-after': '60' }))
      const onRetry = (): void => void setImmediate(() => abort.abort())
      const call = send({ onRetry })(server.origin, { ...charge, signal: abort.signal })
      await expect(call).rejects.toMatchObject({ name: differences.abort })
      expect(server.received).toHaveLength(1)
    })

    test('an abort before the call sends nothing', async () => {
      const server = await scripted(answers(201))
      const call = send()(server.origin, { ...charge, signal: AbortSignal.abort() })
      await expect(call).rejects.toMatchObject({ name: differences.abort })
      expect(server.received).toHaveLength(0)
    })

    test('401: other credentials once, with the same key and octets', async () => {
      const server = await scripted(answers(401), answers(201, { id: 1 }))
      let asked = 0
      const refresh = (): Record<string, string> => ({ authorization: `Bearer ${++asked}` })
      const sent = await send({ refresh })(server.origin, {
        ...charge,
        headers: { authorization: 'Bearer 0' },
      })
      expect([sent.status, asked]).toEqual([201, 1])
      expect(server.received.map(({ headers }) => headers['authorization'])).toEqual(['Bearer 0', 'Bearer 1'])
      expect(server.received[1]?.body).toEqual(server.received[0]?.body)
      expect(keysOf(server).size).toBe(1)
    })

    test('401 again is the answer', async () => {
      const server = await scripted(answers(401))
      const sent = await send({ refresh: () => ({ authorization: 'Bearer 1' }) })(server.origin, charge)
      expect([sent.status, server.received.length]).toEqual([401, 2])
    })

    test('a POST without a key is not sent again once it may have taken effect', async () => {
      const server = await scripted(lost, answers(201))
      const error = await ended(send({ methods: [] })(server.origin, charge))
      expect(error).toMatchObject({ code: 'outcome-unknown', reason: 'no-key', attempts: 1, key: undefined })
      expect(server.received.map(({ headers }) => headers['idempotency-key'])).toEqual([undefined])
    })

    test('a GET is tried again, and has no key', async () => {
      const server = await scripted(lost, answers(503), answers(200, { charges: 1 }))
      const sent = await send()(server.origin, { method: 'GET' })
      expect([sent.status, sent.text, server.received.length]).toEqual([200, '{"charges":1}', 3])
      expect([...keysOf(server)]).toEqual([undefined])
    })

    test('retries are those of the client: the library adds none', async () => {
      const server = await scripted(answers(503))
      const error = await ended(send({ retries: 2 })(server.origin, charge))
      expect(error).toMatchObject({ code: 'outcome-unknown', reason: 'retries', attempts: 3 })
      expect(server.received).toHaveLength(3)
      expect(keysOf(server).size).toBe(1)
      const read = await scripted(answers(503))
      expect((await send({ retries: 2 })(read.origin, { method: 'GET' })).status).toBe(503)
      expect(read.received).toHaveLength(3)
    })

    test('two calls have two keys', async () => {
      const server = await scripted(answers(201))
      const api = send()
      await Promise.all([api(server.origin, charge), api(server.origin, charge)])
      expect(keysOf(server).size).toBe(2)
    })

    test('the field that the caller wrote is the key', async () => {
      const server = await scripted(answers(201))
      const sent = await send()(server.origin, { ...charge, headers: { 'idempotency-key': '"mine"' } })
      expect(sent.status).toBe(201)
      expect([...keysOf(server)]).toEqual(['"mine"'])
    })

    test('another field, another format, another method', async () => {
      const server = await scripted(lost, answers(200))
      const options = { keyHeader: 'X-Request-Id', keyFormat: 'bare', methods: ['PUT'] } as const
      await send(options)(server.origin, { ...charge, method: 'PUT' })
      const keys = server.received.map(({ headers }) => headers['x-request-id'])
      expect(keys[0]).toMatch(/^[\da-f-]{36}$/)
      expect(keys).toEqual([keys[0], keys[0]])
      await send(options)(server.origin, charge)
      expect(server.received[2]?.headers['x-request-id']).toBeUndefined()
    })

    test.runIf(differences.callOptions !== "the key's field")(
      'a key that is too old is not sent',
      async () => {
        const server = await scripted(answers(201))
        const idempotency = { key: 'k-1', sentSince: Date.now() - 13 * 3_600_000 }
        const error = await ended(send()(server.origin, { ...charge, idempotency }))
        expect(error).toMatchObject({ code: 'horizon-passed', key: 'k-1', attempts: 0 })
        expect(server.received).toHaveLength(0)
      },
    )

    test.runIf(differences.callOptions !== "the key's field")(
      'a key that was sent before leaves a call unknown that is turned away',
      async () => {
        const server = await scripted(answers(429))
        const idempotency = { key: 'k-1', sentSince: Date.now() }
        const error = await ended(send({ retries: 0 })(server.origin, { ...charge, idempotency }))
        expect(error).toMatchObject({ code: 'outcome-unknown', key: 'k-1' })
      },
    )

    test.runIf(differences.callOptions !== "the key's field")(
      'a key that no server can read is refused',
      async () => {
        const server = await scripted(answers(201))
        const call = send()(server.origin, { ...charge, idempotency: { key: 'one, two' } })
        await expect(call).rejects.toMatchObject({ name: 'InvalidOptionError', option: 'key' })
        expect(server.received).toHaveLength(0)
      },
    )

    test('a call that is left to the library has no key and one attempt', async () => {
      const server = await scripted(answers(503))
      expect((await send()(server.origin, { ...charge, idempotency: false })).status).toBe(503)
      expect(server.received.map(({ headers }) => headers['idempotency-key'])).toEqual([undefined])
    })

    test('options are read at once', () => {
      expect(() => make({ retries: -1 })).toThrow(/retries must be a whole number/)
    })
  })
}
