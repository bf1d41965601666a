import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { jitteredMs, retryAfterMs } from '../../src/client/delays.ts'

const fraction = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

describe('jitteredMs', () => {
  test('is a part of the exponential delay, at most the cap', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60_000 }),
        fc.integer({ min: 1, max: 3_600_000 }),
        fc.integer({ min: 1, max: 101 }),
        fraction,
        (baseMs, capMs, retry, part) => {
          const wait = jitteredMs({ backoffMs: baseMs, backoffMaxMs: capMs }, retry, part)
          const whole = Math.min(capMs, baseMs * 2 ** (retry - 1))
          expect(wait).toBeGreaterThanOrEqual(0)
          expect(wait).toBeLessThanOrEqual(whole)
          // All of it can come out, not the upper half alone.
          expect(wait).toBeCloseTo(whole * part, 6)
        },
      ),
    )
  })

  test('begins with the base and doubles', () => {
    const backoff = { backoffMs: 100, backoffMaxMs: 1_000 }
    expect([1, 2, 3, 4, 5, 9].map((retry) => jitteredMs(backoff, retry, 1))).toEqual([
      100, 200, 400, 800, 1_000, 1_000,
    ])
  })
})

describe('retryAfterMs', () => {
  const now = Date.parse('2026-11-30T12:00:00Z')
  const asked = (fields: Readonly<Record<string, string>>): number =>
    retryAfterMs({ status: 503, header: (name) => fields[name], raw: null }, now)

  test('whole seconds', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e9 }), (seconds) => {
        expect(asked({ 'retry-after': `${seconds}` })).toBe(seconds * 1_000)
      }),
    )
  })

  test('a date is read against the date of the answer, whatever the clock of this side says', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -864_000, max: 864_000 }),
        fc.integer({ min: -864_000, max: 864_000 }),
        (wrongSeconds, waitSeconds) => {
          const theirs = now + wrongSeconds * 1_000
          const fields = {
            date: new Date(theirs).toUTCString(),
            'retry-after': new Date(theirs + waitSeconds * 1_000).toUTCString(),
          }
          expect(asked(fields)).toBe(Math.max(0, waitSeconds * 1_000))
        },
      ),
    )
  })

  test('a date without a date of the answer is read against the clock', () => {
    expect(asked({ 'retry-after': new Date(now + 5_000).toUTCString() })).toBe(5_000)
    expect(asked({ 'retry-after': new Date(now - 5_000).toUTCString() })).toBe(0)
  })

  test('one that a proxy doubled is read once', () => {
    expect(asked({ 'retry-after': '120, 120' })).toBe(120_000)
    expect(asked({ 'retry-after': '3600 1' })).toBe(3_600_000)
  })

  test('milliseconds win over seconds', () => {
    expect(asked({ 'retry-after-ms': '250', 'retry-after': '9' })).toBe(250)
    expect(asked({ 'retry-after-ms': 'soon', 'retry-after': '9' })).toBe(9_000)
  })

  test('what is no delay is none', () => {
    fc.assert(
      fc.property(fc.string(), (value) => {
        expect(asked({ 'retry-after': value })).toBeGreaterThanOrEqual(0)
        expect(asked({ 'retry-after-ms': value })).toBeGreaterThanOrEqual(0)
      }),
    )
    for (const value of ['', '-1', 'soon', 'Mon, 32 Foo 2026'])
      expect(asked({ 'retry-after': value })).toBe(0)
    expect(asked({})).toBe(0)
  })
})
