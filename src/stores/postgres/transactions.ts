/**
 * Transactions that the store opens. BEGIN travels with the claim and COMMIT with the settlement, as scripts
 * without parameters (the simple protocol): what is written into them is hexadecimal or a number, never text. So
 * a transaction takes as many round trips as BEGIN, one statement and COMMIT. Claim and settlement are planned
 * once on each connection, where that can be told from others.
 *
 * opened    BEGIN and the claim were sent; the work has not begun
 * working   the handler has the connection
 * ended     committed, rolled back, refused or unknown. After any doubt the connection is destroyed.
 */
import { isIdempotencyError, OutcomeUnknownError, StoreError } from '../../core/errors.ts'
import type { SqlTransaction, TransactionOpener } from '../../core/sql.ts'
import type {
  Claim,
  ClaimReply,
  RecordVerbs,
  Replies,
  Settlement,
  TransactionEnd,
  TransactionVerdict,
} from '../../core/store.ts'
import { settledParts } from '../sql/phases.ts'
import type { PostgresClient, PostgresSession } from './client.ts'
import { asStoreError, isRefusal, serverError } from './errors.ts'
import { inTime } from './in-time.ts'
import { isOfNames, type ScriptNames } from './names.ts'
import { idHex, tokenHex } from './rows.ts'
import type { Statements } from './statements.ts'
import {
  checkOutcome,
  claim,
  claimValues,
  milliseconds,
  outcomeHex,
  read,
  type Run,
  settle,
  supersede,
  type VerbRunner,
} from './verbs.ts'

/** Larger outcomes are bound as octets by a statement of their own; in a script they are twice as long. */
const scriptOutcomeBytesMax = 16 * 1024

/** How long a transaction waits for a free connection of the pool. */
export const acquireMsMax = 3_000

export interface TransactionHost<Tx> {
  readonly client: PostgresClient<Tx>
  readonly statements: Statements
  readonly beginText: string
  /** Of `scriptStatements`. */
  readonly names: ScriptNames
  /** Whether the record that `claim` made is visible to others. */
  isCommitted(claim: Claim): Promise<boolean>
}

/** The statements that travel in scripts. */
export function scriptStatements({ claimInScript, settleInserted }: Statements): readonly string[] {
  return [claimInScript.text, settleInserted.text]
}

type Work<Tx, Value> = (tx: Tx, records: RecordVerbs) => Promise<TransactionVerdict<Value>>

export async function runTransaction<Tx, Value>(
  host: TransactionHost<Tx>,
  work: Work<Tx, Value>,
  opening: Claim | undefined,
): Promise<TransactionEnd<Value>> {
  const session = await openSession(host.client)
  let sound = false
  try {
    const opened = await begin(host, session, opening)
    let ended = false
    const run: Run = async ({ text }, values) => {
      if (ended) throw new StoreError('permanent', 'This transaction has ended.')
      return await session.query(text, values)
    }
    const records = transactionVerbs({ statements: host.statements, run }, opened)
    let verdict: TransactionVerdict<Value>
    try {
      verdict = await work(session.tx, records)
    } catch (error) {
      ended = true
      sound = await rollBack(session)
      throw error
    }
    ended = true
    if (verdict.kind === 'roll-back') {
      // No ROLLBACK for a handle in use: a statement behind it would commit by itself.
      if (verdict.inUse !== true) sound = await rollBack(session)
      return { kind: 'rolled-back', value: verdict.value }
    }
    const end = await commit(host, session, verdict.value, verdict.settlement, opened)
    sound = end.kind !== 'unknown'
    return end
  } finally {
    session.release(!sound)
  }
}

/** @throws StoreError `transient` when no connection is free in time */
async function openSession<Tx>(client: PostgresClient<Tx>): Promise<PostgresSession<Tx>> {
  const opening = client.open()
  try {
    return await connected(opening)
  } catch (error) {
    // One that comes too late, or after all, goes back at once.
    opening.then((session) => session.release(false)).catch(() => {})
    throw asStoreError(error, 'connect')
  }
}

/**
 * What needs a connection of the pool, or the end of its patience.
 *
 * @throws StoreError `transient` after `acquireMsMax`
 */
export async function connected<Value>(asked: Promise<Value>): Promise<Value> {
  const none = (): StoreError =>
    new StoreError('transient', `No connection of the pool became free in ${acquireMsMax} ms.`)
  return await inTime(asked, acquireMsMax, none)
}

/** How the transaction began. */
interface Opened {
  /** Whether its scripts use names. */
  readonly byName: boolean
  /** What the claim that travelled with BEGIN was answered. */
  readonly first: { readonly claim: Claim; readonly replies: Replies<ClaimReply> } | undefined
}

