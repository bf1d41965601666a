/**
 * Calls in a SQLite file, shared by the processes of one host: each verb is one transaction, and a write has reached
 * the disk when it resolves (`synchronous = EXTRA`, which is FULL and covers the folder where there is no write-ahead
 * log).
 */
import { closeSync, openSync, statSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { InvalidOptionError } from '../../core/errors.ts'
import { checkedEntry } from './entry.ts'
import {
  afterEnd,
  afterShare,
  checkSize,
  type Entry,
  foundOf,
  guarded,
  isOpenCall,
  KeeperError,
  type KeeperOptions,
  type KeptCall,
  type KeyKeeper,
  readLimits,
  roomAmong,
  unsettled,
  verdictOn,
} from './keeper.ts'

export {
  type Found,
  KeeperError,
  type KeeperOptions,
  type Kept,
  type KeptCall,
  type KeyKeeper,
} from './keeper.ts'

export interface SqliteKeeperOptions extends KeeperOptions {
  /** Path of the file, made when it is not there, for this user alone; its folder must be. On a local disk. */
  readonly file: string
}

export interface SqliteKeeper extends KeyKeeper {
  /** Closes the file. A verb afterwards opens it again. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Keeps calls in a SQLite file until their outcome is known, for jobs and scripts with many calls: across crashes of
 * the process and of the machine, and for several processes at once. With `node:sqlite`; the bodies lie in the file as
 * they are.
 *
 * @throws InvalidOptionError
 * @example
 * await using keeper = sqliteKeeper({ file: './unfinished-calls.db' })
 */
export function sqliteKeeper(options: SqliteKeeperOptions): SqliteKeeper {
  const limits = readLimits('sqliteKeeper', options, ['file'])
  const { file } = options
  if (typeof file !== 'string' || file === '') {
    throw new InvalidOptionError('file', 'must be the path of a file', file)
  }
  let opened: Promise<Opened> | undefined

  /** The connection, made at first use, and again where another file or none lies under the path by now. */
  async function connection(): Promise<DatabaseSync> {
    opened ??= openDatabase(file)
    const opening = opened
    const { database, identity } = await opening.catch((error: unknown) => {
      if (opened === opening) opened = undefined
      throw error
    })
    if (identity === identityOf(file)) return database
    if (opened === opening) {
      opened = undefined
      database.close()
    }
    return await connection()
  }

  /** Runs in one transaction that excludes other writers. Nothing in it waits, so no other verb comes between. */
  function within<Result>(run: (database: DatabaseSync) => Result): Promise<Result> {
    return guarded(() =>
      whenFree(async () => {
        const database = await connection()
        database.exec('BEGIN IMMEDIATE')
        try {
          const result = run(database)
          database.exec('COMMIT')
          return result
        } catch (error) {
          if (database.isTransaction) database.exec('ROLLBACK')
          throw error
        }
      }),
    )
  }

  /** Runs one statement that only reads, which waits for nobody. */
  function looking<Result>(run: (database: DatabaseSync) => Result): Promise<Result> {
    return guarded(() => whenFree(async () => run(await connection())))
  }

  function readRow(row: object): Entry | undefined {
    try {
      return entryOfRow(row as Row)
    } catch {
      // The cause would quote the row.
      limits.onDamaged(new KeeperError('damaged'))
      return undefined
    }
  }

  function read(database: DatabaseSync, intent: string): Entry | undefined {
    const row = database.prepare(`SELECT * FROM ${table} WHERE intent = ?`).get(JSON.stringify(intent))
    return row && readRow(row)
  }

  function readAll(database: DatabaseSync): Entry[] {
    const rows = database.prepare(`SELECT * FROM ${table}`).all()
    return rows.map(readRow).filter((entry) => entry !== undefined)
  }

  function remove(database: DatabaseSync, { intent }: KeptCall): void {
    database.prepare(`DELETE FROM ${table} WHERE intent = ?`).run(JSON.stringify(intent))
  }

  /** Reads all rows only where there may be too many, or once in a while. */
  let keeps = 0
  function makeRoom(database: DatabaseSync, intent: string): void {
    const { count } = database.prepare(`SELECT count(*) AS count FROM ${table}`).get() as { count: number }
    if (count < limits.callsMax && keeps++ % keepsBetweenCleanings !== 0) return
    const others = readAll(database).filter(({ call }) => call.intent !== intent)
    for (const { call } of roomAmong(others, limits)) remove(database, call)
  }

  function write(database: DatabaseSync, entry: Entry): void {
    database.prepare(insertSql).run(rowOf(entry))
  }

  const end = (verb: 'settle' | 'forget' | 'withdraw', call: KeptCall): Promise<void> =>
    within((database) => {
      const entry = read(database, call.intent)
      const after = afterEnd(verb, entry, call, limits)
      if (after === entry) return
      if (after === undefined) remove(database, call)
      else write(database, after)
    })

  async function close(): Promise<void> {
    const closing = opened
    opened = undefined
    ;(await closing?.catch(() => undefined))?.database.close()
  }

  return {
    keep: (fresh) =>
      within((database) => {
        checkSize(fresh, limits)
        const entry = read(database, fresh.intent)
        const verdict = verdictOn(entry, fresh, limits)
        if (entry !== undefined && verdict === 'repeat') {
          const after = afterShare(entry)
          if (after !== entry) write(database, after)
          return { call: entry.call, isNew: false }
        }
        makeRoom(database, fresh.intent)
        write(database, { call: fresh })
        return { call: fresh, isNew: true, replaced: verdict === 'replace' ? entry?.call : undefined }
      }),
    find: (intent) => looking((database) => foundOf(read(database, intent), limits)),
    share: (call) =>
      within((database) => {
        const entry = read(database, call.intent)
        if (!isOpenCall(entry, call, limits)) return false
        const after = afterShare(entry)
        if (after !== entry) write(database, after)
        return true
      }),
    settle: (call) => end('settle', call),
    forget: (call) => end('forget', call),
    withdraw: (call) => end('withdraw', call),
    list: () => looking((database) => unsettled(readAll(database), limits)),
    close,
    [Symbol.asyncDispose]: close,
  }
}

const table = 'retrysafe_kept_calls'
const keepsBetweenCleanings = 64

/**
 * Bodies are kept as octets, also where they are text, which SQLite would mend where it is no UTF-8. Intents are JSON:
 * Node 22 reads a text of SQLite's up to a zero.
 */
const createSql = `CREATE TABLE IF NOT EXISTS ${table} (
  intent TEXT PRIMARY KEY NOT NULL,
  key TEXT NOT NULL,
  method TEXT NOT NULL,
  url TEXT NOT NULL,
  content_type TEXT,
  fields TEXT,
  body BLOB,
  body_kind TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  shared INTEGER NOT NULL,
  done_at INTEGER
)`

const insertSql = `INSERT OR REPLACE INTO ${table}
  (intent, key, method, url, content_type, fields, body, body_kind, created_at, shared, done_at)
  VALUES (:intent, :key, :method, :url, :content_type, :fields, :body, :body_kind, :created_at, :shared, :done_at)`

interface Row {
  readonly intent: string
  readonly key: string
  readonly method: string
  readonly url: string
  readonly content_type: string | null
  readonly fields: string | null
  readonly body: Uint8Array | null
  readonly body_kind: string
  readonly created_at: number
  readonly shared: number
  readonly done_at: number | null
}

function rowOf({
  call: { intent, key, method, url, contentType, fields, body, createdAt },
  isShared,
  doneAt,
}: Entry): Row & Record<string, string | number | Uint8Array | null> {
  return {
    ...{ intent: JSON.stringify(intent), key, method, url },
    content_type: contentType,
    fields: fields === undefined ? null : JSON.stringify(fields),
    body: typeof body === 'string' ? new TextEncoder().encode(body) : (body ?? null),
    body_kind: body === undefined ? 'none' : typeof body === 'string' ? 'text' : 'octets',
    created_at: createdAt,
    shared: isShared === true ? 1 : 0,
    done_at: doneAt ?? null,
  }
}

function entryOfRow(row: Row): Entry {
  const { content_type: contentType, fields, body, created_at: createdAt, shared, done_at: doneAt } = row
  const { intent, key, method, url, body_kind: kind } = row
  return checkedEntry({
    ...{ intent: JSON.parse(intent) as unknown, key, method, url, contentType },
    fields: fields === null ? undefined : (JSON.parse(fields) as unknown),
    body: bodyOf(kind, body ?? new Uint8Array()),
    createdAt,
    isShared: shared !== 0,
    doneAt: doneAt ?? undefined,
  })
}

/** SQLite gives back nothing for no octets. */
function bodyOf(kind: string, octets: Uint8Array): KeptCall['body'] {
  if (kind === 'none') return undefined
  return kind === 'text' ? new TextDecoder('utf-8', { ignoreBOM: true }).decode(octets) : octets
}

interface Opened {
  readonly database: DatabaseSync
  readonly identity: string | undefined
}

/** Which file lies under a path, if any: SQLite goes on to write to one that was removed. */
function identityOf(file: string): string | undefined {
  const found = file === inMemory ? undefined : statSync(file, { bigint: true, throwIfNoEntry: false })
  return found && `${found.dev}:${found.ino}`
}

const inMemory = ':memory:'

async function openDatabase(file: string): Promise<Opened> {
  const { DatabaseSync } = await import('node:sqlite')
  // SQLite would make it readable for all.
  if (file !== inMemory) closeSync(openSync(file, 'a', 0o600))
  const identity = identityOf(file)
  // It would stop this process while it waits for others.
  const database = new DatabaseSync(file, { timeout: 0 })
  try {
    await whenFree(() => database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = EXTRA; ${createSql}`))
    return { database, identity }
  } catch (error) {
    database.close()
    throw error
  }
}

/** How long others may write. */
const busyMs = 5_000
const pauseMs = 20
const busyCode = 5

/** Runs what other processes may keep from being done, again and again, without a stop of this one. */
async function whenFree<Result>(run: () => Result | Promise<Result>): Promise<Result> {
  const until = performance.now() + busyMs
  for (;;) {
    try {
      return await run()
    } catch (error) {
      if (!isBusy(error) || performance.now() > until) throw error
      // At random, so that those who wait do not come at once.
      await new Promise((resolve) => setTimeout(resolve, Math.random() * pauseMs))
    }
  }
}

/** The code has more in its upper octets. */
function isBusy(error: unknown): boolean {
  return ((error as { readonly errcode?: number }).errcode ?? 0) % 256 === busyCode
}
