/**
 * What the store uses of each client library, and how it uses it. A transaction pooler may stand in between:
 * settings are local to a transaction, and names of statements are used only for as long as they are known.
 */
import { InvalidOptionError } from '../../core/errors.ts'
import { inTime } from './in-time.ts'
import { namedWherePossible } from './names.ts'

/** One row, its values in the order of the statement's columns. */
export type Row = readonly unknown[]

/** What a script answered for one of its statements. */
export interface ScriptResult {
  /** Rows inserted, updated, deleted or returned. */
  readonly affected: number
  /** The command tag's first word, such as `COMMIT`. `undefined` where the client library hides it. */
  readonly command: string | undefined
}

/** A connection that is taken for a transaction. */
export interface PostgresSession<Tx> {
  /** What handlers get: the client library's own handle. */
  readonly tx: Tx
  /** Stands for the connection, for as long as that is open; `undefined` where the client library hides it. */
  readonly connection: object | undefined
  /** Runs one statement with bound values. */
  query(text: string, values: readonly unknown[]): Promise<readonly Row[]>
  /** Runs several statements without values in one round trip; the first that fails ends them. */
  script(text: string): Promise<readonly ScriptResult[]>
  /** Gives the connection back; after any doubt it is destroyed instead. */
  release(destroy: boolean): void
}

export interface PostgresClient<Tx> {
  /** For people: the name of the client library. */
  readonly library: string
  /** Statements that may be under way at once. */
  readonly flightsMax: number
  /** Runs one statement that commits by itself. */
  query(text: string, values: readonly unknown[]): Promise<readonly Row[]>
  /** Takes a connection. Its transaction is begun by a script. */
  open(): Promise<PostgresSession<Tx>>
  /** Runs one statement on a handle that the user has a transaction on. */
  queryOn(tx: Tx, text: string, values: readonly unknown[]): Promise<readonly Row[]>
}

/** How long a statement may go without an answer before its connection is destroyed. */
export const statementMsMax = 5_000

/** What the store uses of a `PoolClient` or `Client` of `pg`. */
export interface PgClient {
  // biome-ignore lint: the overloads of pg's query have no common structural form
  query(config: PgQuery | string): Promise<any>
}

export interface PgPoolClient extends PgClient {
  release(error?: Error | boolean): void
  on(event: 'error', listener: (error: Error) => void): unknown
  off(event: 'error', listener: (error: Error) => void): unknown
}

/** What the store uses of a `Pool` of `pg`. */
export interface PgPool<Client extends PgPoolClient = PgPoolClient> extends PgClient {
  connect(): Promise<Client>
  /** There so that TypeScript finds the type of `Client` in the first of pg's two forms. */
  connect(callback: (error: any, client: any, done: any) => void): void
  on(event: 'error', listener: (error: Error) => void): unknown
  readonly options?: { readonly max?: number | undefined }
}

interface PgQuery {
  readonly name?: string
  readonly text: string
  readonly values?: unknown[]
  readonly rowMode?: 'array'
  readonly query_timeout?: number
}

interface PgResult {
  readonly rows: readonly Row[]
  readonly rowCount: number | null
  readonly command?: string
}

const ignore = (): void => {}
const noAnswer = (): Error => new Error(`Postgres did not answer in ${statementMsMax} ms.`)
/** Several stores may share a pool. */
const listened = new WeakSet<object>()

/** The client for `pg`. */
export function pgClient<Client extends PgPoolClient>(pool: PgPool<Client>): PostgresClient<Client> {
  // A connection that dies while idle is an event; without a listener it would end the process.
  if (!listened.has(pool)) pool.on('error', ignore)
  listened.add(pool)
  const run = async (
    on: PgClient,
    text: string,
    values: readonly unknown[],
    name?: string,
  ): Promise<readonly Row[]> => {
    const config: PgQuery = {
      ...(name !== undefined && { name }),
      text,
      values: values as unknown[],
      rowMode: 'array',
      query_timeout: statementMsMax,
    }
    return ((await on.query(config)) as PgResult).rows
  }
  return {
    library: 'pg',
    flightsMax: Math.min(flightsMaxDefault, pool.options?.max ?? 10),
    query: namedWherePossible((text, values, name) => run(pool, text, values, name)),
    queryOn: (tx, text, values) => run(tx, text, values),
    async open(): Promise<PostgresSession<Client>> {
      const client = await pool.connect()
      client.on('error', ignore)
      return {
        tx: client,
        connection: client,
        query: (text, values) => run(client, text, values),
        async script(text): Promise<readonly ScriptResult[]> {
          // As a text, for which pg makes no copies of options; so its bound is our own.
          const asked = client.query(text) as Promise<PgResult | readonly PgResult[]>
          const results = await inTime(asked, statementMsMax, noAnswer)
          return (Array.isArray(results) ? results : [results]).map(({ rowCount, command }) => ({
            affected: rowCount ?? 0,
            command,
          }))
        },
        release(destroy): void {
          client.off('error', ignore)
          client.release(destroy)
        },
      }
    },
  }
}

