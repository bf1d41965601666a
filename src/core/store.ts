/**
 * The store contract. A store keeps records and changes them atomically, one item at a time; it decides
 * nothing. Why each rule is there:
 *
 * - **Verbs are plural**: one call is one round trip and, in a database, one commit. Each item is atomic by
 *   itself, and one bad item never fails its neighbours: it is answered `failed`.
 * - **The store's clock decides.** Callers send durations only; deadlines are stored as absolute times of the
 *   store's clock, and every reply carries the store's `now`, so that hosts with wrong clocks agree.
 * - **Every write is guarded by a token**: a holder that lost its record cannot write.
 * - **A refusal carries the record that is there**, so that a verb whose answer got lost can be sent again:
 *   the caller recognises its own token.
 * - **A verb rejects as a whole only with `StoreError`**, whose `failure` says whether it may have been applied.
 */
import type { StoreError } from './errors.ts'
import type { CompletedRecord, Fingerprint, IdempotencyRecord, Phase, RecordId } from './record.ts'
import type { SqlTransaction } from './sql.ts'

export interface StoreCapabilities {
  /** `store`: times are the server's. `process`: the store lives in this process and uses its clock. */
  readonly clock: 'store' | 'process'
  /** Whether `transaction` and `join` are there. */
  readonly joinsTransaction: boolean
  /** Most items that one verb takes; the engine splits larger batches. */
  readonly batchMax: number
  /** Calls that may be under way at once; more wait and leave as one batch. `Infinity`: never wait. */
  readonly flightsMax: number
  /** The store answers without I/O, so that collecting verbs into batches gains nothing. Default `false`. */
  readonly answersInProcess?: boolean
  /** Largest encoded outcome, in bytes. */
  readonly outcomeBytesMax: number
  /** Coarseness of expiry, in milliseconds. */
  readonly expiryGranularityMs: number
  /**
   * What is past goes by itself in time (Redis, DynamoDB), so that no process needs to sweep: a sweep would walk
   * the whole store. It still turns completed records into tombstones when it is asked to. Default `false`.
   */
  readonly expiresByItself?: boolean
}

/** Asks for the running record of `id`. */
export interface Claim {
  readonly id: RecordId
  readonly fingerprint: Fingerprint
  /** 128 random bits as 22 base64url characters. */
  readonly token: string
  readonly leaseMs: number
  /** Kept on the record until it is settled: how long an abandoned attempt stays known. */
  readonly retentionMs: number
  /** At most 255 characters. */
  readonly operation: string
  readonly principalTag: string
}

/**
 * Both of what was seen count: a holder whose lease had run out may settle after all, under the same token, while
 * the takeover is on its way. What it settled to is not what the claimer decided to replace.
 */
export interface Takeover {
  /** The token of the record that the claimer saw and decided to replace. */
  readonly seenToken: string
  /** Its phase. */
  readonly seenPhase: Phase
  readonly claim: Claim
}

export interface Renewal {
  readonly id: RecordId
  readonly token: string
  readonly leaseMs: number
}

export type Settlement = {
  readonly id: RecordId
  readonly token: string
} & (
  | {
      readonly to: 'completed'
      readonly outcome: Uint8Array
      readonly retentionMs: number
      /** 0: no tombstone. Otherwise how long the key is refused after its retention. */
      readonly tombstoneMs: number
    }
  | { readonly to: 'released'; readonly markerMs: number }
  | { readonly to: 'unknown'; readonly retentionMs: number }
)

/** An item that could not be handled, while its neighbours were. */
export interface FailedItem {
  readonly kind: 'failed'
  readonly error: StoreError
}

export type ClaimReply =
  | { readonly kind: 'claimed' }
  | { readonly kind: 'found'; readonly record: IdempotencyRecord }
  /** Inside a transaction: another open transaction holds the id, and will make known what it did with it. */
  | { readonly kind: 'locked' }
  | FailedItem

export type TakeoverReply =
  | { readonly kind: 'superseded'; readonly fence: number }
  | { readonly kind: 'refused'; readonly record: IdempotencyRecord | undefined }
  | FailedItem

export type RenewalReply = { readonly kind: 'renewed' } | { readonly kind: 'lost' } | FailedItem

export type SettlementReply =
  | { readonly kind: 'settled' }
  | { readonly kind: 'refused'; readonly record: IdempotencyRecord | undefined }
  | FailedItem

/** Answers in the order of the questions. */
export interface Replies<Reply> {
  /** The store's clock in milliseconds. May be NaN for a claim inside a transaction that found nothing. */
  readonly now: number
  readonly replies: readonly Reply[]
}

export interface ListQuery {
  /** 1 to 1,000. */
  readonly limit: number
  /** `next` of the page before. */
  readonly after?: string
  readonly phase?: Phase
  readonly operation?: string
  readonly principalTag?: string
}

export interface ListPage {
  readonly now: number
  /** Newest first. */
  readonly records: readonly IdempotencyRecord[]
  /** `undefined` at the end. A page before it may be short, or empty: stores bound what one page reads. */
  readonly next: string | undefined
}

