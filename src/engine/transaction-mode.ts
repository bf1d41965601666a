/**
 * Transaction mode: claim, effect and outcome in one commit. The uncommitted claim is the lock; a crash takes
 * claim and effect away together, so there is no lease, no clock and no unknown outcome between them.
 *
 * What is left is the COMMIT that got no answer. Its connection is destroyed and the key is claimed again, and
 * released, in a transaction of its own. That claim waits for the old transaction and then either finds its outcome
 * (it had committed) or wins (it never will). Reading first would not do: the old one may still be about to commit.
 */
import { NotAppliedError, OutcomeUnknownError, RetryTransactionError, StoreError } from '../core/errors.ts'
import { StoreUnavailableError, UnstorableOutcomeError } from '../core/errors.ts'
import type { Outcome } from '../core/outcome.ts'
import type {
  Claim,
  RecordVerbs,
  Settlement,
  Statement,
  StatementEnd,
  TransactionalStore,
  TransactionVerdict,
} from '../core/store.ts'
import { type IdempotencyRecord, removableFrom } from '../core/record.ts'
import type { SqlTransaction } from '../core/sql.ts'
import { decide } from '../core/transitions.ts'
import { contest, contested, replayOf, singly } from './contest.ts'
import { report } from './events.ts'
import type { FlightControls } from './flights.ts'
import { asLeaderNotRun, claimBudgetMs, newClaim } from './lease-mode.ts'
import { fitOutcome } from './outcome-fit.ts'
import { type Call, goRounds, type LeaderNotRun } from './rounds.ts'
import { resend } from './store-retry.ts'
import type { NotRun } from './attempt.ts'

/** How long an unanswered COMMIT is looked into before the outcome is reported as unknown. */
export const unknownCommitBudgetMs = 5_000

/** A record that is not there shows that it never was, as long as not more of its retention has passed. */
const retentionPartMax = 0.5

/** A commit that got no answer. */
interface Lost {
  readonly claim: Claim
  /** Monotonic, before it was sent. */
  readonly sentAt: number
  readonly error: StoreError
}

/** What is used of a store, whoever opens its transactions. */
export type Transactions<Tx> = Pick<TransactionalStore<Tx>, 'transaction' | 'read' | 'asksForRetry'>

/** The user's work, once the key is won. Throws to roll back. */
export type TransactionWork<Tx, End = Outcome> = (tx: Tx, fence: number, token: string) => Promise<End>

/** Work that wants everything rolled back, without an error. `inUse`: its handler may go on with `tx`. */
export interface Undone {
  readonly kind: 'undone'
  readonly inUse: boolean
}

/** Asks what became of an earlier attempt in lease mode: an outcome to adopt, or `undefined` to run. */
export type ReconcileInTransaction = () => Promise<Outcome | undefined>

interface Executed {
  readonly kind: 'executed'
  readonly outcome: Outcome
}

export type Transacted = Executed | NotRun

/**
 * Runs `work` and its record in a transaction that the store opens.
 *
 * @throws StoreUnavailableError when the transaction cannot be opened; `work` did not run
 * @throws NotAppliedError when it definitely did not commit
 * @throws OutcomeUnknownError when COMMIT got no answer and the store stays away
 */
export function transact<Tx>(
  call: Call,
  store: Transactions<Tx>,
  work: TransactionWork<Tx>,
  reconcile: ReconcileInTransaction | undefined,
): Promise<Transacted>
export function transact<Tx>(
  call: Call,
  store: Transactions<Tx>,
  work: TransactionWork<Tx, Outcome | Undone>,
  reconcile: ReconcileInTransaction | undefined,
): Promise<Transacted | Undone>
export function transact<Tx>(
  call: Call,
  store: Transactions<Tx>,
  work: TransactionWork<Tx, Outcome | Undone>,
  reconcile: ReconcileInTransaction | undefined,
): Promise<Transacted | Undone> {
  return goRounds<Executed | Undone>(call, (controls) => lead(call, store, work, reconcile, controls))
}

/**
 * Runs one statement and its record, in one round trip where the store can and the key is new; otherwise, and
 * whenever that is refused, in a transaction like any other work.
 *
 * @throws as `transact`; and what the statement itself fails with
 */
