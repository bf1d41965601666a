/**
 * What every adapter of `src/transactions` promises to the stores, run against the real ORM and the real
 * database. What the ORM has done is looked at from outside, with the plain driver.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { SqlResult, SqlTransaction } from '../../src/core/sql.ts'
import { type Database, hasServer, openDatabase } from './databases.ts'
import { commitsOnce } from './end-to-end.ts'
import type { Dialect, Outside, Subject } from './subject.ts'

/** Runs the contract of one ORM on one of its databases. */
export function describeTransactions<Tx>(
  orm: string,
  dialect: Dialect,
  open: (url: string) => Promise<Subject<Tx>> | Subject<Tx>,
): void {
  const server = dialect === 'mysql' ? 'mariadb' : dialect
  if (hasServer[dialect]) describe(`${orm} on ${server}`, () => contractOf(dialect, open))
  else it.skip(`${orm} on ${server} [no server of ${server}]`, () => undefined)
}

function contractOf<Tx>(dialect: Dialect, open: (url: string) => Promise<Subject<Tx>> | Subject<Tx>): void {
  let subject: Subject<Tx>
  let database: Database

  beforeAll(async () => {
    database = await openDatabase(dialect)
    subject = await open(database.url)
  })
  afterAll(async () => {
    await subject?.close()
    await database?.close()
  })
  beforeEach(async () => {
    await outside('DELETE FROM orders')
    await outside('DELETE FROM sql_values')
  })

  const outside: Outside = (text) => database.outside(text)
  const given: Given = {
    dialect,
    outside,
    inside: (work) => subject.opener.transaction((tx) => work(subject.opener.join(tx))),
  }

  describe('binds', () => bindsValues(given))
  describe('answers', () => answers(given))
  describe('errors', () => keepsErrors(given))

  describe('with a store', () => commitsOnce(dialect, () => ({ subject, url: database.url, outside })))

  describe('a transaction', () => {
    it('commits what both sides wrote', async () => {
      const value = await subject.opener.transaction(async (tx) => {
        await subject.insertOrder(tx, 'ada')
        await subject.opener.join(tx).query('INSERT INTO sql_values (id) VALUES (1)', [])
        return 'made'
      })
      expect(value).toBe('made')
      expect(await counts(outside)).toEqual({ orders: 1, values: 1 })
    })

    it('rolls both back and rejects with the very error', async () => {
      const error = new Error('no')
      const end = subject.opener.transaction(async (tx) => {
        await subject.opener.join(tx).query('INSERT INTO sql_values (id) VALUES (1)', [])
        await subject.insertOrder(tx, 'ada')
        throw error
      })
      await expect(end).rejects.toBe(error)
      expect(await counts(outside)).toEqual({ orders: 0, values: 0 })
    })

    it('shows each side what the other wrote, before anybody else sees it', async () => {
      await subject.opener.transaction(async (tx) => {
        const id = await subject.insertOrder(tx, 'ada')
        const sql = subject.opener.join(tx)
        const { rows } = await sql.query(`SELECT customer FROM orders WHERE id = ${mark(dialect, 1)}`, [id])
        expect(rows).toEqual([{ customer: 'ada' }])
        expect(await counts(outside)).toEqual({ orders: 0, values: 0 })
      })
      expect(await counts(outside)).toEqual({ orders: 1, values: 0 })
    })

    it('nests in a savepoint of the ORM, where it has them', async () => {
      const { savepoint } = subject
      if (savepoint === undefined) return
      await subject.opener.transaction(async (tx) => {
        const undone = savepoint(tx, async (inner) => {
          await subject.opener.join(inner).query('INSERT INTO sql_values (id) VALUES (1)', [])
          throw new Error('undo')
        })
        await expect(undone).rejects.toThrow('undo')
        await savepoint(tx, async (inner) => {
          await subject.opener.join(inner).query('INSERT INTO sql_values (id) VALUES (2)', [])
        })
        const { rows } = await subject.opener.join(tx).query('SELECT id FROM sql_values', [])
        expect(rows).toEqual([{ id: 2 }])
      })
      expect(await counts(outside)).toEqual({ orders: 0, values: 1 })
    })

    it('takes savepoints of the store', async () => {
      const end = given.inside(async (sql) => {
        await sql.query('SAVEPOINT retrysafe', [])
        await sql.query('INSERT INTO sql_values (id) VALUES (1)', [])
        await expect(sql.query('INSERT INTO sql_values (id) VALUES (1)', [])).rejects.toThrow()
        await sql.query('ROLLBACK TO SAVEPOINT retrysafe', [])
        await sql.query('INSERT INTO sql_values (id) VALUES (2)', [])
      })
      if (subject.failsWhole) {
        await expect(end).rejects.toThrow()
        return
      }
      await end
      expect(await outside('SELECT id FROM sql_values')).toEqual([{ id: 2 }])
    })
  })
}

