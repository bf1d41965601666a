/** Runs on small services: one that keeps its promises is not accused, and each way to break one is found. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { idempotent, type IdempotentOptions } from '../../src/http/node.ts'
import { check, type CheckReport } from '../../src/verification/checker.ts'
import { runServiceChaos, type ServiceChaosOptions } from '../../src/verification/index.ts'
import { instance } from '../http/serving.ts'

type Work = (request: IncomingMessage, response: ServerResponse) => Promise<void>

interface Service {
  readonly url: string
  effects(key: string): Promise<readonly string[]>
  restart(): Promise<void>
  pause(ms: number): Promise<void>
}

/** Serves what `protect` makes of work that writes a row into a ledger. */
async function service(protect: (work: Work) => RequestListener): Promise<Service> {
  const ledger: { readonly key: string; readonly id: string }[] = []
  let paused = Promise.resolve()
  const listener = protect(async (request, response) => {
    await delay(5)
    const id = `charge-${ledger.length + 1}`
    ledger.push({ key: keyOf(request), id })
    answer(response, 201, { id })
  })
  const server = createServer(async (request, response) => {
    await paused
    if (request.method !== 'GET') return listener(request, response)
    const key = new URL(request.url ?? '', 'http://service').searchParams.get('key')
    return answer(
      response,
      200,
      ledger.filter((row) => row.key === key).map(({ id }) => id),
    )
  })
  const start = async (port: number): Promise<void> => {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  }
  const stop = async (): Promise<void> => {
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  }
  await start(0)
  onTestFinished(stop)
  const { port } = server.address() as AddressInfo
  const origin = `http://127.0.0.1:${port}`
  return {
    url: `${origin}/charges`,
    effects: async (key) => (await (await fetch(`${origin}/ledger?key=${key}`)).json()) as string[],
    async restart() {
      await stop()
      await start(port)
    },
    pause: async (ms) => await (paused = delay(ms)),
  }
}

function keyOf({ headers }: IncomingMessage): string {
  return String(headers['idempotency-key'])
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body)
  response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': text.length }).end(text)
}

function retrysafe(options: Partial<IdempotentOptions<IncomingMessage>> = {}) {
  return (work: Work): RequestListener => idempotent(instance(), { principal: 'anonymous', ...options }, work)
}

const unprotected = (work: Work): RequestListener => work

/** A few rounds; all kinds that the options allow come once. */
async function report(
  { url, effects }: Service,
  options: Partial<ServiceChaosOptions> = {},
): Promise<CheckReport> {
  return check(await runServiceChaos({ url, effects, seed: 7, rounds: 11, leaseMs: 200, ...options }))
}

function invariants({ violations }: CheckReport): Set<string> {
  return new Set(violations.map(({ invariant }) => invariant))
}

test('a service with Retrysafe keeps its promises under every fault', async () => {
  const served = await service(retrysafe())
  const { restart, pause } = served
  const rounds = 13
  const progress: number[] = []
  const { violations, counts, sights } = await report(served, {
    rounds,
    restart,
    pause,
    onProgress: ({ round }) => void progress.push(round),
  })
  expect(violations).toEqual([])
  expect(counts.faults).toEqual({
    'given up when sent': 1,
    'given up at the head of the answer': 1,
    'sent several times at once': 1,
    'another request': 1,
    'request cut': 1,
    'answer cut': 1,
    'connections dropped': 1,
    'answers delayed': 1,
    'stalled until clients give up': 1,
    'connections refused': 1,
    'sent in slices': 1,
    restart: 1,
    pause: 1,
  })
  expect(counts.keys).toBe(rounds * 4 + 2)
  expect(counts.effects).toBe(counts.keys)
  expect(counts.replayed).toBeGreaterThan(0)
  expect(counts.info).toBeGreaterThan(0)
  expect(sights.mismatch).toBeGreaterThan(0)
  expect(sights['in progress']).toBeGreaterThan(0)
  expect(sights['late duplicate']).toBeGreaterThan(0)
  expect(progress).toEqual(Array.from({ length: rounds }, (_, at) => at + 1))
})

test('faults of the client alone, with quoted keys and a body of its own', async () => {
  const served = await service(retrysafe({ preset: 'ietf' }))
  const { violations, counts } = await report(
    { ...served, effects: (key) => served.effects(encodeURIComponent(`"${key}"`)) },
    { clientFaultsOnly: true, quotedKeys: true, body: '{"to":"{key}"}', rounds: 6 },
  )
  expect(violations).toEqual([])
  expect(counts.faults).toEqual({
    'given up when sent': 2,
    'given up at the head of the answer': 2,
    'sent several times at once': 2,
  })
  expect(counts.replayed).toBeGreaterThan(0)
})

