/**
 * Records in MySQL (8.0 and newer) or MariaDB (10.6 and newer), where they can commit together with the user's own
 * writes. By the pools of `mysql2` and `mariadb`. The server's own clock decides.
 */
import { ClosedError, InvalidOptionError } from '../core/errors.ts'
import type { IdempotencyRecord, RecordId } from '../core/record.ts'
import { isSqlTransaction, type TransactionOpener } from '../core/sql.ts'
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
  Statement,
  StoreCapabilities,
  SweepReply,
  Takeover,
  TakeoverReply,
  TransactionalStore,
  TransactionEnd,
  TransactionVerdict,
} from '../core/store.ts'
import type {
  MariadbPool,
  MariadbPoolConnection,
  Mysql2Pool,
  Mysql2PoolConnection,
  MysqlClient,
  Run,
} from './mysql/client.ts'
import { asksForRetry, asStoreError, errorNumber, errorNumbers } from './mysql/errors.ts'
import { type Preparing, runStatement } from './mysql/execute.ts'
import { transactionVerbs } from './mysql/joined-verbs.ts'
import { listPage } from './mysql/list.ts'
import {
  checkTable,
  migrate,
  migrationSql,
  onSession,
  readVersion,
  schemaVersion,
} from './mysql/migrations.ts'
import { clientOf, joinedRun, type MysqlPool } from './mysql/pools.ts'
import { readServer, type Server } from './mysql/server.ts'
import {
  type Dialect,
  listStatements,
  mariadbDialect,
  mysqlDialect,
  type Statements,
  statementsFor,
  sweepStatements,
} from './mysql/statements.ts'
import { sweepBatch } from './mysql/sweep.ts'
import { type Isolation, runOpened, runTransaction } from './mysql/transactions.ts'
import {
  claim,
  nowOf,
  outcomeBytesMax,
  read,
  renew,
  settle,
  supersede,
  type VerbRunner,
} from './mysql/verbs.ts'
import { refuseUnknownOptions } from '../core/options.ts'
import { readTableName, type TableName } from '../core/table-name.ts'

export type {
  MariadbConnection,
  MariadbPool,
  MariadbPoolConnection,
  Mysql2Connection,
  Mysql2Pool,
  Mysql2PoolConnection,
} from './mysql/client.ts'
export type { MysqlPool } from './mysql/pools.ts'

export interface MysqlTableOptions {
  /**
   * Name of the table, `table` or `schema.table`: letters, digits and `_`. Default `retrysafe_records`, in the
   * database of the pool.
   */
  readonly table?: string
}

export interface MysqlCommonOptions extends MysqlTableOptions {
  /**
   * `auto`: the table is made and brought up to date at first use. `check`: it must be there, made by
   * `mysqlMigrations`. Default `'auto'`.
   */
  readonly migrate?: 'auto' | 'check'
  /** Of the transactions that the store opens. Default `'read committed'`. */
  readonly isolation?: Isolation
}

/** `Tx`: what handlers get, the client library's handle of a connection or the ORM's transaction. */
export interface MysqlStore<Tx> extends TransactionalStore<Tx> {
  /**
   * Makes or checks the table now, so that a wrong address, a missing right or an unknown version shows at the
   * start, with what mends it.
   *
   * @throws StoreError
   * @throws SchemaMismatchError
   * @throws InvalidOptionError when the pool or its server is set so that records would not be safe
   */
  ready(): Promise<void>
}

const tableDefault = 'retrysafe_records'
const optionNames = ['pool', 'mariadb', 'table', 'migrate', 'isolation', 'transactions']
const isolations: readonly string[] = ['read committed', 'repeatable read', 'serializable']

/**
 * A store in MySQL or MariaDB.
 *
 * @throws InvalidOptionError
 * @example
 * const store = mysqlStore({ pool: mysql.createPool(url) }) // mysql2/promise
 * @example
 * const store = mysqlStore({ mariadb: mariadb.createPool(url), table: 'billing.retrysafe_records' })
 * @example
 * const store = mysqlStore({ pool, transactions: kyselyTransactions(db, 'mysql') }) // `tx` is Kysely's
 */
