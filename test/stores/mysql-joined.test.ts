/** Records in transactions that the user, or an ORM, opens; and all of it through an instance of the library. */
import mariadb from 'mariadb'
import mysql from 'mysql2/promise'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { SqlTransaction, TransactionOpener } from '../../src/core/sql.ts'
import { createIdempotency } from '../../src/index.ts'
import { mysqlStore } from '../../src/stores/mysql.ts'
import { completion, newClaim, newToken } from '../../src/verification/store-cases/context.ts'
import { openShop, type Shop } from './mysql-shop.ts'

let shop: Shop

beforeEach(async () => {
  shop = await openShop()
  return () => shop.close()
})

interface Joined {
  readonly tx: unknown
  query(text: string): Promise<unknown>
  end(how: 'COMMIT' | 'ROLLBACK'): Promise<void>
}

const joinings: Record<string, () => Promise<Joined>> = {
  async mysql2() {
    const tx = await mysql.createConnection(shop.url)
    return {
      tx,
      query: async (text) => (await tx.query(text))[0],
      async end(how) {
        await tx.query(how)
        await tx.end()
      },
    }
  },
  async mariadb() {
    const tx = await mariadb.createConnection(shop.url.replace(/^mysql:/, 'mariadb:'))
    return {
      tx,
      query: (text) => tx.query(text),
      async end(how) {
        await tx.query(how)
        await tx.end()
      },
    }
  },
  async SqlTransaction() {
    const connection = await mysql.createConnection(shop.url)
    const tx: SqlTransaction = {
      kind: 'sql-transaction',
      dialect: 'mysql',
      async query(text, values) {
        const [result] = await connection.query<mysql.RowDataPacket[] | mysql.ResultSetHeader>(text, [
          ...values,
        ])
        return Array.isArray(result)
          ? { rows: result, affected: 0 }
          : { rows: [], affected: result.affectedRows }
      },
    }
    return {
      tx,
      query: async (text) => (await connection.query(text))[0],
      async end(how) {
        await connection.query(how)
        await connection.end()
      },
    }
  },
}

for (const [library, open] of Object.entries(joinings)) {
  describe(`records joined to a transaction of ${library}`, () => {
    test('commit and roll back with it', async () => {
      for (const how of ['ROLLBACK', 'COMMIT'] as const) {
        const own = await open()
        await own.query('START TRANSACTION')
        const records = shop.store.join(own.tx as never)
        const asked = newClaim()
        expect((await records.claim([asked])).replies).toEqual([{ kind: 'claimed' }])
        await own.query(`INSERT INTO orders VALUES (1, '')`)
        expect((await records.settle([completion(asked)])).replies).toEqual([{ kind: 'settled' }])
        expect((await records.settle([completion(asked)])).replies[0]?.kind).toBe('refused')
        const taker = newClaim({ id: asked.id })
        const takeover = { seenToken: asked.token, seenPhase: 'completed', claim: taker } as const
        expect((await records.supersede([takeover])).replies).toEqual([{ kind: 'superseded', fence: 2 }])
        await own.end(how)
        expect(await shop.orders()).toEqual(how === 'COMMIT' ? [1] : [])
        expect(await shop.phaseOf(asked.id)).toBe(how === 'COMMIT' ? 'running' : undefined)
      }
    })

    test('see what was committed after its snapshot', async () => {
      const own = await open()
      await own.query('START TRANSACTION')
      await own.query('SELECT COUNT(*) FROM orders')
      const asked = newClaim()
      await shop.store.claim([asked])
      await shop.store.settle([completion(asked)])
      const [reply] = (await shop.store.join(own.tx as never).claim([newClaim({ id: asked.id })])).replies
      expect(reply).toMatchObject({ kind: 'found', record: { token: asked.token, phase: 'completed' } })
      await own.end('COMMIT')
    })

    test('answer a rival’s claim as locked, and leave the transaction usable', async () => {
      const asked = newClaim()
      await shop.store.transaction(async (_tx, rival) => {
        await rival.claim([asked])
        const own = await open()
        await own.query('START TRANSACTION')
        await own.query(`INSERT INTO orders VALUES (1, '')`)
        const records = shop.store.join(own.tx as never)
        expect((await records.claim([newClaim({ id: asked.id })])).replies).toEqual([{ kind: 'locked' }])
        await own.query(`INSERT INTO orders VALUES (2, '')`)
        await own.end('COMMIT')
        return { kind: 'roll-back', value: undefined }
      })
      expect(await shop.orders()).toEqual([1, 2])
    })

    test('leave LAST_INSERT_ID of the user alone', async () => {
      const own = await open()
      await own.query('START TRANSACTION')
      await own.query('SET @x = LAST_INSERT_ID(77)')
      await own.query('SELECT LAST_INSERT_ID(77)')
      const asked = newClaim()
      const records = shop.store.join(own.tx as never)
      await records.claim([asked])
      await records.settle([completion(asked)])
      const rows = (await own.query('SELECT LAST_INSERT_ID() AS id')) as { id: unknown }[]
      expect(Number(rows[0]?.id)).toBe(77)
      await own.end('COMMIT')
    })
  })
}

