/**
 * Two tiers: a durable store, which decides everything, and fast tiers in front of it, which replay completed records.
 *
 * An entry of a fast tier only ever leads to a replay or a mismatch, by the table in `core/transitions.ts`; every
 * other question, and every write, is the durable store's. So a lost, late, old or damaged entry costs a question to
 * the durable store and nothing else. What makes an entry safe to answer:
 *
 * - A completed record does not change while it is retained. An entry is answered only as long as the durable store's
 *   clock, of which this process knows an upper bound, has certainly not passed `retainUntil`.
 * - What people do by hand (a record removed, a retention shortened) shows after `confirmAfter`: an entry that the
 *   durable store gave longer ago is not answered.
 * - Only what the durable store acknowledged is put: never what a transaction found after it wrote, which may yet be
 *   rolled back.
 */
import { type Duration, toMilliseconds } from '../core/duration.ts'
import { ClosedError, InvalidOptionError, StoreError } from '../core/errors.ts'
import { refuseUnknownOptions } from '../core/options.ts'
import type { CompletedRecord, IdempotencyRecord, RecordId } from '../core/record.ts'
import type { ReplayTier, TieredRecord } from '../core/replay-tier.ts'
import type { Clock, Timers } from '../core/runtime.ts'
import type { SqlTransaction } from '../core/sql.ts'
import {
  type Claim,
  type ClaimReply,
  type IdempotencyStore,
  joinsTransaction,
  type ListPage,
  type ListQuery,
  type Recalled,
  type RecordVerbs,
  type Renewal,
  type RenewalReply,
  type Replies,
  type Settlement,
  type SettlementReply,
  type StoreCapabilities,
  type SweepReply,
  type Takeover,
  type TakeoverReply,
  type TransactionalStore,
  type TransactionEnd,
  type TransactionVerdict,
} from '../core/store.ts'
import { Attempts } from './tiered/attempts.ts'
import { DurableClock } from './tiered/durable-clock.ts'
import { checkOf } from './tiered/entries.ts'
import { GuardedTier } from './tiered/guarded-tier.ts'
import { Replaced } from './tiered/replaced.ts'

export type { ReplayTier, TieredRecord } from '../core/replay-tier.ts'
export { lruReplayTier, type LruReplayTierOptions } from './tiered/lru.ts'

export interface TieredStoreOptions<Durable extends IdempotencyStore = IdempotencyStore> {
  /** Asked first; of several the nearest comes first. */
  readonly fast: ReplayTier | readonly ReplayTier[]
  /** Decides. Its promises and its capabilities are those of the whole. */
  readonly durable: Durable
  /**
   * How long fast tiers answer a record that the durable store gave, before that is asked again. Also how long they
   * may go on answering a record that was removed by hand. Default `'5m'`.
   */
  readonly confirmAfter?: Duration
  /** How long a fast tier may take before the durable store is asked instead. Default 50 ms. */
  readonly fastMsMax?: Duration
  /**
   * Told what went wrong with a fast tier (it rejected, took too long, gave a damaged entry), with the tier's name.
   * No call fails because of it. Default: nobody is told.
   */
  readonly onFastError?: (error: unknown, tier: string) => void
  /** Default: this host's monotonic clock. */
  readonly clock?: Pick<Clock, 'monotonic'>
  /** Default: this process' timers. */
  readonly timers?: Pick<Timers, 'background'>
}

const confirmAfterDefault = '5m'
const fastMsMaxDefault = 50
const optionNames = ['fast', 'durable', 'confirmAfter', 'fastMsMax', 'onFastError', 'clock', 'timers']

/**
 * Puts fast tiers in front of a store. It owns both: `close` closes them.
 *
 * @throws InvalidOptionError
 * @example
 * const store = tieredStore({ fast: lruReplayTier(), durable: postgresStore({ pool }) })
 */