/** What the store uses of `sql` and of its transactions in `postgres` (postgres.js). */
export interface PostgresJsQueryable {
  // biome-ignore lint: postgres.js types its parameters by the options of the instance
  unsafe(text: string, values?: any[], options?: PostgresJsQueryOptions): PostgresJsPending
}

interface PostgresJsQueryOptions {
  readonly prepare?: boolean
  /** Not documented: how `begin` of postgres.js itself learns on which connection it is. */
  readonly onexecute?: (connection: { onclose?: unknown }) => boolean
}

interface PostgresJsPending {
  values(): Promise<unknown>
  cancel?(): unknown
  /** Where it was sent to. */
  readonly state?: unknown
}

export interface PostgresJsReserved extends PostgresJsQueryable {
  release(): void
}

/** What the store uses of `sql` of `postgres` (postgres.js). */
export interface PostgresJsSql<Reserved extends PostgresJsReserved = PostgresJsReserved>
  extends PostgresJsQueryable {
  reserve(): Promise<Reserved>
  readonly options?: { readonly max?: number; readonly prepare?: boolean; readonly fetch_types?: boolean }
}

/** The client for postgres.js. */
export function postgresJsClient<Reserved extends PostgresJsReserved>(
  sql: PostgresJsSql<Reserved>,
): PostgresClient<Reserved> {
  const answer = (pending: PostgresJsPending): Promise<unknown> =>
    inTime(pending.values(), statementMsMax, () => {
      // One that still waits for a connection must not be run once nobody asks for it any more.
      if (!pending.state) pending.cancel?.()
      return noAnswer()
    })
  const run = async (
    on: PostgresJsQueryable,
    text: string,
    values: readonly unknown[],
    options?: { readonly prepare: boolean },
  ): Promise<readonly Row[]> =>
    (await answer(on.unsafe(text, values as unknown[], options))) as readonly Row[]
  // Whoever turned preparation off has a pooler in between that does not stand it.
  const mayPrepare = sql.options?.prepare !== false
  return {
    library: 'postgres.js',
    flightsMax: Math.min(flightsMaxDefault, sql.options?.max ?? 10),
    query: namedWherePossible((text, values, name) =>
      run(sql, text, values, { prepare: mayPrepare && name !== undefined }),
    ),
    queryOn: (tx, text, values) => run(tx, text, values),
    async open(): Promise<PostgresSession<Reserved>> {
      // Without, its `reserve` never resolves on a new connection, and leaves that connection to nobody.
      if (sql.options?.fetch_types === false) {
        throw new InvalidOptionError(
          'sql',
          'must leave fetch_types on, for transactions and to make the table',
        )
      }
      const reserved = await sql.reserve()
      let isLost = false
      let isGivenUp = false
      const onexecute = (connection: { onclose?: unknown }): boolean => {
        connection.onclose = () => {
          isLost = true
        }
        return true
      }
      const tx = untilLost(reserved, () => isLost || isGivenUp)
      return {
        tx,
        connection: undefined,
        query: (text, values) => run(tx, text, values),
        async script(text): Promise<readonly ScriptResult[]> {
          return scriptResults(await answer(tx.unsafe(text, [], { onexecute })))
        },
        // postgres.js takes a broken connection back itself and gives no way to destroy a sound one: its handle is
        // cut off, and it goes back outside of any transaction.
        release(destroy): void {
          isGivenUp = destroy
          const giveBack = (): void => {
            if (!isLost) reserved.release()
          }
          if (destroy && !isLost) {
            answer(reserved.unsafe('ROLLBACK', [], { onexecute })).then(giveBack, giveBack)
          } else {
            giveBack()
          }
        },
      }
    },
  }
}

