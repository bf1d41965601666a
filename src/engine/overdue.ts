/**
 * Tells what takes too long, all of it with one timer: to set and clear one for each call to the store costs more
 * than the rest of sending it.
 */
import type { Clock, Timers } from '../core/runtime.ts'
import { DueQueue, type Queued } from './due-queue.ts'

export interface Overdue {
  /** Calls `tell` once after `msMax`, unless `end` comes first. */
  begin(tell: () => void): Queued<() => void>
  end(begun: Queued<() => void>): void
}

export function createOverdue(
  msMax: number,
  clock: Pick<Clock, 'monotonic'>,
  timers: Pick<Timers, 'background'>,
): Overdue {
  const queue = new DueQueue<() => void>()
  let armed = false

  function arm(delayMs: number): void {
    armed = true
    timers.background(Math.max(1, delayMs), () => {
      armed = false
      const now = clock.monotonic()
      for (let { first } = queue; first !== undefined && first.due <= now; { first } = queue) {
        queue.remove(first)
        first.item()
      }
      const next = queue.first
      if (next !== undefined && !armed) arm(next.due - now)
    })
  }

  return {
    begin(tell) {
      const begun = queue.add(tell, clock.monotonic() + msMax)
      if (!armed) arm(msMax)
      return begun
    },
    end(begun) {
      queue.remove(begun)
    },
  }
}
