/** What the routes of this app share. Next gives each of them a copy of this module, so it is kept beside them all. */
import { createIdempotency, type Idempotency, memoryStore } from 'retrysafe'

interface State {
  readonly idem: Idempotency
  /** How often each handler was entered. */
  readonly runs: Record<string, number>
  readonly gate: PromiseWithResolvers<void>
  /** Carts whose answers wait, from after the effect on. */
  readonly held: Map<string, PromiseWithResolvers<void>>
  /** Keys that are kept with a cart. */
  readonly keys: Map<string, string>
}

const shared = globalThis as { state?: State }

shared.state ??= {
  idem: createIdempotency({ store: memoryStore(), sweep: false }),
  runs: {},
  gate: Promise.withResolvers(),
  held: new Map(),
  keys: new Map(),
}

export const { idem, runs, gate, held, keys } = shared.state

export function ran(name: string): number {
  runs[name] = (runs[name] ?? 0) + 1
  return runs[name]
}