describe('a handle that is none', () => {
  test('is refused', async () => {
    for (const tx of [
      null,
      undefined,
      {},
      'BEGIN',
      shop.pool.pool,
      { kind: 'sql-transaction', dialect: 'postgres' },
    ]) {
      expect(() => shop.store.join(tx as never), String(tx)).toThrow(/Option tx/)
    }
  })

  for (const library of ['mysql2', 'mariadb']) {
    test(`without a transaction is refused, and no record stays: ${library}`, async () => {
      const own = await (joinings[library] as () => Promise<Joined>)()
      const asked = newClaim()
      const records = shop.store.join(own.tx as never)
      await expect(records.claim([asked])).rejects.toMatchObject({ code: 'option-invalid' })
      expect(await shop.phaseOf(asked.id)).toBe(undefined)
      // Under autocommit = 0 a transaction begins with the first statement, and that is one.
      await own.query('SET autocommit = 0')
      expect((await records.claim([asked])).replies).toEqual([{ kind: 'claimed' }])
      await own.end('ROLLBACK')
      expect(await shop.phaseOf(asked.id)).toBe(undefined)
    })
  }
})

describe('transactions that an ORM opens', () => {
  /** As ORMs are: a callback, and a `tx` of their own. */
  const openerOf = (
    dialect: 'mysql' | 'postgres',
  ): TransactionOpener<{ connection: mysql.PoolConnection }> => ({
    async transaction(work) {
      const connection = await shop.pool.getConnection()
      try {
        await connection.beginTransaction()
        const value = await work({ connection })
        await connection.commit()
        return value
      } catch (error) {
        await connection.rollback()
        throw error
      } finally {
        connection.release()
      }
    },
    join: ({ connection }) => ({
      kind: 'sql-transaction',
      dialect,
      async query(text, values) {
        const [result] = await connection.query<mysql.RowDataPacket[] | mysql.ResultSetHeader>(text, [
          ...values,
        ])
        return Array.isArray(result)
          ? { rows: result, affected: 0 }
          : { rows: [], affected: result.affectedRows }
      },
    }),
  })

  test('commit, roll back and are refused with the record', async () => {
    const orm = mysqlStore({ pool: shop.pool, transactions: openerOf('mysql') })
    const asked = newClaim()
    const insert = { text: 'INSERT INTO orders VALUES (?, ?)', values: [1, 'x'] }
    const run = (parts: object): Promise<unknown> =>
      orm.transaction(async (tx, records) => {
        expect((await records.claim([asked])).replies).toEqual([{ kind: 'claimed' }])
        expect(await orm.execute?.(tx, insert)).toEqual([{ affectedRows: 1 }])
        return { kind: 'commit', value: 17, ...parts }
      })
    expect(await run({ kind: 'roll-back' })).toEqual({ kind: 'rolled-back', value: 17 })
    const stranger = completion({ id: asked.id, token: newToken() })
    expect(await run({ settlement: stranger })).toEqual({ kind: 'refused' })
    expect(await shop.orders()).toEqual([])
    expect(await run({ settlement: completion(asked) })).toEqual({ kind: 'committed', value: 17 })
    expect(await shop.orders()).toEqual([1])
    expect(await shop.phaseOf(asked.id)).toBe('completed')
    const thrown = new Error('no stock')
    const throws = orm.transaction(async () => {
      throw thrown
    })
    await expect(throws).rejects.toBe(thrown)
  })

  test('whose COMMIT got no answer are unknown', async () => {
    const orm = mysqlStore({ pool: shop.pool, transactions: openerOf('mysql') })
    const asked = newClaim()
    const end = await orm.transaction(async ({ connection }, records) => {
      await records.claim([asked])
      const { commit } = connection
      connection.commit = async () => {
        await commit.call(connection)
        throw Object.assign(new Error('The answer is lost.'), {
          code: 'PROTOCOL_CONNECTION_LOST',
          fatal: true,
        })
      }
      return { kind: 'commit', value: 17, settlement: completion(asked) }
    })
    expect(end).toMatchObject({ kind: 'unknown', value: 17, error: { failure: 'lost' } })
    expect(await shop.phaseOf(asked.id)).toBe('completed')
  })

  test('on another database are refused', async () => {
    const orm = mysqlStore({ pool: shop.pool, transactions: openerOf('postgres') })
    const call = orm.transaction(async () => ({ kind: 'commit', value: undefined }))
    await expect(call).rejects.toMatchObject({ failure: 'permanent' })
  })
})

