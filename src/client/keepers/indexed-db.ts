/**
 * Calls in IndexedDB, shared by all tabs of an origin: each verb is one transaction of the database, and a write has
 * reached the disk when it resolves. While one tab sends a call, a Web Lock makes the others wait; it goes with the tab.
 */
import { checkedEntry } from './entry.ts'
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
  type KeyKeeper,
  type KeptCall,
  readLimits,
  roomAmong,
  unsettled,
  verdictOn,
} from './keeper.ts'

export interface IndexedDbKeeperOptions extends KeeperOptions {
  /** Name of the database. Default `'retrysafe'`. */
  readonly name?: string
}

/**
 * Keeps calls until their outcome is known, for all tabs of an origin: two that mean the same get one key, and one of
 * them sends at a time (where the browser has Web Locks, which is where pages are loaded over HTTPS or from localhost).
 *
 * @throws InvalidOptionError
 * @example
 * const keeper = indexedDbKeeper({ keepAfterDone: '5m' })
 */
export function indexedDbKeeper(options: IndexedDbKeeperOptions = {}): KeyKeeper {
  const limits = readLimits('indexedDbKeeper', options, ['name'])
  const { name = 'retrysafe' } = options
  let opened: Promise<Database> | undefined

  /** The connection, made at first use and again after it was closed. */
  function database(): Promise<Database> {
    opened ??= openDatabase(name, forgetIt).catch((error: unknown) => {
      forgetIt()
      throw error
    })
    return opened
  }

  function forgetIt(): void {
    opened = undefined
  }

  async function begin(mode: 'readonly' | 'readwrite'): Promise<Transaction> {
    const connection = await database()
    try {
      return connection.transaction(table, mode, { durability: 'strict' })
    } catch (error) {
      // A browser may close it without a word.
      if ((error as Error).name !== 'InvalidStateError') throw error
      forgetIt()
      return (await database()).transaction(table, mode, { durability: 'strict' })
    }
  }

  /** Runs in one transaction and resolves when that has reached the disk. */
  async function within<Result>(
    mode: 'readonly' | 'readwrite',
    run: (calls: ObjectStore) => Promise<Result>,
  ): Promise<Result> {
    return await guarded(async () => {
      const transaction = await begin(mode)
      const ended = endOf(transaction)
      try {
        const result = await run(transaction.objectStore(table))
        await ended
        return result
      } catch (error) {
        // Whoever waits for the end is told of the first cause.
        ended.catch(() => {})
        abortQuietly(transaction)
        throw error
      }
    })
  }

  function read(row: unknown): Entry | undefined {
    if (row === undefined) return undefined
    try {
      return checkedEntry(row as object)
    } catch (error) {
      limits.onDamaged(error as KeeperError)
      return undefined
    }
  }

  async function readAll(calls: ObjectStore): Promise<Entry[]> {
    const rows = (await answerOf(calls.getAll())) as unknown[]
    return rows.map(read).filter((entry) => entry !== undefined)
  }

  const end = (verb: 'settle' | 'forget' | 'withdraw', call: KeptCall): Promise<void> =>
    within('readwrite', async (calls) => {
      const entry = read(await answerOf(calls.get(call.intent)))
      const after = afterEnd(verb, entry, call, limits)
      if (after === entry) return
      if (after === undefined) calls.delete(call.intent)
      else calls.put(rowOf(after))
    })

  return {
    keep: (fresh) =>
      within('readwrite', async (calls) => {
        checkSize(fresh, limits)
        const entry = read(await answerOf(calls.get(fresh.intent)))
        const verdict = verdictOn(entry, fresh, limits)
        if (entry !== undefined && verdict === 'repeat') {
          calls.put(rowOf(afterShare(entry)))
          return { call: entry.call, isNew: false }
        }
        const others = (await readAll(calls)).filter(({ call }) => call.intent !== fresh.intent)
        for (const { call } of roomAmong(others, limits)) calls.delete(call.intent)
        calls.put(rowOf({ call: fresh }))
        return { call: fresh, isNew: true, replaced: verdict === 'replace' ? entry?.call : undefined }
      }),
    find: (intent) =>
      within('readonly', async (calls) => foundOf(read(await answerOf(calls.get(intent))), limits)),
    share: (call) =>
      within('readwrite', async (calls) => {
        const entry = read(await answerOf(calls.get(call.intent)))
        if (!isOpenCall(entry, call, limits)) return false
        calls.put(rowOf(afterShare(entry)))
        return true
      }),
    settle: (call) => end('settle', call),
    forget: (call) => end('forget', call),
    withdraw: (call) => end('withdraw', call),
    list: () => within('readonly', async (calls) => unsettled(await readAll(calls), limits)),
    hold: ({ key }, signal, send) => holdLock(`retrysafe:${encodeURIComponent(name)}:${key}`, signal, send),
  }
}

