/** Judging what depends on time on machines that may stand still for a moment, as virtual ones do. */
import { monitorEventLoopDelay } from 'node:perf_hooks'

/** Tests count on more than twice of it. */
const stallMs = 150
const triesMax = 5

/**
 * Tries again what failed while the machine stood still, since then the failure says nothing. What fails on a
 * machine that kept time has failed.
 */
export async function whileTimeIsKept(attempt: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries++) {
    const delays = monitorEventLoopDelay({ resolution: 10 })
    delays.enable()
    try {
      return await attempt()
    } catch (error) {
      if (delays.max / 1e6 < stallMs || tries === triesMax) throw error
    } finally {
      delays.disable()
    }
  }
}