export function mysqlStore<Tx>(
  options: MysqlPool<Mysql2PoolConnection, MariadbPoolConnection> &
    MysqlCommonOptions & { readonly transactions: TransactionOpener<Tx> },
): MysqlStore<Tx>
export function mysqlStore<Client extends Mysql2PoolConnection>(
  options: { readonly pool: Mysql2Pool<Client> } & MysqlCommonOptions,
): MysqlStore<Client>
export function mysqlStore<Mariadb extends MariadbPoolConnection>(
  options: { readonly mariadb: MariadbPool<Mariadb> } & MysqlCommonOptions,
): MysqlStore<Mariadb>
export function mysqlStore(
  options: MysqlPool<Mysql2PoolConnection, MariadbPoolConnection> &
    MysqlCommonOptions & { readonly transactions?: TransactionOpener<unknown> },
): MysqlStore<unknown> {
  refuseUnknownOptions('mysqlStore', options, optionNames)
  const { table = tableDefault, migrate: mode = 'auto', isolation = 'read committed' } = options
  if (mode !== 'auto' && mode !== 'check') {
    throw new InvalidOptionError('migrate', "must be 'auto' or 'check'", mode)
  }
  if (!isolations.includes(isolation)) {
    throw new InvalidOptionError('isolation', `must be one of ${isolations.join(', ')}`, isolation)
  }
  return new MysqlRecords({
    client: clientOf(options),
    option: 'pool' in options ? 'pool' : 'mariadb',
    name: readTableName('table', table),
    migrates: mode === 'auto',
    isolation,
    opener: options.transactions,
  })
}

/** The steps of the schema, for a start-up script and for migration tools of your own. */
export interface MysqlMigrations {
  /** The version that the database has, 0 for none, and the newest that this release knows. */
  status(): Promise<{ readonly version: number; readonly latest: number }>
  /** The statements that are missing, each with its semicolon; empty when the table is up to date. */
  pending(): Promise<string>
  /** Runs them, under a lock. */
  apply(): Promise<void>
}

/**
 * The schema of the records' table.
 *
 * @throws InvalidOptionError
 * @example
 * await mysqlMigrations({ pool }).apply()
 */
export function mysqlMigrations(
  options: MysqlPool<Mysql2PoolConnection, MariadbPoolConnection> & MysqlTableOptions,
): MysqlMigrations {
  const client = clientOf(options)
  const name = readTableName('table', options.table ?? tableDefault)
  const version = (): Promise<number> => onSession(client, ({ run }) => readVersion(run, name))
  return {
    status: async () => ({ version: await version(), latest: schemaVersion }),
    pending: async () => migrationSql(name, await version()),
    apply: () => migrate(client, name),
  }
}

/** The whole schema as SQL, for migration tools of your own. @throws InvalidOptionError */
export function mysqlSchemaSql({ table = tableDefault }: MysqlTableOptions = {}): string {
  return migrationSql(readTableName('table', table), 0)
}

interface Parts {
  readonly client: MysqlClient<unknown>
  /** Name of the option that gave the pool. */
  readonly option: string
  readonly name: TableName
  readonly migrates: boolean
  readonly isolation: Isolation
  readonly opener: TransactionOpener<unknown> | undefined
}

/** What is known once the server was asked. */
interface Ready {
  readonly server: Server
  readonly dialect: Dialect
  readonly verbs: VerbRunner
}

/** A deadlock between statements that commit by themselves has undone one of them: it is sent again at once. */
const deadlockTriesMax = 3

class MysqlRecords implements MysqlStore<unknown> {
  readonly name = 'mysql'
  readonly capabilities: StoreCapabilities
  readonly #client: MysqlClient<unknown>
  readonly #parts: Parts
  readonly #afterwards = new Set<Promise<void>>()
  #known: Ready | undefined
  #readying: Promise<Ready> | undefined
  #isClosed = false

  constructor(parts: Parts) {
    this.#parts = parts
    this.#client = parts.client
    this.capabilities = {
      clock: 'store',
      joinsTransaction: true,
      batchMax: 500,
      flightsMax: parts.client.flightsMax,
      outcomeBytesMax,
      expiryGranularityMs: 1,
    }
  }

  async ready(): Promise<void> {
    await this.#ready()
  }