/** One sender at a time among all tabs; where there are no locks, the server sorts out who is first. */
async function holdLock<Result>(
  lock: string,
  signal: AbortSignal | undefined,
  send: () => Promise<Result>,
): Promise<Result> {
  const locks = (globalThis.navigator as { readonly locks?: Locks } | undefined)?.locks
  if (locks === undefined) return await send()
  return (await locks.request(lock, signal === undefined ? {} : { signal }, send)) as Result
}

const table = 'calls'

function rowOf({ call, isShared, doneAt }: Entry): KeptCall & Omit<Entry, 'call'> {
  return { ...call, isShared, doneAt }
}

/** How long another tab that is about to delete the database may hold this one up. */
const openMs = 5_000

async function openDatabase(name: string, onClosed: () => void): Promise<Database> {
  const request = (globalThis as unknown as { readonly indexedDB: Databases }).indexedDB.open(name, 1)
  request.onupgradeneeded = () => request.result.createObjectStore(table, { keyPath: 'intent' })
  const database = await inTime(answerOf(request))
  database.onclose = onClosed
  // Another version of the page wants to change or delete it: it need not wait for this one.
  database.onversionchange = () => {
    onClosed()
    database.close()
  }
  return database
}

/** Behind a deletion that a tab blocks, browsers let a connection wait for as long as that tab lives. */
async function inTime(opening: Promise<Database>): Promise<Database> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    opening.then((database) => database.close()).catch(() => {})
    late.reject(new Error('Another tab holds the database up.'))
  }, openMs)
  try {
    return await Promise.race([opening, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

/** A transaction stays open while its own answers are awaited, and only those. */
function answerOf<Result>(request: Request<Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

function endOf(transaction: Transaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve()
    transaction.onabort = () => reject(transaction.error ?? new Error('The transaction was given up.'))
  })
}

function abortQuietly(transaction: Transaction): void {
  try {
    transaction.abort()
  } catch {
    // It has ended by itself.
  }
}

/** The slices of the browser's interfaces that are used. */
interface Request<Result> {
  readonly result: Result
  readonly error: unknown
  onsuccess: (() => void) | null
  onerror: (() => void) | null
}

interface Databases {
  open(name: string, version: number): Request<Database> & { onupgradeneeded: (() => void) | null }
}

interface Database {
  createObjectStore(name: string, options: { keyPath: string }): unknown
  transaction(name: string, mode: string, options: { durability: 'strict' }): Transaction
  close(): void
  onclose: (() => void) | null
  onversionchange: (() => void) | null
}

interface Transaction {
  readonly error: unknown
  objectStore(name: string): ObjectStore
  abort(): void
  oncomplete: (() => void) | null
  onabort: (() => void) | null
}

interface ObjectStore {
  get(key: string): Request<unknown>
  getAll(): Request<unknown>
  put(value: unknown): Request<unknown>
  delete(key: string): Request<unknown>
}

interface Locks {
  request(name: string, options: { signal?: AbortSignal }, run: () => Promise<unknown>): Promise<unknown>
}
