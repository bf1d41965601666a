/**
 * Sweeps the store in the background, in turns. A turn removes one bounded batch after the other, and pauses after
 * each for about as long as it took, so that no more than half of one connection's time goes into it. Batches grow
 * and shrink towards a duration: long ones hold locks, and a replica takes them in one piece.
 *
 * waiting   until the next turn, by the interval with jitter; sooner after a turn that ran out of its time
 * turning   batches and pauses, until nothing is left, the time of the turn is over, or the sweeper is closed
 *
 * Any number of processes may sweep one store. One that is killed leaves a batch done or not done.
 */
import { InvalidOptionError } from '../core/errors.ts'
import type { Cancel, Runtime } from '../core/runtime.ts'
import type { IdempotencyStore } from '../core/store.ts'
import { report } from './events.ts'

export interface Sweeper {
  close(): void
}

/** What `idem.sweep()` removes at a time, which nothing else is slowed down for. */
const batchMax = 500
export const sweepLimitDefault = 10_000

/** Records in a batch of a turn. */
export const batchRange = { least: 100, first: 500, most: 5_000 } as const
/** How long a batch should take. */
export const batchMsGoal = 50
/** The part of the interval that a turn may take. */
export const turnPart = 0.5
/** The part of the interval until the next turn, where one ran out of its time. */
export const behindPart = 0.1

export function startSweeper(
  store: IdempotencyStore,
  { clock, timers, random }: Pick<Runtime, 'clock' | 'timers' | 'random'>,
  everyMs: number,
): Sweeper {
  let closed = false
  let size: number = batchRange.first
  /** Ends what is waited for. */
  let wake: (() => void) | undefined

  /** Half to one and a half of it, so that processes that started together drift apart. */
  const jittered = (ms: number): number => ms * (0.5 + random.fraction())

  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel: Cancel = timers.background(ms, resolve)
      wake = (): void => {
        cancel()
        resolve()
      }
    })
  }

  async function run(): Promise<void> {
    let isBehind = false
    while (!closed) {
      await pause(jittered(isBehind ? everyMs * behindPart : everyMs))
      if (closed) return
      try {
        isBehind = await turn()
      } catch (error) {
        isBehind = false
        // What failed may have been too much for a time limit of the server, and would fail again as it is.
        size = smaller(size)
        // A batch that is under way when the store closes is cut off by that.
        if (closed) return
        report('store-error', () => ({ verb: 'sweep', error }))
      }
    }
  }

  /** Whether something was left when its time was over. */
  async function turn(): Promise<boolean> {
    const until = clock.monotonic() + everyMs * turnPart
    while (!closed) {
      const startedAt = clock.monotonic()
      const { removed, entombed, more } = await store.sweep(size)
      report('swept', () => ({ removed, entombed }))
      if (!more) return false
      const tookMs = clock.monotonic() - startedAt
      size = nextSize(size, tookMs)
      if (clock.monotonic() >= until) return true
      await pause(jittered(tookMs))
    }
    return false
  }

  void run()
  return {
    close(): void {
      closed = true
      wake?.()
    },
  }
}

function nextSize(size: number, tookMs: number): number {
  if (tookMs > batchMsGoal * 2) return smaller(size)
  if (tookMs < batchMsGoal / 2) return Math.min(batchRange.most, size * 2)
  return size
}

function smaller(size: number): number {
  return Math.max(batchRange.least, Math.floor(size / 2))
}

/**
 * Sweeps at once until nothing is left or so many are removed; resolves to how many were removed.
 *
 * @throws InvalidOptionError when the limit is no whole number from 1
 */
export async function sweepNow(store: IdempotencyStore, limit: number = sweepLimitDefault): Promise<number> {
  if (!Number.isSafeInteger(limit) || limit < 1) {
    throw new InvalidOptionError('limit', 'must be a whole number from 1', limit)
  }
  let removed = 0
  for (let left = limit; left > 0; left -= batchMax) {
    const swept = await store.sweep(Math.min(batchMax, left))
    removed += swept.removed
    report('swept', () => ({ removed: swept.removed, entombed: swept.entombed }))
    if (!swept.more) break
  }
  return removed
}
