/** A runtime whose time moves only when a test says so; digests and tokens are real. */
import type { Cancel, Runtime } from '../../src/core/runtime.ts'
import { nodeRuntime } from '../../src/engine/node-runtime.ts'

export interface ManualRuntime extends Runtime {
  /** Moves time on, runs what falls due in order, and lets all promises settle in between. */
  advance(ms: number): Promise<void>
  /** Lets everything that needs no time happen. */
  settle(): Promise<void>
  readonly pendingTimers: () => number
}

export function manualRuntime(): ManualRuntime {
  const real = nodeRuntime()
  const timers = new Set<{ at: number; run: () => void }>()
  let time = 1_700_000_000_000

  function after(delayMs: number, run: () => void): Cancel {
    const timer = { at: time + delayMs, run }
    timers.add(timer)
    return () => timers.delete(timer)
  }

  async function settle(): Promise<void> {
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
  }

  return {
    clock: { now: () => time, monotonic: () => time },
    timers: { after, background: after, atTurnEnd: (run) => setImmediate(run) },
    random: { token: real.random.token, fraction: () => 0.5 },
    digest: real.digest,
    sealing: real.sealing,
    settle,
    pendingTimers: () => timers.size,
    async advance(ms): Promise<void> {
      const until = time + ms
      await settle()
      for (;;) {
        const next = [...timers].filter((timer) => timer.at <= until).sort((a, b) => a.at - b.at)[0]
        if (next === undefined) break
        timers.delete(next)
        time = Math.max(time, next.at)
        next.run()
        await settle()
      }
      time = until
    },
  }
}
