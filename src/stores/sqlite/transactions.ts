/**
 * Transactions that the store opens, on a connection of their own: the handler may await whatever it likes
 * without other requests' statements landing in its transaction. One at a time; see `WriteTurns`.
 */
import { type IdempotencyError, OutcomeUnknownError, StoreError } from '../../core/errors.ts'
import type { RecordVerbs, SettlementReply, TransactionEnd, TransactionVerdict } from '../../core/store.ts'
import { whileBusy } from './busy.ts'
import { closeQuietly, type Connection, rollBack } from './connection.ts'
import { hasTransaction, type SqliteDatabase, type SqliteTx } from './driver.ts'
import { asStoreError } from './errors.ts'
import { asRecord, joinedVerbs } from './joined-verbs.ts'
import type { WriteTurns } from './write-turns.ts'

export interface TransactionHost {
  readonly turns: WriteTurns
  readonly busyMsMax: number
  now(): number
  open(): Promise<Connection>
}

export class Transactions {
  readonly #host: TransactionHost
  #idleConnection: Connection | undefined

  constructor(host: TransactionHost) {
    this.#host = host
  }

  async run<Value>(
    work: (tx: SqliteTx, records: RecordVerbs) => Promise<TransactionVerdict<Value>>,
  ): Promise<TransactionEnd<Value>> {
    const { turns, busyMsMax } = this.#host
    const until = performance.now() + busyMsMax
    await turns.take(busyMsMax)
    try {
      const connection = await this.#begin(until)
      try {
        return await this.#work(connection, work)
      } finally {
        this.#giveBack(connection)
      }
    } finally {
      turns.give()
    }
  }

  close(): void {
    if (this.#idleConnection !== undefined) closeQuietly(this.#idleConnection.db)
    this.#idleConnection = undefined
  }

  async #begin(until: number): Promise<Connection> {
    const connection = this.#idleConnection ?? (await this.#host.open())
    this.#idleConnection = undefined
    try {
      await whileBusy(until - performance.now(), () => connection.db.exec('BEGIN IMMEDIATE'))
      return connection
    } catch (error) {
      closeQuietly(connection.db)
      throw asStoreError(error, 'statement')
    }
  }

  async #work<Value>(
    { db, verbs }: Connection,
    work: (tx: SqliteTx, records: RecordVerbs) => Promise<TransactionVerdict<Value>>,
  ): Promise<TransactionEnd<Value>> {
    let ended = false
    const records = joinedVerbs(
      db,
      () => verbs,
      this.#host.now,
      () => {
        if (ended) throw new StoreError('permanent', 'This transaction has ended.')
        if (hasTransaction(db) === false) throw endedByHand()
      },
    )
    let verdict: TransactionVerdict<Value>
    let refused = false
    try {
      verdict = await work(db, records)
      if (verdict.kind === 'commit' && verdict.settlement !== undefined) {
        const { replies } = await records.settle([verdict.settlement])
        refused = asRecord(replies[0] as SettlementReply).kind !== 'settled'
      }
    } finally {
      ended = true
    }
    if (verdict.kind === 'roll-back' && verdict.inUse === true) {
      closeQuietly(db)
      return { kind: 'rolled-back', value: verdict.value }
    }
    if (hasTransaction(db) === false) throw endedByHand()
    if (refused) {
      rollBack(db)
      return { kind: 'refused' }
    }
    if (verdict.kind === 'roll-back') {
      rollBack(db)
      return { kind: 'rolled-back', value: verdict.value }
    }
    return commit(db, verdict.value)
  }

  /** Rolls back what `work` left open by throwing. Keeps the connection for the next transaction only when it is certainly in none. */
  #giveBack(connection: Connection): void {
    if (!rollBack(connection.db) || hasTransaction(connection.db) !== false) closeQuietly(connection.db)
    else this.#idleConnection = connection
  }
}

/** @throws StoreError when the transaction certainly did not commit */
function commit<Value>(db: SqliteDatabase, value: Value): TransactionEnd<Value> {
  try {
    db.exec('COMMIT')
    return { kind: 'committed', value }
  } catch (error) {
    const failure = asStoreError(error, 'commit')
    // The commit may be in the file although its sync failed: the next one to recover the log decides.
    if (failure instanceof StoreError && failure.failure === 'lost') {
      closeQuietly(db)
      return { kind: 'unknown', value, error: failure }
    }
    // A COMMIT that is refused, for a lock or a deferred constraint, leaves the transaction open.
    if (rollBack(db)) throw asRefused(failure)
    closeQuietly(db)
    throw failure
  }
}

function asRefused(failure: IdempotencyError): IdempotencyError {
  if (failure instanceof StoreError && failure.failure === 'unrecognised') {
    return new StoreError('permanent', failure.message, { cause: failure.cause })
  }
  return failure
}

function endedByHand(): IdempotencyError {
  const cause = new Error(
    'The handler ended the transaction itself (COMMIT or ROLLBACK). Retrysafe does that after the handler.',
  )
  return new OutcomeUnknownError(false, { cause })
}
