/**
 * Calls whose outcome this page or process was not told. The next press goes on with the key, also where the keeper has
 * none by then: another tab got the answer, or the storage fails for a moment.
 */
import { isSameRequest, type KeptCall, type KeyKeeper } from './keepers/keeper.ts'

/** Of each keeper, one for each intent, the oldest first. */
const unknownOf = new WeakMap<KeyKeeper, Map<string, KeptCall>>()

/** A page has a few. */
const callsMax = 1_000

export function noteUnknown(keeper: KeyKeeper, call: KeptCall): void {
  const calls = unknownOf.get(keeper) ?? new Map<string, KeptCall>()
  unknownOf.set(keeper, calls)
  calls.delete(call.intent)
  calls.set(call.intent, call)
  for (const [oldest] of calls) if (calls.size > callsMax) calls.delete(oldest)
}

/** An answer came, or the call was given up. */
export function noteKnown(keeper: KeyKeeper, intent: string): void {
  unknownOf.get(keeper)?.delete(intent)
}

/** The call that the same request under the same intent goes on with, if any. */
export function unknownCall(keeper: KeyKeeper, fresh: KeptCall): KeptCall | undefined {
  const call = unknownOf.get(keeper)?.get(fresh.intent)
  return call !== undefined && isSameRequest(call, fresh) ? call : undefined
}