/**
 * The handle of a connection for as long as that is open. postgres.js itself would go on with the handle on
 * whatever connection comes next: outside of the transaction, or inside somebody else's.
 */
function untilLost<Reserved extends PostgresJsReserved>(reserved: Reserved, isLost: () => boolean): Reserved {
  const refuse = (): Promise<never> => {
    const refused = Promise.reject(
      new Error('This transaction is over: its connection was lost or given up.'),
    )
    refused.catch(ignore)
    return refused
  }
  return new Proxy(reserved, {
    apply: (handle, self, values) =>
      isLost() ? refuse() : Reflect.apply(handle as unknown as () => unknown, self, values),
    get(handle, name) {
      const sends = name === 'unsafe' || name === 'file'
      return sends && isLost() ? refuse : Reflect.get(handle, name)
    },
  })
}

type PostgresJsRows = readonly Row[] & { readonly command?: string; readonly count?: number | null }

/**
 * One result is an array of rows, several are an array of those; each carries its command. Statements that return
 * no rows are folded into the result before them: it has the first count and the last command.
 */
function scriptResults(answer: unknown): readonly ScriptResult[] {
  const results = answer as readonly { readonly command?: string }[] & { readonly command?: string }
  const list = typeof results.command === 'string' ? [results] : results
  const found = (list as readonly PostgresJsRows[]).map((rows) => ({
    affected: rows.count ?? 0,
    command: rows.command,
  }))
  // The count is of the statement before COMMIT, which has none.
  return found.at(-1)?.command === 'COMMIT' ? [...found, { affected: 0, command: 'COMMIT' }] : found
}

/** What the store uses of a transaction of PGlite. */
export interface PgliteTransaction {
  query(text: string, values?: unknown[], options?: PgliteOptions): Promise<{ readonly rows: unknown[] }>
  exec(
    text: string,
    options?: PgliteOptions,
  ): Promise<readonly { readonly rows: unknown[]; readonly affectedRows?: number }[]>
}

/** What the store uses of PGlite. */
export interface PgliteDatabase<Tx extends PgliteTransaction = PgliteTransaction> extends PgliteTransaction {
  transaction<Value>(work: (tx: Tx) => Promise<Value>): Promise<Value | undefined>
}

interface PgliteOptions {
  readonly rowMode?: 'array' | 'object'
}

/** The client for PGlite, which has one connection: a transaction keeps everybody else out. */
export function pgliteClient<Tx extends PgliteTransaction>(db: PgliteDatabase<Tx>): PostgresClient<Tx> {
  const run = async (
    on: PgliteTransaction,
    text: string,
    values: readonly unknown[],
  ): Promise<readonly Row[]> =>
    (await on.query(text, values as unknown[], { rowMode: 'array' })).rows as readonly Row[]
  return {
    library: 'pglite',
    flightsMax: 1,
    query: (text, values) => run(db, text, values),
    queryOn: run,
    async open(): Promise<PostgresSession<Tx>> {
      const taken = Promise.withResolvers<Tx>()
      const over = Promise.withResolvers<void>()
      // Its own BEGIN and COMMIT around ours are warnings without effect.
      db.transaction(async (tx) => {
        taken.resolve(tx)
        await over.promise
      }).catch(taken.reject)
      const tx = await taken.promise
      return {
        tx,
        connection: undefined,
        query: (text, values) => run(tx, text, values),
        async script(text): Promise<readonly ScriptResult[]> {
          const results = await tx.exec(text, { rowMode: 'array' })
          return results.map(({ rows, affectedRows = 0 }) => ({
            // As the others count them: rows that were returned, where there are some.
            affected: Math.max(affectedRows, rows.length),
            command: undefined,
          }))
        },
        release(destroy): void {
          if (destroy) over.reject(new Error('This transaction was given up.'))
          else over.resolve()
        },
      }
    },
  }
}

/** More flights of batches than this only take connections away from the user's own statements. */
const flightsMaxDefault = 4
