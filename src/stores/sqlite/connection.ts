/** Opening a connection: from a path or the user's function to a migrated file and prepared statements. */
import { IdempotencyError, StoreError } from '../../core/errors.ts'
import { whileBusy } from './busy.ts'
import { hasTransaction, prepareConnection, type SqliteDatabase, type SqliteTx } from './driver.ts'
import { asStoreError, isBusy, resultCode } from './errors.ts'
import { checkWritable, migrate, readVersion, schemaVersion } from './migrations.ts'
import { ConnectionVerbs } from './verbs.ts'

export interface Connection {
  readonly db: SqliteDatabase
  readonly verbs: ConnectionVerbs
  /** Path of the file, as SQLite names it. */
  readonly path: string
}

/**
 * Opens and prepares a connection, and brings the schema up to date.
 *
 * @throws StoreError
 * @throws SchemaMismatchError
 * @throws InvalidOptionError
 */
export async function openConnection(
  open: () => SqliteDatabase,
  table: string,
  busyMsMax: number,
): Promise<Connection> {
  let db: SqliteDatabase
  try {
    db = open()
  } catch (error) {
    throw asOpenError(error)
  }
  try {
    const path = await whileBusy(busyMsMax, () => {
      const main = prepareConnection(db)
      bringUpToDate(db, table)
      return main
    })
    return { db, verbs: new ConnectionVerbs(db, table), path }
  } catch (error) {
    closeQuietly(db)
    throw asOpenError(error)
  }
}

/**
 * Brings the schema up to date. Also when there is nothing to migrate, a file that cannot be written shows here
 * and not at the first verb.
 *
 * @throws SchemaMismatchError when the schema is newer than this release; the driver's errors
 */
export function bringUpToDate(db: SqliteDatabase, table: string): void {
  const current = readVersion(db, table) === schemaVersion
  try {
    db.exec('BEGIN IMMEDIATE')
  } catch (error) {
    // Somebody is writing to it, so it can be written.
    if (current && isBusy(error)) return
    throw error
  }
  try {
    migrate(db, table)
    checkWritable(db)
    db.exec('COMMIT')
  } catch (error) {
    rollBack(db)
    throw error
  }
}

/** Whether no transaction is open afterwards. */
export function rollBack(db: SqliteTx): boolean {
  // After some errors SQLite has rolled back by itself, and another ROLLBACK would be an error.
  if (hasTransaction(db) === false) return true
  try {
    db.exec('ROLLBACK')
    return true
  } catch {
    return hasTransaction(db) === false
  }
}

/** Closes a connection that nobody will use again. */
export function closeQuietly(db: SqliteDatabase): void {
  try {
    db.close()
  } catch {
    // It was closed already, or never got open.
  }
}

function asOpenError(error: unknown): IdempotencyError {
  if (error instanceof IdempotencyError) return error
  if (resultCode(error) !== undefined) return asStoreError(error, 'statement')
  return new StoreError('permanent', 'The SQLite file cannot be opened.', { cause: error })
}
