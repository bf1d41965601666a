/**
 * Records in a SQLite file, durable before they are answered (`synchronous = FULL`), shared by the processes of
 * one host. The record can commit together with the user's own writes in the same file.
 *
 * Two things to know about the file:
 * - It belongs on a local disk. SQLite's write-ahead log does not work across hosts.
 * - One process must not open it through two different copies of SQLite (`node:sqlite` and better-sqlite3, say):
 *   POSIX locks belong to the process, so two copies do not keep each other out. Use one driver, see `open`.
 */
import { type Duration, toMilliseconds } from '../core/duration.ts'
import { ClosedError, InvalidOptionError, isIdempotencyError } from '../core/errors.ts'
import type { IdempotencyRecord, RecordId } from '../core/record.ts'
import { refuseUnknownOptions } from '../core/options.ts'
import { isSqlTransaction, type SqlTransaction } from '../core/sql.ts'
import type { Clock } from '../core/runtime.ts'
import type {
  Claim,
  ClaimReply,
  FailedItem,
  ListPage,
  ListQuery,
  RecordVerbs,
  Renewal,
  RenewalReply,
  Replies,
  Settlement,
  SettlementReply,
  Statement,
  StoreCapabilities,
  SweepReply,
  Takeover,
  TakeoverReply,
  TransactionalStore,
  TransactionEnd,
  TransactionVerdict,
} from '../core/store.ts'
import { whileBusy } from './sqlite/busy.ts'
import { bringUpToDate, closeQuietly, type Connection, openConnection } from './sqlite/connection.ts'
import {
  checkFileOption,
  hasTransaction,
  openFile,
  type SqliteDatabase,
  type SqliteTx,
  type SqliteValue,
} from './sqlite/driver.ts'
import { asStoreError } from './sqlite/errors.ts'
import { migrationSql, readVersion, schemaVersion } from './sqlite/migrations.ts'
import { FileGuard } from './sqlite/file-guard.ts'
import { GroupCommit, type VerbShape } from './sqlite/group-commit.ts'
import { asRecord, joinedVerbs } from './sqlite/joined-verbs.ts'
import { listPage } from './sqlite/list.ts'
import { Transactions } from './sqlite/transactions.ts'
import { answerEach, ConnectionVerbs, outcomeBytesMax } from './sqlite/verbs.ts'
import { WriteTurns } from './sqlite/write-turns.ts'

export type { SqliteDatabase, SqliteStatement, SqliteTx, SqliteValue } from './sqlite/driver.ts'

export type SqliteStoreOptions = (
  | {
      /** Path of the file, opened with `node:sqlite` and created when it is not there; its folder must be. */
      readonly file: string
      readonly open?: never
    }
  | {
      /**
       * Opens one more connection to the file with another driver, such as
       * `() => new Database('shop.db')` of better-sqlite3. The store closes what it opened.
       */
      readonly open: () => SqliteDatabase
      readonly file?: never
    }
) & {
  /** Name of the table: a letter or `_`, then letters, digits or `_`, at most 48. Default `retrysafe_records`. */
  readonly table?: string
  /**
   * How long a verb or a transaction waits for other writers before it fails as `transient`. Default 4 s, so
   * that the failure is known before the engine gives up the call as lost.
   */
  readonly busyMsMax?: Duration
  /** Where times come from. Default: this host's clock. */
  readonly clock?: Pick<Clock, 'now'>
}

export interface SqliteStore extends TransactionalStore<SqliteTx> {
  /**
   * Opens the file and brings its schema up to date now instead of at the first verb, so that a wrong path or
   * an unknown schema shows at the start.
   *
   * @throws StoreError
   * @throws SchemaMismatchError
   */
  ready(): Promise<void>
}

const busyMsMaxDefault = 4_000
const tableDefault = 'retrysafe_records'

/**
 * A store in a SQLite file.
 *
 * @throws InvalidOptionError
 * @example
 * const store = sqliteStore({ file: '.retrysafe/records.db' })
 * @example
 * const store = sqliteStore({ open: () => new Database('shop.db') }) // better-sqlite3
 */
export function sqliteStore(options: SqliteStoreOptions): SqliteStore {
  refuseUnknownOptions('sqliteStore', options, ['file', 'open', 'table', 'busyMsMax', 'clock'])
  const { busyMsMax = busyMsMaxDefault, clock = Date } = options
  const { opener, table } = checkedOptions(options)
  return new SqliteFileStore(opener, table, toMilliseconds('busyMsMax', busyMsMax, { min: '1ms' }), clock)
}

/** The steps of the schema, for a start-up script and for migration tools of your own. */
export interface SqliteMigrations {
  /** The newest version that this release knows. */
  readonly latest: number
  /** The version that the file has, 0 for none, and the newest that this release knows. */
  status(): Promise<{ readonly version: number; readonly latest: number }>
  /** The statements that are missing; empty when the table is up to date. */
  pending(): Promise<string>
  /** Runs them, in one transaction. */
  apply(): Promise<void>
}

