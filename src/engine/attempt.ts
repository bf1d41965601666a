/**
 * What a caller gets when it asks to run a key, and what the winner does with it. Everything above the engine
 * (operations, HTTP, gateway, consumers) is written against these types.
 */
import type { Fingerprint, RecordId } from '../core/record.ts'
import type { Outcome } from '../core/outcome.ts'
import type { Policy } from './policy.ts'

/** Asks for the right to run one key once. */
export interface BeginRequest {
  readonly key: string
  /** Who asks; part of the scope, so that one caller's answer never reaches another. */
  readonly principal: string
  /** The operation's part of the scope. */
  readonly scope: string
  /** The operation's name for people and metrics; `scope` where absent. At most 255 characters. */
  readonly operation?: string
  readonly fingerprint: Fingerprint
  readonly policy: Policy
  /** Asked instead of running again when the outcome is unknown and the policy says `reconcile`. */
  readonly reconcile?: Reconcile
  /** Ends the caller's waiting, never the attempt of another caller. */
  readonly signal?: AbortSignal | undefined
}

/** Finds out what became of an earlier attempt: an outcome to adopt, or `undefined` to run again. */
export type Reconcile = (attempt: Attempt) => Promise<Outcome | undefined>

/** How old a replayed outcome is, in milliseconds by the store's clock. */
export interface OutcomeAge {
  /** Since it was settled. */
  readonly ageMs: number
  /** Until its retention is over. */
  readonly leftMs: number
}

/** The end of a `begin` that did not win the right to run. */
export type NotRun =
  /** `age` is absent where the caller waited for the attempt in this process. */
  | { readonly kind: 'replay'; readonly outcome: Outcome; readonly age?: OutcomeAge }
  | { readonly kind: 'mismatch' }
  | { readonly kind: 'in-progress'; readonly retryAfterMs: number }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'expired' }

export type Begun = { readonly kind: 'run'; readonly attempt: Attempt } | NotRun

/** As `Begun`, in transaction mode. */
export type BegunInTransaction<Tx> =
  | { readonly kind: 'run'; readonly attempt: TransactionAttempt<Tx> }
  | NotRun

/**
 * `settled`: with the outcome as it was stored, after `complete`. `lost`: another holder took over; this
 * attempt's result is discarded and `instead` is what the caller gets.
 */
export type Settled =
  | { readonly kind: 'settled'; readonly outcome: Outcome | undefined }
  | { readonly kind: 'lost'; readonly instead: NotRun }

/**
 * The right to run, held under a lease that is renewed until one of `complete`, `release` or `unknown` is
 * called. Exactly one of them must be called, once.
 */
export interface Attempt {
  readonly id: RecordId
  /** Random, one per attempt. */
  readonly token: string
  /** Integer, +1 at every change of holder: hand it to systems that can refuse a smaller one. */
  readonly fence: number
  /** Aborted when the lease is lost or the instance closes; the result would be thrown away. */
  readonly signal: AbortSignal
  /** A stable key for a call to another system: the same for every attempt of this key. */
  downstreamKey(name: string): string
  /** Stores the outcome. Rejects with `OutcomeUnknownError` when the store cannot be reached in time. */
  complete(outcome: Outcome): Promise<Settled>
  /** Ends the attempt without an outcome: the next one may run. Only right where nothing took effect. */
  release(): Promise<Settled>
  /** Says that the effect may have happened: the operation's `onUnknown` decides what comes next. */
  unknown(): Promise<Settled>
}

/**
 * The right to run with a transaction open. `complete` commits the effect and its record together and resolves once
 * that is known; it rejects with `NotAppliedError` or `UnstorableOutcomeError` where all was rolled back. `release`
 * and `unknown` roll back, and `unknown` also ends the transaction's connection: for handlers that may go on.
 * One that is not settled within the policy's `timeout` is rolled back likewise.
 */
export interface TransactionAttempt<Tx> extends Attempt {
  /** The open transaction: what is written through it commits together with the record. */
  readonly tx: Tx
  /** Aborted when the time is over, or the transaction broke: what comes later takes no effect. */
  readonly signal: AbortSignal
}

/** Begins attempts in transaction mode. */
export interface TransactionalBegin<Tx> {
  /** As `begin` of the instance. @throws as that does */
  begin(request: Omit<BeginRequest, 'reconcile'>): Promise<BegunInTransaction<Tx>>
}
