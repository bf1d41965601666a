/**
 * The statements for MySQL, on MariaDB: those that differ are few, and MariaDB has each of them under another name.
 * It shows that what is sent to a MySQL server is of the language that both share; locks and errors are MariaDB's.
 */
import mysql from 'mysql2/promise'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type Mysql2Pool, type Mysql2PoolConnection, mysqlStore } from '../../src/stores/mysql.ts'
import { completion, newClaim } from '../../src/verification/store-cases/context.ts'
import { storeConformance } from '../../src/verification/index.ts'
import { mariadbDatabase } from '../servers.ts'

const names: readonly (readonly [string, string])[] = [
  ['VERSION() AS version', "'8.4.6' AS version"],
  ['@@transaction_isolation', '@@tx_isolation'],
  ['FOR SHARE NOWAIT', 'LOCK IN SHARE MODE NOWAIT'],
]

interface Asked {
  readonly sql: string
}

/** A connection that takes MySQL's names, and refuses what only MariaDB has. */
function asMysql(connection: mysql.PoolConnection): Mysql2PoolConnection {
  return {
    on: (event, listener) => connection.on(event, listener),
    off: (event, listener) => connection.off(event, listener),
    release: () => connection.release(),
    destroy: () => connection.destroy(),
    async query(options: Asked) {
      if (/SET STATEMENT|tx_isolation|RETURNING/.test(options.sql)) throw new Error('This is not for MySQL.')
      return await connection.query({ ...options, sql: translated(options.sql) })
    },
  }
}

function translated(sql: string): string {
  return names.reduce((text, [mysqlName, name]) => text.replace(mysqlName, name), sql)
}

async function poolOf(url: string): Promise<{ pool: Mysql2Pool; end(): Promise<void> }> {
  const pool = mysql.createPool({ uri: url, connectionLimit: 6 })
  return {
    pool: { getConnection: async () => asMysql(await pool.getConnection()) },
    end: () => pool.end(),
  }
}

storeConformance({
  name: 'mysql by the statements for MySQL',
  test,
  joinsTransaction: true,
  advance: (ms) =>
    new Promise((resolve) => {
      setTimeout(resolve, ms)
    }),
  async open() {
    const url = await mariadbDatabase()
    const { pool, end } = await poolOf(url)
    const connection = await mysql.createConnection(url)
    await connection.query('CREATE TABLE orders (text VARCHAR(100) NOT NULL) ENGINE = InnoDB')
    const insert = 'INSERT INTO orders (text) VALUES'
    return {
      store: mysqlStore({ pool }),
      business: {
        write: async (tx, text) =>
          void (await (tx as mysql.Connection).query({ sql: `${insert} ('${text}')` })),
        async written() {
          const [rows] = await connection.query<mysql.RowDataPacket[]>(
            'SELECT text FROM orders ORDER BY text',
          )
          return rows.map(({ text }) => text as string)
        },
        async begin() {
          const own = await mysql.createConnection(url)
          await own.beginTransaction()
          const finish = async (how: string): Promise<void> => {
            await own.query(how)
            await own.end()
          }
          return { tx: own, commit: () => finish('COMMIT'), rollBack: () => finish('ROLLBACK') }
        },
      },
      async dispose() {
        await connection.end()
        await end()
      },
    }
  },
})

describe('a rival’s uncommitted claim', () => {
  test('is locked for a transaction of the store, and for one of the user’s, whose settings stay', async () => {
    const url = await mariadbDatabase()
    const { pool, end } = await poolOf(url)
    onTestFinished(end)
    const store = mysqlStore({ pool })
    const asked = newClaim()
    const own = await mysql.createConnection(url)
    onTestFinished(() => own.end())
    await store.transaction(async (_tx, rival) => {
      await rival.claim([asked])
      const end = await store.transaction(async (_other, records) => {
        const { replies } = await records.claim([newClaim({ id: asked.id })])
        return { kind: 'roll-back', value: replies[0]?.kind }
      })
      expect(end).toEqual({ kind: 'rolled-back', value: 'locked' })

      await own.query('SET SESSION innodb_lock_wait_timeout = 17')
      await own.query('START TRANSACTION')
      const records = store.join(own as never)
      expect((await records.claim([newClaim({ id: asked.id })])).replies).toEqual([{ kind: 'locked' }])
      const [rows] = await own.query('SELECT @@innodb_lock_wait_timeout AS seconds')
      expect(rows).toEqual([{ seconds: 17 }])
      return { kind: 'commit', value: undefined, settlement: completion(asked) }
    })
    const records = store.join(own as never)
    expect((await records.claim([newClaim({ id: asked.id })])).replies[0]?.kind).toBe('found')
    await own.query('COMMIT')
  })
})
