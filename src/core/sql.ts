/**
 * What stores and helpers need of a SQL transaction that somebody else opened. Each client library and ORM gets
 * there by a few lines (`retrysafe/transactions/*`), and none of them is imported.
 */

/** How placeholders are written and what the database can do: `$1` in `postgres`, `?` in the others. */
export type SqlDialect = 'postgres' | 'mysql' | 'sqlite'

/** The rows that a statement returned and how many it changed. */
export interface SqlResult {
  readonly rows: readonly Readonly<Record<string, unknown>>[]
  /** Rows inserted, matched by an UPDATE or deleted; 0 where the client library does not say. */
  readonly affected: number
}

/** Runs statements, inside a transaction or not. */
export interface SqlExecutor {
  readonly dialect: SqlDialect
  /** Runs one statement with bound values. Rejects with the client library's own error. */
  query(text: string, values: readonly unknown[]): Promise<SqlResult>
}

/** A transaction that is open: its owner ends it. */
export interface SqlTransaction extends SqlExecutor {
  /** Tells it from the transactions of client libraries. */
  readonly kind: 'sql-transaction'
}

/** Opens transactions with the user's client library or ORM, so that handlers get a `tx` of its own type. */
export interface TransactionOpener<Tx> {
  /** Commits when `work` resolves and rolls back when it rejects. */
  transaction<Value>(work: (tx: Tx) => Promise<Value>): Promise<Value>
  join(tx: Tx): SqlTransaction
}

/** Whether a value is a `SqlTransaction`. */
export function isSqlTransaction(value: unknown): value is SqlTransaction {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'sql-transaction'
}
