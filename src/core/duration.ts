/** Durations as options take them. */
import { InvalidOptionError } from './errors.ts'

/**
 * Milliseconds as a number, or a number with its unit.
 *
 * @example
 * const lease: Duration = '30s' // also 30_000, '250ms', '15m', '24h', '7d', '1.5h'
 */
export type Duration = number | `${number}ms` | `${number}s` | `${number}m` | `${number}h` | `${number}d`

/** Both ends count, and are told as they are written here. */
export interface DurationBounds {
  readonly min?: Exclude<Duration, number>
  readonly max?: Exclude<Duration, number>
}

const unitMs = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000, ms: 1 } as const
const amountAndUnit = /^(\d{1,15}(?:\.\d{1,15})?)(ms|s|m|h|d)$/

/**
 * Reads a duration as whole milliseconds.
 *
 * @param option the option's name, for the message
 * @param bounds default 0 to 366 days
 * @throws InvalidOptionError naming option, rule and value
 * @example
 * toMilliseconds('lease', '30s', { min: '1s' }) // 30000
 */
export function toMilliseconds(option: string, value: Duration, bounds: DurationBounds = {}): number {
  const { min = '0ms', max = '366d' } = bounds
  const milliseconds = typeof value === 'string' ? readText(value) : value
  if (!Number.isInteger(milliseconds) || milliseconds < readText(min) || milliseconds > readText(max)) {
    const rule = `must be a duration such as '30s' or whole milliseconds, from ${min} to ${max}`
    throw new InvalidOptionError(option, rule, value)
  }
  // No -0.
  return milliseconds + 0
}

function readText(text: string): number {
  const [, amount, unit] = amountAndUnit.exec(text) ?? []
  // '1.001s' is 1001 ms, though 1.001 * 1000 is a little less.
  return Number((Number(amount) * unitMs[unit as keyof typeof unitMs]).toFixed(6))
}
