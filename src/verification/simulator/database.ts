/**
 * The model of a database that joins transactions: one copy of the truth, row locks until the end of a transaction,
 * read committed. Every verb is applied in one event, as a database does it in one statement. What becomes visible
 * is written into the history at that moment.
 */
import { StoreError } from '../../core/errors.ts'
import type { IdempotencyRecord, RecordId } from '../../core/record.ts'
import {
  type Change,
  claimRecord,
  renewRecord,
  settleRecord,
  supersedeRecord,
  sweepRecord,
} from '../../core/record-verbs.ts'
import type {
  Claim,
  ClaimReply,
  FailedItem,
  Renewal,
  RenewalReply,
  Replies,
  Settlement,
  SettlementReply,
  SweepReply,
  Takeover,
  TakeoverReply,
} from '../../core/store.ts'
import type { EffectEvent, RecordState, RecordVerb } from '../history.ts'
import { epoch } from './process.ts'
import type { World } from './world.ts'

/** A row of the ledger, before it is seen. */
export type Effect = Omit<EffectEvent, 'type'>

/** A transaction as the server sees it. */
export interface OpenTransaction {
  state: 'open' | 'committed' | 'aborted'
  readonly writes: Map<RecordId, IdempotencyRecord>
  readonly effects: Effect[]
}

/** What was there when a transaction without locks first read it. */
export type Seen = Pick<IdempotencyRecord, 'token' | 'phase'> | undefined

/** All that a transaction without locks writes, as one request. */
export interface CommitRequest {
  /** By which the server knows a request that it gets again. */
  readonly token: string
  readonly changes: ReadonlyMap<RecordId, { readonly record: IdempotencyRecord; readonly seen: Seen }>
  readonly effects: readonly Effect[]
}

export type CommitReply =
  | { readonly kind: 'committed' }
  | { readonly kind: 'refused'; readonly id: RecordId; readonly found: IdempotencyRecord | undefined }

/** How long a statement outside a transaction waits for a row that one holds. */
const lockMs = 600

interface Logged {
  readonly time: number
  readonly id: RecordId
  readonly after: IdempotencyRecord | undefined
}

export class SimDatabase {
  readonly #world: World
  readonly #records = new Map<RecordId, IdempotencyRecord>()
  readonly #locks = new Map<RecordId, OpenTransaction>()
  readonly #open = new Set<OpenTransaction>()
  readonly #log: Logged[] = []
  /** Tokens of the commits that were applied at once. */
  readonly #commits = new Set<string>()
  #effects: { readonly time: number; readonly effect: Effect }[] = []
  #unlocked: (() => void)[] = []
  #clockOffset = 0
  /** Nobody is answered meanwhile. */
  away = false
  /** One more for each restart: what was sent before reaches nobody. */
  generation = 0

  constructor(world: World) {
    this.#world = world
  }

  get now(): number {
    return epoch + this.#world.time + this.#clockOffset
  }

  jumpClock(ms: number): void {
    this.#clockOffset += ms
  }

