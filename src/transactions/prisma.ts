/**
 * Prisma's interactive transactions, by `$queryRawUnsafe` and `$executeRawUnsafe`, which bind their values
 * despite their names: it is the text that they do not make safe, and the text is the store's.
 *
 * Traps: an interactive transaction waits 2 s for a connection (`maxWait`) and is rolled back after 5 s
 * (`timeout`) by default, also while the handler runs: set `transactionOptions` on the client. A statement gives
 * rows or a count, never both, so the text decides, see `returnsRows`. Errors are wrapped, and the database's
 * code is deep in `meta` under another name: it is thrown as an error with `code`, whose cause is Prisma's.
 */
import type { SqlTransaction, TransactionOpener } from '../core/sql.ts'
import { resultOf, sqlTransaction } from './sql-transaction.ts'

/** What is used of the client inside an interactive transaction. */
export interface PrismaTransaction {
  $queryRawUnsafe(text: string, ...values: never[]): PromiseLike<unknown>
  $executeRawUnsafe(text: string, ...values: never[]): PromiseLike<number>
}

/** What is used of a Prisma client; the overloads are written out so that `Tx` can be inferred. */
export interface PrismaClientTransactions<Tx> {
  $transaction(queries: never, options?: never): Promise<unknown>
  $transaction<Value>(work: (tx: Tx) => Promise<Value>, options?: never): Promise<Value>
}

/** The databases of Prisma that hold records. */
export type PrismaDialect = 'postgres' | 'mysql'

/**
 * A transaction of Prisma for `within`.
 *
 * @param dialect `'mysql'` also for MariaDB; default `'postgres'`
 * @example
 * await prisma.$transaction((tx) =>
 *   idem.within(fromPrisma(tx), { operation: 'order', key, principal, input }, () =>
 *     tx.order.create({ data: input })))
 */
export function fromPrisma(tx: PrismaTransaction, dialect: PrismaDialect = 'postgres'): SqlTransaction {
  return sqlTransaction(dialect, async (text, values) => {
    const bound = values as never[]
    try {
      if (returnsRows(text)) return resultOf(await tx.$queryRawUnsafe(text, ...bound))
      return resultOf([], await tx.$executeRawUnsafe(text, ...bound))
    } catch (error) {
      throw withDatabaseCode(error)
    }
  })
}

/** What may stand before a statement's first word: on MariaDB, settings for it alone. */
const lead = /^(?:\s|\(|\/\*.*?\*\/|set\s+statement\s.*?\sfor\s)+/is

function returnsRows(text: string): boolean {
  return /^(select|with|show|values)\b/i.test(text.replace(lead, '')) || /\breturning\b/i.test(text)
}

/** What a driver adapter of Prisma says about an error of the database. */
interface DatabaseCause {
  readonly kind?: unknown
  readonly originalCode?: unknown
  readonly severity?: unknown
}

function databaseCause(error: unknown): DatabaseCause {
  const { meta } = (error ?? {}) as { readonly meta?: { readonly driverAdapterError?: { cause?: unknown } } }
  return (meta?.driverAdapterError?.cause ?? {}) as DatabaseCause
}

function withDatabaseCode(error: unknown): unknown {
  const { originalCode, severity } = databaseCause(error)
  if (typeof originalCode !== 'string') return error
  const isNumber = /^\d{4}$/.test(originalCode)
  const code = isNumber ? { errno: Number(originalCode) } : { code: originalCode, severity }
  return Object.assign(new Error('The database refused the statement.', { cause: error }), code)
}

/**
 * Handlers of the store's transactions get Prisma's `tx`. A conflict of transactions in a handler's own
 * statement leaves with the database's code, so that the store sees it; other errors leave as they are.
 *
 * @example
 * const prisma = new PrismaClient({ adapter, transactionOptions: { maxWait: 5_000, timeout: 30_000 } })
 * const store = postgresStore({ pool, transactions: prismaTransactions(prisma) })
 */
export function prismaTransactions<Tx extends PrismaTransaction>(
  prisma: PrismaClientTransactions<Tx>,
  dialect: PrismaDialect = 'postgres',
): TransactionOpener<Tx> {
  return {
    transaction: (work) =>
      prisma.$transaction(work).catch((error: unknown) => {
        throw databaseCause(error).kind === 'TransactionWriteConflict' ? withDatabaseCode(error) : error
      }),
    join: (tx) => fromPrisma(tx, dialect),
  }
}