export function transactStatement<Tx>(
  call: Call,
  store: TransactionalStore<Tx>,
  statement: Statement,
): Promise<Transacted> {
  return goRounds<Executed>(call, async (controls) => {
    const once = await leadOnce(call, store, statement, controls)
    if (once !== undefined) return once
    const work = async (tx: Tx): Promise<Outcome> => {
      if (store.execute === undefined) throw new Error(`The store ${store.name} runs no statements.`)
      return { kind: 'value', value: await store.execute(tx, statement) }
    }
    return (await lead(call, store, work, undefined, controls)) as Exclude<Verdict, Undone>
  })
}

/** `undefined`: it takes a transaction. */
async function leadOnce<Tx>(
  call: Call,
  store: TransactionalStore<Tx>,
  statement: Statement,
  controls: FlightControls,
): Promise<Executed | undefined> {
  if (store.once === undefined || call.machinery.seal.encrypts) return undefined
  const claim = newClaim(call)
  const { retentionMs, tombstoneMs } = call.policy
  const startedAt = call.machinery.runtime.clock.monotonic()
  const end = await store.once({ statement, claim, retentionMs, tombstoneMs })
  const applied = await outcomeOnce(call, store, claim, end, startedAt)
  if (applied === undefined) return undefined
  const verdict: Executed = { kind: 'executed', outcome: applied }
  controls.begin({ kind: 'run', leaseLeftMs: () => call.policy.leaseMs })
  finish(call, controls, verdict, 1, startedAt)
  return verdict
}

async function outcomeOnce<Tx>(
  call: Call,
  store: TransactionalStore<Tx>,
  claim: Claim,
  end: StatementEnd,
  sentAt: number,
): Promise<Outcome | undefined> {
  switch (end.kind) {
    case 'applied':
      return call.machinery.seal.open(claim.id, end.outcome)
    case 'refused':
      return undefined
    case 'unknown': {
      const found = await resolveUnknownCommit(call, store, { claim, sentAt, error: end.error })
      if (found?.phase !== 'completed') return undefined
      return call.machinery.seal.open(claim.id, found.outcome)
    }
    default:
      return end satisfies never
  }
}

type Verdict = Executed | Undone | LeaderNotRun

async function lead<Tx>(
  call: Call,
  store: Transactions<Tx>,
  work: TransactionWork<Tx, Outcome | Undone>,
  reconcile: ReconcileInTransaction | undefined,
  controls: FlightControls,
): Promise<Verdict> {
  const claim = newClaim(call)
  const startedAt = call.machinery.runtime.clock.monotonic()
  let started = false
  let fence = 0
  const attempt = (): Promise<Verdict> =>
    inTransaction(call, store, claim, async (tx, records) => {
      const { onUnknown } = call.policy
      const end = await contest(singly(records), contested(claim), onUnknown, call.machinery.seal)
      if (end.kind !== 'won') return { kind: 'roll-back', value: asLeaderNotRun(end) }
      started = true
      fence = end.fence
      const { policy, identity } = call
      report('claimed', () => ({ id: identity.id, operation: identity.operation, fence: end.fence }))
      controls.begin({ kind: 'run', leaseLeftMs: () => policy.leaseMs })
      const adopted = end.reconcile ? await reconcile?.() : undefined
      const outcome = adopted ?? (await work(tx, end.fence, claim.token))
      if (outcome.kind === 'undone') return { kind: 'roll-back', value: outcome, inUse: outcome.inUse }
      const kind = adopted === undefined ? 'executed' : 'replay'
      return { kind: 'commit', value: { kind, outcome }, settlement: completionOf(call, claim, outcome) }
    })

  try {
    // Once the handler has started, nothing is run again within the call.
    const end = await resend(call.machinery.runtime, claimBudgetMs, () =>
      attempt().catch((e: unknown) => {
        if (started && (e instanceof StoreError || store.asksForRetry?.(e) === true)) {
          throw new NotAppliedError({ cause: e })
        }
        throw e
      }),
    )
    finish(call, controls, end, fence, startedAt)
    return end
  } catch (error) {
    controls.end({ kind: 'open' })
    if (error instanceof StoreError) throw new StoreUnavailableError({ cause: error })
    throw error
  }
}

