/** Judging what depends on time on machines that may stand still for a moment, as virtual ones do. */
import { monitorEventLoopDelay } from 'node:perf_hooks'

/** Less than what the tests that use this can bear. */
const stallMs = 250
const triesMax = 5

/**
 * Tries again, and says so, what failed while the machine stood still: where a test counts on time, the failure then
 * says nothing. What fails on a machine that kept time has failed. What must hold whatever the machine does, such as
 * the verdict of the checker, belongs outside.
 */
export async function whileTimeIsKept(attempt: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries++) {
    const delays = monitorEventLoopDelay({ resolution: 10 })
    delays.enable()
    try {
      return await attempt()
    } catch (error) {
      const stoodMs = Math.round(delays.max / 1e6)
      if (stoodMs < stallMs || tries === triesMax) throw error
      console.warn(`The machine stood still for ${stoodMs} ms, so this is tried again: ${String(error)}`)
    } finally {
      delays.disable()
    }
  }
}