/**
 * The schema of the records' table. Each call opens the file and closes it again.
 *
 * @throws InvalidOptionError
 * @example
 * await sqliteMigrations({ file: 'shop.db' }).apply()
 */
export function sqliteMigrations(
  options: Pick<SqliteStoreOptions, 'file' | 'open' | 'table'>,
): SqliteMigrations {
  const { opener, table } = checkedOptions(options)
  const onFile = async <Value>(work: (db: SqliteDatabase) => Value): Promise<Value> => {
    const db = opener()
    try {
      // Whoever commits, migrates or recovers the file just now may lock out readers too.
      return await whileBusy(busyMsMaxDefault, () => work(db))
    } catch (error) {
      throw isIdempotencyError(error) ? error : asStoreError(error, 'statement')
    } finally {
      db.close()
    }
  }
  const pendingOf = (db: SqliteDatabase): string => {
    const version = readVersion(db, table)
    return version === schemaVersion ? '' : migrationSql(table, version)
  }
  return {
    latest: schemaVersion,
    status: async () => ({ version: await onFile((db) => readVersion(db, table)), latest: schemaVersion }),
    pending: () => onFile(pendingOf),
    apply: () => onFile((db) => bringUpToDate(db, table)),
  }
}

/** The whole schema as SQL, for migration tools of your own. @throws InvalidOptionError */
export function sqliteSchemaSql({ table = tableDefault }: Pick<SqliteStoreOptions, 'table'> = {}): string {
  return migrationSql(checkedTable(table), 0)
}

function checkedTable(table: unknown): string {
  if (typeof table !== 'string' || !/^[A-Za-z_][A-Za-z0-9_]{0,47}$/.test(table) || /^sqlite_/i.test(table)) {
    throw new InvalidOptionError('table', 'must be a name of letters, digits and _, at most 48', table)
  }
  return table
}

function checkedOptions({
  file,
  open,
  table = tableDefault,
}: Pick<SqliteStoreOptions, 'file' | 'open' | 'table'>): {
  readonly opener: () => SqliteDatabase
  readonly table: string
} {
  if ((file === undefined) === (open === undefined)) {
    throw new InvalidOptionError('file', 'or open must be given, and not both')
  }
  const name = checkedTable(table)
  if (open !== undefined && typeof open !== 'function') {
    throw new InvalidOptionError('open', 'must be a function that opens a connection', open)
  }
  if (file !== undefined) checkFileOption(file)
  return { opener: open ?? ((): SqliteDatabase => openFile(file as string)), table: name }
}

const capabilities: StoreCapabilities = {
  // The processes that share the file share its host, and with it the clock.
  clock: 'process',
  joinsTransaction: true,
  batchMax: 1_000,
  // The store puts what is asked in one turn into one commit by itself.
  flightsMax: Number.POSITIVE_INFINITY,
  outcomeBytesMax,
  expiryGranularityMs: 1,
}

const claimShape: VerbShape<Claim, ClaimReply> = {
  one: (verbs, claim, now) => verbs.claim(claim, now),
  peek: (verbs, claim) => verbs.peekClaim(claim),
}
const supersedeShape: VerbShape<Takeover, TakeoverReply> = {
  one: (verbs, takeover, now) => verbs.supersede(takeover, now),
}
const renewShape: VerbShape<Renewal, RenewalReply> = {
  one: (verbs, renewal, now) => verbs.renew(renewal, now),
}
const settleShape: VerbShape<Settlement, SettlementReply> = {
  one: (verbs, settlement, now) => verbs.settle(settlement, now),
}
const sweepShape: VerbShape<number, SweepReply> = {
  one: (verbs, limit, now) => verbs.sweep(limit, now),
  peek: (verbs, _limit, now) => verbs.peekSweep(now),
  writesOften: true,
}

class SqliteFileStore implements SqliteStore {
  readonly name = 'sqlite'
  readonly capabilities = capabilities
  readonly #opener: () => SqliteDatabase
  readonly #table: string
  readonly #busyMsMax: number
  readonly #clock: Pick<Clock, 'now'>
  readonly #turns = new WriteTurns()
  readonly #groups: GroupCommit
  readonly #transactions: Transactions
  readonly #joined = new WeakMap<SqliteTx, ConnectionVerbs>()
  #connection: Connection | undefined
  /** Of the file that was opened first; outlives its connection. */
  #guard: FileGuard | undefined
  #opening: Promise<Connection> | undefined
  #closing: Promise<void> | undefined

