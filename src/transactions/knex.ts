/**
 * Knex's transactions, by `tx.raw`.
 *
 * Traps: Knex reads every `?` as a placeholder, also inside a literal, and writes `$1` itself. On Postgres the
 * values therefore go to pg by `options`, which Knex hands on as they are, and every `?` of the text is escaped.
 * (`\?` in a text cannot be said to Knex at all and is refused.) `client: 'pgnative'` takes no options and is not
 * served. Transactions beside each other in one transaction run one after the other. Errors are the driver's
 * own, but Knex writes the statement into their message.
 */
import { InvalidOptionError } from '../core/errors.ts'
import type { SqlDialect, SqlTransaction, TransactionOpener } from '../core/sql.ts'
import { resultOf, rowsOrHeader, sqlTransaction } from './sql-transaction.ts'

/** What is used of a transaction of Knex. */
export interface KnexTransaction {
  // Knex types its bindings by a closed union of its own
  raw(text: string, bindings?: any): any
  // Knex types it so
  readonly client: any
}

/**
 * A transaction of Knex for `within`.
 *
 * @example
 * await knex.transaction((tx) =>
 *   idem.within(fromKnex(tx), { operation: 'order', key, principal, input }, () =>
 *     tx('orders').insert(input).returning('id')))
 */
export function fromKnex(tx: KnexTransaction): SqlTransaction {
  const dialect = dialectOf(tx.client)
  return sqlTransaction(dialect, async (text, values) => {
    if (dialect !== 'postgres') return rowsOrHeader((await tx.raw(text, values))[0])
    const { rows, rowCount } = await tx.raw(escapeMarks(text)).options({ values })
    return resultOf(rows, rowCount)
  })
}

function dialectOf(client: { readonly dialect?: unknown }): SqlDialect {
  if (client.dialect === 'postgresql' || client.dialect === 'cockroachdb') return 'postgres'
  return client.dialect === 'mysql' ? 'mysql' : 'sqlite'
}

function escapeMarks(text: string): string {
  if (text.includes('\\?')) throw new InvalidOptionError('text', 'must not contain a backslash before a ?')
  return text.replaceAll('?', '\\?')
}

/**
 * Handlers of the store's transactions get Knex's `tx`.
 *
 * @example
 * const store = postgresStore({ pool, transactions: knexTransactions(knex) })
 */
export function knexTransactions<Tx extends KnexTransaction>(knex: {
  transaction<Value>(work: (tx: Tx) => Promise<Value>): Promise<Value>
}): TransactionOpener<Tx> {
  return {
    transaction: (work) => knex.transaction(work),
    join: fromKnex,
  }
}
