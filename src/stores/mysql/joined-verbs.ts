/**
 * The verbs inside a transaction, the user's own or the store's. Items go one by one, in the transaction's own
 * order; nothing here begins or ends a transaction.
 */
import { InvalidOptionError, StoreError } from '../../core/errors.ts'
import type { RecordId } from '../../core/record.ts'
import type { Claim, ClaimReply, FailedItem, RecordVerbs, Replies, Takeover } from '../../core/store.ts'
import type { Answer, Run } from './client.ts'
import { asStoreError, isLocked } from './errors.ts'
import { idOctets, tokenOctets } from './rows.ts'
import type { Server } from './server.ts'
import type { Statements } from './statements.ts'
import { claim, isFailed, nowOf, read, settle, supersede } from './verbs.ts'

/** What was claimed or taken over inside a transaction. */
export interface Held {
  claims: number
  last: { readonly id: RecordId; readonly token: string } | undefined
}

export interface TransactionRunner {
  readonly statements: Statements
  readonly run: Run
  readonly server: Server
  readonly held: Held
  /** The store opened the transaction, in READ COMMITTED unless the user wished otherwise. */
  readonly isOwn: boolean
}

export function transactionVerbs(runner: TransactionRunner): RecordVerbs {
  const { held } = runner
  return {
    claim: (claims) =>
      oneByOne(runner, claims, async (asked) => {
        held.claims += 1
        const replies = await claimOne(runner, asked)
        if (replies.replies[0]?.kind === 'claimed') held.last = asked
        return replies
      }),
    supersede: (takeovers) =>
      oneByOne(runner, takeovers, async (asked: Takeover) => {
        const replies = await supersede(runner, [asked])
        if (replies.replies[0]?.kind === 'superseded') held.last = asked.claim
        return replies
      }),
    settle: (settlements) => oneByOne(runner, settlements, (asked) => settle(runner, [asked])),
    read: (ids) => guarded(() => read(runner, ids)),
  }
}

async function oneByOne<Item, Reply>(
  { statements, run }: TransactionRunner,
  items: readonly Item[],
  one: (item: Item) => Promise<Replies<Reply>>,
): Promise<Replies<Reply>> {
  return await guarded(async () => {
    const replies: Reply[] = []
    let now: number | undefined
    for (const item of items) {
      const answered = await one(item)
      now ??= answered.now
      replies.push(...answered.replies)
    }
    return { now: now ?? (await nowOf(statements, run)), replies }
  })
}

async function guarded<Value>(call: () => Promise<Value>): Promise<Value> {
  try {
    return await call()
  } catch (error) {
    throw asStoreError(error, 'statement')
  }
}

/**
 * A claim inside a transaction never waits for another one.
 *
 * - MariaDB: the INSERT itself waits for no lock (`innodb_lock_wait_timeout=0` for one statement).
 * - MySQL, transaction of the store's: a locking read with NOWAIT comes first. It locks nothing when there is no
 *   row, because under READ COMMITTED there are no gap locks. An INSERT that gets in between makes ours wait; that
 *   is bounded by the time-out of a statement.
 * - MySQL, transaction of the user's, which may be REPEATABLE READ: the read would lock the gap, and two of them
 *   would deadlock at their INSERT. So the INSERT comes first, and waits the shortest time that MySQL knows: 1 s.
 */
async function claimOne(runner: TransactionRunner, asked: Claim): Promise<Replies<ClaimReply>> {
  const { statements, run, server, isOwn } = runner
  try {
    if (server.isMariadb) return await inserted(runner, asked)
    if (!isOwn) return await waitingShortly(run, () => inserted(runner, asked))
    const id = octetsOf(asked)
    if (!isFailed(id)) await run(statements.probe, [id])
    return await inserted(runner, asked)
  } catch (error) {
    if (!isLocked(error)) throw error
    if (server.rollsBackOnTimeout) throw asStoreError(error, 'statement')
    return { now: await nowOf(statements, run), replies: [{ kind: 'locked' }] }
  }
}

async function inserted(runner: TransactionRunner, asked: Claim): Promise<Replies<ClaimReply>> {
  let isOutside = false
  const run: Run = async (text, values) => {
    const answer = await runner.run(text, values)
    isOutside ||= isOutsideOfTransaction(answer)
    return answer
  }
  const replies = await claim({ statements: runner.statements, run }, [asked])
  if (!isOutside || runner.isOwn) return replies
  // It has committed by itself, so it is taken back.
  if (replies.replies[0]?.kind === 'claimed') {
    await runner.run(runner.statements.unclaim, [idOctets(asked.id), tokenOctets(asked.token)])
  }
  throw new InvalidOptionError('tx', 'must be a connection on which a transaction is open')
}

/** Only an answer of a statement on the table tells: with `autocommit = 0` it is what begins the transaction. */
function isOutsideOfTransaction({ isInTransaction, rows }: Answer): boolean {
  return rows.length === 0 && isInTransaction === false
}

const waitVariable = '@@SESSION.innodb_lock_wait_timeout'

async function waitingShortly<Value>(run: Run, call: () => Promise<Value>): Promise<Value> {
  await run(`SET @retrysafe_wait = ${waitVariable}, ${waitVariable} = 1`, [])
  try {
    return await call()
  } finally {
    await run(`SET ${waitVariable} = @retrysafe_wait`, [])
  }
}

function octetsOf({ id }: Claim): Buffer | FailedItem {
  try {
    return idOctets(id)
  } catch (error) {
    return { kind: 'failed', error: error as StoreError }
  }
}
