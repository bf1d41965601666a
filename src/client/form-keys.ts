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

const prefix = 'retrysafe-key:'
/** In a storage, and as many in memory. The oldest goes. */
const keysMax = 100
/** By so much a key that was not sent counts as older. */
const unsentMs = 86_400_000

export interface FormKeys {
  /** Calls under way in this page, by the name of what they mean. */
  readonly flights: Map<string, unknown>
  /** The key to use now; a new one is not stored yet. `first`: what a new one is, where the server has made it. */
  current(name: string, first?: string): FormKey
  /** Stores a key and what has become of it; by default the current one. Not when another key came after. */
  put(name: string, became?: FormKey): void
  /** Its operation took effect: the key is repeated for so many milliseconds. Default: of the current key. */
  done(name: string, ms: number, key?: string): void
  /** The next one that asks gets another key. Default: forgets the current one. */
  forget(name: string, key?: string): void
  /** Tells when the key may have changed: here, by its time, or while the page was put away for the back button. */
  subscribe(name: string, listener: () => void): () => void
}

/** Without a storage, what uses it throws as a storage does that is forbidden: the keys stay in memory. */
function openKeys(given: KeyStorage | undefined): FormKeys {
  const storage = given as KeyStorage
  /** What is not in the storage: new keys, and all of them where there is none, or it is full or forbidden. */
  const fresh = new Map<string, FormKey>()
  const listeners = new Set<() => void>()

  const read = (item: string): FormKey | undefined => {
    try {
      return living(JSON.parse(storage.getItem(item) as string) as FormKey | null)
    } catch {
      return undefined
    }
  }
  const freshen = (name: string, kept: FormKey): FormKey => {
    fresh.set(name, kept)
    if (fresh.size > keysMax) fresh.delete(fresh.keys().next().value as string)
    return kept
  }
  const kept = (name: string): FormKey | undefined => living(fresh.get(name)) ?? read(prefix + name)
  const current: FormKeys['current'] = (name, first) =>
    kept(name) ?? freshen(name, { key: first ?? newKey(), createdAt: Date.now() })
  const put: FormKeys['put'] = (name, became = current(name)) => {
    if (current(name).key !== became.key) return
    try {
      makeRoom(storage, read)
      storage.setItem(prefix + name, JSON.stringify(became))
      fresh.delete(name)
    } catch {
      freshen(name, became)
    }
  }
  const end = (name: string, became: FormKey): void => {
    put(name, became)
    for (const told of listeners) told()
  }
  return {
    flights: new Map(),
    current,
    put,
    done(name, ms, key = current(name).key) {
      end(name, { until: Date.now() + ms, ...current(name), key })
    },
    forget(name, key = current(name).key) {
      end(name, { key, createdAt: 0, until: 0 })
    },
    subscribe(name, listener) {
      let timer: ReturnType<typeof setTimeout> | undefined
      const told = (): void => {
        arm()
        listener()
      }
      const arm = (): void => {
        clearTimeout(timer)
        const until = kept(name)?.until
        if (until !== undefined) timer = setTimeout(told, until - Date.now())
      }
      listeners.add(told)
      page.addEventListener?.('pageshow', told)
      arm()
      return () => {
        clearTimeout(timer)
        listeners.delete(told)
        page.removeEventListener?.('pageshow', told)
      }
    },
  }
}

function makeRoom(storage: KeyStorage, read: (item: string) => FormKey | undefined): void {
  const ages = Object.keys(storage)
    .filter((item) => item.startsWith(prefix))
    .map((item) => {
      const kept = read(item)
      return { item, since: kept ? (kept.sentAt ?? kept.createdAt - unsentMs) : 0 }
    })
    .sort((one, other) => one.since - other.since)
  ages.forEach(({ item, since }, at) => {
    if (since === 0 || at <= ages.length - keysMax) storage.removeItem(item)
  })
}

/** Unless its time is over, or it is damaged. */
function living(kept?: FormKey | null): FormKey | undefined {
  return kept?.key && (kept.until ?? Infinity) > Date.now() ? kept : undefined
}

type Listen = ((event: string, listener: () => void) => void) | undefined

const page = globalThis as unknown as {
  readonly document?: unknown
  readonly sessionStorage: KeyStorage
  readonly addEventListener: Listen
  readonly removeEventListener: Listen
}

const keysOf = new Map<KeyStorageOption, FormKeys>()

/** The keys in a storage: one object for each, so that all of a page's components see the same. */
export function formKeys(option: KeyStorageOption = 'session'): FormKeys {
  const keys = keysOf.get(option) ?? openKeys(storageOf(option))
  keysOf.set(option, keys)
  return keys
}

function storageOf(option: KeyStorageOption): KeyStorage | undefined {
  if (typeof option === 'object') return option
  try {
    // Servers may have one, too, which all their visitors would share.
    return option === 'session' && page.document ? page.sessionStorage : undefined
  } catch {
    // Forbidden by the reader's settings.
    return undefined
  }
}