  async claim(claims: readonly Claim[]): Promise<Replies<ClaimReply>> {
    return await claim((await this.#ready()).verbs, claims)
  }

  async supersede(takeovers: readonly Takeover[]): Promise<Replies<TakeoverReply>> {
    return await supersede((await this.#ready()).verbs, takeovers)
  }

  async renew(renewals: readonly Renewal[]): Promise<Replies<RenewalReply>> {
    return await renew((await this.#ready()).verbs, renewals)
  }

  async settle(settlements: readonly Settlement[]): Promise<Replies<SettlementReply>> {
    return await settle((await this.#ready()).verbs, settlements)
  }

  async read(ids: readonly RecordId[]): Promise<Replies<IdempotencyRecord | undefined>> {
    return await read((await this.#ready()).verbs, ids)
  }

  async sweep(limit: number): Promise<SweepReply> {
    const { server, verbs } = await this.#ready()
    const statements = sweepStatements(this.#parts.name)
    // Most sweeps find nothing, and need no transaction for that.
    const { rows } = await verbs.run(statements.peek, [])
    if (rows.length === 0) return { removed: 0, entombed: 0, more: false }
    return await sweepBatch(this.#client, server, statements, limit)
  }

  async list(query: ListQuery): Promise<ListPage> {
    const { verbs } = await this.#ready()
    const now = (): Promise<number> => nowOf(verbs.statements, verbs.run)
    return await listPage(verbs.run, listStatements(this.#parts.name), now, query)
  }

  async transaction<Value>(
    work: (tx: unknown, records: RecordVerbs) => Promise<TransactionVerdict<Value>>,
  ): Promise<TransactionEnd<Value>> {
    const { server, dialect } = await this.#ready()
    const { name, opener, isolation } = this.#parts
    if (opener !== undefined) {
      return await runOpened(opener, statementsFor(name, dialect, 'joined'), server, work)
    }
    const host = {
      client: this.#client,
      statements: statementsFor(name, dialect, 'own'),
      server,
      isolation,
      afterwards: (rest: Promise<void>): void => {
        this.#afterwards.add(rest)
        void rest.finally(() => this.#afterwards.delete(rest))
      },
    }
    return await runTransaction(host, work)
  }

  join(tx: unknown): RecordVerbs {
    this.#checkOpen()
    const run = joinedRun(tx, this.#parts.opener)
    const prepared = async (): Promise<RecordVerbs> => {
      const { server, dialect } = await this.#ready()
      const statements = statementsFor(this.#parts.name, dialect, 'joined')
      const held = { claims: 0, last: undefined }
      return transactionVerbs({ statements, run, server, held, isOwn: false })
    }
    return {
      claim: async (claims) => await (await prepared()).claim(claims),
      supersede: async (takeovers) => await (await prepared()).supersede(takeovers),
      settle: async (settlements) => await (await prepared()).settle(settlements),
      read: async (ids) => await (await prepared()).read(ids),
    }
  }

  asksForRetry(error: unknown): boolean {
    return asksForRetry(error)
  }

  async execute(tx: unknown, statement: Statement): Promise<unknown> {
    const joined = isSqlTransaction(tx) ? tx : this.#parts.opener?.join(tx)
    return await runStatement(joined ?? (tx as Preparing), statement)
  }

  /** The pool is the user's: it stays open. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all(this.#afterwards)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new ClosedError('store')
  }

  /** Runs one statement that commits by itself. */
  async #run(text: string, values: Parameters<Run>[1]): ReturnType<Run> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#runOnce(text, values)
      } catch (error) {
        const isDeadlock = errorNumber(error) === errorNumbers.deadlock
        if (!isDeadlock || tries === deadlockTriesMax) throw asStoreError(error, 'commit')
      }
    }
  }

  async #runOnce(text: string, values: Parameters<Run>[1]): ReturnType<Run> {
    const session = await this.#client.open()
    let isSound = false
    try {
      const answer = await session.run(text, values)
      isSound = true
      return answer
    } catch (error) {
      // An error of the server's leaves the connection as it was.
      isSound = errorNumber(error) !== undefined
      throw error
    } finally {
      session.release(!isSound)
    }
  }

  /** A failure is tried again by the next verb. */
  async #ready(): Promise<Ready> {
    this.#checkOpen()
    if (this.#known !== undefined) return this.#known
    this.#readying ??= this.#prepare().finally(() => {
      this.#readying = undefined
    })
    return await this.#readying
  }

  async #prepare(): Promise<Ready> {
    const { name, migrates, option } = this.#parts
    const server = await onSession(this.#client, ({ run }) => readServer(run, option))
    if (migrates) await migrate(this.#client, name)
    await onSession(this.#client, ({ run }) => checkTable(run, name))
    const dialect = server.isMariadb ? mariadbDialect : mysqlDialect
    const statements: Statements = statementsFor(name, dialect, 'pool')
    this.#known = { server, dialect, verbs: { statements, run: (text, values) => this.#run(text, values) } }
    return this.#known
  }
}
