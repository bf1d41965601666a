/** Transactions on a real server: what handlers, rivals and the server itself can do to them. */
import mariadb from 'mariadb'
import mysql from 'mysql2/promise'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { SqlTransaction, TransactionOpener } from '../../src/core/sql.ts'
import { createIdempotency } from '../../src/index.ts'
import { type MysqlStore, mysqlStore } from '../../src/stores/mysql.ts'
import { completion, newClaim, newId, newToken } from '../../src/verification/store-cases/context.ts'
import { mariadbDatabase } from '../servers.ts'

let url: string
let admin: mysql.Connection
let pool: mysql.Pool
let store: MysqlStore<mysql.PoolConnection>

beforeAll(async () => {
  url = await mariadbDatabase()
  admin = await mysql.createConnection(url)
})

afterAll(() => admin.end())

beforeEach(async () => {
  await admin.query('DROP TABLE IF EXISTS orders, retrysafe_records, retrysafe_schema')
  await admin.query('CREATE TABLE orders (id INT PRIMARY KEY, text VARCHAR(100)) ENGINE = InnoDB')
  pool = mysql.createPool({ uri: url, connectionLimit: 3 })
  store = mysqlStore({ pool })
  await store.ready()
  return async () => {
    await store.close()
    await pool.end()
  }
})

const rowsOf = async (text: string): Promise<mysql.RowDataPacket[]> =>
  (await admin.query<mysql.RowDataPacket[]>(text))[0]

const orders = async (): Promise<number[]> =>
  (await rowsOf('SELECT id FROM orders ORDER BY id')).map(({ id }) => id as number)

const phaseOf = async (id: string): Promise<string | undefined> =>
  (await store.read([id as never])).replies[0]?.phase

/** Waits until a statement of another connection waits for a lock. */
async function somebodyWaits(): Promise<void> {
  for (let tries = 0; tries < 10_000; tries++) {
    const rows = await rowsOf(`SELECT 1 FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'`)
    if (rows.length > 0) return
  }
  throw new Error('nobody waits for a lock')
}

/** Every connection of the pool, as its users find it. */
async function poolIsClean(): Promise<void> {
  await store.close()
  const connections = await Promise.all([1, 2, 3].map(() => pool.getConnection()))
  for (const connection of connections) {
    const [rows] = await connection.query(
      'SELECT @@autocommit AS autocommit, @@in_transaction AS open, @@tx_isolation AS isolation, @@innodb_lock_wait_timeout AS wait',
    )
    expect(rows).toEqual([{ autocommit: 1, open: 0, isolation: 'REPEATABLE-READ', wait: 50 }])
    connection.release()
  }
}

