/** The writes inside the transactions of ORMs: they commit and roll back with everything else in them. */
import knexOf from 'knex'
import { Kysely, MysqlDialect, PostgresDialect } from 'kysely'
import mysql from 'mysql2'
import pg from 'pg'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { SqlExecutor } from '../../src/core/sql.ts'
import { fromKnex } from '../../src/transactions/knex.ts'
import { fromKysely } from '../../src/transactions/kysely.ts'
import { insertOnce, updateVersion } from '../../src/writes/index.ts'
import { hasMariadb, hasPostgres, mariadbDatabase, postgresDatabase } from '../servers.ts'

type Transaction = (work: (db: SqlExecutor) => Promise<unknown>) => Promise<unknown>

const orms: Record<string, { available: boolean; open: () => Promise<Transaction> }> = {
  'knex on postgres': { available: hasPostgres, open: async () => onKnex('pg', await postgresDatabase()) },
  'knex on mariadb': { available: hasMariadb, open: async () => onKnex('mysql2', await mariadbDatabase()) },
  'kysely on postgres': {
    available: hasPostgres,
    open: async () =>
      onKysely(
        new PostgresDialect({ pool: new pg.Pool({ connectionString: await postgresDatabase() }) }),
        'postgres',
      ),
  },
  'kysely on mariadb': {
    available: hasMariadb,
    open: async () =>
      onKysely(new MysqlDialect({ pool: mysql.createPool(await mariadbDatabase()) }), 'mysql'),
  },
}

function onKnex(client: string, connection: string): Transaction {
  const knex = knexOf({ client, connection })
  onTestFinished(() => knex.destroy())
  return (work) => knex.transaction((tx) => work(fromKnex(tx)))
}

function onKysely(dialect: PostgresDialect | MysqlDialect, name: 'postgres' | 'mysql'): Transaction {
  const db = new Kysely<never>({ dialect })
  onTestFinished(() => db.destroy())
  return (work) => db.transaction().execute((tx) => work(fromKysely(tx, name)))
}

for (const [name, { available, open }] of Object.entries(orms)) {
  describe.skipIf(!available)(name, () => {
    test('commit and roll back with the transaction', async () => {
      const transaction = await open()
      await transaction((db) =>
        db.query('CREATE TABLE carts (id int PRIMARY KEY, text varchar(20), version int NOT NULL)', []),
      )
      const cart = { table: 'carts', key: { id: 1 } }
      const insert = { ...cart, values: { text: 'a', version: 0 } }
      const failed = transaction(async (db) => {
        expect(await insertOnce(db, insert)).toMatchObject({ inserted: true })
        throw new Error('no stock')
      })
      await expect(failed).rejects.toThrow('no stock')
      await transaction(async (db) => {
        expect(await insertOnce(db, insert)).toMatchObject({ inserted: true })
        expect(await insertOnce(db, insert)).toMatchObject({ inserted: false, differs: [] })
        const change = { ...cart, version: 0, set: { text: 'b' } }
        expect((await updateVersion(db, change)).kind).toBe('applied')
        expect((await updateVersion(db, change)).kind).toBe('already-applied')
      })
      await transaction(async (db) => {
        const stale = await updateVersion(db, { ...cart, version: 0, set: { text: 'c' } })
        expect(stale).toMatchObject({ kind: 'conflict', version: 1n })
      })
    })
  })
}
