/**
 * An update that may be sent twice: a version in the row says whether it is still the row that the caller saw
 * (compare and set). A repeated update is told from somebody else's by what the row says now.
 */
import { InvalidOptionError } from '../core/errors.ts'
import type { SqlExecutor } from '../core/sql.ts'
import { type ColumnValues, checkExecutor, readColumns, readCompared, type Row, Writer } from './statement.ts'

export interface UpdateVersion {
  /** `table` or `schema.table`. */
  readonly table: string
  /** The columns that identify one row, with values that are not null. */
  readonly key: ColumnValues
  /** The version that the caller saw: a whole number, as a number, bigint or decimal text. */
  readonly version: number | bigint | string
  /** What is to be changed. Give values as the table keeps them: what it rounds or cuts off differs. */
  readonly set: ColumnValues
  /** An integer column, +1 at every change. Default `'version'`. */
  readonly versionColumn?: string
}

export type UpdatedVersion<R = Row> =
  | { readonly kind: 'applied'; readonly row: R; readonly version: bigint }
  /** The row is one version on and says all that was asked: this very update, sent before, or one equal to it. */
  | { readonly kind: 'already-applied'; readonly row: R; readonly version: bigint }
  /** Somebody else changed the row. Read it, decide anew, and try with its version. */
  | { readonly kind: 'conflict'; readonly row: R; readonly version: bigint }
  | { readonly kind: 'missing' }

/**
 * Changes a row if its version is the one that the caller saw. Of any number of calls with one version, one is
 * applied.
 *
 * @throws InvalidOptionError for names and values that cannot be written
 * @throws the client library's own error for everything else
 * @example
 * const end = await updateVersion(pgExecutor(pool), {
 *   table: 'carts',
 *   key: { id: 7 },
 *   version: 3,
 *   set: { address: 'Main St 1' },
 * })
 * if (end.kind === 'conflict') throw new Error(`The cart is at version ${end.version}.`)
 */
export async function updateVersion<R = Row>(
  db: SqlExecutor,
  { table, key, version, set, versionColumn = 'version' }: UpdateVersion,
): Promise<UpdatedVersion<R>> {
  checkExecutor(db)
  const keyed = readColumns('key', key, db.dialect, 1)
  const changed = readColumns('set', set, db.dialect, 1)
  const seen = readVersion('version', version)
  readColumns('versionColumn', { [versionColumn]: 0 }, db.dialect, 1)
  if (keyed.values.includes(null)) throw new InvalidOptionError('key', 'must not hold null')
  for (const name of [versionColumn, ...keyed.names]) {
    if (changed.names.includes(name)) {
      throw new InvalidOptionError(`set.${name}`, 'must not be the version or a column of the key')
    }
  }

  const writer = new Writer(db.dialect, table)
  const column = writer.name(versionColumn)
  const assignments = changed.names.map(
    (name, at) => `${writer.name(name)} = ${writer.bind(changed.values[at] ?? null)}`,
  )
  const text = `UPDATE ${writer.table} SET ${assignments.join(', ')}, ${column} = ${column} + 1 WHERE ${writer.matches(keyed)} AND ${column} = ${writer.bind(seen)}`
  // Rows that changed and rows that matched are the same here, because the version always changes.
  const { rows, affected } = await db.query(
    db.dialect === 'mysql' ? text : `${text} RETURNING *`,
    writer.values,
  )
  const [row] = rows
  if (row !== undefined) return { kind: 'applied', row: row as R, version: seen + 1n }

  const found = await readCompared(db, table, keyed, changed)
  if (found === undefined) return { kind: 'missing' }
  const now = readVersion(versionColumn, found.row[versionColumn])
  const { row: read, differs } = found
  if (affected > 0) return { kind: 'applied', row: read as R, version: seen + 1n }
  const same = now === seen + 1n && differs.length === 0
  return { kind: same ? 'already-applied' : 'conflict', row: read as R, version: now }
}

function readVersion(option: string, version: unknown): bigint {
  if (typeof version === 'bigint' && version >= 0n) return version
  if (typeof version === 'number' && Number.isSafeInteger(version) && version >= 0) return BigInt(version)
  if (typeof version === 'string' && /^\d{1,19}$/.test(version)) return BigInt(version)
  throw new InvalidOptionError(option, 'must be a whole number from 0 on')
}
