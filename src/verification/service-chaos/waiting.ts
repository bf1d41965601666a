/** Waits that end: by their time, or by the signal of the run. */
import { setTimeout as delay } from 'node:timers/promises'

/** @throws the reason of the signal */
export async function pauseFor(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal })
  } catch (error) {
    signal.throwIfAborted()
    throw error
  }
}

/** Waits for what others do, and no longer than that. */
export async function within<Value>(
  work: Promise<Value>,
  ms: number,
  name: string,
  signal: AbortSignal,
): Promise<Value> {
  const waits = new AbortController()
  const late = pauseFor(ms, AbortSignal.any([signal, waits.signal])).then(() => {
    throw new Error(`${name} took longer than ${ms} ms`)
  })
  late.catch(() => {})
  try {
    return await Promise.race([work, late])
  } finally {
    waits.abort()
  }
}

/** Does something with each item, so many at one time; when it rejects, nothing of it is under way any more. */
export async function inLanes<Item>(
  items: readonly Item[],
  lanes: number,
  act: (item: Item) => Promise<void>,
): Promise<void> {
  const left = items.values()
  const ended = await Promise.allSettled(
    Array.from({ length: Math.min(lanes, items.length) }, async () => {
      for (const item of left) await act(item)
    }),
  )
  const failed = ended.find(({ status }) => status === 'rejected')
  if (failed?.status === 'rejected') throw failed.reason
}