  constructor(opener: () => SqliteDatabase, table: string, busyMsMax: number, clock: Pick<Clock, 'now'>) {
    this.#opener = opener
    this.#table = table
    this.#busyMsMax = busyMsMax
    this.#clock = clock
    const shared = { turns: this.#turns, busyMsMax, now: (): number => this.#now() }
    this.#groups = new GroupCommit({
      ...shared,
      opened: () => this.#connection,
      open: () => this.#open(),
      discard: (connection) => this.#discard(connection),
    })
    this.#transactions = new Transactions({ ...shared, open: () => this.#openAnother() })
  }

  async ready(): Promise<void> {
    this.#checkOpen()
    await this.#open()
  }

  claim(claims: readonly Claim[]): Promise<Replies<ClaimReply>> {
    return this.#write(claims, claimShape)
  }

  supersede(takeovers: readonly Takeover[]): Promise<Replies<TakeoverReply>> {
    return this.#write(takeovers, supersedeShape)
  }

  renew(renewals: readonly Renewal[]): Promise<Replies<RenewalReply>> {
    return this.#write(renewals, renewShape)
  }

  settle(settlements: readonly Settlement[]): Promise<Replies<SettlementReply>> {
    return this.#write(settlements, settleShape)
  }

  async read(ids: readonly RecordId[]): Promise<Replies<IdempotencyRecord | undefined>> {
    return await this.#readOnly((verbs, now) => ({
      now,
      replies: answerEach(ids, (id) => verbs.read(id)).map(asRecord),
    }))
  }

  async sweep(limit: number): Promise<SweepReply> {
    const { replies } = await this.#write([limit], sweepShape)
    return asRecord(replies[0] as SweepReply)
  }

  async list(query: ListQuery): Promise<ListPage> {
    return await this.#readOnly((verbs, now) => listPage(verbs.statements, query, now))
  }

  async transaction<Value>(
    work: (tx: SqliteTx, records: RecordVerbs) => Promise<TransactionVerdict<Value>>,
  ): Promise<TransactionEnd<Value>> {
    this.#checkOpen()
    return await this.#transactions.run(work)
  }

  async execute(tx: SqliteTx, { text, values }: Statement): Promise<unknown> {
    return tx
      .prepare(text)
      .all(...(values as readonly SqliteValue[]))
      .map(plainRow)
  }

  join(tx: SqliteTx | SqlTransaction): RecordVerbs {
    if (isSqlTransaction(tx)) {
      throw new InvalidOptionError('tx', 'must be the connection itself on SQLite, with a transaction open')
    }
    return joinedVerbs(
      tx,
      () => this.#verbsOf(tx),
      () => this.#now(),
      () => {
        this.#checkOpen()
        if (hasTransaction(tx) !== false) return
        throw new InvalidOptionError('tx', 'must be a connection on which a transaction is open')
      },
    )
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Not an async function: each promise between a verb and its commit counts where verbs come one by one. */
  #write<Item, Reply>(
    items: readonly Item[],
    shape: VerbShape<Item, Reply>,
  ): Promise<Replies<Reply | FailedItem>> {
    try {
      this.#checkOpen()
    } catch (error) {
      return Promise.reject(error)
    }
    return this.#groups.add(items, shape)
  }

  async #close(): Promise<void> {
    await this.#groups.idle()
    // Waits for an open transaction, and keeps the turn: nobody writes any more.
    await this.#turns.take(Number.POSITIVE_INFINITY)
    await this.#opening?.catch(() => undefined)
    this.#transactions.close()
    if (this.#connection !== undefined) this.#discard(this.#connection)
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new ClosedError('store')
    this.#guard?.check()
  }

  #now(): number {
    return Math.trunc(this.#clock.now())
  }

  async #readOnly<Value>(read: (verbs: ConnectionVerbs, now: number) => Value): Promise<Value> {
    this.#checkOpen()
    const { verbs } = this.#connection ?? (await this.#open())
    try {
      return await whileBusy(this.#busyMsMax, () => read(verbs, this.#now()))
    } catch (error) {
      throw asStoreError(error, 'statement')
    }
  }

  /** The connection for verbs. One that failed to open is tried again by the next verb. */
  #open(): Promise<Connection> {
    if (this.#connection !== undefined) return Promise.resolve(this.#connection)
    this.#opening ??= openConnection(this.#opener, this.#table, this.#busyMsMax)
      .then((connection) => {
        this.#connection = connection
        this.#guard ??= new FileGuard(connection.path)
        return connection
      })
      .finally(() => {
        this.#opening = undefined
      })
    return this.#opening
  }

  /** A connection for transactions, beside the one for verbs. */
  async #openAnother(): Promise<Connection> {
    const main = await this.#open()
    const another = await openConnection(this.#opener, this.#table, this.#busyMsMax)
    if (another.db !== main.db) return another
    throw new InvalidOptionError('open', 'must open a new connection at every call')
  }

  #discard(connection: Connection): void {
    if (this.#connection === connection) this.#connection = undefined
    closeQuietly(connection.db)
  }

  async #verbsOf(tx: SqliteTx): Promise<ConnectionVerbs> {
    const known = this.#joined.get(tx)
    if (known !== undefined) return known
    // Also refuses a file whose schema this release does not know.
    await this.#open()
    const verbs = new ConnectionVerbs(tx, this.#table)
    this.#joined.set(tx, verbs)
    return verbs
  }
}

/** A row without the prototype that a driver gives it, so that it can be stored as plain data. */
function plainRow(row: unknown): unknown {
  return { ...(row as object) }
}