interface Given {
  readonly dialect: Dialect
  readonly outside: Outside
  readonly inside: <Value>(work: (sql: SqlTransaction) => Promise<Value>) => Promise<Value>
}

const bytes = Buffer.from([0, 1, 0x27, 0x5c, 0x3f, 0x7f, 0x80, 0xff])

function bindsValues({ dialect, outside, inside }: Given): void {
  const insert = `INSERT INTO sql_values (id, words, bytes, big, fraction) VALUES (${marks(dialect, 5)})`

  it.each([
    ['text', { words: 'Ünïcødé 漢字 🙂' }],
    ['text with quotes', { words: `it's "quoted" \\ and \`ticked\`` }],
    ['text with placeholders', { words: '? ?? $1 $2 $$ :name :1 @p ${x} %s' }],
    ['text with a comment and a second statement', { words: `'; DELETE FROM orders; -- /* x` }],
    ['an empty text', { words: '' }],
    ['a Buffer', { bytes }],
    [
      'a Uint8Array that is a part of a buffer',
      { bytes: new Uint8Array(new Uint8Array([9, ...bytes, 9]).buffer, 1, 8) },
    ],
    ['an empty Buffer', { bytes: Buffer.alloc(0) }],
    ['a negative integer', { big: -7 }],
    ['the largest safe integer', { big: Number.MAX_SAFE_INTEGER }],
    ['a time in milliseconds', { big: 1_800_000_000_000 }],
    ['a fraction', { fraction: -0.125 }],
    ['zero', { big: 0, fraction: 0 }],
    ['null', { words: null, bytes: null, big: null, fraction: null }],
  ] as const)('%s', async (_, given) => {
    const row = { words: null, bytes: null, big: null, fraction: null, ...given }
    const readBack = await inside(async (sql) => {
      await sql.query(insert, [1, row.words, row.bytes, row.big, row.fraction])
      return await sql.query('SELECT words, bytes, big, fraction FROM sql_values', [])
    })
    const [stored] = await outside('SELECT words, bytes, big, fraction FROM sql_values')
    expect(plain(stored)).toEqual(plain(row))
    expect(plain(readBack.rows[0])).toEqual(plain(row))
  })

  it('what a condition compares', async () => {
    const found = await inside(async (sql) => {
      await sql.query(insert, [1, 'a', bytes, 5, 0.5])
      await sql.query(insert, [2, 'b', Buffer.from('other'), 6, 0.25])
      const text = `SELECT id FROM sql_values WHERE bytes = ${mark(dialect, 1)} AND big < ${mark(dialect, 2)}`
      return (await sql.query(text, [bytes, 6])).rows
    })
    expect(found).toEqual([{ id: 1 }])
  })

  it('beside literals that look like placeholders', async () => {
    const literal = dialect === 'postgres' ? '? ?? :name :1 $1 $x $$ @p a$2' : ':name :1 $1 $x $$ @p a$2'
    const [value, cast] = dialect === 'postgres' ? ['$1::text', '::text'] : ['?', '']
    const { rows } = await inside((sql) =>
      sql.query(`SELECT '${literal}'${cast} AS literal, ${value} AS value, 'b ' AS after`, ['bound']),
    )
    expect(rows).toEqual([{ literal, value: 'bound', after: 'b ' }])
  })

  it('nothing beside such literals', async () => {
    const literal = dialect === 'postgres' ? '? ?? :name :1 $1 $x $$ @p' : ':name :1 $1 $x $$ @p'
    const { rows } = await inside((sql) => sql.query(`SELECT '${literal}' AS literal`, []))
    expect(rows).toEqual([{ literal }])
  })

  if (dialect === 'mysql') return

  it('by number: out of order, and one twice', async () => {
    const { rows } = await inside((sql) =>
      sql.query('SELECT $2::text AS b, $1::int AS a, $2::text AS again, $1::int + 1 AS more', [1, 'two']),
    )
    expect(rows).toEqual([{ b: 'two', a: 1, again: 'two', more: 2 }])
  })

  it('more than nine values', async () => {
    const numbers = Array.from({ length: 12 }, (_, at) => at + 1)
    const text = `SELECT ${numbers.map((at) => `$${at}::int AS c${at}`).join(', ')}`
    const { rows } = await inside((sql) => sql.query(text, numbers))
    expect(rows).toEqual([Object.fromEntries(numbers.map((at) => [`c${at}`, at]))])
  })

  it('several rows of values', async () => {
    await inside((sql) =>
      sql.query(
        'INSERT INTO sql_values (id, bytes) SELECT * FROM (VALUES ($1::int, $2::bytea), ($3, $4)) AS v',
        [1, bytes, 2, Buffer.from('two')],
      ),
    )
    expect(await outside('SELECT id, bytes FROM sql_values ORDER BY id')).toEqual([
      { id: 1, bytes },
      { id: 2, bytes: Buffer.from('two') },
    ])
  })
}

