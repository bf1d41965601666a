/** What the tests of transactions need of an ORM. */
import type { TransactionOpener } from '../../src/core/sql.ts'

/** An ORM connected to one database. Its model is `orders (id, customer)`. */
export interface Subject<Tx> {
  readonly opener: TransactionOpener<Tx>
  /** Inserts an order as a user of the ORM would; resolves to its id. */
  insertOrder(tx: Tx, customer: string): Promise<number>
  /** Runs `SELECT conflict()`, which fails as a conflict of transactions does, as a user of the ORM would. */
  conflict(tx: Tx): Promise<unknown>
  /** Runs `work` in a savepoint of the ORM, which is rolled back when it rejects; where it has them. */
  readonly savepoint: ((tx: Tx, work: (inner: Tx) => Promise<void>) => Promise<void>) | undefined
  /** The driver ends a transaction as soon as one statement in it has failed, savepoint or not. */
  readonly failsWhole?: true
  close(): Promise<void>
}

export type Dialect = 'postgres' | 'mysql'

/** Runs a statement outside the ORM. */
export type Outside = (text: string) => Promise<Record<string, unknown>[]>