describe('through an instance of the library', () => {
  test('of many calls on several hosts one runs, and all get its outcome', async () => {
    await shop.admin.query('ALTER TABLE orders MODIFY id INT AUTO_INCREMENT')
    const hosts = Array.from({ length: 3 }, () => {
      const own = mysql.createPool({ uri: shop.url, connectionLimit: 4 })
      const idem = createIdempotency({ store: mysqlStore({ pool: own }), wait: '10s' })
      onTestFinished(async () => {
        await idem.close()
        await own.end()
      })
      const order = idem.transaction('order', async ({ text }: { text: string }, { tx }) => {
        const [made] = await tx.query<mysql.ResultSetHeader>('INSERT INTO orders (text) VALUES (?)', [text])
        return { orderId: made.insertId }
      })
      return { idem, order, own }
    })
    const keys = Array.from({ length: 10 }, (_, at) => `k-${at}`)
    const calls = keys.flatMap((key) =>
      hosts.flatMap(({ order }) =>
        [1, 2].map(async () => {
          const { value } = await order.run({ key, principal: 'p', input: { text: key } })
          return `${key} ${value.orderId}`
        }),
      ),
    )
    const ends = new Set(await Promise.all(calls))
    expect(ends.size).toBe(keys.length)
    expect(await shop.orders()).toHaveLength(keys.length)
  })

  test('within a transaction of the user’s, and with one statement', async () => {
    const idem = createIdempotency({ store: shop.store })
    onTestFinished(() => idem.close())
    for (const replayed of [false, true]) {
      const tx = await shop.pool.getConnection()
      await tx.beginTransaction()
      const call = { operation: 'order', key: 'k', principal: 'p', input: 1 }
      const end = await idem.within(tx, call, async () => {
        await tx.query(`INSERT INTO orders VALUES (1, '')`)
        return 'done'
      })
      expect(end).toMatchObject({ value: 'done', replayed })
      await tx.commit()
      tx.release()
    }
    expect(await shop.orders()).toEqual([1])

    const text = 'INSERT INTO orders VALUES (?, ?)'
    const insert = idem.statement('insert', text, (id: number) => [id, 'x'])
    for (const replayed of [false, true]) {
      const end = await insert.run({ key: 'k', principal: 'p', input: 2 })
      expect(end).toMatchObject({ value: [{ affectedRows: 1 }], replayed })
    }
    expect(await shop.orders()).toEqual([1, 2])
  })
})
