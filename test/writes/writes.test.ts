import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { SqlExecutor } from '../../src/core/sql.ts'
import { type ColumnValue, insertOnce, mysql2Executor, updateVersion } from '../../src/writes/index.ts'
import { hasMariadb } from '../servers.ts'
import { type Client, countedPool, libraries, type Library } from './clients.ts'

for (const [name, library] of Object.entries(libraries)) {
  describe.skipIf(!library.available)(name, () => writesOn(library))
}

function writesOn({ dialect, open }: Library): void {
  let client: Client
  let db: SqlExecutor
  beforeAll(async () => {
    client = await open()
    db = client.db
  })
  afterAll(() => client.close())
  beforeEach(async () => {
    for (const table of ['payments', 'carts', 'loose']) await db.query(`DELETE FROM ${table}`, [])
  })
  const count = async (table: string): Promise<number> =>
    Number((await db.query(`SELECT COUNT(*) AS n FROM ${table}`, [])).rows[0]?.['n'])

  /** Whether an INSERT of this database is under way at the server, where it can only wait for the other one. */
  const isWaiting = async (): Promise<boolean> => {
    const texts: Record<string, string> = {
      postgres: `SELECT 1 AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      mysql: `SELECT 1 AS n FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND INFO LIKE 'INSERT INTO%payments%'`,
    }
    return (await db.query(texts[dialect] as string, [])).rows.length > 0
  }

  const payment = { table: 'payments', key: { order_id: 42 }, values: { amount: 42.5, currency: 'EUR' } }
  const cart = { table: 'carts', key: { tenant: 'acme', id: 7 } }
  const addCart = (): Promise<unknown> => insertOnce(db, { ...cart, values: { address: 'old', version: 3 } })

  describe('insertOnce', () => {
    test('inserts, and then finds what is there', async () => {
      const first = await insertOnce(db, payment)
      expect(first).toMatchObject({ inserted: true, differs: [], row: { currency: 'EUR' } })
      expect(await insertOnce(db, payment)).toEqual({ ...first, inserted: false })
      expect(await count('payments')).toBe(1)
    })

    test('of many at once one inserts, and all get its row', async () => {
      const all = await Promise.all(
        Array.from({ length: 20 }, (_, at) =>
          insertOnce(db, { ...payment, values: { ...payment.values, note: `call ${at}` } }),
        ),
      )
      expect(all.filter(({ inserted }) => inserted)).toHaveLength(1)
      expect(new Set(all.map(({ row }) => row['note'])).size).toBe(1)
      expect(all.filter(({ differs }) => differs.length === 0)).toHaveLength(1)
      expect(await count('payments')).toBe(1)
    })

    test('names what differs, as the database compares', async () => {
      const time = dialect === 'sqlite' ? '2026-01-01T00:00:00.000Z' : new Date('2026-01-01T00:00:00.000Z')
      const values = {
        amount: 10,
        currency: 'EUR',
        paid_at: time,
        receipt: new Uint8Array([0, 255]),
        note: null,
      }
      await insertOnce(db, { ...payment, values })
      expect((await insertOnce(db, { ...payment, values })).differs).toEqual([])
      const other: Record<string, ColumnValue> = {
        amount: 10.01,
        currency: null,
        paid_at: dialect === 'sqlite' ? 'later' : new Date('2026-01-01T00:00:00.001Z'),
        receipt: new Uint8Array([0]),
        note: '',
      }
      for (const [column, value] of Object.entries(other)) {
        const changed = { ...values, [column]: value }
        expect((await insertOnce(db, { ...payment, values: changed })).differs).toEqual([column])
      }
      expect((await insertOnce(db, { ...payment, values: other })).differs).toEqual(Object.keys(values))
      expect((await insertOnce(db, { ...payment, values: { amount: '10.00' } })).differs).toEqual([])
    })

    test('a duplicate of another unique key is the error that it is', async () => {
      await insertOnce(db, { ...payment, values: { reference: 'R1' } })
      const other = insertOnce(db, { table: 'payments', key: { order_id: 43 }, values: { reference: 'R1' } })
      await expect(other).rejects.toThrow(/unique|duplicate/i)
      expect(await count('payments')).toBe(1)
    })

    test('needs a unique key', async () => {
      const loose = insertOnce(db, { table: 'loose', key: { id: 1 }, values: { text: 'a' } })
      await expect(loose).rejects.toThrow(/unique|ON CONFLICT/i)
      const part = insertOnce(db, { table: 'carts', key: { id: 1 }, values: { address: 'a' } })
      await expect(part).rejects.toThrow(/unique|ON CONFLICT/i)
      expect([await count('loose'), await count('carts')]).toEqual([0, 0])
    })

    test('keeps any text', async () => {
      await fc.assert(
        fc.asyncProperty(fc.string({ unit: 'grapheme', maxLength: 40 }), async (text) => {
          const note = text.replaceAll('\0', '')
          await db.query('DELETE FROM payments', [])
          const asked = { ...payment, values: { note } }
          expect((await insertOnce(db, asked)).row['note']).toBe(note)
          expect((await insertOnce(db, asked)).differs).toEqual([])
        }),
        { numRuns: 30 },
      )
    })

    for (const command of ['COMMIT', 'ROLLBACK'] as const) {
      test(`waits for another transaction that inserts the key, and its ${command}`, async ({ skip }) => {
        if (client.transaction === undefined) return skip('one connection')
        const other = await client.transaction()
        await insertOnce(other.db, { ...payment, values: { note: 'other' } })
        const mine = insertOnce(db, { ...payment, values: { note: 'mine' } })
        await expect.poll(isWaiting).toBe(true)
        await other.end(command)
        const { inserted, row, differs } = await mine
        expect({ inserted, note: row['note'], differs }).toEqual(
          command === 'COMMIT'
            ? { inserted: false, note: 'other', differs: ['note'] }
            : { inserted: true, note: 'mine', differs: [] },
        )
      })
    }

    test('inside a transaction sees a row that was committed after the transaction began', async ({
      skip,
    }) => {
      if (client.transaction === undefined) return skip('one connection')
      const mine = await client.transaction()
      await mine.db.query('SELECT * FROM payments', [])
      await insertOnce(db, payment)
      expect(await insertOnce(mine.db, payment)).toMatchObject({ inserted: false, differs: [] })
      await mine.end('COMMIT')
    })

    test('refuses what cannot be written', async () => {
      const bad: [given: unknown, option: string][] = [
        [{ ...payment, table: 'payments"; DROP TABLE payments' }, 'table'],
        [{ ...payment, table: 'a.b.c' }, 'table'],
        [{ ...payment, table: undefined }, 'table'],
        [{ ...payment, key: {} }, 'key'],
        [{ ...payment, key: undefined }, 'key'],
        [{ ...payment, key: [1] }, 'key'],
        [{ ...payment, key: { order_id: null } }, 'key.order_id'],
        [{ ...payment, key: { 'order_id" --': 1 } }, 'key'],
        [{ ...payment, values: { order_id: 1 } }, 'values.order_id'],
        [{ ...payment, values: { '': 1 } }, 'values'],
        ...[
          undefined,
          Number.NaN,
          Infinity,
          [1],
          {},
          { toPostgres: () => 'x' },
          () => 1,
          Symbol('a'),
          '\ud800',
        ].map((note): [unknown, string] => [{ ...payment, values: { note } }, 'values.note']),
        [{ ...payment, values: { note: new Date(Number.NaN) } }, 'values.note'],
      ]
      for (const [given, option] of bad) {
        await expect(insertOnce(db, given as typeof payment), option).rejects.toMatchObject({
          code: 'option-invalid',
          option,
        })
      }
      expect(await count('payments')).toBe(0)
    })
  })

  describe('updateVersion', () => {
    test('is applied once, and recognises itself', async () => {
      await addCart()
      const change = { ...cart, version: 3, set: { address: 'new', total: 9.5 } }
      const applied = await updateVersion(db, change)
      expect(applied).toMatchObject({ kind: 'applied', version: 4n, row: { address: 'new' } })
      expect(await updateVersion(db, change)).toMatchObject({ kind: 'already-applied', version: 4n })
      expect(await updateVersion(db, { ...change, version: '3' })).toMatchObject({ kind: 'already-applied' })
      expect(await updateVersion(db, { ...change, version: 4n, set: { address: 'newer' } })).toMatchObject({
        kind: 'applied',
        version: 5n,
      })
      // The first change is no longer what the row says.
      expect(await updateVersion(db, change)).toMatchObject({ kind: 'conflict', version: 5n })
    })

    test('of many with one version one is applied', async () => {
      await addCart()
      const all = await Promise.all(
        Array.from({ length: 20 }, (_, at) =>
          updateVersion(db, { ...cart, version: 3, set: { address: `call ${at}` } }),
        ),
      )
      const kinds = all.map(({ kind }) => kind)
      expect(kinds.filter((kind) => kind === 'applied')).toHaveLength(1)
      expect(kinds.filter((kind) => kind === 'conflict')).toHaveLength(19)
      expect(Number((await db.query('SELECT version FROM carts', [])).rows[0]?.['version'])).toBe(4)
    })

    test('tells somebody else’s change and a missing row', async () => {
      await addCart()
      await updateVersion(db, { ...cart, version: 3, set: { address: 'theirs' } })
      const mine = await updateVersion(db, { ...cart, version: 3, set: { address: 'mine' } })
      expect(mine).toMatchObject({ kind: 'conflict', version: 4n, row: { address: 'theirs' } })
      expect(await updateVersion(db, { ...cart, version: 9, set: { address: 'mine' } })).toMatchObject({
        kind: 'conflict',
      })
      const nobody = { ...cart, key: { tenant: 'acme', id: 8 }, version: 3, set: { address: 'mine' } }
      expect(await updateVersion(db, nobody)).toEqual({ kind: 'missing' })
    })

    test('refuses what cannot be written', async () => {
      await addCart()
      const change = { ...cart, version: 3, set: { address: 'new' } }
      const bad: [given: unknown, option: string][] = [
        ...[-1, 1.5, Number.NaN, '', '3x', null, undefined, {}].map((version): [unknown, string] => [
          { ...change, version },
          'version',
        ]),
        [{ ...change, set: {} }, 'set'],
        [{ ...change, set: { version: 9 } }, 'set.version'],
        [{ ...change, set: { id: 9 } }, 'set.id'],
        [{ ...change, set: { address: ['a'] } }, 'set.address'],
        [{ ...change, key: { tenant: null } }, 'key'],
        [{ ...change, versionColumn: 'v; --' }, 'versionColumn'],
      ]
      for (const [given, option] of bad) {
        await expect(updateVersion(db, given as typeof change), option).rejects.toMatchObject({
          code: 'option-invalid',
          option,
        })
      }
      expect(await updateVersion(db, change)).toMatchObject({ kind: 'applied' })
    })
  })
}

test.skipIf(!hasMariadb)(
  'MySQL is asked once for the keys of a table, however often the pool is wrapped',
  async () => {
    const { pool, end } = await countedPool()
    for (let at = 0; at < 3; at++) {
      await insertOnce(mysql2Executor(pool), { table: 'payments', key: { order_id: at } })
    }
    expect(pool.asked.filter((text) => text.includes('information_schema'))).toHaveLength(1)
    await end()
  },
)

test('what is no executor is named', async () => {
  for (const db of [undefined, {}, { query: () => {} }, { dialect: 'oracle', query: () => {} }]) {
    const call = insertOnce(db as unknown as SqlExecutor, { table: 't', key: { id: 1 } })
    await expect(call).rejects.toMatchObject({ code: 'option-invalid', option: 'db' })
  }
})
