/** Sweeps the store in the background: small batches, jitter between nodes, a bound on each turn. */
import type { Runtime } from '../core/runtime.ts'
import type { IdempotencyStore } from '../core/store.ts'
import { report } from './events.ts'

export interface Sweeper {
  close(): void
}

const batchMax = 500
const batchesPerTurnMax = 20

export function startSweeper(
  store: IdempotencyStore,
  { timers, random }: Pick<Runtime, 'timers' | 'random'>,
  everyMs: number,
): Sweeper {
  let closed = false
  let cancel = schedule()

  function schedule(): () => void {
    // Half to one and a half of the interval, so that nodes that started together drift apart.
    return timers.background(everyMs * (0.5 + random.fraction()), () => {
      void turn()
    })
  }

  async function turn(): Promise<void> {
    try {
      await sweepTurn(store)
    } catch (error) {
      report('store-error', () => ({ verb: 'sweep', error }))
    }
    if (!closed) cancel = schedule()
  }

  return {
    close(): void {
      closed = true
      cancel()
    },
  }
}

/** Sweeps until nothing is left or the bound of one turn is reached; resolves to how many were removed. */
export async function sweepTurn(
  store: IdempotencyStore,
  limit: number = batchMax * batchesPerTurnMax,
): Promise<number> {
  let removed = 0
  for (let left = limit; left > 0; left -= batchMax) {
    const swept = await store.sweep(Math.min(batchMax, left))
    removed += swept.removed
    report('swept', () => ({ removed: swept.removed, entombed: swept.entombed }))
    if (!swept.more) break
  }
  return removed
}
