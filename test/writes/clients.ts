/** Every client library that the executors name, on its real database with the tables of these tests. */
import { PGlite } from '@electric-sql/pglite'
import Better from 'better-sqlite3'
import mariadb from 'mariadb'
import { mkdtempSync, rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import mysql from 'mysql2/promise'
import pg from 'pg'
import postgres from 'postgres'
import type { SqlDialect, SqlExecutor } from '../../src/core/sql.ts'
import {
  mariadbExecutor,
  type Mysql2Queryable,
  mysql2Executor,
  pgExecutor,
  pgliteExecutor,
  postgresJsExecutor,
  sqliteExecutor,
} from '../../src/writes/index.ts'
import { hasMariadb, hasPostgres, mariadbDatabase, postgresDatabase } from '../servers.ts'

export interface Client {
  readonly db: SqlExecutor
  /** Another connection, with a transaction that the test ends. Databases with one connection have none. */
  readonly transaction?: () => Promise<{
    db: SqlExecutor
    end(command: 'COMMIT' | 'ROLLBACK'): Promise<void>
  }>
  close(): Promise<void>
}

export interface Library {
  readonly dialect: SqlDialect
  readonly available: boolean
  open(): Promise<Client>
}

const tables: Readonly<Record<SqlDialect, string>> = {
  postgres: `
    CREATE TABLE payments (order_id int PRIMARY KEY, amount numeric(10,2), currency text, paid_at timestamptz,
      receipt bytea, note text, reference text UNIQUE);
    CREATE TABLE carts (id int, tenant text, address text, total numeric(10,2), version int NOT NULL DEFAULT 0,
      PRIMARY KEY (tenant, id));
    CREATE TABLE loose (id int, text text)`,
  mysql: `
    CREATE TABLE payments (order_id int PRIMARY KEY, amount decimal(10,2), currency varchar(10), paid_at datetime(3),
      receipt varbinary(100), note varchar(200), reference varchar(100) UNIQUE) ENGINE = InnoDB CHARSET = utf8mb4;
    CREATE TABLE carts (id int, tenant varchar(50), address varchar(200), total decimal(10,2),
      version int NOT NULL DEFAULT 0, PRIMARY KEY (tenant, id)) ENGINE = InnoDB CHARSET = utf8mb4;
    CREATE TABLE loose (id int, text varchar(10)) ENGINE = InnoDB`,
  sqlite: `
    CREATE TABLE payments (order_id integer PRIMARY KEY, amount real, currency text, paid_at text, receipt blob,
      note text, reference text UNIQUE);
    CREATE TABLE carts (id integer, tenant text, address text, total real, version integer NOT NULL DEFAULT 0,
      PRIMARY KEY (tenant, id));
    CREATE TABLE loose (id integer, text text)`,
}

async function postgresUrl(): Promise<string> {
  const url = await postgresDatabase()
  const client = new pg.Client(url)
  await client.connect()
  await client.query(tables.postgres)
  await client.end()
  return url
}

async function mariadbUrl(): Promise<string> {
  const url = await mariadbDatabase()
  const connection = await mysql.createConnection({ uri: url, multipleStatements: true })
  await connection.query(tables.mysql)
  await connection.end()
  return url
}

/** A pool of mysql2 that notes what it is asked. */
export async function countedPool(): Promise<{
  pool: Mysql2Queryable & { readonly asked: string[] }
  end(): Promise<void>
}> {
  const pool = mysql.createPool({ uri: await mariadbUrl(), connectionLimit: 1 })
  const asked: string[] = []
  const execute = (text: string, values: never): Promise<[unknown, unknown]> => {
    asked.push(text)
    return pool.execute(text, values)
  }
  return { pool: { asked, execute }, end: () => pool.end() }
}

export const libraries: Readonly<Record<string, Library>> = {
  pg: {
    dialect: 'postgres',
    available: hasPostgres,
    async open() {
      const pool = new pg.Pool({ connectionString: await postgresUrl() })
      return {
        db: pgExecutor(pool),
        async transaction() {
          const client = await pool.connect()
          await client.query('BEGIN')
          return {
            db: pgExecutor(client),
            async end(command) {
              await client.query(command)
              client.release()
            },
          }
        },
        close: () => pool.end(),
      }
    },
  },
  'postgres.js': {
    dialect: 'postgres',
    available: hasPostgres,
    async open() {
      const sql = postgres(await postgresUrl(), { onnotice: () => {} })
      return {
        db: postgresJsExecutor(sql),
        async transaction() {
          const reserved = await sql.reserve()
          await reserved.unsafe('BEGIN')
          return {
            db: postgresJsExecutor(reserved),
            async end(command) {
              await reserved.unsafe(command)
              reserved.release()
            },
          }
        },
        close: () => sql.end(),
      }
    },
  },
  PGlite: {
    dialect: 'postgres',
    available: true,
    async open() {
      const db = await PGlite.create()
      await db.exec(tables.postgres)
      return { db: pgliteExecutor(db), close: () => db.close() }
    },
  },
  mysql2: {
    dialect: 'mysql',
    available: hasMariadb,
    async open() {
      const pool = mysql.createPool({ uri: await mariadbUrl(), connectionLimit: 10 })
      return {
        db: mysql2Executor(pool),
        async transaction() {
          const connection = await pool.getConnection()
          await connection.beginTransaction()
          return {
            db: mysql2Executor(connection),
            async end(command) {
              await connection.query(command)
              connection.release()
            },
          }
        },
        close: () => pool.end(),
      }
    },
  },
  mariadb: {
    dialect: 'mysql',
    available: hasMariadb,
    async open() {
      const url = new URL(await mariadbUrl())
      const pool = mariadb.createPool({
        host: url.hostname,
        port: Number(url.port),
        user: url.username,
        database: url.pathname.slice(1),
        connectionLimit: 10,
      })
      return {
        db: mariadbExecutor(pool),
        async transaction() {
          const connection = await pool.getConnection()
          await connection.beginTransaction()
          return {
            db: mariadbExecutor(connection),
            async end(command) {
              await connection.query(command)
              await connection.release()
            },
          }
        },
        close: () => pool.end(),
      }
    },
  },
  'node:sqlite': {
    dialect: 'sqlite',
    available: true,
    async open() {
      const db = new DatabaseSync(':memory:')
      db.exec(tables.sqlite)
      return { db: sqliteExecutor(db), close: async () => db.close() }
    },
  },
  'better-sqlite3': {
    dialect: 'sqlite',
    available: true,
    async open() {
      const folder = mkdtempSync(join(tmpdir(), 'writes-'))
      const db = new Better(join(folder, 'shop.db'))
      db.exec(tables.sqlite)
      return {
        db: sqliteExecutor(db),
        async close() {
          db.close()
          rmSync(folder, { recursive: true })
        },
      }
    },
  },
}
