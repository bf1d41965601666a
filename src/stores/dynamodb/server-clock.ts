/**
 * The server's clock, from the `Date` of its answers: DynamoDB has no time in its expressions. Pure.
 *
 * An answer that was asked for at `sentAt`, came at `receivedAt` (both monotonic, of this process) and says the
 * second `date` was written when the server's clock was in [date, date + 1 s), so that
 *
 *   server time - monotonic time   is in   (date - receivedAt, date + 1 s - sentAt)
 *
 * Answers narrow the interval by intersection: the more of them, at the more different parts of a second, the
 * narrower. Age widens it, since two clocks drift apart. An answer that does not fit into it shows that a clock was
 * stepped, or that this machine slept: then it counts alone. The host's wall clock is never asked.
 */

/** The server's clock was in this interval, in milliseconds since 1970, when it was asked for. */
export interface ServerTime {
  readonly earliest: number
  readonly latest: number
}

export interface ServerClock {
  /** Takes an answer in. */
  saw(date: number, sentAt: number, receivedAt: number): void
  /** The server's time now; `undefined` before the first answer. */
  at(monotonic: number): ServerTime | undefined
}

/** How far apart two clocks may drift: quartz is within 100 parts of a million, and each side has one. */
const driftPart = 200e-6
/** A `Date` has whole seconds. */
const resolutionMs = 1_000
/** How far the clocks of the many servers behind one name may be from each other. */
const spreadMs = 20

/**
 * A clock that knows nothing yet.
 *
 * @example
 * const clock = serverClock()
 * clock.saw(Date.parse(date), sentAt, performance.now())
 * clock.at(performance.now()) // { earliest, latest }
 */
export function serverClock(): ServerClock {
  let least = -Infinity
  let most = Infinity
  let knownAt = 0

  function widenTo(monotonic: number): void {
    const widthMs = Math.max(0, monotonic - knownAt) * driftPart
    least -= widthMs
    most += widthMs
    knownAt = Math.max(knownAt, monotonic)
  }

  return {
    saw(date, sentAt, receivedAt): void {
      const [from, to] = [date - receivedAt - spreadMs, date + resolutionMs - sentAt + spreadMs]
      widenTo(receivedAt)
      least = Math.max(least, from)
      most = Math.min(most, to)
      if (least <= most) return
      least = from
      most = to
    },
    at(monotonic): ServerTime | undefined {
      if (least === -Infinity) return undefined
      widenTo(monotonic)
      return { earliest: Math.floor(monotonic + least), latest: Math.ceil(monotonic + most) }
    },
  }
}
