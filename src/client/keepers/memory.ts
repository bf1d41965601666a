import {
  afterEnd,
  afterShare,
  checkSize,
  type Entry,
  foundOf,
  isOpenCall,
  type KeeperOptions,
  type KeptCall,
  type KeyKeeper,
  readLimits,
  roomAmong,
  unsettled,
  verdictOn,
} from './keeper.ts'

/**
 * Keeps calls for as long as this page or process lives: against double clicks and lost answers, not against reloads.
 *
 * @throws InvalidOptionError
 * @example
 * const keeper = memoryKeeper({ keepAfterDone: '1m' })
 */
export function memoryKeeper(options: KeeperOptions = {}): KeyKeeper {
  const limits = readLimits('memoryKeeper', options)
  const entries = new Map<string, Entry>()

  async function end(verb: 'settle' | 'forget' | 'withdraw', call: KeptCall): Promise<void> {
    const after = afterEnd(verb, entries.get(call.intent), call, limits)
    if (after === undefined) entries.delete(call.intent)
    else entries.set(call.intent, after)
  }

  return {
    async keep(fresh) {
      checkSize(fresh, limits)
      const entry = entries.get(fresh.intent)
      const verdict = verdictOn(entry, fresh, limits)
      if (entry !== undefined && verdict === 'repeat') {
        entries.set(fresh.intent, afterShare(entry))
        return { call: entry.call, isNew: false }
      }
      const others = [...entries.values()].filter((other) => other !== entry)
      for (const { call } of roomAmong(others, limits)) entries.delete(call.intent)
      entries.set(fresh.intent, { call: fresh })
      return { call: fresh, isNew: true, replaced: verdict === 'replace' ? entry?.call : undefined }
    },
    async find(intent) {
      return foundOf(entries.get(intent), limits)
    },
    async share(call) {
      const entry = entries.get(call.intent)
      if (!isOpenCall(entry, call, limits)) return false
      entries.set(call.intent, afterShare(entry))
      return true
    },
    settle: (call) => end('settle', call),
    forget: (call) => end('forget', call),
    withdraw: (call) => end('withdraw', call),
    async list() {
      return unsettled([...entries.values()], limits)
    },
  }
}
