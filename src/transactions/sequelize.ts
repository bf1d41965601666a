/**
 * Sequelize's transactions, by `sequelize.query` with `bind`. (`replacements` would write the values into the
 * text.)
 *
 * Traps: with `bind` every `$name` of the text is a placeholder, also inside a literal, on every database; so
 * `?` becomes `$1` and every other `$` is doubled. What a statement begins with decides the shape of the answer,
 * and an INSERT loses the rows that it returns; so each begins with a comment. Every query of yours needs
 * `{ transaction }`, or it runs outside. On a deadlock Sequelize rolls a MySQL transaction back by itself. The
 * driver's own error is `parent`, which is left as it is. On MariaDB with the `mariadb` driver an UPDATE counts
 * the rows that changed; `dialectOptions: { foundRows: true }` makes it count those that matched.
 */
import { InvalidOptionError } from '../core/errors.ts'
import type { SqlDialect, SqlResult, SqlTransaction, TransactionOpener } from '../core/sql.ts'
import { resultOf, rowsOrHeader, sqlTransaction } from './sql-transaction.ts'

/** What is used of a transaction of Sequelize. */
export interface SequelizeTransaction {
  commit(): Promise<void>
  rollback(): Promise<void>
}

/** What is used of an instance; the overloads are written out so that `Tx` can be inferred. */
export interface SequelizeInstance<Tx> {
  transaction<Value>(options: never, work: (tx: Tx) => PromiseLike<Value>): Promise<Value>
  transaction<Value>(work: (tx: Tx) => PromiseLike<Value>): Promise<Value>
  transaction(options?: never): Promise<Tx>
}

/** Its types do not say so, but a transaction knows its instance. */
interface Queries {
  getDialect(): string
  query(text: string, options: object): Promise<unknown>
}

/**
 * A transaction of Sequelize for `within`.
 *
 * @throws InvalidOptionError where it is none
 * @example
 * await sequelize.transaction((transaction) =>
 *   idem.within(fromSequelize(transaction), { operation: 'order', key, principal, input }, () =>
 *     Order.create(input, { transaction })))
 */
export function fromSequelize(transaction: SequelizeTransaction): SqlTransaction {
  const { sequelize } = transaction as { readonly sequelize?: Queries }
  if (typeof sequelize?.query !== 'function') {
    throw new InvalidOptionError('tx', 'must be a transaction of Sequelize')
  }
  const dialect = dialectOf(sequelize.getDialect())
  const type = dialect === 'postgres' ? 'RAW' : asTheDriverAnswers
  return sqlTransaction(dialect, async (text, values) => {
    const [bindable, bind] = bindableIn(dialect, text, values)
    const options = { transaction, type, raw: true, nest: false, plain: false, bind }
    return resultFrom(dialect, await sequelize.query(`/* retrysafe */ ${bindable}`, options))
  })
}

/**
 * The type of query that Sequelize does not reshape on MySQL. `RAW` fails there with newer versions of the
 * `mariadb` driver, whose results do not let Sequelize delete their `meta`.
 */
const asTheDriverAnswers = 'FOREIGNKEYS'

/** Without values Sequelize leaves the text alone. */
function bindableIn(dialect: SqlDialect, text: string, values: unknown[]): [string, unknown[] | undefined] {
  if (values.length === 0) return [text, undefined]
  // A `$` behind a letter is none of Sequelize's placeholders, so there is nothing to escape.
  if (dialect === 'postgres') return [text.replace(/\B\$(?!\d)/g, '$$$$'), values]
  let at = 0
  return [text.replace(/\B\$/g, '$$$$').replaceAll('?', () => `$${++at}`), values]
}

function resultFrom(dialect: SqlDialect, answer: unknown): SqlResult {
  if (dialect !== 'postgres') return rowsOrHeader(answer)
  const [rows, result] = answer as readonly [unknown, { readonly rowCount?: unknown } | undefined]
  return resultOf(rows, result?.rowCount)
}

function dialectOf(name: string): SqlDialect {
  if (name === 'postgres') return 'postgres'
  return name === 'mysql' || name === 'mariadb' ? 'mysql' : 'sqlite'
}

/**
 * Handlers of the store's transactions get Sequelize's transaction as `tx`.
 *
 * @example
 * const store = postgresStore({ pool, transactions: sequelizeTransactions(sequelize) })
 */
export function sequelizeTransactions<Tx extends SequelizeTransaction>(
  sequelize: SequelizeInstance<Tx>,
): TransactionOpener<Tx> {
  return {
    transaction: (work) => sequelize.transaction(work),
    join: fromSequelize,
  }
}
