/**
 * One statement of the user's inside a transaction. It is prepared, so that its values, which may be anybody's text,
 * never become part of it, whatever the sql_mode and the character set of the connection are.
 */
import { InvalidOptionError } from '../../core/errors.ts'
import { isSqlTransaction, type SqlTransaction } from '../../core/sql.ts'
import type { Statement } from '../../core/store.ts'

/** What is used of a connection of either client library. */
export interface Preparing {
  // biome-ignore lint: the overloads of execute have no common structural form
  execute(options: any): Promise<any>
}

interface Header {
  readonly affectedRows: unknown
  readonly insertId: unknown
}

/**
 * The rows as plain data. MySQL has no RETURNING, so a statement that changes rows gives one row of what the server
 * says of it: `affectedRows` and, where the client library tells it, `insertId`.
 *
 * @throws InvalidOptionError for a value that is not plain: client libraries write an object as SQL
 */
export async function runStatement(
  tx: SqlTransaction | Preparing,
  { text, values }: Statement,
): Promise<readonly object[]> {
  if (!Array.isArray(values)) throw new InvalidOptionError('values', 'must give an array', values)
  for (const value of values) checkPlain(value)
  if (isSqlTransaction(tx)) {
    const { rows, affected } = await tx.query(text, values)
    return rows.length === 0 && affected > 0 ? [{ affectedRows: affected }] : rows.map((row) => ({ ...row }))
  }
  const options = { sql: text, values, rowsAsArray: false, nestTables: false, namedPlaceholders: false }
  const answer: unknown = await tx.execute(options)
  const result = 'isValid' in tx ? answer : (answer as readonly unknown[])[0]
  if (Array.isArray(result)) return result.map((row: object) => ({ ...row }))
  const { affectedRows, insertId } = result as Header
  return [{ affectedRows: Number(affectedRows), insertId: Number(insertId) }]
}

/** Also refuses what a server that is not strict stores as something else: NaN, no date, half a character. */
function checkPlain(value: unknown): void {
  if (
    value === null ||
    value instanceof Uint8Array ||
    typeof value === 'bigint' ||
    typeof value === 'boolean'
  ) {
    return
  }
  if (typeof value === 'string' && value.isWellFormed()) return
  const number = value instanceof Date ? value.getTime() : value
  if (Number.isFinite(number)) return
  const rule = 'must be well-formed text, finite numbers, booleans, dates, octets or null'
  throw new InvalidOptionError('values', rule, typeof value === 'string' ? undefined : value)
}