function finish(call: Call, controls: FlightControls, end: Verdict, fence: number, startedAt: number): void {
  const { id, operation } = call.identity
  const durationMs = call.machinery.runtime.clock.monotonic() - startedAt
  if (end.kind === 'executed') {
    report('completed', () => ({ id, operation, fence, durationMs }))
    controls.end({ kind: 'completed', outcome: end.outcome })
  } else if (end.kind === 'undone') {
    report('released', () => ({ id, operation, fence, durationMs }))
    controls.end({ kind: 'open' })
  } else if (end.kind === 'replay') {
    // Also after a reconciliation or a refused commit, for which the flight had begun.
    controls.begin(end)
    controls.end({ kind: 'completed', outcome: end.outcome })
  } else {
    controls.begin(end)
    // A flight that had begun and was refused at its commit has others waiting.
    controls.end({ kind: 'open' })
  }
}

function completionOf(call: Call, claim: Claim, outcome: Outcome): Settlement {
  const { retentionMs, tombstoneMs } = call.policy
  const fitted = fitOutcome(call.machinery, claim.id, outcome)
  // Unlike in lease mode the effect can still be undone, so an outcome that cannot be kept undoes it.
  if (fitted.outcome !== outcome) {
    const reason = fitted.outcome.kind === 'unstorable' ? fitted.outcome.reason : 'it is too large'
    throw new UnstorableOutcomeError(reason)
  }
  const { id, token } = claim
  return { id, token, to: 'completed', outcome: fitted.bytes, retentionMs, tombstoneMs }
}

function changedInside(): NotAppliedError {
  return new NotAppliedError({ cause: new Error('The record was changed inside its own transaction.') })
}

async function inTransaction<Tx>(
  call: Call,
  store: Transactions<Tx>,
  claim: Claim,
  work: (tx: Tx, records: RecordVerbs) => Promise<TransactionVerdict<Verdict>>,
): Promise<Verdict> {
  const sentAt = call.machinery.runtime.clock.monotonic()
  const end = await store.transaction(work, claim)
  switch (end.kind) {
    case 'committed':
    case 'rolled-back':
      return end.value
    case 'refused':
      return await lookAtWinner(call, store, claim)
    case 'unknown': {
      const found = await resolveUnknownCommit(call, store, { claim, sentAt, error: end.error })
      if (found !== undefined) return end.value
      throw new NotAppliedError({ cause: end.error })
    }
    default:
      return end satisfies never
  }
}

/**
 * A store without locks refuses at the commit, when another attempt was first: nothing was applied, and what that
 * one left is the answer.
 *
 * @throws NotAppliedError when the key is free after all; the handler has run, and is not run again within the call
 */
async function lookAtWinner<Tx>(call: Call, store: Transactions<Tx>, claim: Claim): Promise<Verdict> {
  const { id, token, fingerprint } = claim
  const { now, replies } = await store.read([id])
  const record = replies[0]
  const decision = decide(record, { fingerprint, token, onUnknown: call.policy.onUnknown }, now)
  switch (decision.kind) {
    case 'replay':
      return replayOf(decision.record, now, call.machinery.seal)
    case 'in-progress': {
      const { leaseLeftMs } = decision
      return asLeaderNotRun({ kind: 'in-progress', leaseLeftMs, token: record?.token ?? '' })
    }
    case 'mismatch':
    case 'unknown':
    case 'expired':
      return decision
    case 'claim':
    case 'hold':
    case 'supersede':
      throw changedInside()
    default:
      return decision satisfies never
  }
}

/**
 * The record that the lost transaction committed; `undefined` when it did not, and never will.
 *
 * The key is claimed again and released at once, in one transaction: that waits for the lost one, raises the fence
 * for whatever of it is still on its way, and leaves nothing running behind.
 */
async function resolveUnknownCommit<Tx>(
  call: Call,
  store: Transactions<Tx>,
  lost: Lost,
): Promise<IdempotencyRecord | undefined> {
  const { runtime } = call.machinery
  const { id, operation } = call.identity
  const probe = newClaim(call)
  try {
    const found = await resend(runtime, unknownCommitBudgetMs, async () => {
      const end = await store.transaction(
        (_tx, records) => lookInto(call, singly(records), lost.claim, probe),
        probe,
      )
      if (end.kind === 'refused')
        throw new StoreError('transient', 'The key changed hands in its own transaction.')
      if (end.kind === 'unknown') throw end.error
      return end.value
    })
    // Its record may have been there, and be gone with its retention.
    const agoMs = runtime.clock.monotonic() - lost.sentAt
    if (found === undefined && agoMs >= call.policy.retentionMs * retentionPartMax) {
      throw new StoreError('lost', 'The commit was looked into too late for its retention.')
    }
    report('unknown-commit', () => ({ id, operation, applied: found !== undefined }))
    return found
  } catch (cause) {
    report('unknown-commit', () => ({ id, operation, applied: 'undecided' }))
    throw new OutcomeUnknownError(false, { cause: new AggregateError([lost.error, cause]) })
  }
}

