/**
 * Calls in `sessionStorage` or `localStorage`: one item for each, which is read and written without a wait, so that
 * nothing in the page comes between the look and the write.
 *
 * Browsers give other tabs what `localStorage` holds a moment later, so two tabs that press at once may get two keys:
 * `indexedDbKeeper` is for those.
 */
import { entryOf, entryText } from './entry.ts'
import {
  afterEnd,
  afterShare,
  checkSize,
  type Entry,
  foundOf,
  guarded,
  isOpenCall,
  type KeeperError,
  type KeeperOptions,
  type KeptCall,
  type KeyKeeper,
  readLimits,
  roomAmong,
  unsettled,
  verdictOn,
} from './keeper.ts'

/** The slice of the browser's `Storage` that is used. */
export interface WebStorage {
  readonly length: number
  key(index: number): string | null
  getItem(key: string): string | null
  setItem(key: string, value: string): void
  removeItem(key: string): void
}

export interface WebStorageKeeperOptions extends KeeperOptions {
  /** Keeps the calls of several applications on one origin apart. Default `'default'`. */
  readonly name?: string
}

/** Room in web storage is scarce: browsers give an origin 5 MiB. */
const defaults = { callsMax: 100, bodyBytesMax: 2 ** 18 } as const

/**
 * Keeps calls for as long as the tab lives, reloads and crashes of the page included. `callsMax` is 100 and
 * `bodyBytesMax` 256 KiB by default.
 *
 * @throws InvalidOptionError
 * @example
 * const keeper = sessionStorageKeeper()
 */
export function sessionStorageKeeper(options: WebStorageKeeperOptions = {}): KeyKeeper {
  return webStorageKeeper('sessionStorageKeeper', () => sessionStorage, options)
}

/**
 * Keeps calls until their outcome is known, also when the tab is closed. For one tab at a time; a browser that crashes
 * may lose the last seconds. `callsMax` is 100 and `bodyBytesMax` 256 KiB by default.
 *
 * @throws InvalidOptionError
 * @example
 * const keeper = localStorageKeeper({ name: 'shop' })
 */
export function localStorageKeeper(options: WebStorageKeeperOptions = {}): KeyKeeper {
  return webStorageKeeper('localStorageKeeper', () => localStorage, options)
}

function webStorageKeeper(
  owner: string,
  // Asking for it is what a browser may forbid.
  open: () => WebStorage,
  options: WebStorageKeeperOptions,
): KeyKeeper {
  const limits = readLimits(owner, { ...defaults, ...options }, ['name'])
  const prefix = `retrysafe:${encodeURIComponent(options.name ?? 'default')}:`

  function read(storage: WebStorage, intent: string): Entry | undefined {
    const text = storage.getItem(prefix + intent)
    if (text === null) return undefined
    try {
      return entryOf(text)
    } catch (error) {
      limits.onDamaged(error as KeeperError)
      return undefined
    }
  }

  function readAll(storage: WebStorage): Entry[] {
    const names = Array.from({ length: storage.length }, (_, at) => storage.key(at))
    return names
      .filter((name) => name?.startsWith(prefix) === true)
      .map((name) => read(storage, (name as string).slice(prefix.length)))
      .filter((entry) => entry !== undefined)
  }

  const remove = (storage: WebStorage, { intent }: KeptCall): void => storage.removeItem(prefix + intent)

  const write = (storage: WebStorage, entry: Entry): void =>
    storage.setItem(prefix + entry.call.intent, entryText(entry))

  const end = (verb: 'settle' | 'forget' | 'withdraw', call: KeptCall): Promise<void> =>
    guarded(() => {
      const storage = open()
      const entry = read(storage, call.intent)
      const after = afterEnd(verb, entry, call, limits)
      if (after === entry) return
      if (after === undefined) remove(storage, call)
      else write(storage, after)
    })

  return {
    keep: (fresh) =>
      guarded(() => {
        checkSize(fresh, limits)
        const storage = open()
        const entry = read(storage, fresh.intent)
        const verdict = verdictOn(entry, fresh, limits)
        if (entry !== undefined && verdict === 'repeat') {
          write(storage, afterShare(entry))
          return { call: entry.call, isNew: false }
        }
        const others = readAll(storage).filter(({ call }) => call.intent !== fresh.intent)
        for (const { call } of roomAmong(others, limits)) remove(storage, call)
        write(storage, { call: fresh })
        return { call: fresh, isNew: true, replaced: verdict === 'replace' ? entry?.call : undefined }
      }),
    find: (intent) => guarded(() => foundOf(read(open(), intent), limits)),
    share: (call) =>
      guarded(() => {
        const storage = open()
        const entry = read(storage, call.intent)
        if (!isOpenCall(entry, call, limits)) return false
        write(storage, afterShare(entry))
        return true
      }),
    settle: (call) => end('settle', call),
    forget: (call) => end('forget', call),
    withdraw: (call) => end('withdraw', call),
    list: () => guarded(() => unsettled(readAll(open()), limits)),
  }
}
