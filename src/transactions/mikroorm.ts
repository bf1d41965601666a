/**
 * MikroORM's transactions, by the Kysely transaction that an entity manager holds. `em.execute()` is no way in:
 * it writes the values into the text instead of binding them.
 *
 * Traps: changes of entities are sent when the entity manager flushes, at the latest just before the commit.
 * Where an outcome shows what the database gives (an id, a default), or where a constraint shall fail inside the
 * handler, call `await em.flush()` first. Errors of these statements are the driver's own; those of a flush are
 * MikroORM's, which copy the driver's `code`.
 */
import { InvalidOptionError } from '../core/errors.ts'
import type { SqlTransaction, TransactionOpener } from '../core/sql.ts'
import { fromKysely, type KyselyDialect, type KyselyTransaction } from './kysely.ts'

/** What is used of an entity manager inside a transaction. */
export interface MikroormManager {
  // MikroORM types the context as anything
  getTransactionContext(): any
}

/** What is used of an entity manager that opens transactions. */
export interface MikroormOpener<Tx> {
  transactional<Value>(work: (em: Tx) => Promise<Value>): Promise<Value>
}

/**
 * A transaction of MikroORM for `within`.
 *
 * @param dialect `'mysql'` also for MariaDB; default `'postgres'`
 * @throws InvalidOptionError where the entity manager has no open transaction
 * @example
 * await orm.em.transactional((em) =>
 *   idem.within(fromMikroorm(em), { operation: 'order', key, principal, input }, async () => {
 *     const order = em.create(Order, input)
 *     await em.flush()
 *     return { id: order.id }
 *   }))
 */
export function fromMikroorm(em: MikroormManager, dialect: KyselyDialect = 'postgres'): SqlTransaction {
  const context = em.getTransactionContext() as KyselyTransaction | undefined
  if (typeof context?.withoutPlugins !== 'function') {
    throw new InvalidOptionError('tx', 'must be an entity manager inside a transaction')
  }
  return fromKysely(context, dialect)
}

/**
 * Handlers of the store's transactions get MikroORM's entity manager as `tx`.
 *
 * @example
 * const store = postgresStore({ pool, transactions: mikroormTransactions(orm.em.fork()) })
 */
export function mikroormTransactions<Tx extends MikroormManager>(
  em: MikroormOpener<Tx>,
  dialect: KyselyDialect = 'postgres',
): TransactionOpener<Tx> {
  return {
    transaction: (work) => em.transactional(work),
    join: (tx) => fromMikroorm(tx, dialect),
  }
}
