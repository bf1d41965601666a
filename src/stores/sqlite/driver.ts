/** What the store uses of a SQLite driver, and how it opens a file with the one that Node brings along. */
import { statSync } from 'node:fs'
import { InvalidOptionError, StoreError } from '../../core/errors.ts'

export type SqliteValue = null | number | bigint | string | Uint8Array

export interface SqliteStatement {
  run(...values: SqliteValue[]): { readonly changes: number | bigint }
  get(...values: SqliteValue[]): unknown
  all(...values: SqliteValue[]): unknown[]
}

/** A connection inside a transaction. `DatabaseSync` of `node:sqlite` and better-sqlite3's `Database` are ones. */
export interface SqliteTx {
  prepare(sql: string): SqliteStatement
  exec(sql: string): unknown
  /** `node:sqlite` says so whether a transaction is open. */
  readonly isTransaction?: boolean
  /** better-sqlite3 says so whether a transaction is open. */
  readonly inTransaction?: boolean
}

/** A connection. `DatabaseSync` of `node:sqlite` and better-sqlite3's `Database` are ones. */
export interface SqliteDatabase extends SqliteTx {
  close(): unknown
}

/** Whether a transaction is open; `undefined` when the driver does not say, or the connection is closed. */
export function hasTransaction(db: SqliteTx): boolean | undefined {
  try {
    return db.isTransaction ?? db.inTransaction
  } catch {
    return undefined
  }
}

/**
 * Checks a path before SQLite opens it.
 *
 * @throws InvalidOptionError
 */
export function checkFileOption(file: unknown): asserts file is string {
  if (typeof file !== 'string' || file === '') {
    throw new InvalidOptionError('file', 'must be the path of a file', file)
  }
  if (file.includes('\0')) throw new InvalidOptionError('file', 'must not contain a NUL character')
  if (file === ':memory:' || file.startsWith('file:')) {
    throw new InvalidOptionError(
      'file',
      'must be a path on disk, because the store opens it more than once; use memoryStore for records in memory',
      file,
    )
  }
}

/**
 * Opens `file` with `node:sqlite`.
 *
 * @throws StoreError `permanent` when the path is something else than a file
 */
export function openFile(file: string): SqliteDatabase {
  // A FIFO or a device would be opened, and the first read would never return.
  const found = statSync(file, { throwIfNoEntry: false })
  if (found !== undefined && !found.isFile()) {
    throw new StoreError('permanent', 'The path of the SQLite store is not a file.')
  }
  const sqlite = process.getBuiltinModule('node:sqlite')
  if (sqlite === undefined) {
    throw new InvalidOptionError(
      'file',
      "needs the module node:sqlite, which this runtime lacks; give the option 'open' another driver",
    )
  }
  return new sqlite.DatabaseSync(file)
}

/** How long a statement may block the event loop for another process' lock: one short sleep of SQLite. */
const busySyncMs = 2

/**
 * Record ids are random, so a group touches as many pages of their index as it has claims. With a longer log
 * more of these are written back once instead of many times, and with a larger cache fewer are read again.
 */
const checkpointPages = 4_000
const cacheKibibytes = 32 * 1024

/**
 * Sets what the promise rests on: the write-ahead log, and a commit that is on disk before it is answered.
 * `synchronous = NORMAL` would lose the last commits when the power fails.
 *
 * @returns the path of the file
 * @throws InvalidOptionError when the database is in memory
 * @throws StoreError `permanent` when the file cannot have a write-ahead log
 */
export function prepareConnection(db: SqliteDatabase): string {
  db.exec(`PRAGMA busy_timeout = ${busySyncMs}`)
  const main = (db.prepare('PRAGMA database_list').all() as { name: string; file: string | null }[]).find(
    ({ name }) => name === 'main',
  )
  if (!main?.file) {
    throw new InvalidOptionError('open', 'must open a file; use memoryStore for records in memory')
  }
  const mode = db.prepare('PRAGMA journal_mode = WAL').get() as { journal_mode?: unknown } | undefined
  if (mode?.journal_mode !== 'wal') {
    throw new StoreError('permanent', 'The SQLite file cannot be switched to a write-ahead log (WAL).')
  }
  db.exec(`
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = ${checkpointPages};
    PRAGMA cache_size = -${cacheKibibytes}
  `)
  return main.file
}
