/** Many calls at once through a network that loses answers and to a server that is killed: each applied once. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished, test, vi } from 'vitest'
import { freePort } from '../../scripts/servers/process.ts'
import { callOf, createIdempotentFetch, isClientError } from '../../src/client/index.ts'
import { seededRandom } from '../../src/verification/random.ts'
import { startFaultProxy } from '../../src/verification/index.ts'

vi.setConfig({ testTimeout: 300_000 })

const calls = 2_000
const atOnce = 32
const lostShare = 0.2
const refusedShare = 0.1
/** Calls that no attempt of reaches anybody. */
const unreachableEach = 100
const kills = 4

/** A shop that can be killed and started again at its port. */
async function startShop(): Promise<{
  port: number
  kill(): Promise<void>
  start(): Promise<void>
  file: string
}> {
  const folder = mkdtempSync(join(tmpdir(), 'retrysafe-ledger-'))
  const file = join(folder, 'shop.db')
  const setUp = new DatabaseSync(file)
  setUp.exec('PRAGMA journal_mode = WAL; CREATE TABLE charges (call text NOT NULL)')
  setUp.close()
  const port = await freePort()
  let child: ChildProcess | undefined
  const kill = async (): Promise<void> => {
    const exited = once(child as ChildProcess, 'exit')
    child?.kill('SIGKILL')
    await exited
  }
  const start = async (): Promise<void> => {
    child = fork(join(import.meta.dirname, 'ledger-server.ts'), [file, `${port}`])
    const ended = once(child, 'exit').then(() => {
      throw new Error('The shop ended before it was ready.')
    })
    ended.catch(() => {})
    await Promise.race([once(child, 'message'), ended])
  }
  onTestFinished(async () => {
    await kill()
    rmSync(folder, { recursive: true })
  })
  await start()
  return { port, kill, start, file }
}

type End = 'applied' | 'not-applied' | 'unknown'

test('2,000 calls: none applied twice, none lost, each end says what is true', async () => {
  const random = seededRandom(7)
  const shop = await startShop()
  const proxy = await startFaultProxy({ target: { port: shop.port } })
  onTestFinished(() => proxy.close())
  const nobody = await freePort()
  const url = `http://127.0.0.1:${proxy.port}/charges`
  const nowhere = `http://127.0.0.1:${nobody}/charges`
  let refused = 0
  const pay = createIdempotentFetch({
    ...{ backoff: 20, backoffMax: 500, budget: { ratio: 2, perSecond: 100 }, timeout: '30s' },
    fetch(input, init) {
      const isRefused = init.headers instanceof Headers && init.headers.has('x-unreachable')
      if (!isRefused && random() >= refusedShare) return fetch(input, init)
      refused += 1
      return fetch(nowhere, init)
    },
  })

  const ends = new Map<string, End>()
  const sentSince = new Map<string, number>()
  let inFlight = 0
  let met = 0
  let replayed = 0
  let isUp = Promise.resolve()
  let next = 0

  async function call(name: string, isUnreachable: boolean): Promise<void> {
    sentSince.set(name, Date.now())
    inFlight += 1
    try {
      const response = await pay(url, {
        method: 'POST',
        body: JSON.stringify({ call: name }),
        headers: { 'content-type': 'application/json', ...(isUnreachable && { 'x-unreachable': '1' }) },
        idempotency: { key: name },
      })
      expect([response.status, await response.json()]).toEqual([201, { id: expect.any(Number) }])
      if (callOf(response)?.replayed) replayed += 1
      ends.set(name, 'applied')
    } catch (error) {
      // Whatever is no typed end fails the test.
      if (isClientError(error, 'not-applied')) ends.set(name, 'not-applied')
      else if (isClientError(error, 'outcome-unknown')) ends.set(name, 'unknown')
      else throw error
    } finally {
      inFlight -= 1
    }
  }

  async function caller(): Promise<void> {
    while (next < calls) {
      const number = next++
      const name = `call-${number}-`
      for (let lost = 0; lost < 3 && random() < lostShare; lost++) {
        proxy.cutOn(name, random() < 0.5 ? 'after' : 'sent')
      }
      // The calls that are under way meet the killed server; others begin once it is up again.
      if (number % Math.ceil(calls / (kills + 1)) === 0 && number > 0) {
        met += inFlight
        await (isUp = shop.kill().then(shop.start))
      }
      await isUp
      await call(name, number % unreachableEach === 0)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, caller))

  const ledger = new DatabaseSync(shop.file, { readOnly: true })
  onTestFinished(() => ledger.close())
  const effects = (): Map<string, number> =>
    new Map(
      ledger
        .prepare('SELECT call, count(*) AS times FROM charges GROUP BY call')
        .all()
        .map(({ call: name, times }) => [name as string, times as number]),
    )
  const named = (end: End): string[] => [...ends].flatMap(([name, each]) => (each === end ? [name] : []))
  const { cutAfter, cutSent } = proxy.counts
  // It was as bad as it should be.
  expect(cutAfter + cutSent).toBeGreaterThan(calls * lostShare * 0.8)
  expect(refused).toBeGreaterThan(calls * refusedShare * 0.8)
  expect(met).toBeGreaterThanOrEqual(calls * 0.05)
  expect(replayed).toBeGreaterThan(0)

  const before = effects()
  expect(ends.size).toBe(calls)
  expect([...before].filter(([, times]) => times > 1)).toEqual([])
  expect(named('applied').filter((name) => before.get(name) !== 1)).toEqual([])
  expect(named('not-applied').length).toBeGreaterThanOrEqual(calls / unreachableEach)
  expect(named('not-applied').filter((name) => before.has(name))).toEqual([])

  // What is unknown is asked for again with its key, and then known.
  proxy.disarm()
  const resume = createIdempotentFetch()
  for (const name of named('unknown')) {
    const response = await resume(url, {
      method: 'POST',
      body: JSON.stringify({ call: name }),
      headers: { 'content-type': 'application/json' },
      idempotency: { key: name, sentSince: sentSince.get(name) as number },
    })
    expect(response.status).toBe(201)
    ends.set(name, 'applied')
  }
  const after = effects()
  expect([...after].filter(([, times]) => times > 1)).toEqual([])
  expect(new Set(after.keys())).toEqual(new Set(named('applied')))
})
