/** Waiting for another process' lock without blocking the event loop. */
import { isBusy } from './errors.ts'

const delayMsFirst = 1
const delayMsMax = 25

/** Pauses between tries: they double, with jitter, so that two processes do not keep step. */
export class BusyPause {
  #delayMs = delayMsFirst

  wait(): Promise<void> {
    const delayMs = this.#delayMs * (0.5 + Math.random() / 2)
    this.#delayMs = Math.min(delayMsMax, this.#delayMs * 2)
    return new Promise((resolve) => {
      setTimeout(resolve, delayMs)
    })
  }
}

/**
 * Calls `attempt` again while it fails because of a lock.
 *
 * @throws what `attempt` throws: for a lock once `budgetMs` are over, else at once
 */
export async function whileBusy<Value>(budgetMs: number, attempt: () => Value): Promise<Value> {
  const until = performance.now() + budgetMs
  const pause = new BusyPause()
  for (;;) {
    try {
      return attempt()
    } catch (error) {
      if (!isBusy(error) || performance.now() >= until) throw error
    }
    await pause.wait()
  }
}
