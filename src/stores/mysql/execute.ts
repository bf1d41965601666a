/** One statement of the user's inside a transaction. */
import { InvalidOptionError } from '../../core/errors.ts'
import { isSqlTransaction, type SqlTransaction } from '../../core/sql.ts'
import type { Statement } from '../../core/store.ts'
import type { MariadbConnection, Mysql2Connection } from './client.ts'

interface Header {
  readonly affectedRows: unknown
  readonly insertId: unknown
}

/**
 * The rows as plain data, or for a statement without rows `{ affectedRows, insertId }`.
 *
 * @throws InvalidOptionError for a value that is not plain: client libraries write an object as SQL
 */
export async function runStatement(
  tx: SqlTransaction | Mysql2Connection | MariadbConnection,
  { text, values }: Statement,
): Promise<unknown> {
  for (const value of values) checkPlain(value)
  if (isSqlTransaction(tx)) {
    const { rows, affected } = await tx.query(text, values)
    return rows.length > 0 ? rows.map((row) => ({ ...row })) : { affectedRows: affected, insertId: 0 }
  }
  const options = { sql: text, values, rowsAsArray: false, nestTables: false, namedPlaceholders: false }
  const answer: unknown = await tx.query<unknown>(options)
  const result = 'isValid' in tx ? answer : (answer as readonly unknown[])[0]
  if (Array.isArray(result)) return result.map((row: object) => ({ ...row }))
  const { affectedRows, insertId } = result as Header
  return { affectedRows: Number(affectedRows), insertId: Number(insertId) }
}

function checkPlain(value: unknown): void {
  if (value === null || value instanceof Uint8Array || value instanceof Date) return
  if (['string', 'number', 'bigint', 'boolean'].includes(typeof value)) return
  throw new InvalidOptionError('values', 'must be text, numbers, booleans, dates, octets or null', value)
}
