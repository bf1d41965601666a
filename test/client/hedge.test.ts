/** Against real servers: a second request, and which of two answers counts. */
import type { ServerResponse } from 'node:http'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { idempotent } from '../../src/http/node.ts'
import { sharedBudgets } from '../../src/client/budget.ts'
import { callOf, createIdempotentFetch, hedgedFetch, type HedgeOptions } from '../../src/client/index.ts'
import { eventually } from '../eventually.ts'
import { instance, serve } from '../http/serving.ts'
import { problem, type Received, recording, type Recorded, type Reply, reset, status } from './serving.ts'

const post = { method: 'POST', body: '{"amount":100}' }

/** Sends at once what is to be hedged; no retries, so that all further requests are hedges. */
const client = (options: Partial<HedgeOptions> = {}): ReturnType<typeof createIdempotentFetch> =>
  createIdempotentFetch({ retries: 0, fetch: hedgedFetch({ after: 1, ...options }) })

/** Holds its answer back until `answerHeld`. */
let held: (() => void)[] = []
const hold =
  (reply: Reply): Reply =>
  (response, received) =>
    void held.push(() => reply(response, received))
afterEach(() => {
  held = []
})

const failure = (error: unknown): unknown => error

/** Without the client, which would read the answer. */
function fetchOnce(url: string): Promise<Response> {
  return hedgedFetch({ after: 1 })(url, { ...post, headers: { 'idempotency-key': '"k"' } })
}
const arrived = (server: Recorded, count: number): Promise<void> =>
  eventually(() => expect(server.received).toHaveLength(count))

test('the second request is the first once more, and its answer counts', async () => {
  const server = await recording(hold(status(201)), status(201, {}, 'of the second'))
  const response = await client()(server.origin, post)
  expect([await response.text(), callOf(response)?.attempts]).toEqual(['of the second', 1])
  expect(server.received).toHaveLength(2)
  expect(server.received[1]).toEqual(server.received[0])
})

test('the request that is not needed any more is aborted', async () => {
  let first: ServerResponse | undefined
  const server = await recording((response) => void (first = response), status(201))
  await client()(server.origin, post)
  await eventually(() => expect(first?.destroyed).toBe(true))
})

test('the answer of the first counts where it is earlier', async () => {
  const server = await recording(hold(status(201, {}, 'of the first')), hold(status(201)))
  const sent = client()(server.origin, post)
  await arrived(server, 2)
  held[0]?.()
  expect(await (await sent).text()).toBe('of the first')
})

test("where neither is the operation's answer, the one that is not given out is let go", async () => {
  const bodies: ServerResponse[] = []
  const server = await recording(
    hold((response) => {
      bodies.push(response)
      response.writeHead(429, { 'content-length': '1000000' }).write('x')
    }),
  )
  const sent = fetchOnce(server.origin)
  await arrived(server, 2)
  for (const answer of held) answer()
  expect((await sent).status).toBe(429)
  await eventually(() => expect(bodies.filter(({ destroyed }) => destroyed)).toHaveLength(1))
})

test('of two answers at once one is whole', async () => {
  const server = await recording(hold(status(201, {}, 'x'.repeat(100_000))))
  const sent = client()(server.origin, post)
  await arrived(server, 2)
  for (const answer of held) answer()
  expect((await (await sent).text()).length).toBe(100_000)
})

describe('what is no answer of the operation', () => {
  test.each<[string, Reply]>([
    ['409 in-progress', problem(409, 'in-progress')],
    ['409 with Retry-After', status(409, { 'retry-after': '1' })],
    ['429', status(429)],
    ['503', status(503)],
    ['a reset', reset],
  ])('%s: the other one is waited for', async (_name, reply) => {
    const server = await recording(hold(status(201, {}, 'of the first')), reply)
    const sent = client()(server.origin, post)
    await arrived(server, 2)
    held[0]?.()
    expect(await (await sent).text()).toBe('of the first')
    const other = await recording(hold(reply), hold(status(201, {}, 'of the second')))
    const alsoSent = client()(other.origin, post)
    await arrived(other, 2)
    held[1]?.()
    held[2]?.()
    expect(await (await alsoSent).text()).toBe('of the second')
  })

  test('of both: what leaves most open counts', async () => {
    const ends: unknown[] = []
    for (const [one, two] of [
      [status(429), status(500)],
      [status(500), status(429)],
      [reset, status(429)],
      [status(429), reset],
      [problem(409, 'in-progress'), reset],
      [reset, reset],
      [status(429), status(403)],
    ] as const) {
      held = []
      const server = await recording(hold(one), hold(two))
      const sent = client()(server.origin, post).then(({ status: code }) => code, failure)
      await arrived(server, 2)
      for (const answer of held) answer()
      const end = await sent
      ends.push(typeof end === 'number' ? end : (end as { code: string }).code)
    }
    expect(ends.slice(0, 6)).toEqual(Array.from({ length: 6 }, () => 'outcome-unknown'))
    expect(ends[6]).toBe(429)
  })
})