/** The verbs that a claim, its takeover and its settlement need; also offered inside a transaction. */
export interface RecordVerbs {
  /**
   * Inserts the running record (fence 1) where the id is absent; otherwise answers with what is there. Inside a
   * transaction it never waits long for another one: it answers `locked`.
   */
  claim(claims: readonly Claim[]): Promise<Replies<ClaimReply>>
  /**
   * Replaces a record: fence + 1, new token, new lease, new fingerprint. Refused when the record's token or
   * phase is no longer the one seen, when it is running with a live lease, or when it is gone.
   */
  supersede(takeovers: readonly Takeover[]): Promise<Replies<TakeoverReply>>
  /** running -> completed, released or unknown. Refused unless the record is running under `token`. */
  settle(settlements: readonly Settlement[]): Promise<Replies<SettlementReply>>
  /** The current records, `undefined` where there is none. Does not hide what has expired. */
  read(ids: readonly RecordId[]): Promise<Replies<IdempotencyRecord | undefined>>
}

/** A completed record that a store has in this process. */
export interface Recalled {
  /** The store's clock in milliseconds, or a little later. */
  readonly now: number
  readonly record: CompletedRecord
}

export interface IdempotencyStore extends RecordVerbs, AsyncDisposable {
  /** For people and metrics, such as `sqlite`. */
  readonly name: string
  readonly capabilities: StoreCapabilities
  /** Extends the lease to now + `leaseMs`. Lost unless the record is running under `token`. */
  renew(renewals: readonly Renewal[]): Promise<Replies<RenewalReply>>
  /**
   * Removes at most `limit` records that mean nothing any more and turns completed ones that are past their
   * retention, with a tombstone, into tombstones. Never a live lease. Safe to run twice, or to kill.
   */
  sweep(limit: number): Promise<SweepReply>
  list(query: ListQuery): Promise<ListPage>
  /**
   * The completed record of `id`, where this process has it and it is still retained; answered without I/O and
   * without a promise, and never wrong about what the other verbs would find. `undefined` tells nothing. It never
   * throws.
   */
  recall?(id: RecordId): Recalled | undefined
  /** Ends what the store opened. Later verbs reject with `ClosedError`. */
  close(): Promise<void>
}

export interface SweepReply {
  readonly removed: number
  readonly entombed: number
  /** Whether the limit was reached, so that more may be waiting. */
  readonly more: boolean
}

/**
 * What the work inside a transaction asks for: commit with this value, or roll back with that one. A settlement
 * travels with the commit, so that both can take one round trip; where it is refused, nothing commits.
 */
export type TransactionVerdict<Value> =
  | { readonly kind: 'commit'; readonly value: Value; readonly settlement?: Settlement }
  /**
   * `inUse`: whoever has the handle was given up on and may go on with it. What is sent through it from now on must
   * take no effect, so its connection is ended, and never given to others.
   */
  | { readonly kind: 'roll-back'; readonly value: Value; readonly inUse?: boolean }

/**
 * How a transaction ended. `refused`: the verdict's settlement was, and all was rolled back. `unknown`: COMMIT
 * was sent and nobody knows; its connection is destroyed.
 */
export type TransactionEnd<Value> =
  | { readonly kind: 'committed'; readonly value: Value }
  | { readonly kind: 'refused' }
  | { readonly kind: 'rolled-back'; readonly value: Value }
  | { readonly kind: 'unknown'; readonly value: Value; readonly error: StoreError }

/** A store whose records can commit together with the user's own writes. */
export interface TransactionalStore<Tx> extends IdempotencyStore {
  /**
   * Opens a transaction, gives it to `work`, and ends it as `work` says. Rolls back and rejects with the error
   * when `work` throws; rejects with `StoreError` when it cannot be opened or when COMMIT definitely failed.
   *
   * @param opening the claim that `work` begins with, so that it may travel with BEGIN; `work` still sends it
   */
  transaction<Value>(
    work: (tx: Tx, records: RecordVerbs) => Promise<TransactionVerdict<Value>>,
    opening?: Claim,
  ): Promise<TransactionEnd<Value>>
  /**
   * The verbs inside a transaction that the user opened and will end.
   *
   * @throws InvalidOptionError when `tx` is none of this store's database
   */
  join(tx: Tx | SqlTransaction): RecordVerbs
  /**
   * Whether an error of the user's own statement is the database's wish that the whole transaction be run again
   * (a serialization failure, a deadlock).
   */
  asksForRetry?(error: unknown): boolean
  /** Runs a statement of the user's inside a transaction, with the value that `once` would give. */
  execute?(tx: Tx, statement: Statement): Promise<unknown>
  /**
   * Where the database can: claim, a statement of the user's and its outcome in one round trip that commits by
   * itself. Never rejects with the statement's own error: what it refuses is tried again in a transaction, which
   * tells why.
   */
  once?(once: StatementOnce): Promise<StatementEnd>
}

/** One statement of the user's, in the dialect of the store's database. */
export interface Statement {
  readonly text: string
  readonly values: readonly unknown[]
}

export interface StatementOnce {
  readonly statement: Statement
  readonly claim: Claim
  readonly retentionMs: number
  readonly tombstoneMs: number
}

export type StatementEnd =
  | { readonly kind: 'applied'; readonly outcome: Uint8Array }
  /** Nothing happened: the key is not free, or the statement failed. */
  | { readonly kind: 'refused' }
  /** The statement was sent and nobody knows. */
  | { readonly kind: 'unknown'; readonly error: StoreError }

/** Whether a store can take part in transactions; narrows its type. */
export function joinsTransaction(store: IdempotencyStore): store is TransactionalStore<unknown> {
  return store.capabilities.joinsTransaction
}
