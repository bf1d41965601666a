/**
 * Waits for keys that another process is running. All waiters of this process share one polling `read`; no
 * waiter holds a connection. The wait ends when the record is no longer the running one that was seen; the
 * waiter then claims again, so that the transition table decides and exactly one waiter becomes the holder.
 */
import type { IdempotencyRecord, RecordId } from '../core/record.ts'
import type { Random, Timers } from '../core/runtime.ts'
import type { Coalescer } from './coalescer.ts'

/** `full`: too many wait already, in total or for this key. */
export type WaitEnd = 'changed' | 'timeout' | 'aborted' | 'full'

export interface Waiters {
  untilChanged(
    id: RecordId,
    seenToken: string,
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): Promise<WaitEnd>
  close(): void
}

export const waitersMax = 10_000
export const waitersPerKeyMax = 100
const pollMsMin = 20
const pollMsMax = 250

interface Waiter {
  readonly seenToken: string
  readonly end: (how: WaitEnd) => void
}

export function createWaiters(coalescer: Coalescer, timers: Timers, random: Random): Waiters {
  const waiting = new Map<RecordId, Set<Waiter>>()
  let total = 0
  let pollMs = pollMsMin
  let polling = false

  function schedulePoll(): void {
    if (polling) return
    polling = true
    timers.after(pollMs * (0.75 + random.fraction() / 2), () => {
      void poll()
    })
  }

  async function poll(): Promise<void> {
    await Promise.all(Array.from(waiting.keys(), check))
    polling = false
    pollMs = Math.min(pollMsMax, pollMs * 1.5)
    if (total > 0) schedulePoll()
    else pollMs = pollMsMin
  }

  async function check(id: RecordId): Promise<void> {
    try {
      const { now, reply } = await coalescer.read(id)
      for (const waiter of waiting.get(id) ?? []) {
        if (!isStillRunning(reply, waiter.seenToken, now)) waiter.end('changed')
      }
    } catch {
      // The next poll asks again; each waiter has its own time limit.
    }
  }

  return {
    untilChanged(id, seenToken, timeoutMs, signal): Promise<WaitEnd> {
      const ofKey = waiting.get(id) ?? new Set<Waiter>()
      if (total >= waitersMax || ofKey.size >= waitersPerKeyMax) return Promise.resolve('full')
      if (signal?.aborted === true) return Promise.resolve('aborted')
      return new Promise((resolve) => {
        const waiter: Waiter = {
          seenToken,
          end(how): void {
            if (!ofKey.delete(waiter)) return
            if (ofKey.size === 0) waiting.delete(id)
            total--
            cancel()
            signal?.removeEventListener('abort', onAbort)
            resolve(how)
          },
        }
        const onAbort = (): void => waiter.end('aborted')
        const cancel = timers.after(timeoutMs, () => waiter.end('timeout'))
        signal?.addEventListener('abort', onAbort)
        ofKey.add(waiter)
        waiting.set(id, ofKey)
        total++
        pollMs = pollMsMin
        schedulePoll()
      })
    },
    close(): void {
      for (const ofKey of waiting.values()) for (const waiter of ofKey) waiter.end('aborted')
    },
  }
}

function isStillRunning(record: IdempotencyRecord | undefined, seenToken: string, now: number): boolean {
  return record?.phase === 'running' && record.token === seenToken && now < record.leaseUntil
}
