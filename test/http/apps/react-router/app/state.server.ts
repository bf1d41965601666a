/** What the routes of this app share. */
import { createIdempotency, memoryStore } from 'retrysafe'

export const idem = createIdempotency({ store: memoryStore(), sweep: false })

/** How often each handler was entered. */
export const runs: Record<string, number> = {}

export const gate = Promise.withResolvers<void>()

export function ran(name: string): number {
  runs[name] = (runs[name] ?? 0) + 1
  return runs[name]
}
