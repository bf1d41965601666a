/** How long to wait before the next attempt. */
import type { Answer } from './signals.ts'

export interface Backoff {
  /** The first wait is a random part of it, each one after that of twice as much. */
  readonly backoffMs: number
  /** No wait is longer, unless a server asks for more. */
  readonly backoffMaxMs: number
}

/** Full jitter: a random part of the exponential delay, so that clients that failed together return apart. */
export function jitteredMs({ backoffMs, backoffMaxMs }: Backoff, retry: number, fraction: number): number {
  return fraction * Math.min(backoffMaxMs, backoffMs * 2 ** (retry - 1))
}

/**
 * What the server asks to wait (RFC 9110, section 10.2.3), in milliseconds; `retry-after-ms` is a common extension.
 * A date is read against the answer's own `Date`, so that a wrong clock on this side changes nothing.
 */
export function retryAfterMs({ header }: Answer<unknown>, nowMs: number): number {
  const value = header('retry-after') ?? ''
  // A proxy may have doubled it: '120, 120'.
  const wait =
    Number(header('retry-after-ms')) ||
    Number.parseFloat(value) * 1_000 ||
    Date.parse(value) - (Date.parse(header('date') ?? '') || nowMs)
  return wait > 0 ? wait : 0
}