test('a service without protection takes effect more than once', async () => {
  const found = await report(await service(unprotected), { rounds: 4 })
  expect(invariants(found)).toContain('I1')
  expect(found.counts.effects).toBeGreaterThan(found.counts.keys)
})

test('a service that forgets what it answered takes effect more than once', async () => {
  const found = await report(await service(retrysafe({ result: () => 'release' })), { rounds: 4 })
  expect(invariants(found)).toContain('I1')
})

test('a replay that is not the first answer is found', async () => {
  const replays = retrysafe()
  let replay = 0
  const found = await report(
    await service((work) => {
      const listener = replays(work)
      return (request, response) => {
        const end = response.end.bind(response)
        response.end = ((body: Buffer) => {
          if (response.hasHeader('Idempotent-Replayed')) {
            response.removeHeader('Content-Length')
            return end(`{"replay":${++replay}}`)
          }
          return end(body)
        }) as typeof response.end
        listener(request, response)
      }
    }),
    { rounds: 4 },
  )
  expect([...invariants(found)]).toEqual(['I2'])
  expect(found.violations[0]?.says).toContain('other-answer')
})

test('an answer that is replayed to another request is found', async () => {
  const served = await service(retrysafe({ bodyCompare: 'none' }))
  const found = await report(served, { rounds: 4, clientFaultsOnly: true })
  expect([...invariants(found)]).toEqual(['I5'])
})

test('a key that stays in progress when its client has gone is found', async () => {
  const running = new Set<string>()
  const answers = new Map<string, { id: string }>()
  const naive = (work: Work): RequestListener => {
    return async (request, response) => {
      const key = keyOf(request)
      const known = answers.get(key)
      if (known !== undefined) return answer(response, 201, known)
      if (running.has(key)) {
        response.setHeader('Retry-After', '1')
        return answer(response, 409, {})
      }
      running.add(key)
      const end = response.end.bind(response)
      response.end = ((body: string) => {
        if (!response.destroyed) answers.set(key, JSON.parse(body) as { id: string })
        return end(body)
      }) as typeof response.end
      return await work(request, response)
    }
  }
  const served = await service(naive)
  const found = await report(served, { rounds: 6, recoveryMs: 200, body: 'constant', clientFaultsOnly: true })
  expect([...invariants(found)]).toEqual(['I6'])
  expect(found.violations[0]?.says).toContain('in-progress')
})

test('an effect that the ledger does not show is a lost one', async () => {
  const served = await service(retrysafe())
  const found = await report({ ...served, effects: async () => [] }, { rounds: 1 })
  expect([...invariants(found)]).toEqual(['I2'])
})

test('a refusal that is kept is an answer, and no effect is missing', async () => {
  let asked = 0
  const found = await report(
    await service((work) =>
      retrysafe()(async (request, response) => {
        if (asked++ % 3 === 2) answer(response, 402, { declined: asked })
        else await work(request, response)
      }),
    ),
    { rounds: 4 },
  )
  expect(found.violations).toEqual([])
})

test('a service that refuses a plain request is not judged', async () => {
  const served = await service(() => (_request, response) => answer(response, 404, {}))
  await expect(report(served)).rejects.toThrow('A plain request to the service was answered 404')
})

test('what the ledger cannot tell ends the run', async () => {
  const served = await service(retrysafe())
  const effects = async (): Promise<readonly string[]> => 1 as never
  await expect(report({ ...served, effects })).rejects.toThrow('array of strings')
})

test('a restart that fails ends the run with its reason', async () => {
  const served = await service(retrysafe())
  const restart = async (): Promise<void> => {
    throw new Error('no such service')
  }
  await expect(report(served, { restart, rounds: 12 })).rejects.toThrow('no such service')
})

test('the signal ends a run with its reason', async () => {
  const served = await service(retrysafe())
  const stop = new AbortController()
  const reason = new Error('enough')
  const onProgress = (): void => stop.abort(reason)
  await expect(report(served, { signal: stop.signal, onProgress })).rejects.toBe(reason)
})

test.each<[Partial<ServiceChaosOptions>, string]>([
  [{ url: 'ftp://service/' }, 'runServiceChaos.url must be an http or https URL'],
  [{ seed: 0.5 }, 'runServiceChaos.seed must be a whole number'],
  [{ rounds: 0 }, 'runServiceChaos.rounds must be a whole number from 1'],
  [{ promise: 'rerun' as never }, "runServiceChaos.promise must be 'once' or 'held'"],
  [{ round: 1 } as never, 'Did you mean rounds?'],
])('options are checked: %o', async (options, says) => {
  const effects = async (): Promise<readonly string[]> => []
  const given = { url: 'http://127.0.0.1:9', seed: 1, effects, ...options }
  await expect(runServiceChaos(given)).rejects.toThrow(says)
})