export function tieredStore<Tx>(options: TieredStoreOptions<TransactionalStore<Tx>>): TransactionalStore<Tx>
export function tieredStore(options: TieredStoreOptions): IdempotencyStore
export function tieredStore(options: TieredStoreOptions): IdempotencyStore {
  refuseUnknownOptions('tieredStore', options, optionNames)
  const { fast, durable, onFastError = () => {}, clock = hostClock, timers = hostTimers } = options
  const { confirmAfter = confirmAfterDefault, fastMsMax = fastMsMaxDefault } = options
  const tiers = [fast].flat() as readonly ReplayTier[]
  if (tiers.length === 0 || tiers.some((tier) => typeof tier?.get !== 'function')) {
    throw new InvalidOptionError('fast', 'must be a tier, such as lruReplayTier(), or a list of tiers')
  }
  if (typeof durable?.claim !== 'function') {
    throw new InvalidOptionError('durable', 'must be a store, such as postgresStore(..)')
  }
  if (typeof onFastError !== 'function') {
    throw new InvalidOptionError('onFastError', 'must be a function', onFastError)
  }
  const getMsMax = toMilliseconds('fastMsMax', fastMsMax, { min: '1ms' })
  const confirmAfterMs = toMilliseconds('confirmAfter', confirmAfter, { min: '1ms' })
  const guarded = tiers.map(
    (tier) => new GuardedTier(tier, { clock, timers, getMsMax, onError: onFastError }),
  )
  const name = [...tiers, durable].map((part) => part.name).join('-')
  const parts: Parts = { name, tiers: guarded, clock: new DurableClock(clock), confirmAfterMs }
  return joinsTransaction(durable)
    ? new TransactionalTieredStore(durable, parts)
    : new TieredStore(durable, parts)
}

const hostClock: Pick<Clock, 'monotonic'> = { monotonic: () => performance.now() }
const hostTimers: Pick<Timers, 'background'> = {
  background(delayMs, run) {
    const timer = setTimeout(run, delayMs)
    timer.unref()
    return () => clearTimeout(timer)
  },
}

interface Parts {
  readonly name: string
  readonly tiers: readonly GuardedTier[]
  readonly clock: DurableClock
  readonly confirmAfterMs: number
}

class TieredStore<Durable extends IdempotencyStore> implements IdempotencyStore {
  readonly name: string
  readonly capabilities: StoreCapabilities
  /** There only where a tier is in this process. */
  readonly recall?: (id: RecordId) => Recalled | undefined
  protected readonly durable: Durable
  protected readonly clock: DurableClock
  readonly #tiers: readonly GuardedTier[]
  readonly #near: readonly GuardedTier[]
  readonly #confirmAfterMs: number
  readonly #attempts = new Attempts()
  readonly #replaced = new Replaced()
  #lookUps = 0
  readonly #noLookUps = Promise.withResolvers<void>()
  #closed = false

  constructor(durable: Durable, { name, tiers, clock, confirmAfterMs }: Parts) {
    this.name = name
    this.durable = durable
    this.clock = clock
    this.#tiers = tiers
    this.#near = tiers.filter((tier) => tier.isHere)
    this.#confirmAfterMs = confirmAfterMs
    const { capabilities } = durable
    const answersInProcess = capabilities.answersInProcess === true && this.#near.length === tiers.length
    this.capabilities = { ...capabilities, answersInProcess }
    if (this.#near.length > 0) this.recall = (id) => this.#recall(id)
  }

  claim(claims: readonly Claim[]): Promise<Replies<ClaimReply>> {
    const ids = claims.map(({ id }) => id)
    return this.#withKnown(ids, (known) => this.#claimRest(claims, known))
  }

  async supersede(takeovers: readonly Takeover[]): Promise<Replies<TakeoverReply>> {
    this.#checkOpen()
    const replaced = takeovers.filter(({ seenPhase }) => seenPhase === 'completed')
    for (const { claim } of replaced) this.#replaced.note(claim.id)
    const answer = await this.#heard(
      () => this.durable.supersede(takeovers),
      (reply) => (reply.kind === 'refused' ? reply.record : undefined),
    )
    for (const { claim } of replaced) this.#replaced.note(claim.id, answer.now)
    return answer
  }