describe('the transaction of the store', () => {
  test('is READ COMMITTED, and leaves the connection as it was', async () => {
    for (const kind of ['commit', 'roll-back'] as const) {
      const id = kind === 'commit' ? 1 : 2
      await store.transaction(async (tx) => {
        await tx.query('SELECT COUNT(*) FROM orders')
        await tx.query('INSERT INTO orders VALUES (?, ?)', [id, kind])
        await admin.query('INSERT INTO orders VALUES (?, ?)', [id + 10, 'by another'])
        const [rows] = await tx.query(`SELECT id FROM orders WHERE id >= 10`)
        expect(rows).toHaveLength(id)
        return { kind, value: undefined }
      })
    }
    expect(await orders()).toEqual([1, 11, 12])
    await poolIsClean()
  })

  test('may be of another isolation', async () => {
    await admin.query(`INSERT INTO orders VALUES (1, '')`)
    const serializable = mysqlStore({ pool, isolation: 'serializable' })
    await serializable.transaction(async (tx) => {
      await tx.query('SELECT * FROM orders')
      const change = admin.query(
        'SET STATEMENT innodb_lock_wait_timeout=0 FOR DELETE FROM orders WHERE id = 1',
      )
      await expect(change).rejects.toMatchObject({ errno: 1205 })
      return { kind: 'commit', value: undefined }
    })
    await serializable.close()
    await poolIsClean()
  })

  test('answers a rival’s uncommitted claim as locked while the rival is open, and goes on', async () => {
    const asked = newClaim()
    await store.transaction(async (_tx, records) => {
      await records.claim([asked])
      const end = await store.transaction(async (tx, rival) => {
        const { replies } = await rival.claim([newClaim({ id: asked.id })])
        await tx.query(`INSERT INTO orders VALUES (7, '')`)
        return { kind: 'commit', value: replies[0]?.kind }
      })
      expect(end).toEqual({ kind: 'committed', value: 'locked' })
      return { kind: 'commit', value: undefined, settlement: completion(asked) }
    })
    expect(await orders()).toEqual([7])
    expect(await phaseOf(asked.id)).toBe('completed')
    await poolIsClean()
  })

  test('of which a claim by itself waits only shortly', async () => {
    const asked = newClaim()
    await store.transaction(async (_tx, records) => {
      await records.claim([asked])
      const claim = store.claim([newClaim({ id: asked.id })])
      await expect(claim).rejects.toMatchObject({ failure: 'transient', cause: { errno: 1205 } })
      return { kind: 'roll-back', value: undefined }
    })
    await poolIsClean()
  })

  for (const ddl of ['CREATE TABLE ddl (id INT)', 'COMMIT', 'START TRANSACTION']) {
    for (const kind of ['commit', 'roll-back'] as const) {
      test(`${ddl} by the handler is reported, before a ${kind}`, async () => {
        await admin.query('DROP TABLE IF EXISTS ddl')
        const asked = newClaim()
        const call = store.transaction(async (tx, records) => {
          await records.claim([asked])
          await tx.query(`INSERT INTO orders VALUES (1, '')`)
          await tx.query(ddl)
          await tx.query(`INSERT INTO orders VALUES (2, '')`)
          return kind === 'commit'
            ? { kind, value: undefined, settlement: completion(asked) }
            : { kind, value: undefined }
        })
        await expect(call).rejects.toMatchObject({ code: 'outcome-unknown', settled: false })
        // What came after it is undone; what came before it cannot be.
        expect(await orders()).toEqual([1])
        expect(await phaseOf(asked.id)).toBe('running')
        await poolIsClean()
      })
    }
  }

  test('that the handler rolled back by hand commits nothing', async () => {
    const asked = newClaim()
    const call = store.transaction(async (tx, records) => {
      await records.claim([asked])
      await tx.query('ROLLBACK')
      await tx.query(`INSERT INTO orders VALUES (2, '')`)
      return { kind: 'commit', value: undefined, settlement: completion(asked) }
    })
    await expect(call).rejects.toMatchObject({ failure: 'transient' })
    expect(await orders()).toEqual([])
    expect(await phaseOf(asked.id)).toBe(undefined)
  })

  for (const swallows of [true, false]) {
    test(`that a deadlock ended commits nothing, ${swallows ? 'also when the handler goes on' : 'and asks for a retry'}`, async () => {
      await admin.query(`INSERT INTO orders VALUES (1, ''), (2, '')`)
      const rival = await mysql.createConnection(url)
      onTestFinished(() => rival.end())
      await rival.query('START TRANSACTION')
      // The server ends the transaction that changed less.
      await rival.query(
        `INSERT INTO orders VALUES ${Array.from({ length: 50 }, (_, at) => `(${100 + at}, '')`).join()}`,
      )
      await rival.query(`UPDATE orders SET text = 'rival' WHERE id = 2`)
      const asked = newClaim()
      let rivals: Promise<unknown> | undefined
      const call = store.transaction(async (tx, records) => {
        await records.claim([asked])
        await tx.query(`UPDATE orders SET text = 'mine' WHERE id = 1`)
        rivals = rival.query(`UPDATE orders SET text = 'rival' WHERE id = 1`)
        await somebodyWaits()
        const mine = tx.query(`UPDATE orders SET text = 'mine' WHERE id = 2`)
        const error: unknown = await mine.catch((e: unknown) => e)
        expect(error).toMatchObject({ errno: 1213 })
        if (!swallows) throw error
        await tx.query(`INSERT INTO orders VALUES (3, 'would have committed by itself')`)
        return { kind: 'commit', value: undefined, settlement: completion(asked) }
      })
      const error: unknown = await call.catch((e: unknown) => e)
      if (swallows) expect(error).toMatchObject({ code: 'store-failed', failure: 'transient' })
      else expect(store.asksForRetry?.(error)).toBe(true)
      await rivals
      await rival.query('ROLLBACK')
      expect(await orders()).toEqual([1, 2])
      expect(await rowsOf(`SELECT * FROM orders WHERE text <> ''`)).toEqual([])
      expect(await phaseOf(asked.id)).toBe(undefined)
      await poolIsClean()
    })
  }

  test('survives a lock wait of the handler, whose statement alone is undone', async () => {
    await admin.query(`INSERT INTO orders VALUES (1, '')`)
    const rival = await mysql.createConnection(url)
    onTestFinished(() => rival.end())
    await rival.query('START TRANSACTION')
    await rival.query(`UPDATE orders SET text = 'rival' WHERE id = 1`)
    const asked = newClaim()
    const end = await store.transaction(async (tx, records) => {
      await records.claim([asked])
      const blocked = tx.query('SET STATEMENT innodb_lock_wait_timeout=0 FOR DELETE FROM orders WHERE id = 1')
      const error: unknown = await blocked.catch((e: unknown) => e)
      expect(error).toMatchObject({ errno: 1205 })
      expect(store.asksForRetry?.(error)).toBe(false)
      await tx.query(`INSERT INTO orders VALUES (2, '')`)
      return { kind: 'commit', value: undefined, settlement: completion(asked) }
    })
    expect(end.kind).toBe('committed')
    await rival.query('ROLLBACK')
    expect(await orders()).toEqual([1, 2])
  })

  test('whose connection is killed in the handler is rolled back, and the pool goes on', async () => {
    const asked = newClaim()
    for (const throws of [true, false]) {
      const call = store.transaction(async (tx, records) => {
        await records.claim([asked])
        await tx.query(`INSERT INTO orders VALUES (1, '')`)
        await admin.query(`KILL ${tx.threadId}`)
        const error: unknown = await tx.query('SELECT 1').catch((e: unknown) => e)
        if (throws) throw error
        return { kind: 'commit', value: undefined, settlement: completion(asked) }
      })
      await expect(call).rejects.toThrow()
      if (!throws) await expect(call).rejects.toMatchObject({ code: 'store-failed', failure: 'transient' })
      expect(await orders()).toEqual([])
      expect(await phaseOf(asked.id)).toBe(undefined)
    }
    await poolIsClean()
  })

  test('runs a statement of the user’s, prepared, and gives rows or counts', async () => {
    const value = "o'hara \\"
    const end = await store.transaction(async (tx) => {
      const insert = { text: 'INSERT INTO orders VALUES (?, ?)', values: [5, value] }
      const inserted = await store.execute?.(tx, insert)
      const select = { text: 'SELECT id, text FROM orders WHERE text = ?', values: [value] }
      return { kind: 'commit', value: [inserted, await store.execute?.(tx, select)] }
    })
    expect(end).toEqual({
      kind: 'committed',
      value: [[{ affectedRows: 1, insertId: 0 }], [{ id: 5, text: value }]],
    })
    await store.transaction(async (tx) => {
      // mysql2 would write `text` = `text` of it, which is true for every row.
      const text = 'SELECT id FROM orders WHERE text = ?'
      const call = store.execute?.(tx, { text, values: [{ text: 1 }] })
      await expect(call).rejects.toMatchObject({ code: 'option-invalid' })
      return { kind: 'roll-back', value: undefined }
    })
  })

  test('is given up when no connection is free in time', async () => {
    const small = mysql.createPool({ uri: url, connectionLimit: 1 })
    onTestFinished(() => small.end())
    const starved = mysqlStore({ pool: small })
    await starved.transaction(async () => {
      const call = starved.transaction(async () => ({ kind: 'commit', value: undefined }))
      await expect(call).rejects.toMatchObject({ code: 'store-failed', failure: 'transient' })
      return { kind: 'commit', value: undefined }
    })
    expect((await starved.claim([newClaim()])).replies).toEqual([{ kind: 'claimed' }])
  })
})

