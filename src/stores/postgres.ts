/**
 * Records in PostgreSQL (13 and newer, and what speaks its protocol), where they can commit together with the
 * user's own writes. Works through a transaction pooler. The database's own clock decides.
 */
import { type Duration, toMilliseconds } from '../core/duration.ts'
import { ClosedError, InvalidOptionError, StoreError } from '../core/errors.ts'
import { jsonOutcomePrefix } from '../core/outcome.ts'
import type { IdempotencyRecord, RecordId } from '../core/record.ts'
import { refuseUnknownOptions } from '../core/options.ts'
import { isSqlTransaction, type SqlTransaction, type TransactionOpener } from '../core/sql.ts'
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
  StatementEnd,
  StatementOnce,
  StoreCapabilities,
  SweepReply,
  Takeover,
  TakeoverReply,
  TransactionalStore,
  TransactionEnd,
  TransactionVerdict,
} from '../core/store.ts'
import {
  pgClient,
  type PgPool,
  type PgPoolClient,
  type PgliteDatabase,
  type PgliteTransaction,
  pgliteClient,
  type PostgresClient,
  type PostgresJsReserved,
  type PostgresJsSql,
  postgresJsClient,
} from './postgres/client.ts'
import { asksForRetry, asStoreError, isRefusal } from './postgres/errors.ts'
import { listPage } from './postgres/list.ts'
import { checkTable, migrate, migrationSql, readVersion, schemaVersion } from './postgres/migrations.ts'
import { ScriptNames } from './postgres/names.ts'
import { OnceTexts, onceValues, rowsText } from './postgres/once.ts'
import { type Statements, statementsFor } from './postgres/statements.ts'
import {
  connected,
  runOn,
  runOpened,
  runTransaction,
  scriptStatements,
  transactionVerbs,
} from './postgres/transactions.ts'
import {
  claim,
  outcomeBytesMax,
  read,
  renew,
  type Run,
  settle,
  supersede,
  type VerbRunner,
} from './postgres/verbs.ts'
import { readTableName, type TableName } from '../core/table-name.ts'

export type {
  PgClient,
  PgPool,
  PgPoolClient,
  PgliteDatabase,
  PgliteTransaction,
  PostgresJsQueryable,
  PostgresJsReserved,
  PostgresJsSql,
} from './postgres/client.ts'

/** One of the client libraries. */
export type PostgresConnection<
  Client extends PgPoolClient,
  Reserved extends PostgresJsReserved,
  Pglite extends PgliteTransaction,
> =
  | {
      /** A `Pool` of `pg`. */
      readonly pool: PgPool<Client>
    }
  | {
      /** `sql` of `postgres` (postgres.js). */
      readonly sql: PostgresJsSql<Reserved>
    }
  | {
      /** A database of `@electric-sql/pglite`. */
      readonly pglite: PgliteDatabase<Pglite>
    }

export interface PostgresTableOptions {
  /** Name of the table, `table` or `schema.table`: letters, digits and `_`. Default `retrysafe_records`. */
  readonly table?: string
}

export interface PostgresCommonOptions extends PostgresTableOptions {
  /**
   * `auto`: the table is made and brought up to date at first use. `check`: it must be there, made by
   * `postgresMigrations`. Default `'auto'`.
   */
  readonly migrate?: 'auto' | 'check'
  /** Of the transactions that the store opens. Default `'read committed'`. */
  readonly isolation?: 'read committed' | 'repeatable read' | 'serializable'
  /** Ends a transaction whose handler leaves it idle for longer. Default: as the server is set. */
  readonly idleTimeout?: Duration
}

/** `Tx`: what handlers get, the client library's handle of a connection or the ORM's transaction. */
export interface PostgresStore<Tx> extends TransactionalStore<Tx> {
  /**
   * Makes or checks the table now, so that a wrong address, a missing right or an unknown version shows at the
   * start, with what mends it.
   *
   * @throws StoreError
   * @throws SchemaMismatchError
   */
  ready(): Promise<void>
}

const tableDefault = 'retrysafe_records'
const optionNames = ['pool', 'sql', 'pglite', 'table', 'migrate', 'isolation', 'idleTimeout', 'transactions']
const isolations: readonly string[] = ['read committed', 'repeatable read', 'serializable']

/**
 * A store in PostgreSQL.
 *
 * @throws InvalidOptionError
 * @example
 * const store = postgresStore({ pool: new pg.Pool({ connectionString }) })
 * @example
 * const store = postgresStore({ sql: postgres(url), table: 'billing.retrysafe_records' })
 * @example
 * const store = postgresStore({ pool, transactions: drizzleTransactions(db) }) // `tx` is Drizzle's
 */
