import mariadb, { type PoolConnection } from 'mariadb'
import mysql from 'mysql2/promise'
import { test } from 'vitest'
import { type MysqlStore, mysqlStore } from '../../src/stores/mysql.ts'
import { type BusinessWrites, storeConformance } from '../../src/verification/index.ts'
import { hasMysql, mariadbDatabase, mysqlDatabase } from '../servers.ts'

const wait = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })

conformanceOn('MariaDB', mariadbDatabase)
if (hasMysql) conformanceOn('MySQL', mysqlDatabase)
else test.skip('MySQL [not tested: RETRYSAFE_MYSQL_URL is not set]', () => undefined)

function conformanceOn(server: string, database: () => Promise<string>): void {
  storeConformance({
    name: `mysql on mysql2, ${server}`,
    test,
    joinsTransaction: true,
    advance: wait,
    async open() {
      const url = await database()
      const pool = mysql.createPool(url)
      const business = await businessOn(url)
      const store: MysqlStore<mysql.PoolConnection> = mysqlStore({ pool })
      return {
        store,
        business: {
          ...business,
          async write(tx, text): Promise<void> {
            await (tx as mysql.PoolConnection).query('INSERT INTO orders (text) VALUES (?)', [text])
          },
          async begin() {
            const tx = await pool.getConnection()
            await tx.beginTransaction()
            const end = async (how: string): Promise<void> => {
              await tx.query(how)
              tx.release()
            }
            return { tx, commit: () => end('COMMIT'), rollBack: () => end('ROLLBACK') }
          },
        },
        async dispose(): Promise<void> {
          await pool.end()
          await business.close()
        },
      }
    },
  })

  storeConformance({
    name: `mysql on mariadb, ${server}`,
    test,
    joinsTransaction: true,
    advance: wait,
    async open() {
      const url = await database()
      const pool = mariadb.createPool(url.replace(/^mysql:/, 'mariadb:'))
      const business = await businessOn(url)
      const store: MysqlStore<PoolConnection> = mysqlStore({ mariadb: pool })
      return {
        store,
        business: {
          ...business,
          async write(tx, text): Promise<void> {
            await (tx as PoolConnection).query('INSERT INTO orders (text) VALUES (?)', [text])
          },
          async begin() {
            const tx = await pool.getConnection()
            await tx.beginTransaction()
            const end = async (how: string): Promise<void> => {
              await tx.query(how)
              await tx.release()
            }
            return { tx, commit: () => end('COMMIT'), rollBack: () => end('ROLLBACK') }
          },
        },
        async dispose(): Promise<void> {
          await pool.end()
          await business.close()
        },
      }
    },
  })
}

async function businessOn(
  url: string,
): Promise<Pick<BusinessWrites, 'written'> & { close(): Promise<void> }> {
  const connection = await mysql.createConnection(url)
  await connection.query('CREATE TABLE orders (text VARCHAR(100) NOT NULL) ENGINE = InnoDB')
  return {
    async written(): Promise<readonly string[]> {
      const [rows] = await connection.query<mysql.RowDataPacket[]>('SELECT text FROM orders ORDER BY text')
      return rows.map(({ text }) => text as string)
    },
    close: () => connection.end(),
  }
}