interface Joined {
  readonly tx: unknown
  query(text: string): Promise<unknown>
  end(how: 'COMMIT' | 'ROLLBACK'): Promise<void>
}

const joinings: Record<string, () => Promise<Joined>> = {
  async mysql2() {
    const tx = await mysql.createConnection(url)
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
    const tx = await mariadb.createConnection(url.replace(/^mysql:/, 'mariadb:'))
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
    const connection = await mysql.createConnection(url)
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
        const records = store.join(own.tx as never)
        const asked = newClaim()
        expect((await records.claim([asked])).replies).toEqual([{ kind: 'claimed' }])
        await own.query(`INSERT INTO orders VALUES (1, '')`)
        expect((await records.settle([completion(asked)])).replies).toEqual([{ kind: 'settled' }])
        expect((await records.settle([completion(asked)])).replies[0]?.kind).toBe('refused')
        const taker = newClaim({ id: asked.id })
        const takeover = { seenToken: asked.token, claim: taker }
        expect((await records.supersede([takeover])).replies).toEqual([{ kind: 'superseded', fence: 2 }])
        await own.end(how)
        expect(await orders()).toEqual(how === 'COMMIT' ? [1] : [])
        expect(await phaseOf(asked.id)).toBe(how === 'COMMIT' ? 'running' : undefined)
      }
    })

    test('see what was committed after its snapshot', async () => {
      const own = await open()
      await own.query('START TRANSACTION')
      await own.query('SELECT COUNT(*) FROM orders')
      const asked = newClaim()
      await store.claim([asked])
      await store.settle([completion(asked)])
      const [reply] = (await store.join(own.tx as never).claim([newClaim({ id: asked.id })])).replies
      expect(reply).toMatchObject({ kind: 'found', record: { token: asked.token, phase: 'completed' } })
      await own.end('COMMIT')
    })

    test('answer a rival’s claim as locked, and leave the transaction usable', async () => {
      const asked = newClaim()
      await store.transaction(async (_tx, rival) => {
        await rival.claim([asked])
        const own = await open()
        await own.query('START TRANSACTION')
        await own.query(`INSERT INTO orders VALUES (1, '')`)
        const records = store.join(own.tx as never)
        expect((await records.claim([newClaim({ id: asked.id })])).replies).toEqual([{ kind: 'locked' }])
        await own.query(`INSERT INTO orders VALUES (2, '')`)
        await own.end('COMMIT')
        return { kind: 'roll-back', value: undefined }
      })
      expect(await orders()).toEqual([1, 2])
    })

    test('leave LAST_INSERT_ID of the user alone', async () => {
      const own = await open()
      await own.query('START TRANSACTION')
      await own.query('SET @x = LAST_INSERT_ID(77)')
      await own.query('SELECT LAST_INSERT_ID(77)')
      const asked = newClaim()
      const records = store.join(own.tx as never)
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
      pool.pool,
      { kind: 'sql-transaction', dialect: 'postgres' },
    ]) {
      expect(() => store.join(tx as never), String(tx)).toThrow(/Option tx/)
    }
  })

  for (const library of ['mysql2', 'mariadb']) {
    test(`without a transaction is refused, and no record stays: ${library}`, async () => {
      const own = await (joinings[library] as () => Promise<Joined>)()
      const asked = newClaim()
      const records = store.join(own.tx as never)
      await expect(records.claim([asked])).rejects.toMatchObject({ code: 'option-invalid' })
      expect(await phaseOf(asked.id)).toBe(undefined)
      // Under autocommit = 0 a transaction begins with the first statement, and that is one.
      await own.query('SET autocommit = 0')
      expect((await records.claim([asked])).replies).toEqual([{ kind: 'claimed' }])
      await own.end('ROLLBACK')
      expect(await phaseOf(asked.id)).toBe(undefined)
    })
  }
})

