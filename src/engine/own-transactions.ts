/**
 * Transactions that the user's own code opens and ends, seen as those of the store: their records are joined to
 * them. How a COMMIT failed is not known to be a refusal, so one that failed counts as unanswered, and what became of
 * it is looked into like any other: the key is claimed again, which waits for the transaction and shows its end.
 */
import { OutcomeUnknownError, StoreError } from '../core/errors.ts'
import type {
  RecordVerbs,
  SettlementReply,
  TransactionalStore,
  TransactionEnd,
  TransactionVerdict,
} from '../core/store.ts'
import type { SqlTransaction } from '../core/sql.ts'
import { singly } from './contest.ts'
import type { Transactions } from './transaction-mode.ts'

/** Opens transactions by the user's own code. What `retrysafe/transactions/*` makes, such as `drizzleTransactions(db)`. */
export interface OwnTransactions<Tx> {
  /** Commits when `work` resolves and rolls back when it rejects; resolves once the commit is known. */
  transaction<Value>(work: (tx: Tx) => Promise<Value>): Promise<Value>
  /** How the store joins it: a `SqlTransaction`, as `fromDrizzle` and its like make it, or the store's own handle. */
  join(tx: Tx): object
}

export function ownTransactions<Tx>(
  store: TransactionalStore<unknown>,
  own: OwnTransactions<Tx>,
): Transactions<Tx> {
  return {
    read: (ids) => store.read(ids),
    asksForRetry: (error) => store.asksForRetry?.(error) === true,
    transaction: (work) => runOwn(store, own, work),
  }
}

/** What is known of a transaction while the user's code has it. */
interface Seen<Value> {
  isOpen: boolean
  isRefused: boolean
  verdict: TransactionVerdict<Value> | undefined
}

async function runOwn<Tx, Value>(
  store: TransactionalStore<unknown>,
  own: OwnTransactions<Tx>,
  work: (tx: Tx, records: RecordVerbs) => Promise<TransactionVerdict<Value>>,
): Promise<TransactionEnd<Value>> {
  const seen: Seen<Value> = { isOpen: false, isRefused: false, verdict: undefined }
  const rollsBack = new Error('Rolls back.')
  try {
    await own.transaction(async (tx) => {
      seen.isOpen = true
      const records = store.join(own.join(tx) as SqlTransaction)
      const verdict = await work(tx, records)
      if (verdict.kind === 'commit' && verdict.settlement !== undefined) {
        const { reply } = await singly(records).settle(verdict.settlement)
        seen.isRefused = (reply as SettlementReply).kind !== 'settled'
      }
      seen.verdict = verdict
      if (verdict.kind === 'roll-back' || seen.isRefused) throw rollsBack
    })
  } catch (error) {
    return endOfFailed(store, seen, error)
  }
  const { verdict, isRefused } = seen
  if (verdict?.kind !== 'commit' || isRefused) throw endedOtherwise(seen)
  return { kind: 'committed', value: verdict.value }
}

function endOfFailed<Value>(
  store: TransactionalStore<unknown>,
  { isOpen, isRefused, verdict }: Seen<Value>,
  error: unknown,
): TransactionEnd<Value> {
  if (!isOpen) throw new StoreError('transient', 'The transaction could not be opened.', { cause: error })
  if (isRefused) return { kind: 'refused' }
  if (verdict === undefined) throw error
  if (verdict.kind === 'roll-back') return { kind: 'rolled-back', value: verdict.value }
  if (store.asksForRetry?.(error) === true) {
    throw new StoreError('transient', 'The database refused the commit.', { cause: error })
  }
  const unanswered = new StoreError('unrecognised', 'The transaction ended with an error.', { cause: error })
  return { kind: 'unknown', value: verdict.value, error: unanswered }
}

function endedOtherwise({ isOpen }: Seen<unknown>): Error {
  const cause = new Error('`transaction.transaction` must reject when its work rejects, and did not.')
  if (isOpen) return new OutcomeUnknownError(false, { cause })
  return new Error('`transaction.transaction` must call its work, and did not.')
}
