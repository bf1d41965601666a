/** Reads the server's clock off the answers of a client. */
import type { ServerTime } from './server-clock.ts'
import { serverClock } from './server-clock.ts'
import type { AnswerMiddleware, MiddlewareStack } from './client.ts'

/** The clocks of this host. */
export interface HostClock {
  /** Milliseconds from an arbitrary start; never goes back. */
  monotonic(): number
  /** Wall clock. It decides only where the server's cannot be read. */
  now(): number
}

export interface TimeSource {
  /**
   * `undefined` before the first answer of the server, and where the host's two clocks have parted since the last
   * one: a machine that slept has a monotonic clock that did not go on. An answer must come first then.
   */
  at(): ServerTime | undefined
  close(): void
}

/** So far the host's wall clock may be set without the server being asked for its time. */
const partedMsMax = 1_000

/**
 * Listens to the answers of a client. One without middleware shows no `Date`: then the host's wall clock is taken
 * as it is.
 */
export function timeSource(stack: MiddlewareStack | undefined, host: HostClock): TimeSource {
  if (stack === undefined) {
    return {
      at: () => ({ earliest: Math.floor(host.now()), latest: Math.ceil(host.now()) }),
      close: (): void => {},
    }
  }
  const clock = serverClock()
  let parting = 0
  const middleware: AnswerMiddleware = (next) => async (args) => {
    const sentAt = host.monotonic()
    const result = await next(args)
    const date = dateOf(result.response)
    if (date !== undefined) {
      const receivedAt = host.monotonic()
      clock.saw(date, sentAt, receivedAt)
      parting = host.now() - receivedAt
    }
    return result
  }
  // Next to the wire, so that each try of the SDK counts for itself and answers that are errors are seen too.
  stack.add(middleware as never, { step: 'deserialize', priority: 'low' })
  return {
    at(): ServerTime | undefined {
      const monotonic = host.monotonic()
      const partedMs = Math.abs(host.now() - monotonic - parting)
      return partedMs > partedMsMax ? undefined : clock.at(monotonic)
    },
    close: () => void stack.remove(middleware as never),
  }
}

function dateOf(response: unknown): number | undefined {
  const { headers } = (response ?? {}) as { headers?: Record<string, string | undefined> }
  const date = Date.parse(headers?.['date'] ?? '')
  return Number.isNaN(date) ? undefined : date
}
