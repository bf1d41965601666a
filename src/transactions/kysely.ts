/**
 * Kysely's transactions, by `executeQuery`. A compiled query is a plain object, so none of Kysely is needed to
 * make one.
 *
 * Traps: plugins such as CamelCasePlugin rename the columns of every result, so the store's statements run
 * without plugins. `trx.transaction()` throws inside a transaction: savepoints need the controlled form,
 * `db.startTransaction()`, whose handle is taken too. Errors are the driver's own.
 */
import type { SqlTransaction, TransactionOpener } from '../core/sql.ts'
import { resultOf, sqlTransaction } from './sql-transaction.ts'

/** What is used of a transaction of Kysely, controlled or not. */
export interface KyselyTransaction {
  withoutPlugins(): {
    executeQuery(query: never): Promise<{
      readonly rows: readonly unknown[]
      readonly numAffectedRows?: bigint | undefined
    }>
  }
}

/** What is used of an instance of Kysely. */
export interface KyselyDatabase<Tx> {
  transaction(): { execute<Value>(work: (tx: Tx) => Promise<Value>): Promise<Value> }
}

/** The databases of Kysely that hold records. */
export type KyselyDialect = 'postgres' | 'mysql'

/**
 * A transaction of Kysely for `within`.
 *
 * @param dialect `'mysql'` also for MariaDB; default `'postgres'`
 * @example
 * await db.transaction().execute((tx) =>
 *   idem.within(fromKysely(tx), { operation: 'order', key, principal, input }, () =>
 *     tx.insertInto('orders').values(input).returningAll().execute()))
 */
export function fromKysely(tx: KyselyTransaction, dialect: KyselyDialect = 'postgres'): SqlTransaction {
  const plain = tx.withoutPlugins()
  return sqlTransaction(dialect, async (text, values) => {
    const { rows, numAffectedRows } = await plain.executeQuery(compiledQuery(text, values) as never)
    return resultOf(rows, numAffectedRows)
  })
}

/** What `CompiledQuery.raw` of Kysely makes. */
function compiledQuery(sql: string, parameters: readonly unknown[]): object {
  const query = { kind: 'RawNode', sqlFragments: [sql], parameters: [] }
  return { sql, parameters, query, queryId: { queryId: 'retrysafe' } }
}

/**
 * Handlers of the store's transactions get Kysely's `tx`.
 *
 * @example
 * const store = postgresStore({ pool, transactions: kyselyTransactions(db) })
 */
export function kyselyTransactions<Tx extends KyselyTransaction>(
  db: KyselyDatabase<Tx>,
  dialect: KyselyDialect = 'postgres',
): TransactionOpener<Tx> {
  return {
    transaction: (work) => db.transaction().execute(work),
    join: (tx) => fromKysely(tx, dialect),
  }
}
