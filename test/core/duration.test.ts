import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Duration, type DurationBounds, toMilliseconds } from '../../src/core/duration.ts'
import { InvalidOptionError } from '../../src/core/errors.ts'

function refusal(value: unknown, bounds?: DurationBounds): InvalidOptionError {
  try {
    toMilliseconds('lease', value as Duration, bounds)
  } catch (error) {
    if (error instanceof InvalidOptionError) return error
    throw error
  }
  throw new Error('was accepted')
}

describe('toMilliseconds', () => {
  it.each<[Duration, number]>([
    [0, 0],
    [-0, 0],
    [1, 1],
    [30_000, 30_000],
    ['0ms', 0],
    ['250ms', 250],
    ['30s', 30_000],
    ['15m', 900_000],
    ['24h', 86_400_000],
    ['7d', 604_800_000],
    ['366d', 31_622_400_000],
    ['1.5h', 5_400_000],
    ['0.5s', 500],
    ['1.001s', 1001],
    ['0.0021m', 126],
    ['0.0041m', 246],
    ['4.35s', 4350],
    ['1.1s', 1100],
    ['007s', 7000],
  ])('reads %j', (value, milliseconds) => {
    expect(toMilliseconds('lease', value)).toBe(milliseconds)
  })

  it.each([
    Number.NaN,
    Number.POSITIVE_INFINITY,
    -1,
    0.5,
    1e12,
    '',
    ' ',
    '10',
    '10 s',
    ' 10s',
    '10s ',
    '10S',
    '10sec',
    '-5s',
    '+5s',
    '1e3s',
    '1.5ms',
    '1.0005s',
    '367d',
    '.5s',
    '5.s',
    's',
    'NaNs',
    'Infinityd',
    '1h30m',
    '0x10s',
    '１０s',
    '10s\n',
    `${'9'.repeat(100_000)}s`,
    `${'1'.repeat(15)}d`,
    undefined,
    null,
    true,
    [],
    ['10s'],
    {},
    10n,
    new Date(5),
  ])('refuses %o', (value) => {
    const error = refusal(value)
    expect(error.option).toBe('lease')
    expect(error.message).toMatch(/^Option lease must be /)
    expect(error.message.length).toBeLessThan(200)
  })

  it('names the option, the rule and the value', () => {
    const rule = "must be a duration such as '30s' or whole milliseconds, from"
    expect(refusal('10 s').message).toBe(`Option lease ${rule} 0ms to 366d, got "10 s".`)
    expect(refusal(-1).message).toBe(`Option lease ${rule} 0ms to 366d, got -1.`)
    expect(refusal('999ms', { min: '1s' }).message).toBe(`Option lease ${rule} 1s to 366d, got "999ms".`)
    expect(refusal(90_001, { max: '90s' }).message).toBe(`Option lease ${rule} 0ms to 90s, got 90001.`)
    expect(refusal(1, { min: '1.5s' }).message).toBe(`Option lease ${rule} 1.5s to 366d, got 1.`)
    expect(refusal('1.5ms').message).toBe(`Option lease ${rule} 0ms to 366d, got "1.5ms".`)
  })

  it('counts both ends of the bounds', () => {
    expect(toMilliseconds('lease', '1s', { min: '1s', max: '1000ms' })).toBe(1000)
  })

  it('agrees with itself across units', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 366 }), (days) => {
        const expected = days * 86_400_000
        const spellings: Duration[] = [
          expected,
          `${expected}ms`,
          `${expected / 1000}s`,
          `${days * 1440}m`,
          `${days * 24}h`,
          `${days}d`,
        ]
        for (const spelling of spellings) expect(toMilliseconds('lease', spelling)).toBe(expected)
      }),
    )
  })
})
