/** A thousand callers at once while a service is down: the load that their retries add is bounded. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { createIdempotentFetch, isClientError } from '../../src/client/index.ts'

// A thousand connections at once take a busy machine a while.
vi.setConfig({ testTimeout: 120_000 })

const callers = 1_000

/** What the budget allows, of its defaults: a fifth of the calls, and ten a second. */
const allowed = (seconds: number): number => callers * 1.2 + 10 * (seconds + 1)

describe.each<[string, Readonly<Record<string, string>>]>([
  ['without Retry-After', {}],
  ['with Retry-After', { 'retry-after': '1' }],
])('503 %s', (_name, fields) => {
  test('is answered by no more than the budget', async () => {
    let isDown = true
    const arrivals = new Map<string, number[]>()
    let received = 0
    const server = createServer((request, response) => {
      received += 1
      const key = request.headers['idempotency-key'] as string
      arrivals.set(key, [...(arrivals.get(key) ?? []), performance.now()])
      request.resume().on('end', () => response.writeHead(isDown ? 503 : 201, fields).end())
    })
    // All of them may connect at once.
    server.listen({ port: 0, host: '127.0.0.1', backlog: 2 * callers })
    await once(server, 'listening')
    onTestFinished(() => {
      server.close()
      server.closeAllConnections()
    })
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    // Clients of one process share the budget of an origin.
    const clients = [createIdempotentFetch(), createIdempotentFetch()] as const
    const begunAt = performance.now()
    let ended = 0
    const ends = await Promise.all(
      Array.from({ length: callers }, async (_, at) => {
        const fetch = clients[at % 2] as (typeof clients)[0]
        try {
          return (await fetch(url, { method: 'POST', body: '{"amount":100}' })).status
        } catch (error) {
          return isClientError(error, 'outcome-unknown') ? error.reason : error
        } finally {
          ended += 1
          // Back up once most have given up.
          if (ended === callers / 2) isDown = false
        }
      }),
    )
    const seconds = (performance.now() - begunAt) / 1_000
    expect(received).toBeLessThanOrEqual(allowed(seconds))
    expect(received).toBeGreaterThan(callers)
    expect(new Set(ends)).toContain('budget')
    expect(ends.filter((end) => ![201, 'budget', 'retries'].includes(end as number))).toEqual([])
    expect(arrivals.size).toBe(callers)
    if ('retry-after' in fields) {
      const gaps = [...arrivals.values()].flatMap((times) =>
        times.slice(1).map((time, at) => time - (times[at] as number)),
      )
      expect(gaps.length).toBeGreaterThan(0)
      // An answer is read after it was sent, so that a gap can only be longer.
      expect(Math.min(...gaps)).toBeGreaterThanOrEqual(999)
    }
    expect((await clients[0](url, { method: 'POST' })).status).toBe(201)
  })
})
