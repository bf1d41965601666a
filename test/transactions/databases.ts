/** Databases of the tests' own, with the tables that they use. */
import mysql from 'mysql2/promise'
import pg from 'pg'
import { hasMariadb, hasPostgres, mariadbDatabase, postgresDatabase } from '../servers.ts'
import type { Dialect, Outside } from './subject.ts'

/** Whether there is a server. */
export const hasServer: Readonly<Record<Dialect, boolean>> = { postgres: hasPostgres, mysql: hasMariadb }

const tables: Readonly<Record<Dialect, readonly string[]>> = {
  postgres: [
    'CREATE TABLE orders (id serial PRIMARY KEY, customer text NOT NULL)',
    `CREATE FUNCTION conflict() RETURNS int LANGUAGE plpgsql
      AS $$ BEGIN RAISE EXCEPTION 'conflict' USING ERRCODE = '40001'; END $$`,
    `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
      AS $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '23514'; END $$`,
    `CREATE CONSTRAINT TRIGGER refused_at_commit AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW WHEN (new.customer = 'refused at commit') EXECUTE FUNCTION refuse()`,
    'CREATE TABLE sql_values (id int PRIMARY KEY, words text, bytes bytea, big bigint, fraction double precision)',
  ],
  mysql: [
    `CREATE FUNCTION conflict() RETURNS int DETERMINISTIC
      BEGIN SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'conflict'; RETURN 1; END`,
    'CREATE TABLE orders (id int AUTO_INCREMENT PRIMARY KEY, customer varchar(200) NOT NULL) ENGINE = InnoDB CHARSET = utf8mb4',
    'CREATE TABLE sql_values (id int PRIMARY KEY, words varchar(200), bytes varbinary(200), big bigint, fraction double) ENGINE = InnoDB CHARSET = utf8mb4',
  ],
}

/** A fresh database with the tables of the contract, and a connection to it beside the ORM's. */
export interface Database {
  readonly url: string
  readonly outside: Outside
  close(): Promise<void>
}

export async function openDatabase(dialect: Dialect): Promise<Database> {
  const database = await (dialect === 'postgres' ? openPostgres() : openMariadb())
  for (const text of tables[dialect]) await database.outside(text)
  return database
}

async function openPostgres(): Promise<Database> {
  const url = await postgresDatabase()
  const client = new pg.Client(url)
  await client.connect()
  return { url, outside: async (text) => (await client.query(text)).rows, close: () => client.end() }
}

async function openMariadb(): Promise<Database> {
  const url = await mariadbDatabase()
  const connection = await mysql.createConnection(url)
  const outside: Outside = async (text) => (await connection.query(text))[0] as Record<string, unknown>[]
  return { url, outside, close: () => connection.end() }
}
