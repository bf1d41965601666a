/** A shop on a real MariaDB: a database with orders, a pool, and a store whose records lie beside the orders. */
import mysql from 'mysql2/promise'
import { expect } from 'vitest'
import { type MysqlStore, mysqlStore } from '../../src/stores/mysql.ts'
import { mariadbDatabase } from '../servers.ts'

export interface Shop {
  readonly url: string
  /** A connection of its own, outside of every pool. */
  readonly admin: mysql.Connection
  readonly pool: mysql.Pool
  readonly store: MysqlStore<mysql.PoolConnection>
  rowsOf(text: string): Promise<mysql.RowDataPacket[]>
  /** The ids of the orders that are committed. */
  orders(): Promise<number[]>
  phaseOf(id: string): Promise<string | undefined>
  /** Waits until a statement of this connection waits for a lock. */
  waitsForLock(connection: mysql.Connection): Promise<void>
  /** Every connection of the pool is as its users expect it. */
  poolIsClean(): Promise<void>
  close(): Promise<void>
}

const connectionLimit = 3
const pollsMax = 10_000

export async function openShop(): Promise<Shop> {
  const url = await mariadbDatabase()
  const admin = await mysql.createConnection(url)
  await admin.query('CREATE TABLE orders (id INT PRIMARY KEY, text VARCHAR(100)) ENGINE = InnoDB')
  const pool = mysql.createPool({ uri: url, connectionLimit })
  const store = mysqlStore({ pool })
  await store.ready()
  const rowsOf = async (text: string): Promise<mysql.RowDataPacket[]> =>
    (await admin.query<mysql.RowDataPacket[]>(text))[0]
  return {
    url,
    admin,
    pool,
    store,
    rowsOf,
    orders: async () => (await rowsOf('SELECT id FROM orders ORDER BY id')).map(({ id }) => id as number),
    phaseOf: async (id) => (await store.read([id as never])).replies[0]?.phase,
    async waitsForLock(connection) {
      // INNODB_TRX would not do: its snapshot is kept for as long as somebody reads it every 100 ms.
      for (let tries = 0; tries < pollsMax; tries++) {
        const [status] = await rowsOf('SHOW ENGINE INNODB STATUS')
        const transactions = String(status?.['Status']).split('---TRANSACTION ')
        const thread = new RegExp(`thread id ${connection.threadId},`)
        if (transactions.some((text) => text.includes('LOCK WAIT') && thread.test(text))) return
      }
      throw new Error('the connection waits for no lock')
    },
    async poolIsClean() {
      // The store gives its connections back before it is closed.
      await store.close()
      const all = await Promise.all(Array.from({ length: connectionLimit }, () => pool.getConnection()))
      for (const connection of all) {
        const [rows] = await connection.query(
          'SELECT @@autocommit AS autocommit, @@in_transaction AS open, @@tx_isolation AS isolation, @@innodb_lock_wait_timeout AS wait',
        )
        expect(rows).toEqual([{ autocommit: 1, open: 0, isolation: 'REPEATABLE-READ', wait: 50 }])
        connection.release()
      }
    },
    async close() {
      await store.close()
      await pool.end()
      await admin.end()
    },
  }
}