function answers({ dialect, outside, inside }: Given): void {
  const query = (text: string, values: unknown[] = []): Promise<SqlResult> =>
    inside((sql) => sql.query(text, values))
  beforeEach(async () => {
    await outside(`INSERT INTO sql_values (id, words) VALUES (1, 'one'), (2, 'two')`)
  })

  it('a SELECT', async () => {
    const { rows } = await query('SELECT id, words FROM sql_values ORDER BY id')
    expect(rows).toEqual([
      { id: 1, words: 'one' },
      { id: 2, words: 'two' },
    ])
  })

  it('a SELECT that finds nothing', async () => {
    const { rows } = await query(`SELECT id FROM sql_values WHERE id = ${mark(dialect, 1)}`, [9])
    expect(rows).toEqual([])
  })

  it('column names as they are', async () => {
    const { rows } = await query('SELECT id AS retain_until_ms FROM sql_values WHERE id = 1')
    expect(rows).toEqual([{ retain_until_ms: 1 }])
  })

  it('an INSERT', async () => {
    const text = `INSERT INTO sql_values (id, words) VALUES (${marks(dialect, 2)})`
    expect(await query(text, [3, 'three'])).toEqual({ rows: [], affected: 1 })
  })

  it('an UPDATE with the rows that it matched', async () => {
    const text = `UPDATE sql_values SET words = ${mark(dialect, 1)} WHERE id < ${mark(dialect, 2)}`
    expect(await query(text, ['one', 3])).toEqual({ rows: [], affected: 2 })
    expect(await query(text, ['one', 3])).toEqual({ rows: [], affected: 2 })
    expect(await query(text, ['one', 0])).toEqual({ rows: [], affected: 0 })
  })

  it('a DELETE', async () => {
    const text = `DELETE FROM sql_values WHERE id = ${mark(dialect, 1)}`
    expect(await query(text, [1])).toEqual({ rows: [], affected: 1 })
    expect(await query(text, [1])).toEqual({ rows: [], affected: 0 })
  })

  if (dialect === 'mysql') {
    it('an INSERT IGNORE', async () => {
      const text = 'INSERT IGNORE INTO sql_values (id, words) VALUES (?, ?)'
      expect(await query(text, [3, 'three'])).toEqual({ rows: [], affected: 1 })
      expect(await query(text, [3, 'again'])).toEqual({ rows: [], affected: 0 })
    })

    it('a statement of MariaDB with a setting of its own', async () => {
      const set = 'SET STATEMENT innodb_lock_wait_timeout=1 FOR '
      const { rows } = await query(`${set}SELECT id FROM sql_values WHERE id = ?`, [2])
      expect(rows).toEqual([{ id: 2 }])
      expect(await query(`${set}DELETE FROM sql_values WHERE id = ?`, [2])).toEqual({ rows: [], affected: 1 })
    })

    it('an INSERT .. RETURNING of MariaDB', async () => {
      const text = 'INSERT INTO sql_values (id, words) VALUES (?, ?) RETURNING id, words'
      expect(await query(text, [3, 'three'])).toEqual({ rows: [{ id: 3, words: 'three' }], affected: 1 })
    })
    return
  }

  it('an INSERT .. ON CONFLICT DO NOTHING RETURNING', async () => {
    const text = 'INSERT INTO sql_values (id, words) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING id'
    expect(await query(text, [3, 'three'])).toEqual({ rows: [{ id: 3 }], affected: 1 })
    expect(await query(text, [3, 'again'])).toEqual({ rows: [], affected: 0 })
  })

  it('an UPDATE .. RETURNING', async () => {
    const text = 'UPDATE sql_values SET words = $1 WHERE id >= $2 RETURNING id, words'
    expect(await query(text, ['new', 2])).toEqual({ rows: [{ id: 2, words: 'new' }], affected: 1 })
    expect(await query(text, ['new', 9])).toEqual({ rows: [], affected: 0 })
  })

  it('a DELETE .. RETURNING', async () => {
    const text = 'DELETE FROM sql_values WHERE id = $1 RETURNING words'
    expect(await query(text, [1])).toEqual({ rows: [{ words: 'one' }], affected: 1 })
  })

  it('a WITH that changes data', async () => {
    const text = `WITH made AS (
        INSERT INTO sql_values (id, words) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING id, words
      ), changed AS (
        UPDATE sql_values SET words = made.words FROM made WHERE sql_values.id = $3 RETURNING sql_values.id
      )
      SELECT made.id, changed.id AS changed FROM made, changed`
    expect((await query(text, [3, 'three', 1])).rows).toEqual([{ id: 3, changed: 1 }])
    expect((await query(text, [3, 'three', 1])).rows).toEqual([])
    expect(await outside('SELECT id, words FROM sql_values ORDER BY id')).toEqual([
      { id: 1, words: 'three' },
      { id: 2, words: 'two' },
      { id: 3, words: 'three' },
    ])
  })

  it('a WITH that begins on a later line', async () => {
    const { rows } = await query('\n  WITH one AS (SELECT 1 AS id)\n  SELECT id FROM one')
    expect(rows).toEqual([{ id: 1 }])
  })
}

