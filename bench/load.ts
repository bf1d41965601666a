/** Load on one server: POST requests over kept connections, each with the key that the case names. */
import { createRequire } from 'node:module'
import type { Child } from './child.ts'
import type { Sample } from './rounds.ts'

interface LoadRequest {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

interface LoadOptions {
  readonly url: string
  readonly connections: number
  /** In seconds. */
  readonly duration: number
  /** How often it looks whether the time is over, in milliseconds. */
  readonly sampleInt: number
  readonly requests: readonly (LoadRequest & { setupRequest(request: LoadRequest): LoadRequest })[]
}

/** The part of autocannon's face that is used. */
interface Load {
  on(
    event: 'response',
    listener: (client: unknown, status: number, bytes: number, latencyMs: number) => void,
  ): void
  on(event: 'reqError', listener: (error: Error) => void): void
}

const autocannon = createRequire(import.meta.url)('autocannon') as (
  options: LoadOptions,
  done: (error: Error | null) => void,
) => Load

const body = JSON.stringify({ amount: 4_200, currency: 'EUR', reference: 'order-1187' })
const status = 201

/** A server that answers nothing for so long does not work. */
const msMax = 5_000

/** `nextKey` is asked for each request; `undefined` sends none. */
export async function load(
  child: Child,
  concurrency: number,
  ms: number,
  nextKey: () => string | undefined,
): Promise<Sample> {
  const latenciesMs: number[] = []
  let problem: string | undefined
  let last = 0
  const cpuBefore = await child.cpuMicros()
  const start = performance.now()
  await new Promise<void>((resolve, reject) => {
    const running = autocannon(
      {
        url: `http://127.0.0.1:${child.port}`,
        connections: concurrency,
        duration: ms / 1000,
        sampleInt: 10,
        requests: [
          {
            method: 'POST',
            path: '/charges',
            headers: { 'content-type': 'application/json' },
            body,
            setupRequest(request) {
              const key = nextKey()
              if (key === undefined) return request
              return { ...request, headers: { ...request.headers, 'idempotency-key': `"${key}"` } }
            },
          },
        ],
      },
      (error) => (error === null ? resolve() : reject(error)),
    )
    running.on('response', (_client, got, _bytes, latencyMs) => {
      if (got !== status) problem ??= `The server answered ${got}.`
      last = performance.now()
      latenciesMs.push(latencyMs)
    })
    running.on('reqError', (error) => {
      problem ??= error.message
    })
  })
  if (problem !== undefined) throw new Error(problem)
  // On a busy machine one sync may take longer than a short case.
  if (latenciesMs.length === 0 && ms < msMax) return load(child, concurrency, ms * 2, nextKey)
  if (latenciesMs.length === 0) throw new Error('The server answered nothing.')
  const cpuMicros = ((await child.cpuMicros()) - cpuBefore) / latenciesMs.length
  return { perSecond: (latenciesMs.length * 1000) / (last - start), latenciesMs, cpuMicros }
}

/** Sends each key once, so that it has an answer. */
export async function settleKeys(child: Child, keys: readonly string[]): Promise<void> {
  for (const key of keys) {
    const response = await fetch(`http://127.0.0.1:${child.port}/charges`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': `"${key}"` },
      body,
    })
    await response.arrayBuffer()
    if (response.status !== status) throw new Error(`The server answered ${response.status}.`)
  }
}
