/** What the routes of this app share. Next gives each of them a copy of this module, so it is kept beside them all. */
import { createIdempotency, type Idempotency, memoryStore } from 'retrysafe'

interface State {
  readonly idem: Idempotency
  /** How often each handler was entered. */
  readonly runs: Record<string, number>
  readonly gate: PromiseWithResolvers<void>
}

const shared = globalThis as { state?: State }

shared.state ??= {
  idem: createIdempotency({ store: memoryStore(), sweep: false }),
  runs: {},
  gate: Promise.withResolvers(),
}

export const { idem, runs, gate } = shared.state

export function ran(name: string): number {
  runs[name] = (runs[name] ?? 0) + 1
  return runs[name]
}
