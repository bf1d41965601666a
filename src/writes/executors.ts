/**
 * Connections, pools and transactions of plain client libraries as `SqlExecutor`. Those of ORMs come from
 * `retrysafe/transactions/*`. No client library is imported: each is described by what is used of it.
 */
import type { SqlExecutor, SqlResult } from '../core/sql.ts'

/** What is used of a `Pool`, `PoolClient` or `Client` of `pg`. */
export interface PgQueryable {
  // The overloads of pg's query have no common structural form.
  query(text: string, values: unknown[]): Promise<any>
}

/** @example const { row, inserted } = await insertOnce(pgExecutor(pool), { table, key, values }) */
export function pgExecutor(db: PgQueryable): SqlExecutor {
  return {
    dialect: 'postgres',
    async query(text, values): Promise<SqlResult> {
      const { rows, rowCount } = await db.query(text, [...values])
      return { rows, affected: rowCount ?? 0 }
    },
  }
}

/** What is used of `sql` of `postgres` (postgres.js), also of the one inside a transaction. */
export interface PostgresJsQueryable {
  // postgres.js types its parameters by the options of the instance.
  unsafe(text: string, values?: any[]): PromiseLike<any>
}

/** @example const { row } = await insertOnce(postgresJsExecutor(sql), { table, key, values }) */
export function postgresJsExecutor(sql: PostgresJsQueryable): SqlExecutor {
  return {
    dialect: 'postgres',
    async query(text, values): Promise<SqlResult> {
      const rows = await sql.unsafe(text, [...values])
      return { rows: [...rows], affected: rows.count ?? 0 }
    },
  }
}

/** What is used of PGlite and of its transactions. */
export interface PgliteQueryable {
  query(text: string, values?: any[]): Promise<{ readonly rows: unknown[]; readonly affectedRows?: number }>
}

/** @example const { row } = await insertOnce(pgliteExecutor(db), { table, key, values }) */
export function pgliteExecutor(db: PgliteQueryable): SqlExecutor {
  return {
    dialect: 'postgres',
    async query(text, values): Promise<SqlResult> {
      const { rows, affectedRows } = await db.query(text, [...values])
      return { rows: rows as SqlResult['rows'], affected: affectedRows ?? 0 }
    },
  }
}

/** What is used of a pool or connection of `mysql2/promise`. */
export interface Mysql2Queryable {
  execute(text: string, values?: any): Promise<[any, any]>
}

/**
 * Values are bound by the server (`execute`), not written into the text.
 *
 * @example const { row } = await insertOnce(mysql2Executor(pool), { table, key, values })
 */
export function mysql2Executor(db: Mysql2Queryable): SqlExecutor {
  return remembered(db, {
    dialect: 'mysql',
    async query(text, values): Promise<SqlResult> {
      const [answer] = await db.execute(text, [...values])
      return rowsOrHeader(answer)
    },
  })
}

/** What is used of a pool or connection of `mariadb`. */
export interface MariadbQueryable {
  execute(text: string, values?: any): Promise<any>
}

/** @example const { row } = await insertOnce(mariadbExecutor(pool), { table, key, values }) */
export function mariadbExecutor(db: MariadbQueryable): SqlExecutor {
  return remembered(db, {
    dialect: 'mysql',
    query: async (text, values) => rowsOrHeader(await db.execute(text, [...values])),
  })
}

/** One executor for each pool: what was found out about its tables is asked for once. */
const executors = new WeakMap<object, SqlExecutor>()

function remembered(db: object, made: SqlExecutor): SqlExecutor {
  const known = executors.get(db) ?? made
  executors.set(db, known)
  return known
}

function rowsOrHeader(answer: unknown): SqlResult {
  if (Array.isArray(answer)) return { rows: [...answer], affected: answer.length }
  const { affectedRows = 0 } = answer as { readonly affectedRows?: number }
  return { rows: [], affected: affectedRows }
}

/** What is used of `DatabaseSync` of `node:sqlite` and of better-sqlite3's `Database`. */
export interface SqliteQueryable {
  prepare(text: string): {
    /** better-sqlite3 says so whether a statement returns rows, and then takes nothing but `all`. */
    readonly reader?: boolean
    all(...values: any[]): unknown[]
    run(...values: any[]): { readonly changes: number | bigint }
  }
}

/** @example const { row } = await insertOnce(sqliteExecutor(db), { table, key, values }) */
export function sqliteExecutor(db: SqliteQueryable): SqlExecutor {
  return {
    dialect: 'sqlite',
    async query(text, values): Promise<SqlResult> {
      const statement = db.prepare(text)
      const bound = values.map(asSqlite)
      if (statement.reader === false) return { rows: [], affected: Number(statement.run(...bound).changes) }
      const rows = statement.all(...bound) as SqlResult['rows']
      return { rows, affected: rows.length }
    },
  }
}

/** SQLite has no booleans, and better-sqlite3 takes octets as a Buffer only. */
function asSqlite(value: unknown): unknown {
  if (typeof value === 'boolean') return value ? 1 : 0
  if (!(value instanceof Uint8Array) || Buffer.isBuffer(value)) return value
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
}
