/**
 * Transactions that the store opens, on a connection of the pool. How MySQL differs from other databases:
 *
 * - A deadlock rolls back the whole transaction and leaves the connection outside of any; the handler's next
 *   statement would commit by itself. So transactions run under `autocommit = 0`: that statement begins another
 *   transaction, which is rolled back.
 * - DDL commits without a word. A savepoint, set before anything else, is the witness: it is gone when the
 *   transaction it was set in is, by DDL, a deadlock, or COMMIT or ROLLBACK by the handler.
 * - `autocommit` and the isolation level of the next transaction are set by one statement, so that a transaction
 *   takes seven round trips: begin, savepoint, claim, witness, settlement, COMMIT, and `autocommit = 1`, which
 *   nobody waits for. One statement for several of them would need `multipleStatements`, which is refused.
 *
 * After any doubt the connection is destroyed, never given back to the pool.
 */
import { OutcomeUnknownError, StoreError } from '../../core/errors.ts'
import type { SqlTransaction, TransactionOpener } from '../../core/sql.ts'
import type {
  RecordVerbs,
  Settlement,
  SettlementReply,
  TransactionEnd,
  TransactionVerdict,
} from '../../core/store.ts'
import { type MysqlClient, type MysqlSession, type Run, sqlTransactionRun } from './client.ts'
import { asStoreError, errorNumber, errorNumbers } from './errors.ts'
import { type Held, transactionVerbs } from './joined-verbs.ts'
import type { Server } from './server.ts'
import type { Statements } from './statements.ts'
import { isFailed, readRecords } from './verbs.ts'
import { idOctets } from './rows.ts'

export interface TransactionHost<Tx> {
  readonly client: MysqlClient<Tx>
  readonly statements: Statements
  readonly server: Server
  readonly isolation: Isolation
  /** Called with what goes on after a transaction's end is known. */
  afterwards(work: Promise<void>): void
}

export type Isolation = 'read committed' | 'repeatable read' | 'serializable'

type Work<Tx, Value> = (tx: Tx, records: RecordVerbs) => Promise<TransactionVerdict<Value>>

const witness = 'retrysafe_transaction'

export async function runTransaction<Tx, Value>(
  host: TransactionHost<Tx>,
  work: Work<Tx, Value>,
): Promise<TransactionEnd<Value>> {
  const session = await beginSession(host.client, host.server, host.isolation)
  const state = { isSound: false }
  try {
    await marked(session)
    return await runWork(host, session, work, state)
  } finally {
    host.afterwards(endSession(session, state.isSound))
  }
}

/** @param state says afterwards whether the connection is certainly in no transaction */
async function runWork<Tx, Value>(
  host: TransactionHost<Tx>,
  session: MysqlSession<Tx>,
  work: Work<Tx, Value>,
  state: { isSound: boolean },
): Promise<TransactionEnd<Value>> {
  const { statements, server } = host
  const held: Held = { claims: 0, last: undefined }
  let isOver = false
  const run: Run = async (text, values) => {
    if (isOver) throw new StoreError('permanent', 'This transaction has ended.')
    return await session.run(text, values)
  }
  const records = transactionVerbs({ statements, run, server, held, isOwn: true })
  try {
    const verdict = await work(session.tx, records)
    if (verdict.kind === 'roll-back' && verdict.inUse === true) {
      isOver = true
      return { kind: 'rolled-back', value: verdict.value }
    }
    // Where every claim lost, no handler has run, and nothing can have ended the transaction.
    const hasLost = held.claims > 0 && held.last === undefined
    if (verdict.kind === 'commit' || !hasLost) await checkWitness(session, statements, held)
    const isRefused = verdict.kind === 'commit' && !(await settled(records, verdict.settlement))
    isOver = true
    if (verdict.kind === 'commit' && !isRefused) {
      const end = await commit(session, verdict.value)
      state.isSound = end.kind === 'committed'
      return end
    }
    state.isSound = await rollBack(session)
    return isRefused ? { kind: 'refused' } : { kind: 'rolled-back', value: verdict.value }
  } catch (error) {
    isOver = true
    state.isSound = await rollBack(session)
    throw error
  }
}

/** Takes a connection and makes it ready for one transaction; the first statement on a table begins it. */
export async function beginSession<Tx>(
  client: MysqlClient<Tx>,
  server: Server,
  isolation: Isolation,
): Promise<MysqlSession<Tx>> {
  let session: MysqlSession<Tx> | undefined
  try {
    session = await client.open()
    // Without SESSION or GLOBAL, and with @@, the level is that of the next transaction only.
    const level = isolation.toUpperCase().replace(' ', '-')
    await session.run(`SET @@${server.isolationVariable} = '${level}', autocommit = 0`, [])
    return session
  } catch (error) {
    session?.release(true)
    throw asStoreError(error, 'statement')
  }
}

