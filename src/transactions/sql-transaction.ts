/** What the adapters share: the shape of a `SqlTransaction` and the ways in which client libraries answer. */
import type { SqlDialect, SqlResult, SqlTransaction } from '../core/sql.ts'

/** How a library runs one statement; its answer is read by `rowsOrHeader` and its like. */
export type RunStatement = (text: string, values: unknown[]) => Promise<SqlResult>

/** Opens transactions by a callback, as most libraries do. */
export interface CallbackTransactions<Tx> {
  transaction<Value>(work: (tx: Tx) => Promise<Value>): Promise<Value>
}

export function sqlTransaction(dialect: SqlDialect, run: RunStatement): SqlTransaction {
  return {
    kind: 'sql-transaction',
    dialect,
    query: (text, values) => run(text, values.map(asBuffer)),
  }
}

/** mysql2 and its wrappers spell out a bare Uint8Array as an object with numbers for names. */
function asBuffer(value: unknown): unknown {
  if (!(value instanceof Uint8Array) || Buffer.isBuffer(value)) return value
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
}

/** Rows, and how many the library says were affected; where it does not say, what was returned was. */
export function resultOf(rows: unknown, affected?: unknown): SqlResult {
  const list = Array.isArray(rows) ? rows : []
  return {
    rows: list,
    affected: affected === undefined || affected === null ? list.length : Number(affected),
  }
}

/**
 * The drivers of MySQL and MariaDB answer with rows or, where there are none to return, with a header. Of an
 * UPDATE it counts the rows that changed instead of those that matched, unless the connection was opened so
 * (Sequelize opens it otherwise); then its message still tells.
 */
export function rowsOrHeader(answer: unknown): SqlResult {
  if (Array.isArray(answer)) return resultOf(answer)
  const { affectedRows, info } = (answer ?? {}) as {
    readonly affectedRows?: unknown
    readonly info?: unknown
  }
  const [, matched] = /^Rows matched: (\d+)/.exec(String(info)) ?? []
  return resultOf([], matched ?? affectedRows)
}
