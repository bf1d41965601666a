/**
 * What a process knows of the durable store's clock: a time that this clock has certainly not passed. Every reply
 * tells its `now`, read after the request was sent, so that at most the time since the sending has gone by.
 */
import type { Clock } from '../../core/runtime.ts'

/** Two sound clocks differ by far less than one part in a thousand. */
const driftPart = 1 / 1_000
/** Clocks tell whole milliseconds, rounded down. */
const readingMs = 1

export class DurableClock {
  readonly #clock: Pick<Clock, 'monotonic'>
  #heardNow = Number.NaN
  #sentAt = Number.NEGATIVE_INFINITY

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock
  }

  /** This process' own time, to be taken before a request is sent. */
  monotonic(): number {
    return this.#clock.monotonic()
  }

  /** Takes note of a reply. What was sent later knows better: the server's clock may have been set meanwhile. */
  heard(now: number, sentAt: number): void {
    if (!Number.isFinite(now) || sentAt < this.#sentAt) return
    this.#heardNow = now
    this.#sentAt = sentAt
  }

  /** At least what the durable store's clock shows now; NaN, of which nothing is earlier, until it was heard. */
  atMost(): number {
    const sinceMs = this.#clock.monotonic() - this.#sentAt
    return this.#heardNow + readingMs + sinceMs * (1 + driftPart)
  }
}
