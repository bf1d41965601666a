/**
 * What the store uses of each client library, and how it uses it. Values are written into the statement here and
 * not by the client library, because `mariadb` escapes octets by backslashes also where the server's sql_mode has
 * NO_BACKSLASH_ESCAPES, so that an outcome with a quotation mark in it could go on as SQL. It is safe because a
 * value is only octets, written as hexadecimal, or a whole number: no text is ever written, so neither a
 * character set, nor a mode, nor a loose comparison (`id = 0`) can change a meaning.
 *
 * Statements are not prepared: that takes a round trip more, and the server keeps one for each connection and each
 * length of a batch.
 */
import { StoreError } from '../../core/errors.ts'
import type { SqlTransaction } from '../../core/sql.ts'
import { NotSentError, StatementTimeoutError } from './errors.ts'

/** Octets or a whole number. */
export type Value = Buffer | number

/** One row by the names of its columns. */
export type Row = Readonly<Record<string, unknown>>

/** What a statement answered. */
export interface Answer {
  readonly rows: readonly Row[]
  /** Rows inserted, deleted, or matched or changed by an UPDATE, as the connection counts. */
  readonly affected: number
  /** What LAST_INSERT_ID(..) was given in the statement; 0 where the client library does not say. */
  readonly insertId: number
  /** Whether a transaction is open after the statement; `undefined` where the client library does not say. */
  readonly isInTransaction: boolean | undefined
}

export type Run = (text: string, values: readonly Value[]) => Promise<Answer>

/** A connection that is taken out of the pool. */
export interface MysqlSession<Tx> {
  /** What handlers get: the client library's own handle. */
  readonly tx: Tx
  /** After a time-out the connection is destroyed. */
  readonly run: Run
  /** Gives the connection back; after any doubt it is destroyed instead. */
  release(destroy: boolean): void
}

export interface MysqlClient<Tx> {
  /** For people: the name of the client library. */
  readonly library: string
  /** Statements that may be under way at once. */
  readonly flightsMax: number
  /** Takes a connection. */
  open(): Promise<MysqlSession<Tx>>
}

/** How long a statement may go without an answer before its connection is destroyed. */
export const statementMsMax = 5_000

/** How long a verb or a transaction waits for a free connection of the pool. */
export const acquireMsMax = 3_000

/** More flights of batches than this only take connections away from the user's own statements. */
const flightsMaxDefault = 4

/** Both client libraries: a statement with what would change the shape of its answer switched off. */
interface Query {
  readonly sql: string
  readonly rowsAsArray: boolean
  readonly nestTables: boolean
  readonly namedPlaceholders: boolean
}

/** What the store uses of a connection of mysql2 (`mysql2/promise`). */
export interface Mysql2Connection {
  // biome-ignore lint: the overloads of query have no common structural form
  query(options: Query): Promise<any>
  // biome-ignore lint: as above
  on(event: 'error', listener: (error: any) => void): unknown
  // biome-ignore lint: as above
  off(event: 'error', listener: (error: any) => void): unknown
}

export interface Mysql2PoolConnection extends Mysql2Connection {
  release(): void
  destroy(): void
}

/** What the store uses of a pool of mysql2 (`mysql2/promise`). */
export interface Mysql2Pool<Connection extends Mysql2PoolConnection = Mysql2PoolConnection> {
  getConnection(): Promise<Connection>
  readonly pool?: unknown
}

/** What the store uses of a connection of `mariadb`. */
export interface MariadbConnection {
  query<Result = never>(options: Query): Promise<Result>
  isValid(): boolean
  readonly info: { readonly status?: number } | null
}

export interface MariadbPoolConnection extends MariadbConnection {
  release(): Promise<void>
  destroy(): void
  // biome-ignore lint: the overloads of on have no common structural form
  on(event: 'error', listener: (error: any) => void): unknown
  // biome-ignore lint: as above
  off(event: 'error', listener: (error: any) => void): unknown
}

/** What the store uses of a pool of `mariadb`. */
export interface MariadbPool<Connection extends MariadbPoolConnection = MariadbPoolConnection> {
  getConnection(): Promise<Connection>
  totalConnections(): number
}

const ignore = (): void => {}

/** The client for mysql2. */
export function mysql2Client<Connection extends Mysql2PoolConnection>(
  pool: Mysql2Pool<Connection>,
): MysqlClient<Connection> {
  const { config } = (pool.pool ?? {}) as { readonly config?: { readonly connectionLimit?: unknown } }
  const limit = typeof config?.connectionLimit === 'number' ? config.connectionLimit : 0
  return {
    library: 'mysql2',
    flightsMax: limit > 0 ? Math.min(flightsMaxDefault, limit) : flightsMaxDefault,
    open: () => openSession(pool, mysql2Run),
  }
}

