/**
 * Records in this process' memory: for tests, and for one process whose keys need not outlive it. Same verbs,
 * same refusals as the other stores; nothing survives a restart and no other process sees the records.
 */
import { ClosedError, InvalidOptionError, StoreError } from '../core/errors.ts'
import type { IdempotencyRecord, RecordId } from '../core/record.ts'
import {
  type Change,
  claimRecord,
  renewRecord,
  settleRecord,
  supersedeRecord,
  sweepRecord,
} from '../core/record-verbs.ts'
import type { Clock } from '../core/runtime.ts'
import type {
  Claim,
  ClaimReply,
  FailedItem,
  IdempotencyStore,
  ListPage,
  ListQuery,
  Renewal,
  RenewalReply,
  Replies,
  Settlement,
  SettlementReply,
  StoreCapabilities,
  SweepReply,
  Takeover,
  TakeoverReply,
} from '../core/store.ts'
import { RecordTable } from './memory/record-table.ts'

export interface MemoryStoreOptions {
  /** Most records kept at once. Default 100,000. */
  readonly recordsMax?: number
  /**
   * What a claim of a new key does when `recordsMax` records are there and none of them has expired.
   * `evict-oldest` drops the record that was settled first, so that its key may run again before its retention
   * is over; `refuse` fails the claim. A running or unknown record is never dropped. Default `evict-oldest`.
   */
  readonly whenFull?: 'evict-oldest' | 'refuse'
  /** Where times come from. Default: this host's clock. */
  readonly clock?: Pick<Clock, 'now'>
}

const recordsMaxDefault = 100_000
const listLimitMax = 1_000

const capabilities: StoreCapabilities = {
  clock: 'process',
  joinsTransaction: false,
  batchMax: 10_000,
  flightsMax: Number.POSITIVE_INFINITY,
  answersInProcess: true,
  outcomeBytesMax: 16 * 1024 * 1024,
  expiryGranularityMs: 1,
}

/**
 * A store in memory. Outcomes are copied when they are stored; who reads a record must not change its bytes.
 *
 * @throws InvalidOptionError
 * @example
 * const idem = createIdempotency({ store: memoryStore({ recordsMax: 10_000 }) })
 */
export function memoryStore(options: MemoryStoreOptions = {}): IdempotencyStore {
  const { recordsMax = recordsMaxDefault, whenFull = 'evict-oldest', clock = Date } = options
  if (!Number.isSafeInteger(recordsMax) || recordsMax < 1) {
    throw new InvalidOptionError('recordsMax', 'must be a whole number of at least 1', recordsMax)
  }
  if (whenFull !== 'evict-oldest' && whenFull !== 'refuse') {
    throw new InvalidOptionError('whenFull', "must be 'evict-oldest' or 'refuse'", whenFull)
  }
  return new MemoryStore(recordsMax, whenFull === 'evict-oldest', clock)
}

class MemoryStore implements IdempotencyStore {
  readonly name = 'memory'
  readonly capabilities = capabilities
  readonly #table = new RecordTable()
  readonly #recordsMax: number
  readonly #evicts: boolean
  readonly #clock: Pick<Clock, 'now'>
  #closed = false

  constructor(recordsMax: number, evicts: boolean, clock: Pick<Clock, 'now'>) {
    this.#recordsMax = recordsMax
    this.#evicts = evicts
    this.#clock = clock
  }

  async claim(claims: readonly Claim[]): Promise<Replies<ClaimReply>> {
    return this.#answer(claims, (claim, now) => this.#claim(claim, now))
  }

