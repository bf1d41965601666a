/**
 * The keys of a page's forms, by the name of what is meant. One key of one intent is, in this order:
 *
 *   fresh   made by a render, in memory only: a render that is thrown away leaves nothing behind
 *   kept    stored, because it is on the page or about to be sent; the same after a reload
 *   sent    a request has left with it: nobody but its answer can say that it is over
 *   done    its operation took effect: repeated until `until`, so that the back button gets the replay
 *
 * and then forgotten: the next one that asks gets another key. A definite failure forgets at once.
 */
import { namePrefix } from './form-key-intent.ts'
import { newKey } from './key.ts'

/** What is used of a `Storage`. Old keys are cleared away where `Object.keys` lists its items, as of a `Storage`. */
export interface KeyStorage {
  getItem(name: string): string | null
  setItem(name: string, value: string): void
  removeItem(name: string): void
}

/** `'session'`: `sessionStorage`, this tab until it is closed. `'memory'`: this page until it is left. */
export type KeyStorageOption = 'session' | 'memory' | KeyStorage

/** All times are in milliseconds since 1970. */
export interface FormKey {
  readonly key: string
  readonly createdAt: number
  /** Absent where it was not sent. */
  readonly sentAt?: number
  /** Until when a finished intent repeats its key. */
  readonly until?: number
}

export interface FormKeys {
  /** Calls under way in this page, by the name of what they mean. */
  readonly flights: Map<string, unknown>
  /**
   * The key to use now; a new one is not stored yet. `first`: what a new one is, where the server has made it. Once in
   * the life of a page, because what comes after it ended is another order.
   */
  current(name: string, first?: string): FormKey
  /** Stores a key and what has become of it; by default the current one. Not when another key came after. */
  put(name: string, became?: FormKey): void
  /**
   * Its operation took effect: the key is repeated for so many milliseconds from the first `done` on. With 0 it is
   * forgotten: the next one that asks gets another key. Default: the current key.
   */
  done(name: string, ms: number, key?: string): void
  /** Tells when the key may have changed: here, by its time, or while the page was put away for the back button. */
  subscribe(name: string, listener: () => void): () => void
}

function openKeys(option: KeyStorageOption): FormKeys {
  /** Throws where it is forbidden, and so does what is used of it where there is none: the keys stay in memory. */
  const storage = (): KeyStorage =>
    // Servers may have one, too, which all their visitors would share.
    (option === 'session' ? page.document && page.sessionStorage : option) as KeyStorage
  /**
   * What is not in the storage: new keys, and all of them where there is none, or it is full or forbidden. It goes
   * before the storage, which may still have what could not be written over.
   */
  const fresh = new Map<string, FormKey>()
  /** Keys that were current in this page. */
  const known = new Set<string>()
  /** With the names that they wait for. */
  const listeners = new Map<() => void, string>()

  /** Unless its time is over, or it is damaged. */
  const kept = (name: string): FormKey | undefined => {
    try {
      const found = fresh.get(name) ?? (JSON.parse(storage().getItem(name) as string) as FormKey)
      return found.key && !((found.until as number) <= Date.now()) ? found : undefined
    } catch {
      return undefined
    }
  }
  const current: FormKeys['current'] = (name, first) => {
    let found = kept(name)
    if (!found) {
      found = { key: first && !known.has(first) ? first : newKey(), createdAt: Date.now() }
      fresh.set(name, found)
    }
    known.add(found.key)
    return found
  }
  /** Clears away what is over, and then what is worth least, but nothing that is on the page. */
  const makeRoom = (): void => {
    const used = [...listeners.values()]
    Object.keys(storage())
      .filter((name) => name.startsWith(namePrefix) && !used.includes(name))
      .map((name) => [worth(kept(name)), name] as const)
      .sort(([one], [other]) => one - other)
      .forEach(([left, name], at, { length }) => {
        if (!left || at <= length - 100) storage().removeItem(name)
      })
  }
  const put: FormKeys['put'] = (name, became = current(name)) => {
    if (current(name).key !== became.key) return
    try {
      if (!storage().getItem(name)) makeRoom()
      // Of one that is forgotten so little that it fits where the storage is full.
      storage().setItem(name, JSON.stringify(became.until !== 0 && became))
      fresh.delete(name)
    } catch {
      fresh.set(name, became)
    }
  }
  return {
    flights: new Map(),
    current,
    put,
    done(name, ms, key) {
      const now = current(name)
      put(name, { ...now, key: key ?? now.key, until: ms && (now.until ?? Date.now() + ms) })
      listeners.forEach((_name, told) => told())
    },
    subscribe(name, listener) {
      let timer: ReturnType<typeof setTimeout> | undefined
      const told = (): void => {
        clearTimeout(timer)
        const until = kept(name)?.until
        if (until) timer = setTimeout(told, Math.min(until - Date.now(), 2e9))
        listener()
      }
      listeners.set(told, name)
      page.addEventListener?.('pageshow', told)
      told()
      return () => {
        clearTimeout(timer)
        listeners.delete(told)
        page.removeEventListener?.('pageshow', told)
      }
    },
  }
}

/** Nothing where it is over, and then: those that are done, those that were not sent, those whose end is unknown. */
function worth(kept?: FormKey): number {
  // Three ranges that do not meet: all times are about the same, far from 1970.
  return kept ? (kept.until ? kept.until / 4 : (kept.sentAt ?? kept.createdAt / 2)) : 0
}

type Listen = ((event: string, listener: () => void) => void) | undefined

const page = globalThis as unknown as {
  readonly document?: unknown
  readonly sessionStorage: KeyStorage
  readonly addEventListener: Listen
  readonly removeEventListener: Listen
}

const keysOfNames = new Map<unknown, FormKeys>()
const keysOfObjects = new WeakMap<KeyStorage, FormKeys>()

/** The keys in a storage: one object for each, so that all of a page's components see the same. */
export function formKeys(option: KeyStorageOption = 'session'): FormKeys {
  const keysOf = (typeof option === 'object' ? keysOfObjects : keysOfNames) as typeof keysOfNames
  const keys = keysOf.get(option) ?? openKeys(option)
  keysOf.set(option, keys)
  return keys
}
