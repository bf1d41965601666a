import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { circuitBreaker, type CircuitBreakerOptions } from '../../src/client/index.ts'

const origin = 'https://api.example'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

describe('a circuit', () => {
  test('opens after failures in a row, and says for how long', () => {
    const breaker = circuitBreaker({ failures: 3, coolDown: '5s' })
    for (const isFailure of [true, true, false, true, true]) breaker.report(origin, isFailure)
    expect(breaker.blockedMs(origin)).toBe(0)
    breaker.report(origin, true)
    expect(breaker.blockedMs(origin)).toBe(5_000)
    vi.advanceTimersByTime(2_000)
    expect(breaker.blockedMs(origin)).toBe(3_000)
  })

  test('lets one attempt pass after the cool-down, and closes with its success', () => {
    const breaker = circuitBreaker({ failures: 1, coolDown: '5s' })
    breaker.report(origin, true)
    vi.advanceTimersByTime(5_000)
    expect(breaker.blockedMs(origin)).toBe(0)
    expect(breaker.blockedMs(origin)).toBe(5_000)
    breaker.report(origin, false)
    expect([breaker.blockedMs(origin), breaker.blockedMs(origin)]).toEqual([0, 0])
  })

  test('opens again with its failure', () => {
    const breaker = circuitBreaker({ failures: 3, coolDown: '5s' })
    for (let failure = 0; failure < 3; failure++) breaker.report(origin, true)
    vi.advanceTimersByTime(5_000)
    expect(breaker.blockedMs(origin)).toBe(0)
    vi.advanceTimersByTime(1_000)
    breaker.report(origin, true)
    expect(breaker.blockedMs(origin)).toBe(5_000)
  })

  test('lets another pass where the one that passed never told', () => {
    const breaker = circuitBreaker({ failures: 1, coolDown: '5s' })
    breaker.report(origin, true)
    vi.advanceTimersByTime(5_000)
    expect(breaker.blockedMs(origin)).toBe(0)
    vi.advanceTimersByTime(5_000)
    expect(breaker.blockedMs(origin)).toBe(0)
  })

  test('lets another pass at once where the one that passed was ended by its caller', () => {
    const breaker = circuitBreaker({ failures: 1, coolDown: '5s' })
    breaker.report(origin, true)
    vi.advanceTimersByTime(5_000)
    expect(breaker.blockedMs(origin)).toBe(0)
    breaker.report(origin, undefined)
    expect([breaker.blockedMs(origin), breaker.blockedMs(origin)]).toEqual([0, 5_000])
  })

  test('stays open where an attempt of before is ended by its caller', () => {
    const breaker = circuitBreaker({ failures: 1, coolDown: '5s' })
    breaker.report(origin, true)
    breaker.report(origin, undefined)
    expect(breaker.blockedMs(origin)).toBe(5_000)
  })

  test('is one for each origin', () => {
    const breaker = circuitBreaker({ failures: 1 })
    breaker.report(origin, true)
    expect(breaker.blockedMs('https://other.example')).toBe(0)
    expect(breaker.blockedMs(origin)).toBe(5_000)
  })
})

test.each<[CircuitBreakerOptions, string]>([
  [{ failures: 0 }, 'failures'],
  [{ failures: 1.5 }, 'failures'],
  [{ failures: Number.NaN }, 'failures'],
  [{ coolDown: 0 }, 'coolDown'],
  [{ coolDown: 'soon' as '1s' }, 'coolDown'],
])('%o is refused', (options, name) => {
  expect(() => circuitBreaker(options)).toThrow(`Option ${name} must be `)
})