async function begin<Tx>(
  host: TransactionHost<Tx>,
  session: PostgresSession<Tx>,
  opening: Claim | undefined,
): Promise<Opened> {
  try {
    if (opening === undefined) {
      await session.script(host.beginText)
      return { byName: false, first: undefined }
    }
    const values = lockedClaimValues(opening)
    const byName = await isPrepared(host, session)
    try {
      return await beginWith(host, session, opening, values, byName)
    } catch (error) {
      if (!byName || !isOfNames(error)) throw error
      host.names.giveUp()
      await session.script('ROLLBACK')
      return await beginWith(host, session, opening, values, false)
    }
  } catch (error) {
    throw asStoreError(error, 'statement')
  }
}

/** Whether the connection knows the names; the first time, it learns them. */
async function isPrepared<Tx>(host: TransactionHost<Tx>, session: PostgresSession<Tx>): Promise<boolean> {
  const { names } = host
  const { connection } = session
  if (!names.serve(connection)) return false
  const preparation = names.preparation(connection)
  if (preparation === undefined) return true
  try {
    await session.script(preparation)
    names.prepared(connection)
    return true
  } catch (error) {
    if (!isOfNames(error)) throw error
    names.giveUp()
    return false
  }
}

async function beginWith<Tx>(
  host: TransactionHost<Tx>,
  session: PostgresSession<Tx>,
  opening: Claim,
  values: readonly string[],
  byName: boolean,
): Promise<Opened> {
  const claimText = scripted(host, host.statements.claimInScript.text, values, byName)
  const results = await session.script(`${host.beginText};${claimText}`)
  if (results.at(-1)?.affected === 1) {
    return { byName, first: { claim: opening, replies: { now: Number.NaN, replies: [{ kind: 'claimed' }] } } }
  }
  const run: Run = (statement, bound) => session.query(statement.text, bound)
  const replies = await lockedReply({ statements: host.statements, run }, opening)
  return { byName, first: { claim: opening, replies } }
}

/** A claim inside a transaction never waits for another one: see `claimInTransaction`. */
async function claimLocked(verbs: VerbRunner, asked: Claim): Promise<Replies<ClaimReply>> {
  const [row] = await verbs.run(verbs.statements.claimInTransaction, lockedClaimValues(asked))
  if (row !== undefined) return { now: Number(row[1]), replies: [{ kind: 'claimed' }] }
  return await lockedReply(verbs, asked)
}

/** Neither inserted nor seen: another transaction has it, or committed it after the claim began. */
async function lockedReply(verbs: VerbRunner, asked: Claim): Promise<Replies<ClaimReply>> {
  const { now, replies } = await read(verbs, [asked.id])
  const [record] = replies
  return { now, replies: [record === undefined ? { kind: 'locked' } : { kind: 'found', record }] }
}

/** The lock is a number made of the id's first octets; two ids that share it only wait for one another. */
function lockedClaimValues(asked: Claim): readonly string[] {
  const values = claimValues(asked)
  return [...values, BigInt.asIntN(64, BigInt(`0x${(values[0] as string).slice(0, 16)}`)).toString()]
}

/** The verbs inside a transaction, the user's own or ours. */
export function transactionVerbs(verbs: VerbRunner, opened?: Opened): RecordVerbs {
  const guarded = async <Value>(call: () => Promise<Value>): Promise<Value> => {
    try {
      return await call()
    } catch (error) {
      throw asStoreError(error, 'statement')
    }
  }
  let first = opened?.first
  return {
    claim: (claims) =>
      guarded(async () => {
        const [only] = claims
        if (claims.length !== 1 || only === undefined) return await claim(verbs, claims)
        if (first?.claim === only) {
          const { replies } = first
          first = undefined
          return replies
        }
        return await claimLocked(verbs, only)
      }),
    supersede: (takeovers) => guarded(() => supersede(verbs, takeovers)),
    settle: (settlements) => guarded(() => settle(verbs, settlements)),
    read: (ids) => guarded(() => read(verbs, ids)),
  }
}

/** The verbs on a transaction that a client library or an ORM other than the store's own has open. */
export function runOn(tx: SqlTransaction): Run {
  return async ({ text, columns }, values) => {
    const { rows } = await tx.query(text, values)
    return rows.map((row) => columns.map((column) => row[column]))
  }
}

/** Settles and commits in one round trip: the script ends at its first error, before its COMMIT. */
async function commit<Tx, Value>(
  host: TransactionHost<Tx>,
  session: PostgresSession<Tx>,
  value: Value,
  settlement: Settlement | undefined,
  opened: Opened,
): Promise<TransactionEnd<Value>> {
  const opening = opened.first?.claim
  const script = settlement === undefined ? nothing : await settleScript(host, session, settlement, opened)
  if (script === undefined) return await refused(host, session, opening)
  try {
    const results = await session.script(`${script};COMMIT`)
    const command = results.at(-1)?.command
    if (command !== undefined && command !== 'COMMIT') throw answered(command)
    if (results.at(-2)?.affected === 0) throw removedByHand()
    return { kind: 'committed', value }
  } catch (error) {
    if (isIdempotencyError(error)) throw error
    if (!isRefusal(error)) {
      return { kind: 'unknown', value, error: asStoreError(error, 'commit') as StoreError }
    }
    if (serverError(error)?.code === divisionByZero) return await refused(host, session, opening)
    await rollBack(session)
    throw asStoreError(error, 'statement')
  }
}