/** The client for `mariadb`. */
export function mariadbClient<Connection extends MariadbPoolConnection>(
  pool: MariadbPool<Connection>,
): MysqlClient<Connection> {
  return {
    library: 'mariadb',
    flightsMax: flightsMaxDefault,
    open: () => openSession(pool, mariadbRun),
  }
}

interface Pooled {
  // A connection of mariadb is released by a promise, which may reject for one that is closed already.
  release(): void | Promise<void>
  destroy(): void
  // biome-ignore lint: as above
  on(event: 'error', listener: (error: any) => void): unknown
  // biome-ignore lint: as above
  off(event: 'error', listener: (error: any) => void): unknown
}

async function openSession<Connection extends Pooled>(
  pool: { getConnection(): Promise<Connection> },
  runOf: (connection: Connection) => Run,
): Promise<MysqlSession<Connection>> {
  const connection = await takeConnection(pool)
  // A connection that dies between two statements is an event; without a listener it would end the process.
  connection.on('error', ignore)
  const run = runOf(connection)
  let isOver = false
  const end = (destroy: boolean): void => {
    if (isOver) return
    isOver = true
    if (destroy) return connection.destroy()
    connection.off('error', ignore)
    Promise.resolve(connection.release()).catch(ignore)
  }
  return {
    tx: connection,
    release: end,
    run(text, values) {
      if (isOver) return Promise.reject(new NotSentError())
      return withinTime(run(text, values), () => end(true))
    },
  }
}

/** @throws NotSentError when no connection is free in time */
async function takeConnection<Connection extends Pooled>(pool: {
  getConnection(): Promise<Connection>
}): Promise<Connection> {
  const taking = pool.getConnection()
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), acquireMsMax)
  })
  try {
    const connection = await Promise.race([taking, late])
    if (connection !== undefined) return connection
    taking.then((it) => it.release()).catch(ignore)
    throw new NotSentError()
  } catch (cause) {
    throw cause instanceof NotSentError ? cause : new NotSentError(cause)
  } finally {
    clearTimeout(timer)
  }
}

async function withinTime(answer: Promise<Answer>, giveUp: () => void): Promise<Answer> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      // mysql2 leaves the answer of a destroyed connection open for ever, so the race must have an end of its own.
      giveUp()
      reject(new StatementTimeoutError(statementMsMax))
    }, statementMsMax)
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
    answer.catch(ignore)
  }
}

/** Flag of the server's status: a transaction is open. */
const inTransaction = 1

function query(text: string, values: readonly Value[]): Query {
  return { sql: written(text, values), rowsAsArray: false, nestTables: false, namedPlaceholders: false }
}

/** Runs statements on a connection of mysql2. */
export function mysql2Run(connection: Pick<Mysql2Connection, 'query'>): Run {
  return async (text, values) => {
    // The user's pool may have a `typeCast`; one of ours that changes nothing keeps it away from our columns.
    const [result] = await connection.query({ ...query(text, values), typeCast: true } as Query)
    if (Array.isArray(result)) return answer(result)
    const { affectedRows, insertId, serverStatus } = result as Header
    return answer([], affectedRows, insertId, serverStatus)
  }
}

/** Runs statements on a connection of `mariadb`. */
export function mariadbRun(connection: Pick<MariadbConnection, 'query' | 'info'>): Run {
  return async (text, values) => {
    const result: unknown = await connection.query({
      ...query(text, values),
      metaAsArray: false,
      typeCast: undefined,
    } as Query)
    const status = connection.info?.status
    if (Array.isArray(result)) return answer(result, 0, 0, status)
    const { affectedRows, insertId } = result as Header
    return answer([], affectedRows, insertId, status)
  }
}

/** Runs statements on a transaction that another library has open. */
export function sqlTransactionRun(tx: SqlTransaction): Run {
  return async (text, values) => {
    const { rows, affected } = await tx.query(written(text, values), [])
    return answer(rows, affected)
  }
}

interface Header {
  readonly affectedRows: unknown
  readonly insertId: unknown
  readonly serverStatus?: number
}

function answer(
  rows: readonly unknown[],
  affectedRows: unknown = 0,
  insertId: unknown = 0,
  status?: number,
): Answer {
  return {
    rows: rows as readonly Row[],
    affected: Number(affectedRows),
    insertId: Number(insertId),
    isInTransaction: status === undefined ? undefined : (status & inTransaction) === inTransaction,
  }
}

/** The statement with its values in the places of the question marks. */
function written(text: string, values: readonly Value[]): string {
  const [first = '', ...rest] = text.split('?')
  if (rest.length !== values.length) throw new StoreError('permanent', 'A statement lacks a value.')
  return first + rest.map((part, at) => literal(values[at]) + part).join('')
}

/** @throws StoreError `permanent` for anything that is not octets or a whole number */
function literal(value: Value | undefined): string {
  if (Buffer.isBuffer(value)) return `X'${value.toString('hex')}'`
  if (Number.isSafeInteger(value)) return String(value)
  throw new StoreError('permanent', 'A value of a record is neither octets nor a whole number.')
}
