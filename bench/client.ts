/**
 * What the client costs a call: a keyed POST by bare `fetch`, by `fetch` with a time limit, which is the least that a
 * call takes that shall end, and by `createIdempotentFetch`.
 */
import { randomUUID } from 'node:crypto'
import { createIdempotentFetch } from '../src/client/index.ts'
import { type Child, withChildren } from './child.ts'
import { type Case, drive, inRounds, type Question, type Sample } from './rounds.ts'

type Fetch = (url: string, init: RequestInit) => Promise<Response>

const body = JSON.stringify({ amount: 4_200, currency: 'EUR', reference: 'order-1187' })
const type = { 'content-type': 'application/json' }

/** A call, and its answer read. Whatever else comes is no measurement. */
async function call(send: Fetch, url: string, headers: Readonly<Record<string, string>>): Promise<void> {
  const response = await send(url, { method: 'POST', body, headers })
  const { status } = (await response.json()) as { readonly status?: unknown }
  if (response.status !== 201 || status !== 'succeeded') throw new Error(`Answered ${response.status}.`)
}

/** With the processor time of this process, where the client runs. */
async function measured(concurrency: number, ms: number, once: () => Promise<void>): Promise<Sample> {
  const before = process.cpuUsage()
  const sample = await drive(concurrency, ms, once)
  const { user, system } = process.cpuUsage(before)
  return { ...sample, cpuMicros: (user + system) / sample.latenciesMs.length }
}

/** As whoever writes it by hand. */
async function limited(url: string, init: RequestInit): Promise<Response> {
  const abort = new AbortController()
  const timer = setTimeout(() => abort.abort(), 30_000)
  try {
    return await fetch(url, { ...init, signal: abort.signal })
  } finally {
    clearTimeout(timer)
  }
}

function casesOf(framework: string, { port }: Child, bars: Readonly<Record<number, number>>): Case[] {
  const url = `http://127.0.0.1:${port}/charges`
  const pay = createIdempotentFetch()
  const floor = `${framework}, fetch`
  const keyed = (send: Fetch): Promise<void> =>
    call(send, url, { ...type, 'idempotency-key': `"${randomUUID()}"` })
  return [
    {
      ...{ name: floor, floor },
      measure: (concurrency, ms) => measured(concurrency, ms, () => keyed(fetch)),
    },
    {
      ...{ name: `${framework}, fetch with a time limit`, floor },
      measure: (concurrency, ms) => measured(concurrency, ms, () => keyed(limited)),
    },
    {
      ...{ name: `${framework}, createIdempotentFetch`, floor, bars },
      measure: (concurrency, ms) => measured(concurrency, ms, () => call(pay, url, type)),
    },
  ]
}

export const question: Question = {
  asks: 'a keyed POST by createIdempotentFetch against bare fetch, on the loopback',
  measure: (pace) =>
    withChildren(async (start) => {
      const [express, node] = await Promise.all([
        start('http-server.ts', ['express', 'keyed']),
        start('http-server.ts', ['node', 'keyed']),
      ])
      return await inRounds(
        [...casesOf('express', express, { 64: 0.95 }), ...casesOf('node', node, { 64: 0.95 })],
        // A few hundredths are to be seen: turns so long that each pays for the collection of its own garbage.
        pace.quick ? pace : { ...pace, rounds: 15, caseMs: 1_000 },
      )
    }),
}