export function postgresStore<Tx>(
  options: PostgresConnection<PgPoolClient, PostgresJsReserved, PgliteTransaction> &
    PostgresCommonOptions & { readonly transactions: TransactionOpener<Tx> },
): PostgresStore<Tx>
export function postgresStore<Client extends PgPoolClient>(
  options: { readonly pool: PgPool<Client> } & PostgresCommonOptions,
): PostgresStore<Client>
export function postgresStore<Reserved extends PostgresJsReserved>(
  options: { readonly sql: PostgresJsSql<Reserved> } & PostgresCommonOptions,
): PostgresStore<Reserved>
export function postgresStore<Pglite extends PgliteTransaction>(
  options: { readonly pglite: PgliteDatabase<Pglite> } & PostgresCommonOptions,
): PostgresStore<Pglite>
export function postgresStore(
  options: PostgresConnection<PgPoolClient, PostgresJsReserved, PgliteTransaction> &
    PostgresCommonOptions & { readonly transactions?: TransactionOpener<unknown> },
): PostgresStore<unknown> {
  refuseUnknownOptions('postgresStore', options, optionNames)
  const { table = tableDefault, migrate: mode = 'auto', isolation = 'read committed', idleTimeout } = options
  if (mode !== 'auto' && mode !== 'check') {
    throw new InvalidOptionError('migrate', "must be 'auto' or 'check'", mode)
  }
  if (!isolations.includes(isolation)) {
    throw new InvalidOptionError('isolation', `must be one of ${isolations.join(', ')}`, isolation)
  }
  const idleMs =
    idleTimeout === undefined ? undefined : toMilliseconds('idleTimeout', idleTimeout, { min: '1ms' })
  return new PostgresRecords({
    client: clientOf(options),
    name: readTableName('table', table),
    migrates: mode === 'auto',
    beginText: `BEGIN ISOLATION LEVEL ${isolation.toUpperCase()}${
      idleMs === undefined ? '' : `;SET LOCAL idle_in_transaction_session_timeout = ${Math.ceil(idleMs)}`
    }`,
    opener: options.transactions,
  })
}

/** The steps of the schema, for a start-up script and for migration tools of your own. */
export interface PostgresMigrations {
  /** The version that the database has, 0 for none, and the newest that this release knows. */
  status(): Promise<{ readonly version: number; readonly latest: number }>
  /** The statements that are missing; empty when the table is up to date. */
  pending(): Promise<string>
  /** Runs them, under a lock. */
  apply(): Promise<void>
}

/**
 * The schema of the records' table.
 *
 * @throws InvalidOptionError
 * @example
 * await postgresMigrations({ pool }).apply()
 */
export function postgresMigrations(
  options: PostgresConnection<PgPoolClient, PostgresJsReserved, PgliteTransaction> & PostgresTableOptions,
): PostgresMigrations {
  const client = clientOf(options)
  const name = readTableName('table', options.table ?? tableDefault)
  return {
    async status() {
      return { version: await readVersion(client, name), latest: schemaVersion }
    },
    async pending() {
      const version = await readVersion(client, name)
      return version === schemaVersion ? '' : migrationSql(name, version)
    },
    apply: () => migrate(client, name),
  }
}

/** The whole schema as SQL, for migration tools of your own. @throws InvalidOptionError */
export function postgresSchemaSql({ table = tableDefault }: PostgresTableOptions = {}): string {
  return migrationSql(readTableName('table', table), 0)
}

function clientOf(
  options: PostgresConnection<PgPoolClient, PostgresJsReserved, PgliteTransaction>,
): PostgresClient<unknown> {
  const { pool, sql, pglite } = options as {
    readonly pool?: PgPool | null
    readonly sql?: PostgresJsSql | null
    readonly pglite?: PgliteDatabase | null
  }
  if ([pool, sql, pglite].filter((given) => given !== undefined).length !== 1)
    throw new InvalidOptionError('pool', 'or sql or pglite must be given, and only one of them')
  if (pool !== undefined) {
    if (typeof pool?.connect !== 'function')
      throw new InvalidOptionError('pool', 'must be a Pool of pg', pool)
    return pgClient(pool) as PostgresClient<unknown>
  }
  if (sql !== undefined) {
    if (typeof sql?.reserve !== 'function') {
      throw new InvalidOptionError('sql', 'must be the sql function of postgres (postgres.js)', sql)
    }
    return postgresJsClient(sql) as PostgresClient<unknown>
  }
  if (typeof pglite?.transaction !== 'function') {
    throw new InvalidOptionError('pglite', 'must be a PGlite database', pglite)
  }
  return pgliteClient(pglite) as PostgresClient<unknown>
}

interface Parts {
  readonly client: PostgresClient<unknown>
  readonly name: TableName
  readonly migrates: boolean
  readonly beginText: string
  readonly opener: TransactionOpener<unknown> | undefined
}

class PostgresRecords implements PostgresStore<unknown> {
  readonly name = 'postgres'
  readonly capabilities: StoreCapabilities
  readonly #client: PostgresClient<unknown>
  readonly #parts: Parts
  readonly #statements: Statements
  readonly #names: ScriptNames
  readonly #onceTexts: OnceTexts
  readonly #verbs: VerbRunner
  #readying: Promise<void> | undefined
  #isReady = false
  #isClosed = false

  constructor(parts: Parts) {
    this.#parts = parts
    this.#client = parts.client
    this.#statements = statementsFor(parts.name)
    this.#onceTexts = new OnceTexts(parts.name, jsonOutcomePrefix)
    this.#names = new ScriptNames(scriptStatements(this.#statements))
    this.#verbs = { statements: this.#statements, run: (statement, values) => this.#run(statement, values) }
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
    this.#checkOpen()
    await this.#ready()
  }

