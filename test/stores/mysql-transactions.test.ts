/** Transactions of the store on a real server: what handlers, rivals and the server itself can do to them. */
import mysql from 'mysql2/promise'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { mysqlStore } from '../../src/stores/mysql.ts'
import { completion, newClaim, newId, newToken } from '../../src/verification/store-cases/context.ts'
import { openShop, type Shop } from './mysql-shop.ts'

let shop: Shop

beforeEach(async () => {
  shop = await openShop()
  return () => shop.close()
})

describe('the transaction of the store', () => {
  test('is READ COMMITTED, and leaves the connection as it was', async () => {
    for (const kind of ['commit', 'roll-back'] as const) {
      const id = kind === 'commit' ? 1 : 2
      await shop.store.transaction(async (tx) => {
        await tx.query('SELECT COUNT(*) FROM orders')
        await tx.query('INSERT INTO orders VALUES (?, ?)', [id, kind])
        await shop.admin.query('INSERT INTO orders VALUES (?, ?)', [id + 10, 'by another'])
        const [rows] = await tx.query(`SELECT id FROM orders WHERE id >= 10`)
        expect(rows).toHaveLength(id)
        return { kind, value: undefined }
      })
    }
    expect(await shop.orders()).toEqual([1, 11, 12])
    await shop.poolIsClean()
  })

  test('may be of another isolation', async () => {
    await shop.admin.query(`INSERT INTO orders VALUES (1, '')`)
    const serializable = mysqlStore({ pool: shop.pool, isolation: 'serializable' })
    await serializable.transaction(async (tx) => {
      await tx.query('SELECT * FROM orders')
      const change = shop.admin.query(
        'SET STATEMENT innodb_lock_wait_timeout=0 FOR DELETE FROM orders WHERE id = 1',
      )
      await expect(change).rejects.toMatchObject({ errno: 1205 })
      return { kind: 'commit', value: undefined }
    })
    await serializable.close()
    await shop.poolIsClean()
  })

  test('answers a rival’s uncommitted claim as locked while the rival is open, and goes on', async () => {
    const asked = newClaim()
    await shop.store.transaction(async (_tx, records) => {
      await records.claim([asked])
      const end = await shop.store.transaction(async (tx, rival) => {
        const { replies } = await rival.claim([newClaim({ id: asked.id })])
        await tx.query(`INSERT INTO orders VALUES (7, '')`)
        return { kind: 'commit', value: replies[0]?.kind }
      })
      expect(end).toEqual({ kind: 'committed', value: 'locked' })
      return { kind: 'commit', value: undefined, settlement: completion(asked) }
    })
    expect(await shop.orders()).toEqual([7])
    expect(await shop.phaseOf(asked.id)).toBe('completed')
    await shop.poolIsClean()
  })

  test('of which a claim by itself waits only shortly', async () => {
    const asked = newClaim()
    await shop.store.transaction(async (_tx, records) => {
      await records.claim([asked])
      const claim = shop.store.claim([newClaim({ id: asked.id })])
      await expect(claim).rejects.toMatchObject({ failure: 'transient', cause: { errno: 1205 } })
      return { kind: 'roll-back', value: undefined }
    })
    await shop.poolIsClean()
  })

  for (const ddl of ['CREATE TABLE ddl (id INT)', 'COMMIT', 'START TRANSACTION']) {
    for (const kind of ['commit', 'roll-back'] as const) {
      test(`${ddl} by the handler is reported, before a ${kind}`, async () => {
        await shop.admin.query('DROP TABLE IF EXISTS ddl')
        const asked = newClaim()
        const call = shop.store.transaction(async (tx, records) => {
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
        expect(await shop.orders()).toEqual([1])
        expect(await shop.phaseOf(asked.id)).toBe('running')
        await shop.poolIsClean()
      })
    }
  }

  test('that the handler rolled back by hand commits nothing', async () => {
    const asked = newClaim()
    const call = shop.store.transaction(async (tx, records) => {
      await records.claim([asked])
      await tx.query('ROLLBACK')
      await tx.query(`INSERT INTO orders VALUES (2, '')`)
      return { kind: 'commit', value: undefined, settlement: completion(asked) }
    })
    await expect(call).rejects.toMatchObject({ failure: 'transient' })
    expect(await shop.orders()).toEqual([])
    expect(await shop.phaseOf(asked.id)).toBe(undefined)
  })

  for (const swallows of [true, false]) {
    test(`that a deadlock ended commits nothing, ${swallows ? 'also when the handler goes on' : 'and asks for a retry'}`, async () => {
      await shop.admin.query(`INSERT INTO orders VALUES (1, ''), (2, '')`)
      const rival = await mysql.createConnection(shop.url)
      onTestFinished(() => rival.end())
      await rival.query('START TRANSACTION')
      // The server ends the transaction that changed less.
      await rival.query(
        `INSERT INTO orders VALUES ${Array.from({ length: 50 }, (_, at) => `(${100 + at}, '')`).join()}`,
      )
      await rival.query(`UPDATE orders SET text = 'rival' WHERE id = 2`)
      const asked = newClaim()
      let rivals: Promise<unknown> | undefined
      const call = shop.store.transaction(async (tx, records) => {
        await records.claim([asked])
        await tx.query(`UPDATE orders SET text = 'mine' WHERE id = 1`)
        rivals = rival.query(`UPDATE orders SET text = 'rival' WHERE id = 1`)
        await shop.waitsForLock(rival)
        const mine = tx.query(`UPDATE orders SET text = 'mine' WHERE id = 2`)
        const error: unknown = await mine.catch((e: unknown) => e)
        expect(error).toMatchObject({ errno: 1213 })
        if (!swallows) throw error
        await tx.query(`INSERT INTO orders VALUES (3, 'would have committed by itself')`)
        return { kind: 'commit', value: undefined, settlement: completion(asked) }
      })
      const error: unknown = await call.catch((e: unknown) => e)
      if (swallows) expect(error).toMatchObject({ code: 'store-failed', failure: 'transient' })
      else expect(shop.store.asksForRetry?.(error)).toBe(true)
      await rivals
      await rival.query('ROLLBACK')
      expect(await shop.orders()).toEqual([1, 2])
      expect(await shop.rowsOf(`SELECT * FROM orders WHERE text <> ''`)).toEqual([])
      expect(await shop.phaseOf(asked.id)).toBe(undefined)
      await shop.poolIsClean()
    })
  }

  test('survives a lock wait of the handler, whose statement alone is undone', async () => {
    await shop.admin.query(`INSERT INTO orders VALUES (1, '')`)
    const rival = await mysql.createConnection(shop.url)
    onTestFinished(() => rival.end())
    await rival.query('START TRANSACTION')
    await rival.query(`UPDATE orders SET text = 'rival' WHERE id = 1`)
    const asked = newClaim()
    const end = await shop.store.transaction(async (tx, records) => {
      await records.claim([asked])
      const blocked = tx.query('SET STATEMENT innodb_lock_wait_timeout=0 FOR DELETE FROM orders WHERE id = 1')
      const error: unknown = await blocked.catch((e: unknown) => e)
      expect(error).toMatchObject({ errno: 1205 })
      expect(shop.store.asksForRetry?.(error)).toBe(false)
      await tx.query(`INSERT INTO orders VALUES (2, '')`)
      return { kind: 'commit', value: undefined, settlement: completion(asked) }
    })
    expect(end.kind).toBe('committed')
    await rival.query('ROLLBACK')
    expect(await shop.orders()).toEqual([1, 2])
  })

  test('whose connection is killed in the handler is rolled back, and the pool goes on', async () => {
    const asked = newClaim()
    for (const throws of [true, false]) {
      const call = shop.store.transaction(async (tx, records) => {
        await records.claim([asked])
        await tx.query(`INSERT INTO orders VALUES (1, '')`)
        await shop.admin.query(`KILL ${tx.threadId}`)
        const error: unknown = await tx.query('SELECT 1').catch((e: unknown) => e)
        if (throws) throw error
        return { kind: 'commit', value: undefined, settlement: completion(asked) }
      })
      await expect(call).rejects.toThrow()
      if (!throws) await expect(call).rejects.toMatchObject({ code: 'store-failed', failure: 'transient' })
      expect(await shop.orders()).toEqual([])
      expect(await shop.phaseOf(asked.id)).toBe(undefined)
    }
    await shop.poolIsClean()
  })

  test('runs a statement of the user’s, prepared, and gives rows or counts', async () => {
    const value = "o'hara \\"
    const end = await shop.store.transaction(async (tx) => {
      const insert = { text: 'INSERT INTO orders VALUES (?, ?)', values: [5, value] }
      const inserted = await shop.store.execute?.(tx, insert)
      const select = { text: 'SELECT id, text FROM orders WHERE text = ?', values: [value] }
      return { kind: 'commit', value: [inserted, await shop.store.execute?.(tx, select)] }
    })
    expect(end).toEqual({
      kind: 'committed',
      value: [[{ affectedRows: 1, insertId: 0 }], [{ id: 5, text: value }]],
    })
    await shop.store.transaction(async (tx) => {
      // mysql2 would write `text` = `text` of it, which is true for every row.
      const text = 'SELECT id FROM orders WHERE text = ?'
      const call = shop.store.execute?.(tx, { text, values: [{ text: 1 }] })
      await expect(call).rejects.toMatchObject({ code: 'option-invalid' })
      return { kind: 'roll-back', value: undefined }
    })
  })

  test('is given up when no connection is free in time', async () => {
    const small = mysql.createPool({ uri: shop.url, connectionLimit: 1 })
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

describe('the sweep', () => {
  test('leaves alone what a transaction works on, and does not wait for it', async () => {
    const claims = Array.from({ length: 3 }, () => newClaim({ leaseMs: 1, retentionMs: 0 }))
    await shop.store.claim(claims)
    await shop.admin.query('DO SLEEP(0.005)')
    await shop.store.transaction(async (tx) => {
      await tx.query('SELECT 1 FROM retrysafe_records WHERE token = ? FOR UPDATE', [
        Buffer.from(claims[1]?.token ?? '', 'base64url'),
      ])
      // READ COMMITTED lets go of the rows that did not match.
      expect((await shop.store.sweep(10)).removed).toBe(2)
      return { kind: 'roll-back', value: undefined }
    })
    expect((await shop.store.sweep(10)).removed).toBe(1)
    await shop.poolIsClean()
  })

  test('run twice at once removes each record once, and no live lease', async () => {
    const dead = Array.from({ length: 60 }, () => newClaim({ leaseMs: 1, retentionMs: 0 }))
    const live = Array.from({ length: 20 }, () => newClaim({ leaseMs: 60_000, retentionMs: 0 }))
    await shop.store.claim([...dead, ...live])
    await shop.admin.query('DO SLEEP(0.005)')
    let removed = 0
    for (let round = 0; round < 10; round++) {
      const swept = await Promise.all([shop.store.sweep(20), shop.store.sweep(20)])
      removed += swept.reduce((sum, it) => sum + it.removed, 0)
    }
    expect(removed).toBe(60)
    const { replies } = await shop.store.read(live.map(({ id }) => id))
    expect(replies.every((record) => record?.phase === 'running')).toBe(true)
  })

  test('does not block claims while it is open', async () => {
    await shop.store.claim([newClaim({ leaseMs: 1, retentionMs: 0 })])
    await shop.admin.query('DO SLEEP(0.005)')
    const sweeper = await mysql.createConnection(shop.url)
    onTestFinished(() => sweeper.end())
    await sweeper.query(`SET @@tx_isolation = 'READ-COMMITTED', autocommit = 0`)
    await sweeper.query(
      'SELECT id FROM retrysafe_records FORCE INDEX (sweep_at) WHERE sweep_at <= 9999999999999 ORDER BY sweep_at LIMIT 10 FOR UPDATE SKIP LOCKED',
    )
    const claims = Array.from({ length: 20 }, () => newClaim({ leaseMs: 1, retentionMs: 0 }))
    expect((await shop.store.claim(claims)).replies.every(({ kind }) => kind === 'claimed')).toBe(true)
    await sweeper.query('ROLLBACK')
  })
})

test('unknown ids and tokens change nothing inside a transaction', async () => {
  await shop.store.transaction(async (_tx, records) => {
    const { replies } = await records.settle([completion({ id: newId(), token: newToken() })])
    expect(replies).toEqual([{ kind: 'refused', record: undefined }])
    expect((await records.claim([newClaim({ token: 'short' })])).replies[0]?.kind).toBe('failed')
    return { kind: 'roll-back', value: undefined }
  })
})
