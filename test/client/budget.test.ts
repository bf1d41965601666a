import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { eachOrigin, retryBudget, sharedBudgets } from '../../src/client/budget.ts'
import { createIdempotentFetch } from '../../src/client/index.ts'
import { readOptions } from '../../src/client/options.ts'
import { platform } from '../../src/client/platform.ts'
import { recording, status } from './serving.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

function spendAll(budget: { spend(): boolean }): number {
  let spent = 0
  while (budget.spend()) spent += 1
  return spent
}

test('starts with what a second gives, and is filled by the second', () => {
  const budget = retryBudget({ ratio: 0, perSecond: 10 })
  expect(spendAll(budget)).toBe(10)
  vi.advanceTimersByTime(500)
  expect(spendAll(budget)).toBe(5)
  vi.advanceTimersByTime(60_000)
  expect(spendAll(budget)).toBe(500)
})

test('first attempts earn a part each', () => {
  const budget = retryBudget({ ratio: 0.2, perSecond: 0 })
  expect(spendAll(budget)).toBe(0)
  for (let call = 0; call < 1_001; call++) budget.earn()
  expect(spendAll(budget)).toBe(200)
})

test('never spends more than was earned', () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.integer({ min: 0, max: 50 }),
      fc.array(fc.oneof(fc.constant('earn'), fc.constant('spend'), fc.integer({ min: 1, max: 10_000 }))),
      (ratio, perSecond, steps) => {
        const budget = retryBudget({ ratio, perSecond })
        let mostTokens = perSecond
        for (const step of steps) {
          if (step === 'earn') {
            budget.earn()
            mostTokens += ratio
          } else if (step === 'spend') {
            if (budget.spend()) mostTokens -= 1
          } else {
            vi.advanceTimersByTime(step as number)
            mostTokens += ((step as number) * perSecond) / 1_000
          }
        }
        expect(mostTokens).toBeGreaterThan(-1e-6)
      },
    ),
  )
})

test.each([{ ratio: -1 }, { perSecond: -1 }, { ratio: Number.NaN }, { perSecond: Number.NaN }])(
  'refuses %o when the client is made',
  (budget) => {
    expect(() => createIdempotentFetch({ budget })).toThrow('Option budget must be of numbers from 0.')
  },
)

test('a call that an open circuit stops earns no retry', async () => {
  const { origin } = await recording(status(503))
  const budget = { ratio: 1, perSecond: 0 }
  const retries = async (calls: number): Promise<number> => {
    const breaker = { blockedMs: vi.fn(() => 1_000), report() {} }
    const fetch = createIdempotentFetch({ backoff: 1, retries: 100, budget, breaker })
    for (let call = 0; call < calls; call++) await fetch(origin, { method: 'POST' }).catch(() => {})
    breaker.blockedMs.mockReturnValue(0)
    const error: unknown = await fetch(origin, { method: 'POST' }).catch((caught: unknown) => caught)
    return (error as { attempts: number }).attempts - 1
  }
  expect(await retries(20)).toBe(await retries(0))
})

test('clients of one process share the budget of an origin, unless they bring their own', () => {
  const origin = 'https://shared.example'
  const one = readOptions(platform, {})
  const other = readOptions(platform, {})
  const own = readOptions(platform, { budget: {} })
  expect(one.budgetOf(origin)).toBe(other.budgetOf(origin))
  expect(one.budgetOf(origin)).toBe(sharedBudgets(origin))
  expect(one.budgetOf('https://another.example')).not.toBe(one.budgetOf(origin))
  expect(own.budgetOf(origin)).not.toBe(one.budgetOf(origin))
  expect(own.budgetOf(origin)).toBe(own.budgetOf(origin))
})

test('values of origins are bounded; the first one made goes first', () => {
  let made = 0
  const valueOf = eachOrigin(() => (made += 1))
  for (let at = 0; at < 256; at++) valueOf(`https://${at}.example`)
  expect(valueOf('https://0.example')).toBe(1)
  valueOf('https://new.example')
  expect(valueOf('https://1.example')).toBe(2)
  expect(valueOf('https://0.example')).toBe(258)
})