describe('the sweep', () => {
  test('leaves alone what a transaction works on, and does not wait for it', async () => {
    const claims = Array.from({ length: 3 }, () => newClaim({ leaseMs: 1, retentionMs: 0 }))
    await store.claim(claims)
    await admin.query('DO SLEEP(0.005)')
    await store.transaction(async (tx) => {
      await tx.query('SELECT 1 FROM retrysafe_records WHERE token = ? FOR UPDATE', [
        Buffer.from(claims[1]?.token ?? '', 'base64url'),
      ])
      // READ COMMITTED lets go of the rows that did not match.
      expect((await store.sweep(10)).removed).toBe(2)
      return { kind: 'roll-back', value: undefined }
    })
    expect((await store.sweep(10)).removed).toBe(1)
    await poolIsClean()
  })

  test('run twice at once removes each record once, and no live lease', async () => {
    const dead = Array.from({ length: 60 }, () => newClaim({ leaseMs: 1, retentionMs: 0 }))
    const live = Array.from({ length: 20 }, () => newClaim({ leaseMs: 60_000, retentionMs: 0 }))
    await store.claim([...dead, ...live])
    await admin.query('DO SLEEP(0.005)')
    let removed = 0
    for (let round = 0; round < 10; round++) {
      const swept = await Promise.all([store.sweep(20), store.sweep(20)])
      removed += swept.reduce((sum, it) => sum + it.removed, 0)
    }
    expect(removed).toBe(60)
    const { replies } = await store.read(live.map(({ id }) => id))
    expect(replies.every((record) => record?.phase === 'running')).toBe(true)
  })

  test('does not block claims while it is open', async () => {
    await store.claim([newClaim({ leaseMs: 1, retentionMs: 0 })])
    await admin.query('DO SLEEP(0.005)')
    const sweeper = await mysql.createConnection(url)
    onTestFinished(() => sweeper.end())
    await sweeper.query(`SET @@tx_isolation = 'READ-COMMITTED', autocommit = 0`)
    await sweeper.query(
      'SELECT id FROM retrysafe_records FORCE INDEX (sweep_at) WHERE sweep_at <= 9999999999999 ORDER BY sweep_at LIMIT 10 FOR UPDATE SKIP LOCKED',
    )
    const claims = Array.from({ length: 20 }, () => newClaim({ leaseMs: 1, retentionMs: 0 }))
    expect((await store.claim(claims)).replies.every(({ kind }) => kind === 'claimed')).toBe(true)
    await sweeper.query('ROLLBACK')
  })
})

