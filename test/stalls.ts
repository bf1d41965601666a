/** Judging what depends on time on machines that may stand still for a moment, as virtual ones do. */
import { monitorEventLoopDelay } from 'node:perf_hooks'

/** Tests count on more than twice of it. */
const stallMs = 150
const triesMax = 5

/**
 * Tries again what failed while the machine stood still, since then the failure says nothing. What fails on a
 * machine that kept time has failed.
 */
export async function whileTimeIsKept<Value>(
  attempt: () => Promise<Value>,
  isGood: (value: Value) => boolean,
): Promise<Value> {
  for (let tries = 1; ; tries++) {
    const delays = monitorEventLoopDelay({ resolution: 10 })
    delays.enable()
    const value = await attempt()
    delays.disable()
    if (isGood(value) || delays.max / 1e6 < stallMs || tries === triesMax) return value
  }
}
