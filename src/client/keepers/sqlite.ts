/**
 * Calls in a SQLite file, shared by the processes of one host: each verb is one transaction, and a write has reached
 * the disk when it resolves (`synchronous = EXTRA`, which is FULL and covers the folder where there is no write-ahead
 * log).
 */
import { closeSync, openSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { InvalidOptionError } from '../../core/errors.ts'
import { checkedEntry } from './entry.ts'
import {
  checkSize,
  type Entry,
  guarded,
  KeeperError,
  type KeeperOptions,
  type KeptCall,
  type KeyKeeper,
  readLimits,
  roomAmong,
  unsettled,
  verdictOn,
} from './keeper.ts'

export { KeeperError, type KeeperOptions, type Kept, type KeptCall, type KeyKeeper } from './keeper.ts'

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
  let opened: Promise<DatabaseSync> | undefined

  /** Runs in one transaction that excludes other writers. Nothing in it waits, so no other verb comes between. */
  function within<Result>(run: (database: DatabaseSync) => Result): Promise<Result> {
    return guarded(async () => {
      opened ??= openDatabase(file)
      const database = await opened.catch((error: unknown) => {
        opened = undefined
        throw error
      })
      database.exec('BEGIN IMMEDIATE')
      try {
        const result = run(database)
        database.exec('COMMIT')
        return result
      } catch (error) {
        if (database.isTransaction) database.exec('ROLLBACK')
        throw error
      }
    })
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
    const row = database.prepare(`SELECT * FROM ${table} WHERE intent = ?`).get(intent)
    return row && readRow(row)
  }

  function readAll(database: DatabaseSync): Entry[] {
    const rows = database.prepare(`SELECT * FROM ${table}`).all()
    return rows.map(readRow).filter((entry) => entry !== undefined)
  }

  function remove(database: DatabaseSync, { intent }: KeptCall): void {
    database.prepare(`DELETE FROM ${table} WHERE intent = ?`).run(intent)
  }

  /** Reads all rows only where there may be too many, or once in a while. */
  let keeps = 0
  function makeRoom(database: DatabaseSync, intent: string): void {
    const { count } = database.prepare(`SELECT count(*) AS count FROM ${table}`).get() as { count: number }
    if (count < limits.callsMax && keeps++ % keepsBetweenCleanings !== 0) return
    const others = readAll(database).filter(({ call }) => call.intent !== intent)
    for (const { call } of roomAmong(others, limits)) remove(database, call)
  }

  async function close(): Promise<void> {
    const closing = opened
    opened = undefined
    ;(await closing?.catch(() => undefined))?.close()
  }

  return {
    keep: (fresh) =>
      within((database) => {
        checkSize(fresh, limits)
        const entry = read(database, fresh.intent)
        const verdict = verdictOn(entry, fresh, limits)
        if (entry !== undefined && verdict === 'repeat') return { call: entry.call, isNew: false }
        makeRoom(database, fresh.intent)
        database.prepare(insertSql).run(rowOf(fresh))
        return { call: fresh, isNew: true, replaced: verdict === 'replace' ? entry?.call : undefined }
      }),
    settle: (call) =>
      within((database) => {
        const { intent, key } = call
        if (limits.keepAfterDoneMs > 0) database.prepare(doneSql).run(limits.now(), intent, key)
        else database.prepare(`DELETE FROM ${table} WHERE intent = ? AND key = ?`).run(intent, key)
      }),
    forget: ({ intent, key }) =>
      within((database) => {
        database.prepare(`DELETE FROM ${table} WHERE intent = ? AND key = ?`).run(intent, key)
      }),
    list: () => within((database) => unsettled(readAll(database))),
    close,
    [Symbol.asyncDispose]: close,
  }
}

const table = 'retrysafe_kept_calls'
const keepsBetweenCleanings = 64

/** Octets are octets, also those of a text: SQLite would stop at a zero or mend what is no UTF-8. */
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
  done_at INTEGER
)`

const insertSql = `INSERT OR REPLACE INTO ${table}
  (intent, key, method, url, content_type, fields, body, body_kind, created_at)
  VALUES (:intent, :key, :method, :url, :content_type, :fields, :body, :body_kind, :created_at)`

/** What is done stays done since when it was. */
const doneSql = `UPDATE ${table} SET done_at = ? WHERE intent = ? AND key = ? AND done_at IS NULL`

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
}

function rowOf({
  intent,
  key,
  method,
  url,
  contentType,
  fields,
  body,
  createdAt,
}: KeptCall): Row & Record<string, string | number | Uint8Array | null> {
  return {
    ...{ intent, key, method, url },
    content_type: contentType,
    fields: fields === undefined ? null : JSON.stringify(fields),
    body: typeof body === 'string' ? new TextEncoder().encode(body) : (body ?? null),
    body_kind: body === undefined ? 'none' : typeof body === 'string' ? 'text' : 'octets',
    created_at: createdAt,
  }
}

function entryOfRow(row: Row & { readonly done_at?: number | null }): Entry {
  const { content_type: contentType, fields, body, created_at: createdAt, done_at: doneAt } = row
  const { intent, key, method, url, body_kind: kind } = row
  return checkedEntry({
    ...{ intent, key, method, url, contentType },
    fields: fields === null ? undefined : (JSON.parse(fields) as unknown),
    body: bodyOf(kind, body ?? new Uint8Array()),
    createdAt,
    doneAt: doneAt ?? undefined,
  })
}

/** SQLite gives back nothing for no octets. */
function bodyOf(kind: string, octets: Uint8Array): KeptCall['body'] {
  if (kind === 'none') return undefined
  return kind === 'text' ? new TextDecoder('utf-8', { ignoreBOM: true }).decode(octets) : octets
}

/** As long as SQLite itself waits for another writer. */
const busyMs = 5_000
const attemptMs = 50
const busyCode = 5

async function openDatabase(file: string): Promise<DatabaseSync> {
  const { DatabaseSync } = await import('node:sqlite')
  // SQLite would make it readable for all.
  if (file !== ':memory:') closeSync(openSync(file, 'a', 0o600))
  const database = new DatabaseSync(file, { timeout: busyMs })
  for (let attempt = 1; ; attempt++) {
    try {
      // The change of the journal does not wait for others by itself.
      database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = EXTRA; ${createSql}`)
      return database
    } catch (error) {
      if ((error as { readonly errcode?: number }).errcode !== busyCode || attempt * attemptMs > busyMs) {
        database.close()
        throw error
      }
      await new Promise((resolve) => setTimeout(resolve, attemptMs))
    }
  }
}
