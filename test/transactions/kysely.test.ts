import {
  CamelCasePlugin,
  type Generated,
  Kysely,
  MysqlDialect,
  PostgresDialect,
  sql,
  type Transaction,
} from 'kysely'
import mysql from 'mysql2'
import pg from 'pg'
import { expect, test } from 'vitest'
import { fromKysely, kyselyTransactions } from '../../src/transactions/kysely.ts'
import { hasPostgres, postgresDatabase } from '../servers.ts'
import { describeTransactions } from './contract.ts'
import type { Subject } from './subject.ts'

interface Tables {
  orders: { id: Generated<number>; customer: string }
}

function subjectOf(db: Kysely<Tables>, dialect: 'postgres' | 'mysql'): Subject<Transaction<Tables>> {
  return {
    opener: kyselyTransactions(db, dialect),
    insertOrder: async (tx, customer) => {
      const insert = tx.insertInto('orders').values({ customer })
      if (dialect === 'postgres') return (await insert.returning('id').executeTakeFirstOrThrow()).id
      return Number((await insert.executeTakeFirstOrThrow()).insertId)
    },
    conflict: (tx) => sql`SELECT conflict()`.execute(tx),
    // Kysely nests only transactions that are controlled.
    savepoint: undefined,
    close: () => db.destroy(),
  }
}

const plugins = [new CamelCasePlugin()]

describeTransactions('kysely', 'postgres', (url) => {
  const pool = new pg.Pool({ connectionString: url, max: 2 })
  return subjectOf(new Kysely({ dialect: new PostgresDialect({ pool }), plugins }), 'postgres')
})

describeTransactions('kysely', 'mysql', (url) => {
  const pool = mysql.createPool({ uri: url, connectionLimit: 2 })
  return subjectOf(new Kysely({ dialect: new MysqlDialect({ pool }), plugins }), 'mysql')
})

test('a controlled transaction with a savepoint', async ({ skip }) => {
  skip(!hasPostgres, 'no server of postgres')
  const pool = new pg.Pool({ connectionString: await postgresDatabase(), max: 1 })
  await using db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }), plugins })
  await db.schema.createTable('notes').addColumn('note', 'text').execute()
  const tx = await db.startTransaction().execute()
  const insert = (inner: typeof tx, note: string) =>
    fromKysely(inner).query('INSERT INTO notes (note) VALUES ($1)', [note])
  await insert(tx, 'first')
  const nested = await tx.savepoint('inner').execute()
  await insert(nested, 'undone')
  await nested.rollbackToSavepoint('inner').execute()
  await insert(nested, 'second')
  await tx.commit().execute()
  const { rows } = await sql`SELECT note FROM notes ORDER BY note`.execute(db)
  expect(rows).toEqual([{ note: 'first' }, { note: 'second' }])
})
