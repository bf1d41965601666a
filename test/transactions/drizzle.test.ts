import { int, mysqlTable, varchar } from 'drizzle-orm/mysql-core'
import { drizzle as drizzleMysql } from 'drizzle-orm/mysql2'
import { drizzle } from 'drizzle-orm/node-postgres'
import { pgTable, serial, text } from 'drizzle-orm/pg-core'
import mysql from 'mysql2/promise'
import pg from 'pg'
import { drizzleTransactions } from '../../src/transactions/drizzle.ts'
import { describeTransactions, type Subject } from './contract.ts'

const orders = pgTable('orders', { id: serial('id').primaryKey(), customer: text('customer').notNull() })
const mysqlOrders = mysqlTable('orders', {
  id: int('id').primaryKey().autoincrement(),
  customer: varchar('customer', { length: 200 }).notNull(),
})

function openPostgres(url: string) {
  const pool = new pg.Pool({ connectionString: url, max: 2 })
  const db = drizzle(pool)
  const opener = drizzleTransactions(db)
  return {
    opener,
    insertOrder: async (tx, customer) => {
      const [made] = await tx.insert(orders).values({ customer }).returning()
      return made!.id
    },
    savepoint: (tx, work) => tx.transaction(work),
    close: () => pool.end(),
  } satisfies Subject<Parameters<typeof opener.join>[0]>
}

function openMariadb(url: string) {
  const pool = mysql.createPool({ uri: url, connectionLimit: 2 })
  const db = drizzleMysql(pool)
  const opener = drizzleTransactions(db, 'mysql')
  return {
    opener,
    insertOrder: async (tx, customer) => {
      const [made] = await tx.insert(mysqlOrders).values({ customer }).$returningId()
      return made!.id
    },
    savepoint: (tx, work) => tx.transaction(work),
    close: () => pool.end(),
  } satisfies Subject<Parameters<typeof opener.join>[0]>
}

describeTransactions('drizzle', 'postgres', openPostgres)
describeTransactions('drizzle', 'mysql', openMariadb)
