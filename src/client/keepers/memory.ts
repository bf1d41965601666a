import {
  checkSize,
  type Entry,
  type KeeperOptions,
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
  return {
    async keep(fresh) {
      checkSize(fresh, limits)
      const entry = entries.get(fresh.intent)
      const verdict = verdictOn(entry, fresh, limits)
      if (entry !== undefined && verdict === 'repeat') return { call: entry.call, isNew: false }
      const others = [...entries.values()].filter((other) => other !== entry)
      for (const { call } of roomAmong(others, limits)) entries.delete(call.intent)
      entries.set(fresh.intent, { call: fresh })
      return { call: fresh, isNew: true, replaced: verdict === 'replace' ? entry?.call : undefined }
    },
    async settle(call) {
      const entry = entries.get(call.intent)
      if (entry?.call.key !== call.key || entry.doneAt !== undefined) return
      if (limits.keepAfterDoneMs > 0) entries.set(call.intent, { ...entry, doneAt: limits.now() })
      else entries.delete(call.intent)
    },
    async forget({ intent, key }) {
      if (entries.get(intent)?.call.key === key) entries.delete(intent)
    },
    async list() {
      return unsettled([...entries.values()])
    },
  }
}
