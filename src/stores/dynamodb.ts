/**
 * Records in a table of DynamoDB, by `new DynamoDB(..)` of `@aws-sdk/client-dynamodb`. They can commit together with
 * the user's own items, in one `TransactWriteItems`. The server's clock decides, as its answers show it.
 */
import { ClosedError, InvalidOptionError, StoreError } from '../core/errors.ts'
import { refuseUnknownOptions } from '../core/options.ts'
import type { IdempotencyRecord, RecordId } from '../core/record.ts'
import type {
  Claim,
  ClaimReply,
  ListPage,
  ListQuery,
  RecordVerbs,
  Renewal,
  RenewalReply,
  Replies,
  Settlement,
  SettlementReply,
  StoreCapabilities,
  SweepReply,
  Takeover,
  TakeoverReply,
  TransactionalStore,
  TransactionEnd,
  TransactionVerdict,
} from '../core/store.ts'
import { checkClient, type DynamodbClient } from './dynamodb/client.ts'
import { type DynamodbOwnTransaction, type DynamodbTransaction, newCollector } from './dynamodb/collector.ts'
import { type HostClock, type TimeSource, timeSource } from './dynamodb/date-header.ts'
import { outcomeBytesMax } from './dynamodb/items.ts'
import type { ServerTime } from './dynamodb/server-clock.ts'
import { checkTable, makeTable, missingSteps, readVersion, tableVersion } from './dynamodb/table.ts'
import { joinedVerbs, runTransaction, type TransactionHost } from './dynamodb/transactions.ts'
import { claim, read, readItems, renew, settle, supersede, type Table } from './dynamodb/verbs.ts'
import { listPage, type Sweep, sweepOf } from './dynamodb/walk.ts'

export type {
  AttributeValue,
  DynamodbClient,
  TransactWriteItem,
  TransactWriteRequest,
} from './dynamodb/client.ts'
export type { DynamodbOwnTransaction, DynamodbTransaction } from './dynamodb/collector.ts'
export type { HostClock } from './dynamodb/date-header.ts'

export interface DynamodbTableOptions {
  /** `new DynamoDB(..)` of `@aws-sdk/client-dynamodb`; it stays the user's. */
  readonly client: DynamodbClient
  /** Name of the table. Default `retrysafe_records`. */
  readonly table?: string
}

export interface DynamodbStoreOptions extends DynamodbTableOptions {
  /**
   * `check`: the table must be there, made by `dynamodbMigrations` or by what makes your other tables. `auto`: it is
   * made at first use. Default `'check'`: a table is billed.
   */
  readonly migrate?: 'auto' | 'check'
  /** The clocks of this host, for tests. Default: the real ones. */
  readonly clock?: HostClock
}

export interface DynamodbStore extends TransactionalStore<DynamodbTransaction> {
  /**
   * Checks or makes the table now, so that a wrong region, a missing right or another table shows at the start, with
   * what mends it.
   *
   * @throws StoreError
   * @throws SchemaMismatchError
   */
  ready(): Promise<void>
}

const tableDefault = 'retrysafe_records'
const tableName = /^[\w.-]{3,255}$/
const hostClock: HostClock = { monotonic: () => performance.now(), now: () => Date.now() }

/**
 * A store in DynamoDB.
 *
 * @throws InvalidOptionError
 * @example
 * const store = dynamodbStore({ client: new DynamoDB({ region: 'eu-central-1' }) })
 * await store.ready()
 */
export function dynamodbStore(options: DynamodbStoreOptions): DynamodbStore {
  refuseUnknownOptions('dynamodbStore', options, ['client', 'table', 'migrate', 'clock'])
  const { migrate = 'check', clock = hostClock } = options
  if (migrate !== 'auto' && migrate !== 'check') {
    throw new InvalidOptionError('migrate', "must be 'auto' or 'check'", migrate)
  }
  return new DynamodbRecords(tableOf(options), migrate === 'auto', clock)
}

/**
 * A transaction that you send yourself, for `idem.within`: the record's entry is added to yours. Send it only when
 * the call was not a replay, and when it is refused, start again with a new one and the same key.
 *
 * @example
 * const tx = dynamodbTransaction()
 * const { value, replayed } = await idem.within(tx, call, () => {
 *   tx.write({ Put: { TableName: 'orders', Item: { id: { S: id } } } })
 *   return { id }
 * })
 * if (!replayed) await client.transactWriteItems(tx.request())
 */
export function dynamodbTransaction(): DynamodbOwnTransaction {
  return newCollector().tx
}

/** The steps of the table, for a start-up script. */
export interface DynamodbMigrations {
  /** 0 without a table, 1 for one without time to live; and the newest that this release knows. */
  status(): Promise<{ readonly version: number; readonly latest: number }>
  /** What is missing, in words, a line for each step; empty when the table is up to date. */
  pending(): Promise<string>
  /** Makes it: a table that is billed per request, and its time to live. */
  apply(): Promise<void>
}

