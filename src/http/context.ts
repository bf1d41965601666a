/** What a handler sees of its attempt, by the mode of its layer. */
import type { IdempotencyContext } from '../engine/guarded-run.ts'
import type { OwnTransactions } from '../engine/own-transactions.ts'
import type { Register } from '../core/register.ts'

export type { IdempotencyContext } from '../engine/guarded-run.ts'

/** What a handler sees of its attempt in transaction mode. */
export interface TransactionContext<Tx> extends IdempotencyContext {
  /** The open transaction: what is written through it commits together with the answer's record. */
  readonly tx: Tx
}

/** The option `transaction` of a layer. */
// biome-ignore lint/suspicious/noExplicitAny: any transaction of the user's own
export type TransactionOption = boolean | OwnTransactions<any>

/** What handlers behind a layer get: with `transaction`, its `tx` as the store's handle or the user's own type. */
export type ContextOf<Tx, Transaction> = Transaction extends true
  ? TransactionContext<Tx>
  : Transaction extends Opens<infer Own>
    ? TransactionContext<Own>
    : IdempotencyContext

/** What opens them tells their type: what joins them may be content with less of a transaction. */
interface Opens<Own> {
  transaction(work: (tx: Own) => Promise<unknown>): Promise<unknown>
}

/**
 * The context where a framework declares it once for all routes (Express, Fastify): with `tx` as the type that
 * `Register` names. On a route without `transaction` there is no `tx`, whatever is registered.
 */
export type RegisteredContext = Register extends { readonly transaction: infer Tx }
  ? TransactionContext<Tx>
  : IdempotencyContext