test('unknown ids and tokens change nothing inside a transaction', async () => {
  await store.transaction(async (_tx, records) => {
    const { replies } = await records.settle([completion({ id: newId(), token: newToken() })])
    expect(replies).toEqual([{ kind: 'refused', record: undefined }])
    expect((await records.claim([newClaim({ token: 'short' })])).replies[0]?.kind).toBe('failed')
    return { kind: 'roll-back', value: undefined }
  })
})

describe('transactions that an ORM opens', () => {
  /** As ORMs are: a callback, and a `tx` of their own. */
  const openerOf = (
    dialect: 'mysql' | 'postgres',
  ): TransactionOpener<{ connection: mysql.PoolConnection }> => ({
    async transaction(work) {
      const connection = await pool.getConnection()
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
    const orm = mysqlStore({ pool, transactions: openerOf('mysql') })
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
    expect(await orders()).toEqual([])
    expect(await run({ settlement: completion(asked) })).toEqual({ kind: 'committed', value: 17 })
    expect(await orders()).toEqual([1])
    expect(await phaseOf(asked.id)).toBe('completed')
    const thrown = new Error('no stock')
    const throws = orm.transaction(async () => {
      throw thrown
    })
    await expect(throws).rejects.toBe(thrown)
  })

  test('whose COMMIT got no answer are unknown', async () => {
    const orm = mysqlStore({ pool, transactions: openerOf('mysql') })
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
    expect(await phaseOf(asked.id)).toBe('completed')
  })

  test('on another database are refused', async () => {
    const orm = mysqlStore({ pool, transactions: openerOf('postgres') })
    const call = orm.transaction(async () => ({ kind: 'commit', value: undefined }))
    await expect(call).rejects.toMatchObject({ failure: 'permanent' })
  })
})

describe('through an instance of the library', () => {
  test('of many calls on several hosts one runs, and all get its outcome', async () => {
    await admin.query('ALTER TABLE orders MODIFY id INT AUTO_INCREMENT')
    const hosts = Array.from({ length: 3 }, () => {
      const own = mysql.createPool({ uri: url, connectionLimit: 4 })
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
    expect(await orders()).toHaveLength(keys.length)
  })

  test('within a transaction of the user’s, and with one statement', async () => {
    const idem = createIdempotency({ store })
    onTestFinished(() => idem.close())
    for (const replayed of [false, true]) {
      const tx = await pool.getConnection()
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
    expect(await orders()).toEqual([1])

    const text = 'INSERT INTO orders VALUES (?, ?)'
    const insert = idem.statement('insert', text, (id: number) => [id, 'x'])
    for (const replayed of [false, true]) {
      const end = await insert.run({ key: 'k', principal: 'p', input: 2 })
      expect(end).toMatchObject({ value: [{ affectedRows: 1 }], replayed })
    }
    expect(await orders()).toEqual([1, 2])
  })
})
