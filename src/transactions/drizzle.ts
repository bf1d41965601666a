/**
 * Drizzle's transactions, by `tx.execute`, which every driver of it has for Postgres and MySQL. It runs what has
 * a `getSQL()`, and of that it only asks for the text and the values: so the store's statement goes to the driver
 * as it is, and no template is built. (`sql.raw` binds nothing, and the `sql` tag numbers placeholders anew.)
 *
 * Traps: drivers answer in different shapes, see `resultFrom`. An array in a template becomes a list of
 * placeholders: bind it with `sql.param`. With postgres.js a transaction is lost once a statement in it has
 * failed, also behind a savepoint written by hand: use `tx.transaction()`. Statement errors are wrapped in
 * `DrizzleQueryError`; the database's own is its `cause`, which is left as it is.
 */
import type { SqlResult, SqlTransaction, TransactionOpener } from '../core/sql.ts'
import { type CallbackTransactions, resultOf, rowsOrHeader, sqlTransaction } from './sql-transaction.ts'

/** What is used of a transaction of Drizzle. */
export interface DrizzleTransaction {
  execute(query: never): PromiseLike<unknown>
}

/** The databases of Drizzle that hold records. */
export type DrizzleDialect = 'postgres' | 'mysql'

/**
 * A transaction of Drizzle for `within`.
 *
 * @param dialect `'mysql'` also for MariaDB; default `'postgres'`
 * @example
 * await db.transaction((tx) =>
 *   idem.within(fromDrizzle(tx), { operation: 'order', key, principal, input }, () =>
 *     tx.insert(orders).values(input).returning()))
 */
export function fromDrizzle(tx: DrizzleTransaction, dialect: DrizzleDialect = 'postgres'): SqlTransaction {
  return sqlTransaction(dialect, async (text, values) => {
    const statement = { toQuery: () => ({ sql: text, params: values }) }
    return resultFrom(dialect, await tx.execute({ getSQL: () => statement } as never))
  })
}

/** `{ rows, rowCount }` of pg and Neon, `{ rows, affectedRows }` of PGlite, an array with a count of postgres.js. */
function resultFrom(dialect: DrizzleDialect, answer: unknown): SqlResult {
  if (dialect === 'mysql' && Array.isArray(answer)) return rowsOrHeader(answer[0])
  const { rows = answer, rowCount, affectedRows, rowsAffected, count } = answer as Record<string, unknown>
  return resultOf(rows, rowCount ?? affectedRows ?? rowsAffected ?? count)
}

/**
 * Handlers of the store's transactions get Drizzle's `tx`.
 *
 * @example
 * const store = postgresStore({ pool, transactions: drizzleTransactions(db) })
 */
export function drizzleTransactions<Tx extends DrizzleTransaction>(
  db: CallbackTransactions<Tx>,
  dialect: DrizzleDialect = 'postgres',
): TransactionOpener<Tx> {
  return {
    transaction: (work) => db.transaction(work),
    join: (tx) => fromDrizzle(tx, dialect),
  }
}