  async renew(renewals: readonly Renewal[]): Promise<Replies<RenewalReply>> {
    this.#checkOpen()
    return await this.#heard(
      () => this.durable.renew(renewals),
      () => undefined,
    )
  }

  async settle(settlements: readonly Settlement[]): Promise<Replies<SettlementReply>> {
    this.#checkOpen()
    return await this.#heard(
      () => this.durable.settle(settlements),
      (reply, at, now) => {
        if (reply.kind === 'failed') return undefined
        const settled = this.#attempts.settled(settlements[at] as Settlement, now)
        return reply.kind === 'settled' ? settled : reply.record
      },
    )
  }

  read(ids: readonly RecordId[]): Promise<Replies<IdempotencyRecord | undefined>> {
    return this.#withKnown(ids, (known) => this.#readRest(ids, known))
  }

  sweep(limit: number): Promise<SweepReply> {
    return this.durable.sweep(limit)
  }

  list(query: ListQuery): Promise<ListPage> {
    return this.durable.list(query)
  }

  async close(): Promise<void> {
    this.#closed = true
    // What was asked before is still answered; fast tiers take no longer than `fastMsMax`.
    if (this.#lookUps > 0) await this.#noLookUps.promise
    await Promise.all([this.durable.close(), ...this.#tiers.map((tier) => tier.close())])
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Takes note of completed records that the durable store gave at `seenAt` of its clock. */
  protected remember(records: readonly (IdempotencyRecord | undefined)[], seenAt: number): void {
    const completed = records.filter((record) => record?.phase === 'completed')
    if (completed.length > 0) this.#put(this.#tiers, completed, seenAt)
  }

  /** Asks the tiers, then begins to ask the durable store. A store that is closed meanwhile waits until then. */
  async #withKnown<Answer>(
    ids: readonly RecordId[],
    askRest: (known: readonly (CompletedRecord | undefined)[]) => Promise<Answer>,
  ): Promise<Answer> {
    this.#checkOpen()
    this.#lookUps++
    let answer: Promise<Answer>
    try {
      answer = askRest(await this.#lookUp(ids))
    } finally {
      this.#lookUps--
      if (this.#closed && this.#lookUps === 0) this.#noLookUps.resolve()
    }
    return await answer
  }

  async #claimRest(
    claims: readonly Claim[],
    known: readonly (CompletedRecord | undefined)[],
  ): Promise<Replies<ClaimReply>> {
    const rest = claims.filter((_, at) => known[at] === undefined)
    if (rest.length === claims.length) return await this.#claimDurably(claims)
    let answer: Replies<ClaimReply> = { now: this.clock.atMost(), replies: [] }
    try {
      if (rest.length > 0) answer = await this.#claimDurably(rest)
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
      answer = { now: answer.now, replies: rest.map(() => ({ kind: 'failed', error })) }
    }
    // One `now` judges all of a reply.
    if (!areRetained(known, answer.now)) return await this.#claimDurably(claims)
    return merged(known, answer, (record) => ({ kind: 'found', record }))
  }

  async #readRest(
    ids: readonly RecordId[],
    known: readonly (CompletedRecord | undefined)[],
  ): Promise<Replies<IdempotencyRecord | undefined>> {
    const rest = ids.filter((_, at) => known[at] === undefined)
    if (rest.length === ids.length) return await this.#readDurably(ids)
    const answer = rest.length > 0 ? await this.#readDurably(rest) : { now: this.clock.atMost(), replies: [] }
    if (!areRetained(known, answer.now)) return await this.#readDurably(ids)
    return merged(known, answer, (record) => record)
  }

  #claimDurably(claims: readonly Claim[]): Promise<Replies<ClaimReply>> {
    return this.#heard(
      () => this.durable.claim(claims),
      (reply, at, now) => {
        if (reply.kind === 'claimed') this.#attempts.claimed(claims[at] as Claim, now)
        return reply.kind === 'found' ? reply.record : undefined
      },
    )
  }

  #readDurably(ids: readonly RecordId[]): Promise<Replies<IdempotencyRecord | undefined>> {
    return this.#heard(
      () => this.durable.read(ids),
      (record) => record,
    )
  }

  /** Asks the durable store, and takes note of the time and of the records that it tells. */
  async #heard<Reply>(
    ask: () => Promise<Replies<Reply>>,
    recordOf: (reply: Reply, at: number, now: number) => IdempotencyRecord | undefined,
  ): Promise<Replies<Reply>> {
    const sentAt = this.clock.monotonic()
    const answer = await ask()
    const { now, replies } = answer
    this.clock.heard(now, sentAt)
    this.remember(
      replies.map((reply, at) => recordOf(reply, at, now)),
      now,
    )
    return answer
  }

  #recall(id: RecordId): Recalled | undefined {
    if (this.#closed) return undefined
    const now = this.clock.atMost()
    for (const tier of this.#near) {
      const entry = tier.recall(id)
      if (entry !== undefined && this.#mayAnswer(entry, now)) return { now, record: entry.record }
    }
    return undefined
  }

  #checkOpen(): void {
    if (this.#closed) throw new ClosedError('store')
  }

  /** What the tiers may answer, each record at the place of its id. */
  async #lookUp(ids: readonly RecordId[]): Promise<readonly (CompletedRecord | undefined)[]> {
    const found: (CompletedRecord | undefined)[] = ids.map(() => undefined)
    if (Number.isNaN(this.clock.atMost())) return found
    for (const [depth, tier] of this.#tiers.entries()) {
      const missing = [...ids.keys()].filter((at) => found[at] === undefined)
      if (missing.length === 0) break
      const entries = await tier.get(missing.map((at) => ids[at] as RecordId))
      const now = this.clock.atMost()
      for (const [index, at] of missing.entries()) {
        const entry = entries[index]
        if (entry === undefined || !this.#mayAnswer(entry, now)) continue
        found[at] = entry.record
        if (depth > 0) this.#put(this.#tiers.slice(0, depth), [entry.record], entry.seenAt)
      }
    }
    return found
  }

  #mayAnswer({ record, seenAt }: TieredRecord, now: number): boolean {
    if (this.#replaced.covers(record.id, seenAt)) return false
    return now < record.retainUntil && seenAt <= now && now - seenAt < this.#confirmAfterMs
  }

  #put(tiers: readonly GuardedTier[], records: readonly CompletedRecord[], seenAt: number): void {
    const now = this.clock.atMost()
    const isChecked = tiers.some((tier) => !tier.isHere)
    const entries = records.flatMap((record): TieredRecord[] => {
      const leftMs = Math.min(record.retainUntil, seenAt + this.#confirmAfterMs) - now
      if (!(leftMs > 0)) return []
      return [{ record, seenAt, check: isChecked ? checkOf(record, seenAt) : '', leftMs }]
    })
    if (entries.length > 0) for (const tier of tiers) tier.put(entries)
  }
}