function keepsErrors({ dialect, inside }: Given): void {
  const codes = {
    duplicate: dialect === 'postgres' ? '23505' : 1062,
    absent: dialect === 'postgres' ? '42P01' : 1146,
  }

  it('a duplicate key shows its code', async () => {
    const failed = inside(async (sql) => {
      await sql.query(`INSERT INTO sql_values (id) VALUES (${mark(dialect, 1)})`, [1])
      await sql.query(`INSERT INTO sql_values (id) VALUES (${mark(dialect, 1)})`, [1])
    })
    expect(databaseCodes(await errorOf(failed))).toContain(codes.duplicate)
  })

  it('a table that is not there shows its code, of a query and of a change', async () => {
    const read = inside((sql) => sql.query('SELECT 1 FROM not_there', []))
    expect(databaseCodes(await errorOf(read))).toContain(codes.absent)
    const change = inside((sql) => sql.query('DELETE FROM not_there', []))
    expect(databaseCodes(await errorOf(change))).toContain(codes.absent)
  })
}

/** SQLSTATEs and error numbers along the links that the stores follow. */
function databaseCodes(error: unknown, depth = 0): unknown[] {
  if (typeof error !== 'object' || error === null || depth > 8) return []
  const { code, errno, cause, original, parent, driverError, meta } = error as Record<string, unknown>
  const linked = [cause, original, parent, driverError, meta].flatMap((each) =>
    databaseCodes(each, depth + 1),
  )
  return [code, errno, ...linked].filter((each) => each !== undefined)
}

async function errorOf(failing: Promise<unknown>): Promise<unknown> {
  return await failing.then(
    () => expect.fail('did not reject'),
    (error: unknown) => error,
  )
}

/** The n-th placeholder, from 1. */
function mark(dialect: Dialect, at: number): string {
  return dialect === 'postgres' ? `$${at}` : '?'
}

function marks(dialect: Dialect, count: number): string {
  return Array.from({ length: count }, (_, at) => mark(dialect, at + 1)).join(', ')
}

/** Drivers read a bigint as text, number or bigint and bytes as their own kind of array. */
function plain(row: unknown): Record<string, unknown> {
  const { words, bytes: read, big, fraction } = row as Record<string, unknown>
  return {
    words,
    bytes: read instanceof Uint8Array ? Buffer.from(read).toString('hex') : read,
    big: big === null ? null : Number(big),
    fraction,
  }
}

async function counts(outside: Outside): Promise<{ orders: number; values: number }> {
  const [orders] = await outside('SELECT count(*) AS n FROM orders')
  const [values] = await outside('SELECT count(*) AS n FROM sql_values')
  return { orders: Number(orders?.['n']), values: Number(values?.['n']) }
}
