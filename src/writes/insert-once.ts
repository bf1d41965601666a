/**
 * An insert that may be sent twice: the unique key of the row recognises it. The row that is there is returned,
 * whoever inserted it, with what it says otherwise than asked.
 */
import { InvalidOptionError, StoreError } from '../core/errors.ts'
import type { SqlExecutor } from '../core/sql.ts'
import { readTableName, type TableName } from '../core/table-name.ts'
import {
  type Columns,
  type ColumnValues,
  checkExecutor,
  readColumns,
  readCompared,
  type Row,
  Writer,
} from './statement.ts'

export interface InsertOnce {
  /** `table` or `schema.table`. */
  readonly table: string
  /** All columns of a primary key or a unique index, with values that are not null. */
  readonly key: ColumnValues
  /** The other columns. Give them as the table keeps them: what it rounds or cuts off differs. */
  readonly values?: ColumnValues
}

export interface InsertedOnce<R = Row> {
  /** The row that is there now, as the client library gives it. */
  readonly row: R
  /** `false`: it was there before. */
  readonly inserted: boolean
  /** The columns of `values` that are otherwise in the row: somebody else's row, or one that was changed since. */
  readonly differs: readonly string[]
}

/** A row that is deleted again and again while it is asked for. */
const triesMax = 3

/**
 * Inserts a row unless its key is there already, and returns the row that is there. Of any number of calls at
 * once, one inserts. Inside a transaction (`fromX(tx)` of `retrysafe/transactions`) it commits with it.
 *
 * On Postgres and SQLite: `ON CONFLICT (key) DO NOTHING`, then a SELECT of its own, because a combined statement
 * does not see the row that it waited for. On MySQL and MariaDB: a plain INSERT, since `INSERT IGNORE` also
 * ignores what does not fit; a duplicate of another unique key is thrown as it is.
 *
 * @throws InvalidOptionError for names and values that cannot be written, and where `key` is no unique key
 * @throws StoreError `transient` when the row is deleted each time it is looked at
 * @throws the client library's own error for everything else
 * @example
 * const { row, inserted, differs } = await insertOnce(pgExecutor(pool), {
 *   table: 'payments',
 *   key: { order_id: 42 },
 *   values: { amount: 4200, currency: 'EUR' },
 * })
 * if (differs.length > 0) throw new Error('This order was paid with another amount.')
 */
export async function insertOnce<R = Row>(
  db: SqlExecutor,
  { table, key, values = {} }: InsertOnce,
): Promise<InsertedOnce<R>> {
  checkExecutor(db)
  const keyed = readColumns('key', key, db.dialect, 1)
  const others = readColumns('values', values, db.dialect, 0)
  checkKey(keyed, others)
  const name = readTableName('table', table)
  if (db.dialect === 'mysql') await checkUnique(db, name, keyed)
  let duplicate: unknown
  for (let tries = 0; tries < triesMax; tries++) {
    const sent = await insert(db, table, keyed, others)
    if (sent.kind === 'inserted' && sent.row !== undefined) {
      return { row: sent.row as R, inserted: true, differs: [] }
    }
    const found = await readCompared(db, table, keyed, others)
    if (found !== undefined) {
      const inserted = sent.kind === 'inserted'
      return { row: found.row as R, inserted, differs: inserted ? [] : found.differs }
    }
    if (sent.kind === 'inserted') break
    duplicate = sent.error
  }
  if (duplicate !== undefined) throw duplicate
  throw new StoreError('transient', 'A row was deleted while it was looked at.')
}

type Sent =
  /** `row`: where the database returns it. */
  | { readonly kind: 'inserted'; readonly row: Row | undefined }
  /** `error`: what a database says that does not tell which unique key it was. */
  | { readonly kind: 'present'; readonly error: unknown }

async function insert(db: SqlExecutor, table: string, key: Columns, others: Columns): Promise<Sent> {
  const writer = new Writer(db.dialect, table)
  const names = [...key.names, ...others.names]
  const places = [...key.values, ...others.values].map((value) => writer.bind(value)).join(', ')
  const text = `INSERT INTO ${writer.table} (${writer.names(names)}) VALUES (${places})`
  if (db.dialect === 'mysql') {
    try {
      await db.query(text, writer.values)
      return { kind: 'inserted', row: undefined }
    } catch (error) {
      if (isDuplicate(error)) return { kind: 'present', error }
      throw error
    }
  }
  const once = `${text} ON CONFLICT (${writer.names(key.names)}) DO NOTHING RETURNING *`
  const { rows } = await db.query(once, writer.values)
  const [row] = rows
  return row === undefined ? { kind: 'present', error: undefined } : { kind: 'inserted', row }
}

function checkKey(key: Columns, others: Columns): void {
  for (const [at, name] of key.names.entries()) {
    if (key.values[at] === null) {
      throw new InvalidOptionError(`key.${name}`, 'must not be null: no unique key recognises it')
    }
    if (others.names.includes(name)) {
      throw new InvalidOptionError(`values.${name}`, 'must not be a column of the key')
    }
  }
}

/** What was found unique on this connection or pool. */
const foundUnique = new WeakMap<SqlExecutor, Set<string>>()

/** MySQL and MariaDB cannot name the key in the INSERT, and without one they would insert twice. */
async function checkUnique(db: SqlExecutor, { schema, table }: TableName, { names }: Columns): Promise<void> {
  const asked = `${schema ?? ''}.${table} ${[...names].sort().join()}`
  const known = foundUnique.get(db) ?? new Set()
  if (known.has(asked)) return
  const { rows } = await db.query(
    `SELECT GROUP_CONCAT(LOWER(COLUMN_NAME) ORDER BY LOWER(COLUMN_NAME)) AS columns_of
     FROM information_schema.STATISTICS
     WHERE TABLE_SCHEMA = COALESCE(?, DATABASE()) AND TABLE_NAME = ? AND NON_UNIQUE = 0 AND SUB_PART IS NULL
     GROUP BY INDEX_NAME`,
    [schema ?? null, table],
  )
  const wanted = names
    .map((name) => name.toLowerCase())
    .sort()
    .join()
  if (!rows.some(({ columns_of: columns }) => String(columns) === wanted)) {
    throw new InvalidOptionError('key', `must be all columns of a primary key or a unique index of ${table}`)
  }
  foundUnique.set(db, known.add(asked))
}

const duplicateErrno = 1062
const causesMax = 6

/** ORMs wrap the error of the client library, each under a name of its own. */
function isDuplicate(error: unknown): boolean {
  let inner = error as Record<string, unknown> | undefined
  for (let depth = 0; depth < causesMax && typeof inner === 'object' && inner !== null; depth++) {
    const { errno, originalCode } = inner
    if (errno === duplicateErrno || String(originalCode) === String(duplicateErrno)) return true
    inner = (inner['cause'] ??
      inner['driverAdapterError'] ??
      inner['meta'] ??
      inner['original'] ??
      inner['driverError']) as Record<string, unknown> | undefined
  }
  return false
}
