/**
 * TypeORM's transactions, by the query runner of their entity manager.
 *
 * Traps: `manager.query()` answers an UPDATE or DELETE on Postgres with `[rows, count]` and everything else with
 * rows; the third argument of `queryRunner.query()` asks for one shape instead. A manager without a query runner
 * is outside any transaction and is refused. `QueryFailedError` carries the driver's own error as `driverError`,
 * which is left as it is.
 */
import { InvalidOptionError } from '../core/errors.ts'
import type { SqlDialect, SqlTransaction, TransactionOpener } from '../core/sql.ts'
import { resultOf, sqlTransaction } from './sql-transaction.ts'

/** What is used of an entity manager inside a transaction. */
export interface TypeormManager {
  readonly queryRunner?: TypeormQueryRunner | undefined
  readonly dataSource?: TypeormOptions
  /** Its name before TypeORM 1.0. */
  readonly connection?: TypeormOptions
}

interface TypeormOptions {
  readonly options: { readonly type: string }
}

interface TypeormQueryRunner {
  readonly isTransactionActive: boolean
  query(
    text: string,
    values: unknown[],
    structured: true,
  ): Promise<{ readonly records?: unknown; readonly affected?: number | undefined }>
}

/** What is used of a data source; the overloads are written out so that `Tx` can be inferred. */
export interface TypeormDataSource<Tx> {
  transaction<Value>(work: (manager: Tx) => Promise<Value>): Promise<Value>
  transaction<Value>(isolation: never, work: (manager: Tx) => Promise<Value>): Promise<Value>
}

/**
 * A transaction of TypeORM for `within`. From a query runner of your own, pass its `manager`.
 *
 * @throws InvalidOptionError where the manager has no open transaction
 * @example
 * await dataSource.transaction((manager) =>
 *   idem.within(fromTypeorm(manager), { operation: 'order', key, principal, input }, () =>
 *     manager.save(Order, input)))
 */
export function fromTypeorm(manager: TypeormManager): SqlTransaction {
  const { queryRunner } = manager
  if (queryRunner?.isTransactionActive !== true) {
    throw new InvalidOptionError('tx', 'must be an entity manager inside a transaction')
  }
  const { type = '' } = (manager.dataSource ?? manager.connection)?.options ?? {}
  return sqlTransaction(dialectOf(type), async (text, values) => {
    const { records, affected } = await queryRunner.query(text, values, true)
    return resultOf(records, affected)
  })
}

function dialectOf(type: string): SqlDialect {
  if (/postgres|cockroach/.test(type)) return 'postgres'
  return /mysql|mariadb/.test(type) ? 'mysql' : 'sqlite'
}

/**
 * Handlers of the store's transactions get TypeORM's entity manager as `tx`.
 *
 * @example
 * const store = postgresStore({ pool, transactions: typeormTransactions(dataSource) })
 */
export function typeormTransactions<Tx extends TypeormManager>(
  dataSource: TypeormDataSource<Tx>,
): TransactionOpener<Tx> {
  return {
    transaction: (work) => dataSource.transaction(work),
    join: fromTypeorm,
  }
}
