import { int, mysqlTable, varchar } from 'drizzle-orm/mysql-core'
import { drizzle as drizzleMysql } from 'drizzle-orm/mysql2'
import { drizzle } from 'drizzle-orm/node-postgres'
import { pgTable, serial, text } from 'drizzle-orm/pg-core'
import { drizzle as drizzlePglite } from 'drizzle-orm/pglite'
import { drizzle as drizzlePostgresJs } from 'drizzle-orm/postgres-js'
import mysql from 'mysql2/promise'
import pg from 'pg'
import postgres from 'postgres'
import { PGlite } from '@electric-sql/pglite'
import { expect, test } from 'vitest'
import { drizzleTransactions } from '../../src/transactions/drizzle.ts'
import { describeTransactions } from './contract.ts'
import type { Subject } from './subject.ts'

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
    conflict: async (tx) => await tx.execute('SELECT conflict()'),
    savepoint: (tx, work) => tx.transaction(work),
    close: () => pool.end(),
  } satisfies Subject<Parameters<typeof opener.join>[0]>
}

function openPostgresJs(url: string) {
  const client = postgres(url, { max: 2 })
  const db = drizzlePostgresJs(client)
  const opener = drizzleTransactions(db)
  return {
    opener,
    insertOrder: async (tx, customer) => {
      const [made] = await tx.insert(orders).values({ customer }).returning()
      return made!.id
    },
    conflict: async (tx) => await tx.execute('SELECT conflict()'),
    savepoint: (tx, work) => tx.transaction(work),
    failsWhole: true,
    close: () => client.end(),
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
    conflict: async (tx) => await tx.execute('SELECT conflict()'),
    savepoint: (tx, work) => tx.transaction(work),
    close: () => pool.end(),
  } satisfies Subject<Parameters<typeof opener.join>[0]>
}

describeTransactions('drizzle', 'postgres', openPostgres)
describeTransactions('drizzle with postgres.js', 'postgres', openPostgresJs)
describeTransactions('drizzle', 'mysql', openMariadb)

test('drizzle with PGlite', async () => {
  const pglite = new PGlite()
  const db = drizzlePglite(pglite)
  await db.execute('CREATE TABLE notes (id int PRIMARY KEY, bytes bytea)')
  const opener = drizzleTransactions(db)
  const bytes = Buffer.from([0, 255])
  await opener.transaction(async (tx) => {
    const sql = opener.join(tx)
    const insert = 'INSERT INTO notes (id, bytes) VALUES ($1, $2) ON CONFLICT DO NOTHING'
    expect(await sql.query(insert, [1, bytes])).toEqual({ rows: [], affected: 1 })
    expect(await sql.query(insert, [1, null])).toEqual({ rows: [], affected: 0 })
    const { rows } = await sql.query('SELECT id, bytes FROM notes', [])
    expect(rows).toEqual([{ id: 1, bytes: new Uint8Array(bytes) }])
  })
  await pglite.close()
})