  claim(claims: readonly Claim[]): Promise<Replies<ClaimReply>> {
    return claim(this.#verbs, claims)
  }

  supersede(takeovers: readonly Takeover[]): Promise<Replies<TakeoverReply>> {
    return supersede(this.#verbs, takeovers)
  }

  renew(renewals: readonly Renewal[]): Promise<Replies<RenewalReply>> {
    return renew(this.#verbs, renewals)
  }

  settle(settlements: readonly Settlement[]): Promise<Replies<SettlementReply>> {
    return settle(this.#verbs, settlements)
  }

  read(ids: readonly RecordId[]): Promise<Replies<IdempotencyRecord | undefined>> {
    return read(this.#verbs, ids)
  }

  async sweep(limit: number): Promise<SweepReply> {
    const [row] = await this.#run(this.#statements.sweep, [limit])
    const [removed, entombed, moved] = (row ?? []).map(Number) as [number, number, number]
    return { removed, entombed, more: removed + entombed + moved >= limit }
  }

  list(query: ListQuery): Promise<ListPage> {
    return listPage(this.#verbs, query)
  }

  async transaction<Value>(
    work: (tx: unknown, records: RecordVerbs) => Promise<TransactionVerdict<Value>>,
    opening?: Claim,
  ): Promise<TransactionEnd<Value>> {
    this.#checkOpen()
    await this.#ready()
    const { opener, beginText } = this.#parts
    if (opener !== undefined) return await runOpened(opener, this.#statements, work)
    const host = {
      client: this.#client,
      statements: this.#statements,
      beginText,
      names: this.#names,
      isCommitted: async ({ id, token }: Claim): Promise<boolean> =>
        (await this.read([id])).replies[0]?.token === token,
    }
    return await runTransaction(host, work, opening)
  }

  join(tx: unknown): RecordVerbs {
    this.#checkOpen()
    const run = this.#joinedRun(tx)
    const guarded: Run = async (statement, values) => {
      this.#checkOpen()
      // The user holds a connection already: a pool that has no other one must not keep them both waiting.
      if (!this.#isReady) await connected(this.#ready())
      return await run(statement, values)
    }
    return transactionVerbs({ statements: this.#statements, run: guarded })
  }

  asksForRetry(error: unknown): boolean {
    return asksForRetry(error)
  }

  async execute(tx: unknown, statement: Statement): Promise<unknown> {
    const run = this.#joinedRun(tx)
    const [row] = await run({ text: rowsText(statement), columns: ['rows'] }, statement.values)
    return JSON.parse(String(row?.[0]))
  }

  async once(asked: StatementOnce): Promise<StatementEnd> {
    try {
      this.#checkOpen()
      await this.#ready()
    } catch {
      return { kind: 'refused' }
    }
    try {
      const [row] = await this.#client.query(this.#onceTexts.of(asked.statement), onceValues(asked))
      return { kind: 'applied', outcome: row?.[0] as Uint8Array }
    } catch (error) {
      if (isRefusal(error)) return { kind: 'refused' }
      const failure = asStoreError(error, 'commit')
      const mayHaveHappened =
        failure instanceof StoreError && (failure.failure === 'lost' || failure.failure === 'unrecognised')
      return mayHaveHappened ? { kind: 'unknown', error: failure } : { kind: 'refused' }
    }
  }

  /** The pool is the user's: it stays open. */
  async close(): Promise<void> {
    this.#isClosed = true
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new ClosedError('store')
  }

  async #run({ text }: { readonly text: string }, values: readonly unknown[]): ReturnType<Run> {
    this.#checkOpen()
    if (!this.#isReady) await this.#ready()
    try {
      return await this.#client.query(text, values)
    } catch (error) {
      throw asStoreError(error, 'commit')
    }
  }

  /** A failure is tried again by the next verb. */
  #ready(): Promise<void> {
    if (this.#isReady) return Promise.resolve()
    const { client, name, migrates } = this.#parts
    this.#readying ??= (async () => {
      try {
        if (migrates) await migrate(client, name)
        await checkTable(client, name)
        this.#isReady = true
      } finally {
        this.#readying = undefined
      }
    })()
    return this.#readying
  }

  /** How to run statements on a transaction of the user's. @throws InvalidOptionError when it is none */
  #joinedRun(tx: unknown): Run {
    const joined = isSqlTransaction(tx) ? tx : this.#parts.opener?.join(tx)
    if (joined !== undefined) {
      if (joined.dialect !== 'postgres') {
        throw new InvalidOptionError('tx', 'must be a transaction on PostgreSQL', joined.dialect)
      }
      return runOn(joined as SqlTransaction)
    }
    if ((typeof tx !== 'object' && typeof tx !== 'function') || tx === null) {
      throw new InvalidOptionError(
        'tx',
        `must be a handle of ${this.#client.library} with a transaction open`,
        tx,
      )
    }
    return ({ text }, values) => this.#client.queryOn(tx, text, values)
  }
}