  /** Ends all transactions; what was committed stays. */
  restart(): void {
    this.generation += 1
    for (const tx of this.#open) this.abort(tx)
  }

  /** Comes back as it was `lagMs` ago, as a replica does that had not got further. */
  forget(lagMs: number): void {
    this.restart()
    const since = this.#world.time - lagMs
    const older = new Map<RecordId, IdempotencyRecord>()
    for (const { time, id, after } of this.#log) {
      if (time > since) break
      if (after === undefined) older.delete(id)
      else older.set(id, after)
    }
    const lost = [...new Set([...this.#records.keys(), ...older.keys()])].filter(
      (id) => this.#records.get(id) !== older.get(id),
    )
    for (const id of lost) {
      const record = older.get(id)
      if (record === undefined) this.#records.delete(id)
      else this.#records.set(id, record)
    }
    const gone = this.#effects.filter(({ time }) => time > since)
    this.#effects = this.#effects.filter(({ time }) => time <= since)
    this.#world.record({
      type: 'loss',
      since: epoch + since + this.#clockOffset,
      records: lost,
      effects: gone.map(({ effect }) => effect.effect),
    })
  }

  /** Drops records that are to be kept, as eviction, a flush or an expiry by a wrong clock does; without ids all. */
  evict(ids: readonly RecordId[] = [...this.#records.keys()]): void {
    for (const id of ids) {
      if (!this.#records.delete(id)) continue
      this.#log.push({ time: this.#world.time, id, after: undefined })
      this.#world.record({ type: 'eviction', record: id })
      this.#world.tell(() => `  store: ${id.slice(0, 6)} is evicted`)
    }
  }

  claim(claims: readonly Claim[]): Replies<ClaimReply> {
    return this.#each('claim', claims, (claim) => claim.id, claimRecord)
  }

  supersede(takeovers: readonly Takeover[]): Replies<TakeoverReply> {
    return this.#each('supersede', takeovers, ({ claim }) => claim.id, supersedeRecord)
  }

  renew(renewals: readonly Renewal[]): Replies<RenewalReply> {
    return this.#each('renew', renewals, ({ id }) => id, renewRecord)
  }

  settle(settlements: readonly Settlement[]): Replies<SettlementReply> {
    return this.#each('settle', settlements, ({ id }) => id, settleRecord)
  }

  read(ids: readonly RecordId[]): Replies<IdempotencyRecord | undefined> {
    return { now: this.now, replies: ids.map((id) => this.#records.get(id)) }
  }

  sweep(limit: number): SweepReply {
    let removed = 0
    let entombed = 0
    for (const [id, record] of this.#records) {
      if (removed + entombed === limit) return { removed, entombed, more: true }
      if (this.#locks.has(id)) continue
      const swept = sweepRecord(record, this.now)
      if (swept === 'keep') continue
      this.#write(id, swept === 'remove' ? undefined : swept, 'sweep')
      if (swept === 'remove') removed += 1
      else entombed += 1
    }
    return { removed, entombed, more: false }
  }

  /** Claim, effect and outcome in one statement; `false` where the key is not free. */
  once(claim: Claim, completed: Settlement, effect: Effect): boolean {
    if (this.#records.has(claim.id) || this.#locks.has(claim.id)) return false
    const running = claimRecord(undefined, claim, this.now).write
    const { write } = settleRecord(running, completed, this.now)
    this.#write(claim.id, write)
    this.#see(effect)
    return true
  }

  begin(): OpenTransaction {
    const tx: OpenTransaction = { state: 'open', writes: new Map(), effects: [] }
    this.#open.add(tx)
    return tx
  }

  claimIn(tx: OpenTransaction, claim: Claim): ClaimReply {
    const holder = this.#locks.get(claim.id)
    if (holder !== undefined && holder !== tx) return { kind: 'locked' }
    return this.#changeIn(tx, claim.id, claimRecord(this.#seenIn(tx, claim.id), claim, this.now))
  }

  supersedeIn(tx: OpenTransaction, takeover: Takeover): TakeoverReply {
    const { id } = takeover.claim
    const holder = this.#locks.get(id)
    if (holder !== undefined && holder !== tx) return locked()
    return this.#changeIn(tx, id, supersedeRecord(this.#seenIn(tx, id), takeover, this.now))
  }

  settleIn(tx: OpenTransaction, settlement: Settlement): SettlementReply {
    const { id } = settlement
    return this.#changeIn(tx, id, settleRecord(this.#seenIn(tx, id), settlement, this.now))
  }

  readIn(tx: OpenTransaction, id: RecordId): IdempotencyRecord | undefined {
    return this.#seenIn(tx, id)
  }

  /** Makes all of it visible at once; `false`: the settlement was refused, or the transaction is over. */
  commit(tx: OpenTransaction, settlement: Settlement | undefined): boolean {
    if (tx.state !== 'open') return false
    if (settlement !== undefined && this.settleIn(tx, settlement).kind !== 'settled') {
      this.abort(tx)
      return false
    }
    tx.state = 'committed'
    for (const [id, record] of tx.writes) this.#write(id, record)
    for (const effect of tx.effects) this.#see(effect)
    this.#end(tx)
    return true
  }

  /** Writes all of it where what was read is still there; otherwise nothing, and shows what is there instead. */
  commitAsSeen({ token, changes, effects }: CommitRequest): CommitReply {
    if (this.#commits.has(token) && this.#world.tape.pick('knows the commit', 2) === 0) {
      this.#world.record({ type: 'resent-commit', knownBy: 'token' })
      return { kind: 'committed' }
    }
    for (const [id, { seen }] of changes) {
      const found = this.#records.get(id)
      if (!isAsSeen(found, seen, this.now)) return { kind: 'refused', id, found }
    }
    this.#commits.add(token)
    for (const [id, { record }] of changes) this.#write(id, record)
    for (const effect of effects) this.#see(effect)
    return { kind: 'committed' }
  }

  abort(tx: OpenTransaction): void {
    if (tx.state !== 'open') return
    tx.state = 'aborted'
    this.#end(tx)
  }

  /** Calls `run` as soon as no transaction holds one of the rows, or when that has taken too long. */
  whenUnlocked(ids: readonly RecordId[], run: () => void): void {
    if (!ids.some((id) => this.#locks.has(id))) return run()
    let waits = true
    const go = (): void => {
      if (!waits) return
      if (ids.some((id) => this.#locks.has(id))) {
        this.#unlocked.push(go)
        return
      }
      waits = false
      run()
    }
    this.#unlocked.push(go)
    this.#world.later(lockMs, 'lock timeout', () => {
      if (!waits) return
      waits = false
      run()
    })
  }

  /** Records that are running, with the ends of their leases. */
  running(): readonly IdempotencyRecord[] {
    return [...this.#records.values()].filter(({ phase }) => phase === 'running')
  }

  /** Transactions that nobody has ended. */
  get openTransactions(): number {
    return this.#open.size
  }

  #each<Item, Reply>(
    verb: RecordVerb,
    items: readonly Item[],
    idOf: (item: Item) => RecordId,
    change: (found: IdempotencyRecord | undefined, item: Item, now: number) => Change<Reply>,
  ): Replies<Reply | FailedItem> {
    const { now } = this
    const replies = items.map((item) => {
      const id = idOf(item)
      if (this.#locks.has(id)) return locked()
      const { reply, write } = change(this.#records.get(id), item, now)
      if (write !== undefined) this.#write(id, write, verb)
      return reply
    })
    return { now, replies }
  }

  #seenIn(tx: OpenTransaction, id: RecordId): IdempotencyRecord | undefined {
    return tx.writes.get(id) ?? this.#records.get(id)
  }

  #changeIn<Reply>(
    tx: OpenTransaction,
    id: RecordId,
    { reply, write }: Change<Reply>,
  ): Change<Reply>['reply'] {
    if (write !== undefined) {
      this.#locks.set(id, tx)
      tx.writes.set(id, write)
    }
    return reply
  }

  #end(tx: OpenTransaction): void {
    this.#open.delete(tx)
    for (const [id, holder] of this.#locks) if (holder === tx) this.#locks.delete(id)
    const waiting = this.#unlocked
    this.#unlocked = []
    for (const go of waiting) go()
  }

  #write(id: RecordId, after: IdempotencyRecord | undefined, verb?: RecordVerb): void {
    const before = this.#records.get(id)
    if (after === undefined) this.#records.delete(id)
    else this.#records.set(id, after)
    this.#log.push({ time: this.#world.time, id, after })
    this.#world.record({
      type: 'record',
      record: id,
      now: this.now,
      before: stateOf(before),
      after: stateOf(after),
      ...(verb === undefined ? {} : { verb }),
    })
    this.#world.tell(() => `  store: ${id.slice(0, 6)} ${said(before)} -> ${said(after)}`)
  }

  #see(effect: Effect): void {
    this.#effects.push({ time: this.#world.time, effect })
    this.#world.record({ type: 'effect', ...effect })
    this.#world.tell(() => `  ledger: ${effect.effect} for ${effect.principal} ${effect.key}`)
  }
}

function isAsSeen(found: IdempotencyRecord | undefined, seen: Seen, now: number): boolean {
  if (found === undefined || seen === undefined) return found === seen
  const isLive = found.phase === 'running' && now < found.leaseUntil
  return found.token === seen.token && found.phase === seen.phase && !isLive
}

function locked(): FailedItem {
  return { kind: 'failed', error: new StoreError('transient', 'The row is held by an open transaction.') }
}

function stateOf(record: IdempotencyRecord | undefined): RecordState | undefined {
  if (record === undefined) return undefined
  const { phase, token, fence, fingerprint } = record
  const leaseUntil = record.phase === 'running' ? record.leaseUntil : undefined
  const settledAt = record.phase === 'running' ? undefined : record.settledAt
  return { phase, token, fence, fingerprint, leaseUntil, settledAt }
}

function said(record: IdempotencyRecord | undefined): string {
  if (record === undefined) return 'absent'
  return `${record.phase}(${record.token.replace(/0*$/, '')} fence ${record.fence})`
}
