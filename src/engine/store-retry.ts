/** Sends a verb again while that is safe and its time lasts, by the class of the store's error. */
import { StoreError } from '../core/errors.ts'
import type { Runtime } from '../core/runtime.ts'

const delayMsFirst = 10
const delayMsMax = 500

/**
 * Calls `send` until it resolves. A verb that carries a token may be sent again after any failure but a
 * permanent one: where it had been applied, the store's record shows its token.
 *
 * @param budgetMs no new send starts after it
 */
export async function resend<Value>(
  runtime: Pick<Runtime, 'clock' | 'timers' | 'random'>,
  budgetMs: number,
  send: () => Promise<Value>,
): Promise<Value> {
  const until = runtime.clock.monotonic() + budgetMs
  for (let delayMs = delayMsFirst; ; delayMs = Math.min(delayMsMax, delayMs * 2)) {
    try {
      return await send()
    } catch (error) {
      if (!(error instanceof StoreError) || error.failure === 'permanent') throw error
      const pauseMs = delayMs * (0.5 + runtime.random.fraction() / 2)
      if (runtime.clock.monotonic() + pauseMs >= until) throw error
      await pause(runtime, pauseMs)
    }
  }
}

/** Resolves after `delayMs`. */
export function pause(runtime: Pick<Runtime, 'timers'>, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    runtime.timers.after(delayMs, resolve)
  })
}