class TransactionalTieredStore<Tx>
  extends TieredStore<TransactionalStore<Tx>>
  implements TransactionalStore<Tx>
{
  readonly asksForRetry?: NonNullable<TransactionalStore<Tx>['asksForRetry']>
  readonly execute?: NonNullable<TransactionalStore<Tx>['execute']>
  readonly once?: NonNullable<TransactionalStore<Tx>['once']>

  constructor(durable: TransactionalStore<Tx>, parts: Parts) {
    super(durable, parts)
    if (durable.asksForRetry !== undefined) this.asksForRetry = durable.asksForRetry.bind(durable)
    if (durable.execute !== undefined) this.execute = durable.execute.bind(durable)
    if (durable.once !== undefined) this.once = durable.once.bind(durable)
  }

  /** What the first claim finds was committed by others; what is found later may be this transaction's own. */
  async transaction<Value>(
    work: (tx: Tx, records: RecordVerbs) => Promise<TransactionVerdict<Value>>,
    opening?: Claim,
  ): Promise<TransactionEnd<Value>> {
    const sentAt = this.clock.monotonic()
    let isFirst = true
    const firstClaim = async (
      records: RecordVerbs,
      claims: readonly Claim[],
    ): ReturnType<RecordVerbs['claim']> => {
      const mayRemember = isFirst
      isFirst = false
      const answer = await records.claim(claims)
      if (!mayRemember) return answer
      this.clock.heard(answer.now, sentAt)
      const found = answer.replies.map((reply) => (reply.kind === 'found' ? reply.record : undefined))
      this.remember(found, answer.now)
      return answer
    }
    return await this.durable.transaction(
      (tx, records) =>
        work(tx, {
          claim: (claims) => firstClaim(records, claims),
          supersede: (takeovers) => records.supersede(takeovers),
          settle: (settlements) => records.settle(settlements),
          read: (ids) => records.read(ids),
        }),
      opening,
    )
  }

  join(tx: Tx | SqlTransaction): RecordVerbs {
    return this.durable.join(tx)
  }
}

function areRetained(records: readonly (CompletedRecord | undefined)[], now: number): boolean {
  return records.every((record) => record === undefined || now < record.retainUntil)
}

/** The answers in the order of the questions: known ones where they are, the others one after the other. */
function merged<Reply>(
  known: readonly (CompletedRecord | undefined)[],
  { now, replies }: Replies<Reply>,
  asReply: (record: CompletedRecord) => Reply,
): Replies<Reply> {
  const open = known.filter((record) => record === undefined).length
  if (replies.length !== open)
    throw new StoreError('unrecognised', 'The store gave another number of replies than items.')
  const others = replies.values()
  return {
    now,
    replies: known.map((record) => (record === undefined ? (others.next().value as Reply) : asReply(record))),
  }
}