const divisionByZero = '22012'
/** Answers one row, as a settlement that was applied does. */
const nothing = 'SELECT 1'

/** The settlement as a script; `undefined` when it was sent already, because it is large, and was refused. */
async function settleScript<Tx>(
  host: TransactionHost<Tx>,
  session: PostgresSession<Tx>,
  settlement: Settlement,
  { byName, first }: Opened,
): Promise<string | undefined> {
  const { phase, liveMs, keptMs, outcome } = settledParts(settlement)
  checkOutcome(outcome)
  const values = [
    idHex(settlement.id),
    tokenHex(settlement.token),
    String(phase),
    milliseconds(liveMs),
    milliseconds(keptMs),
  ]
  if ((outcome?.byteLength ?? 0) > scriptOutcomeBytesMax) {
    try {
      const octets = Buffer.from(outcome as Uint8Array)
      const rows = await session.query(host.statements.settleOne.text, [...values, octets])
      return rows.length === 1 ? nothing : undefined
    } catch (error) {
      await rollBack(session)
      throw asStoreError(error, 'statement')
    }
  }
  const settledValues = [...values, `\\x${outcomeHex(outcome)}`]
  const { settleInserted, settleOrFail } = host.statements
  const inserted = first?.replies.replies[0]?.kind === 'claimed' && first.claim.id === settlement.id
  return inserted
    ? scripted(host, settleInserted.text, settledValues, byName)
    : scripted(host, settleOrFail.text, settledValues, false)
}

/** Nothing of ours was committed, unless the handler did that itself. */
async function refused<Tx>(
  host: TransactionHost<Tx>,
  session: PostgresSession<Tx>,
  opening: Claim | undefined,
): Promise<{ readonly kind: 'refused' }> {
  await rollBack(session)
  if (opening !== undefined && (await host.isCommitted(opening).catch(() => false))) throw endedByHand()
  return { kind: 'refused' }
}

/** Whether the connection is certainly in no transaction any more. */
async function rollBack<Tx>(session: PostgresSession<Tx>): Promise<boolean> {
  try {
    await session.script('ROLLBACK')
    return true
  } catch {
    return false
  }
}

/**
 * A transaction that the user's ORM opens and ends. An error that comes once the work has resolved may stand for
 * a COMMIT that was applied, unless Postgres itself refused.
 */
export async function runOpened<Tx, Value>(
  opener: TransactionOpener<Tx>,
  statements: Statements,
  work: Work<Tx, Value>,
): Promise<TransactionEnd<Value>> {
  const rollsBack = Symbol('rolls back')
  let verdict: TransactionVerdict<Value> | undefined
  let isRefused = false
  let isOpen = false
  try {
    await opener.transaction(async (tx) => {
      isOpen = true
      const records = transactionVerbs({ statements, run: runOn(opener.join(tx)) })
      const asked = await work(tx, records)
      if (asked.kind === 'commit' && asked.settlement !== undefined) {
        const { replies } = await records.settle([asked.settlement])
        isRefused = replies[0]?.kind !== 'settled'
      }
      verdict = asked
      if (asked.kind === 'roll-back' || isRefused) throw rollsBack
    })
  } catch (error) {
    if (isRefused) return { kind: 'refused' }
    const asked = verdict as TransactionVerdict<Value> | undefined
    if (asked?.kind === 'roll-back') return { kind: 'rolled-back', value: asked.value }
    if (!isOpen) throw asStoreError(error, 'connect')
    if (asked === undefined) throw error
    if (isRefusal(error)) throw asStoreError(error, 'statement')
    return { kind: 'unknown', value: asked.value, error: asStoreError(error, 'commit') as StoreError }
  }
  return { kind: 'committed', value: (verdict as unknown as TransactionVerdict<Value>).value }
}

/** A statement of a script, with values that are hexadecimal or numbers, by its name or in full. */
function scripted<Tx>(
  host: TransactionHost<Tx>,
  text: string,
  values: readonly string[],
  byName: boolean,
): string {
  const literals = values.map(literal)
  if (byName) return host.names.execution(text, literals)
  return text.replace(/\$(\d+)/g, (_, place: string) => literals[Number(place) - 1] as string)
}

function literal(value: string): string {
  if (!/^(?:\\x)?-?[0-9a-f]*$/.test(value)) {
    throw new StoreError('permanent', 'A value of a record is not hexadecimal.')
  }
  return `'${value}'`
}

function answered(command: string): StoreError {
  return new StoreError('permanent', `COMMIT was answered ${command}: an earlier statement had failed.`)
}

function removedByHand(): OutcomeUnknownError {
  const cause = new Error(
    'The handler deleted the record of its own key. What it did is committed without it.',
  )
  return new OutcomeUnknownError(false, { cause })
}

function endedByHand(): OutcomeUnknownError {
  const cause = new Error(
    'The handler ended the transaction itself (COMMIT or ROLLBACK). Retrysafe does that after the handler.',
  )
  return new OutcomeUnknownError(false, { cause })
}
