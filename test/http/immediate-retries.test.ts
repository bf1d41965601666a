/**
 * A retry that is sent the moment the first answer is there finds that answer, however slow the store: what a client
 * has seen is settled.
 */
import { Agent, request } from 'node:http'
import express from 'express'
import { expect, onTestFinished, test } from 'vitest'
import { createIdempotency, type Idempotency } from '../../src/engine/idempotency.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { storeWith } from './raw-client.ts'
import { expressShapes } from './shapes/express.ts'
import { fastifyShapes } from './shapes/fastify.ts'
import { fetchShapes } from './shapes/fetch.ts'
import { honoShapes } from './shapes/hono.ts'
import { nodeShapes } from './shapes/node.ts'
import { type RunningShapes, ShapeState } from './shapes/server.ts'

const storeMs = 50
const atOnce = 250
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, storeMs))

function slowStore(): Idempotency {
  const memory = memoryStore()
  const store = storeWith(memory, {
    claim: async (claims) => {
      await pause()
      return await memory.claim(claims)
    },
    settle: async (settlements) => {
      await pause()
      return await memory.settle(settlements)
    },
  })
  return createIdempotency({ store, sweep: false })
}

interface Answer {
  readonly status: number | undefined
  readonly replayed: boolean
}

function post(agent: Agent, port: number, key: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'idempotency-key': `"${key}"`, 'content-length': 2 }
    const options = { host: '127.0.0.1', port, path: '/keyed/json', method: 'POST', headers, agent }
    const sent = request(options, (response) => {
      response.resume()
      response.on('end', () =>
        resolve({
          status: response.statusCode,
          replayed: response.headers['idempotent-replayed'] === 'true',
        }),
      )
    })
    sent.on('error', reject)
    sent.end('{}')
  })
}

/** Sends each key twice, the second time as soon as the first answer is there; counts what came back. */
async function retryAtOnce(port: number, pairs: number): Promise<Record<string, number>> {
  const agent = new Agent({ keepAlive: true, maxSockets: atOnce })
  onTestFinished(() => agent.destroy())
  const seen: Record<string, number> = {}
  let next = 0
  const work = async (): Promise<void> => {
    while (next < pairs) {
      const key = `k-${next++}`
      for (const nth of ['first', 'retry']) {
        const { status, replayed } = await post(agent, port, key)
        const what = `${nth} ${status}${replayed ? ' replayed' : ''}`
        seen[what] = (seen[what] ?? 0) + 1
      }
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  return seen
}

const starts: readonly (readonly [
  name: string,
  pairs: number,
  start: (idem: Idempotency, state: ShapeState, file: string) => Promise<RunningShapes>,
])[] = [
  ['express', 10_000, (...given) => expressShapes(express, ...given)],
  ['fastify', 1_000, fastifyShapes],
  ['fetch', 1_000, fetchShapes],
  ['hono', 1_000, honoShapes],
  ['node', 1_000, nodeShapes],
]

test.each(starts)(
  '%s: %i retries are replays, none is refused',
  { timeout: 120_000 },
  async (_, pairs, start) => {
    const idem = slowStore()
    const server = await start(idem, new ShapeState(), import.meta.filename)
    onTestFinished(async () => {
      await server.close()
      await idem.close()
    })
    expect(await retryAtOnce(server.port, pairs)).toEqual({
      'first 201': pairs,
      'retry 201 replayed': pairs,
    })
  },
)