describe('nothing is sent twice', () => {
  test('without a key', async () => {
    const server = await recording(hold(status(200)))
    const sent = [client()(server.origin), client()(server.origin, { ...post, idempotency: false })]
    await arrived(server, 2)
    // A hedge would have left by now: the next request did.
    const next = client({ after: '1h' })(server.origin, post)
    await arrived(server, 3)
    for (const answer of held) answer()
    await Promise.all([...sent, next])
    expect(server.received).toHaveLength(3)
  })

  test('that is answered in time', async () => {
    const server = await recording(status(201))
    await client({ after: '1h' })(server.origin, post)
    expect(server.received).toHaveLength(1)
  })

  test.each<[string, Reply]>([
    ['429', status(429)],
    ['503', status(503)],
    ['Retry-After', status(200, { 'retry-after': '1' })],
  ])('while the origin says that it is busy: %s', async (_name, busy) => {
    const server = await recording((response, received) =>
      (received.url === '/busy' ? busy : hold(status(201)))(response, received),
    )
    const hedging = client()
    // Which may take long, too, and be sent twice.
    await hedging(`${server.origin}/busy`, post).catch(failure)
    const sent = hedging(server.origin, post)
    const asked = (): Received[] => server.received.filter(({ url }) => url === '/')
    await eventually(() => expect(asked()).toHaveLength(1))
    // Another origin is not spared: its hedge leaves after the same time.
    const other = await recording(hold(status(201)), status(201))
    await hedging(other.origin, post)
    held[0]?.()
    await sent
    expect([asked().length, other.received.length]).toEqual([1, 2])
  })

  test('that the budget of retries does not pay', async () => {
    const server = await recording(hold(status(201)))
    const budget = sharedBudgets(server.origin)
    // It fills with time, and with each call that has no budget of its own.
    const stopped = vi.spyOn(performance, 'now').mockReturnValue(performance.now())
    onTestFinished(() => stopped.mockRestore())
    while (budget.spend());
    const hedging = createIdempotentFetch({ retries: 0, budget: {}, fetch: hedgedFetch({ after: 1 }) })
    const sent = hedging(server.origin, post)
    await arrived(server, 1)
    const other = await recording(hold(status(201)), status(201))
    await client()(other.origin, post)
    held[0]?.()
    await sent
    expect(server.received).toHaveLength(1)
  })
})

test('p95: nothing is known at first, then what is slower than the last answers is sent twice', async () => {
  let slow = false
  const server = await recording((response, received) => {
    if (slow) hold(status(201))(response, received)
    else status(201)(response, received)
    if (slow && held.length === 2) held[1]?.()
  })
  const hedging = createIdempotentFetch({ retries: 0, fetch: hedgedFetch({ after: 'p95' }) })
  for (let call = 0; call < 20; call++) await hedging(server.origin, post)
  expect(server.received).toHaveLength(20)
  slow = true
  expect((await hedging(server.origin, post)).status).toBe(201)
  expect(server.received).toHaveLength(22)
})

test('one effect behind Retrysafe: the second request is told that the first is in progress', async () => {
  let effects = 0
  const goOn = Promise.withResolvers<void>()
  const statuses: number[] = []
  const listener = idempotent(
    instance(),
    { principal: 'anonymous', required: true },
    async (_request, response) => {
      effects += 1
      await goOn.promise
      response.writeHead(201).end('charged')
    },
  )
  const { origin } = await serve((request, response) => {
    response.on('finish', () => statuses.push(response.statusCode))
    listener(request, response)
  })
  const sent = client()(origin, post)
  await eventually(() => expect(statuses).toEqual([409]))
  goOn.resolve()
  const response = await sent
  expect([response.status, await response.text(), effects]).toEqual([201, 'charged', 1])
})

test('the signal of the caller ends both', async () => {
  const reason = new Error('enough')
  const abort = new AbortController()
  const server = await recording(hold(status(201)))
  const sent = client()(server.origin, { ...post, signal: abort.signal }).catch(failure)
  await arrived(server, 2)
  abort.abort(reason)
  expect(await sent).toBe(reason)
})

test.each([0, '1 s' as '1s', 2 ** 31])('after %o is refused', (after) => {
  expect(() => hedgedFetch({ after })).toThrow('Option after must be ')
})