/**
 * The table of the records.
 *
 * @throws InvalidOptionError
 * @example
 * await dynamodbMigrations({ client }).apply()
 */
export function dynamodbMigrations(options: DynamodbTableOptions): DynamodbMigrations {
  refuseUnknownOptions('dynamodbMigrations', options, ['client', 'table'])
  const table = tableOf(options)
  return {
    status: async () => ({ version: await readVersion(table), latest: tableVersion }),
    pending: async () => missingSteps(table, await readVersion(table)),
    apply: () => makeTable(table),
  }
}

function tableOf({ client, table = tableDefault }: DynamodbTableOptions): Table {
  checkClient(client)
  if (typeof table !== 'string' || !tableName.test(table)) {
    throw new InvalidOptionError('table', 'must be 3 to 255 letters, digits, `_`, `-` and `.`', table)
  }
  return { client, name: table }
}

/** No record has this id: it is read for the time in the answer. */
const noId = 'A'.repeat(22) as RecordId

class DynamodbRecords implements DynamodbStore {
  readonly name = 'dynamodb'
  readonly capabilities: StoreCapabilities = {
    clock: 'store',
    joinsTransaction: true,
    batchMax: 100,
    flightsMax: 25,
    outcomeBytesMax,
    // The server's time is known to a second and what an answer takes.
    expiryGranularityMs: 2_000,
    expiresByItself: true,
  }
  readonly #table: Table
  readonly #makesTable: boolean
  readonly #source: TimeSource
  readonly #sweep: Sweep
  readonly #claimed = new Set<RecordId>()
  readonly #underWay = new Set<Promise<unknown>>()
  #isReady = false
  #readying: Promise<void> | undefined
  #asking: Promise<unknown> | undefined
  #isClosed = false

  constructor(table: Table, makesTable: boolean, clock: HostClock) {
    this.#table = table
    this.#makesTable = makesTable
    this.#source = timeSource(table.client.middlewareStack, clock)
    this.#sweep = sweepOf(table)
  }

  async ready(): Promise<void> {
    this.#checkOpen()
    await this.#prepared()
  }

  async claim(claims: readonly Claim[]): Promise<Replies<ClaimReply>> {
    return await this.#verb((time) => claim(this.#table, time, claims))
  }

  async supersede(takeovers: readonly Takeover[]): Promise<Replies<TakeoverReply>> {
    return await this.#verb((time) => supersede(this.#table, time, takeovers))
  }

  async renew(renewals: readonly Renewal[]): Promise<Replies<RenewalReply>> {
    return await this.#verb((time) => renew(this.#table, time, renewals))
  }

  async settle(settlements: readonly Settlement[]): Promise<Replies<SettlementReply>> {
    return await this.#verb((time) => settle(this.#table, time, settlements))
  }

  async read(ids: readonly RecordId[]): Promise<Replies<IdempotencyRecord | undefined>> {
    return await this.#verb((time) => read(this.#table, time, ids))
  }

  async sweep(limit: number): Promise<SweepReply> {
    return await this.#verb((time) => this.#sweep.next(limit, time))
  }

  async list(query: ListQuery): Promise<ListPage> {
    return await this.#verb((time) => listPage(this.#table, query, time))
  }

  async transaction<Value>(
    work: (tx: DynamodbTransaction, records: RecordVerbs) => Promise<TransactionVerdict<Value>>,
  ): Promise<TransactionEnd<Value>> {
    this.#checkOpen()
    await this.#prepared()
    return await runTransaction(this.#host(), work)
  }

  join(tx: unknown): RecordVerbs {
    this.#checkOpen()
    return joinedVerbs(this.#host(), tx)
  }

  /** The client is the user's: it stays open. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.allSettled(this.#underWay)
    this.#source.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #host(): TransactionHost {
    return { table: this.#table, claimed: this.#claimed, time: () => this.#timeNow() }
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new ClosedError('store')
  }

  async #verb<Value>(send: (time: ServerTime) => Promise<Value>): Promise<Value> {
    this.#checkOpen()
    const sent = this.#timeNow().then(send)
    this.#underWay.add(sent)
    try {
      return await sent
    } finally {
      this.#underWay.delete(sent)
    }
  }

  /** The server's time. It is asked for where no answer has shown it since this host may have slept. */
  async #timeNow(): Promise<ServerTime> {
    await this.#prepared()
    const known = this.#source.at()
    if (known !== undefined) return known
    this.#asking ??= readItems(this.#table, [noId]).finally(() => {
      this.#asking = undefined
    })
    await this.#asking
    const shown = this.#source.at()
    if (shown === undefined) throw new StoreError('permanent', 'The answers of the server have no `Date`.')
    return shown
  }

  /** A failure is tried again by the next verb. */
  async #prepared(): Promise<void> {
    if (this.#isReady) return
    this.#readying ??= this.#prepare().finally(() => {
      this.#readying = undefined
    })
    await this.#readying
  }

  async #prepare(): Promise<void> {
    if (this.#makesTable) await makeTable(this.#table)
    await checkTable(this.#table)
    this.#isReady = true
  }
}