  async supersede(takeovers: readonly Takeover[]): Promise<Replies<TakeoverReply>> {
    return this.#answer(takeovers, (takeover, now) =>
      this.#write(supersedeRecord(this.#table.get(takeover.claim.id), takeover, now)),
    )
  }

  async renew(renewals: readonly Renewal[]): Promise<Replies<RenewalReply>> {
    return this.#answer(renewals, (renewal, now) =>
      this.#write(renewRecord(this.#table.get(renewal.id), renewal, now)),
    )
  }

  async settle(settlements: readonly Settlement[]): Promise<Replies<SettlementReply>> {
    return this.#answer(settlements, (settlement, now) => {
      const change = settleRecord(this.#table.get(settlement.id), settlement, now)
      const tooLarge =
        change.write?.phase === 'completed' && change.write.outcome.byteLength > capabilities.outcomeBytesMax
      if (tooLarge) return failed('permanent', `An outcome is over ${capabilities.outcomeBytesMax} bytes.`)
      return this.#write(change)
    })
  }

  async read(ids: readonly RecordId[]): Promise<Replies<IdempotencyRecord | undefined>> {
    return this.#answer(ids, (id) => this.#table.get(id))
  }

  async sweep(limit: number): Promise<SweepReply> {
    const now = this.#now()
    let removed = 0
    let entombed = 0
    while (removed + entombed < limit) {
      const record = this.#table.due(now)
      if (record === undefined) break
      if (this.#sweepOne(record, now)) removed += 1
      else entombed += 1
    }
    return { removed, entombed, more: this.#table.due(now) !== undefined }
  }

  async list({ limit, after, phase, operation, principalTag }: ListQuery): Promise<ListPage> {
    const now = this.#now()
    if (!Number.isInteger(limit) || limit < 1 || limit > listLimitMax) {
      throw new InvalidOptionError('limit', `must be a whole number from 1 to ${listLimitMax}`, limit)
    }
    const before = after === undefined ? Number.POSITIVE_INFINITY : readCursor(after)
    const found = this.#table.newestFirst(
      limit + 1,
      before,
      (record) =>
        (phase === undefined || record.phase === phase) &&
        (operation === undefined || record.operation === operation) &&
        (principalTag === undefined || record.principalTag === principalTag),
    )
    const page = found.slice(0, limit)
    const next = found.length > limit ? page.at(-1)?.serial.toString() : undefined
    return { now, records: page.map(({ record }) => record), next }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#table.clear()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #claim(claim: Claim, now: number): ClaimReply {
    const { reply, write } = claimRecord(this.#table.get(claim.id), claim, now)
    if (write === undefined) return reply
    if (!this.#makeRoom(now)) {
      return failed(
        'transient',
        `The memory store is full: ${this.#recordsMax} records, none may be dropped.`,
      )
    }
    this.#table.insert(write)
    return reply
  }

  #write<Reply>({ reply, write }: Change<Reply>): Reply {
    if (write !== undefined) this.#table.replace(write)
    return reply
  }

  /** Handles a record whose time has come; whether it was removed. */
  #sweepOne(record: IdempotencyRecord, now: number): boolean {
    const swept = sweepRecord(record, now)
    if (typeof swept === 'string') this.#table.remove(record.id)
    else this.#table.replace(swept)
    return typeof swept === 'string'
  }

  #makeRoom(now: number): boolean {
    if (this.#table.size < this.#recordsMax) return true
    for (let due = this.#table.due(now); due !== undefined; due = this.#table.due(now)) {
      if (this.#sweepOne(due, now)) return true
    }
    const oldest = this.#evicts ? this.#table.oldestSettled() : undefined
    if (oldest === undefined) return false
    this.#table.remove(oldest.id)
    return true
  }

  #now(): number {
    if (this.#closed) throw new ClosedError('store')
    return this.#clock.now()
  }

  #answer<Item, Reply>(items: readonly Item[], one: (item: Item, now: number) => Reply): Replies<Reply> {
    const now = this.#now()
    return { now, replies: items.map((item) => one(item, now)) }
  }
}

function failed(failure: 'transient' | 'permanent', message: string): FailedItem {
  return { kind: 'failed', error: new StoreError(failure, message) }
}

function readCursor(after: string): number {
  if (!/^\d{1,15}$/.test(after))
    throw new InvalidOptionError('after', 'must be `next` of another page', after)
  return Number(after)
}