/** Gives the connection back as the pool knew it. */
export async function endSession<Tx>(session: MysqlSession<Tx>, isSound: boolean): Promise<void> {
  try {
    if (isSound) await session.run('SET autocommit = 1', [])
    session.release(!isSound)
  } catch {
    session.release(true)
  }
}

/** Whether the connection is certainly in no transaction any more. */
export async function rollBack<Tx>(session: MysqlSession<Tx>): Promise<boolean> {
  try {
    await session.run('ROLLBACK', [])
    return true
  } catch {
    return false
  }
}

async function marked<Tx>(session: MysqlSession<Tx>): Promise<void> {
  try {
    await session.run(`SAVEPOINT ${witness}`, [])
  } catch (error) {
    throw asStoreError(error, 'statement')
  }
}

/** Whether the settlement took place, or there was none to take place. */
async function settled(records: RecordVerbs, settlement: Settlement | undefined): Promise<boolean> {
  if (settlement === undefined) return true
  const { replies } = await records.settle([settlement])
  const reply = replies[0] as SettlementReply
  if (isFailed(reply)) throw reply.error
  return reply.kind === 'settled'
}

/**
 * @throws OutcomeUnknownError when the handler, or its DDL, committed a part
 * @throws StoreError `transient` when the server rolled the transaction back
 */
async function checkWitness<Tx>(
  session: MysqlSession<Tx>,
  statements: Statements,
  { last }: Held,
): Promise<void> {
  try {
    await session.run(`RELEASE SAVEPOINT ${witness}`, [])
    return
  } catch (error) {
    if (errorNumber(error) !== errorNumbers.noSavepoint) throw asStoreError(error, 'statement')
  }
  if (last === undefined || !(await rollBack(session))) throw endedByHand()
  const { id, token } = last
  const { records } = await readRecords(session.run, (count) => statements.read(count), [idOctets(id)])
  const record = records.get(id)
  if (record !== undefined && (isFailed(record) || record.token === token)) throw endedByHand()
  throw new StoreError('transient', 'The server had rolled the transaction back: a deadlock, most likely.')
}

/** @throws StoreError when the transaction certainly did not commit */
async function commit<Tx, Value>(session: MysqlSession<Tx>, value: Value): Promise<TransactionEnd<Value>> {
  try {
    await session.run('COMMIT', [])
    return { kind: 'committed', value }
  } catch (error) {
    const failure = asStoreError(error, 'commit')
    if (!(failure instanceof StoreError)) throw failure
    if (failure.failure === 'lost' || failure.failure === 'unrecognised') {
      return { kind: 'unknown', value, error: failure }
    }
    throw failure
  }
}

/**
 * A transaction that the user's ORM opens and ends. An error that comes once the work has resolved may stand for
 * a COMMIT that was applied, unless the server itself refused.
 */
export async function runOpened<Tx, Value>(
  opener: TransactionOpener<Tx>,
  statements: Statements,
  server: Server,
  work: Work<Tx, Value>,
): Promise<TransactionEnd<Value>> {
  const rollsBack = Symbol('rolls back')
  const seen: { verdict?: TransactionVerdict<Value>; isRefused?: true; isOpen?: true } = {}
  try {
    await opener.transaction(async (tx) => {
      seen.isOpen = true
      const records = transactionVerbs({
        statements,
        run: sqlTransactionRun(mysqlTransaction(opener, tx)),
        server,
        held: { claims: 0, last: undefined },
        isOwn: false,
      })
      const verdict = await work(tx, records)
      if (verdict.kind === 'commit' && !(await settled(records, verdict.settlement))) seen.isRefused = true
      seen.verdict = verdict
      if (verdict.kind === 'roll-back' || seen.isRefused) throw rollsBack
    })
  } catch (error) {
    const { verdict, isRefused, isOpen } = seen
    if (!isOpen) throw asStoreError(error, 'statement')
    if (isRefused) return { kind: 'refused' }
    if (verdict === undefined) throw error
    if (verdict.kind === 'roll-back') return { kind: 'rolled-back', value: verdict.value }
    const failure = asStoreError(error, 'commit')
    if (!(failure instanceof StoreError)) throw failure
    const isCertain = failure.failure !== 'lost' && failure.failure !== 'unrecognised'
    if (isCertain) throw failure
    return { kind: 'unknown', value: verdict.value, error: failure }
  }
  return { kind: 'committed', value: (seen.verdict as TransactionVerdict<Value>).value }
}

function mysqlTransaction<Tx>(opener: TransactionOpener<Tx>, tx: Tx): SqlTransaction {
  const joined = opener.join(tx)
  if (joined.dialect === 'mysql') return joined
  throw new StoreError('permanent', 'The transactions of the ORM are not those of a MySQL or MariaDB server.')
}

function endedByHand(): OutcomeUnknownError {
  const cause = new Error(
    'The handler ended the transaction itself, by COMMIT, ROLLBACK or a statement that commits by itself such as CREATE TABLE. Retrysafe ends it after the handler.',
  )
  return new OutcomeUnknownError(false, { cause })
}
