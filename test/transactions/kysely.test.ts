import {
  CamelCasePlugin,
  type Generated,
  Kysely,
  MysqlDialect,
  PostgresDialect,
  type Transaction,
} from 'kysely'
import mysql from 'mysql2'
import pg from 'pg'
import { kyselyTransactions } from '../../src/transactions/kysely.ts'
import { describeTransactions, type Subject } from './contract.ts'

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