/**
 * Finds out inside a transaction what became of `lostClaim`. A record of another attempt is judged by the table.
 * Where the table would not let the lost attempt have it, the lost attempt never had it. Where it would, the lost
 * transaction may still hold it: superseding it waits for that transaction as the claim does, and is refused when
 * that one committed.
 */
async function lookInto(
  call: Call,
  verbs: ReturnType<typeof singly>,
  lostClaim: Claim,
  probe: Claim,
): Promise<TransactionVerdict<IdempotencyRecord | undefined>> {
  const { id, token, fingerprint } = probe
  const { onUnknown, releaseMarkerMs, retentionMs } = call.policy
  const notApplied = { kind: 'roll-back', value: undefined } as const
  const applied = (record: IdempotencyRecord) => ({ kind: 'roll-back', value: record }) as const
  const released: Settlement = { id, token, to: 'released', markerMs: releaseMarkerMs }

  const { reply, now } = await verbs.claim(probe)
  if (reply.kind === 'locked') throw stillOpen()
  if (reply.kind === 'claimed') return { kind: 'commit', value: undefined, settlement: released }
  const { record } = reply
  if (record.token === lostClaim.token) return applied(record)
  // A probe that was sent before, and whose answer was lost.
  if (record.token === token) return notApplied
  const decision = decide(record, { fingerprint, token, onUnknown }, now)
  if (decision.kind !== 'supersede') return notApplied
  const { token: seenToken, phase: seenPhase } = record
  const superseded = await verbs.supersede({ seenToken, seenPhase, claim: probe })
  if (superseded.reply.kind === 'superseded') {
    // An outcome that was unknown before stays unknown, for as long as it would have.
    const wasUnknown =
      now < removableFrom(record) && (record.phase === 'running' || record.phase === 'unknown')
    const settlement: Settlement = wasUnknown ? { id, token, to: 'unknown', retentionMs } : released
    return { kind: 'commit', value: undefined, settlement }
  }
  const after = superseded.reply.record
  if (after?.token === lostClaim.token) return applied(after)
  throw new StoreError('transient', 'The key changes hands while its commit is looked into.')
}

/**
 * Runs `work` and its record inside a transaction that the user opened and will end. Nothing is waited for,
 * retried or reported: whether it commits is not known here.
 *
 * @throws RetryTransactionError when the store asks for another try
 */
export async function transactWithin<Tx>(
  call: Call,
  store: TransactionalStore<Tx>,
  tx: Tx | SqlTransaction,
  work: (fence: number) => Promise<Outcome>,
): Promise<Transacted> {
  const records = store.join(tx)
  const claim = newClaim(call)
  try {
    const end = await contest(singly(records), contested(claim), call.policy.onUnknown, call.machinery.seal)
    if (end.kind !== 'won') {
      const { kind } = end
      return kind === 'in-progress' ? { kind, retryAfterMs: asRetryAfter(asLeaderNotRun(end)) } : end
    }
    const outcome = await work(end.fence)
    const { reply } = await singly(records).settle(completionOf(call, claim, outcome))
    if (reply.kind !== 'settled') throw changedInside()
    return { kind: 'executed', outcome }
  } catch (error) {
    if (error instanceof StoreError) {
      throw new RetryTransactionError('The store could not take part in this transaction.', { cause: error })
    }
    if (store.asksForRetry?.(error) === true) {
      throw new RetryTransactionError('The database asks for another try.', { cause: error })
    }
    throw error
  }
}

function stillOpen(): StoreError {
  return new StoreError('transient', 'The transaction whose commit got no answer is still open.')
}

function asRetryAfter(end: LeaderNotRun): number {
  return end.kind === 'in-progress' ? end.retryAfterMs : 1
}
