/** What a MySQL or MariaDB server, its settings and its client libraries can do to records. */
import mariadb, { type Pool, type PoolConfig } from 'mariadb'
import callbackMysql from 'mysql2'
import mysql from 'mysql2/promise'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type MysqlStore, mysqlMigrations, mysqlSchemaSql, mysqlStore } from '../../src/stores/mysql.ts'
import { completion, newClaim, newToken } from '../../src/verification/store-cases/context.ts'
import { mariadbDatabase } from '../servers.ts'

let url: string
let admin: mysql.Connection

beforeAll(async () => {
  url = await mariadbDatabase()
  admin = await mysql.createConnection(url)
})

afterAll(() => admin.end())

const database = (): string => new URL(url).pathname.slice(1)

function mysql2Pool(options: mysql.PoolOptions = {}, address = url): mysql.Pool {
  const pool = mysql.createPool({ uri: address, connectionLimit: 4, ...options })
  onTestFinished(() => pool.end())
  return pool
}

function mariadbPool(options: PoolConfig = {}): Pool {
  const { hostname, port, username, password, pathname } = new URL(url)
  const pool = mariadb.createPool({
    host: hostname,
    port: Number(port),
    user: username,
    password,
    database: pathname.slice(1),
    connectionLimit: 4,
    ...options,
  })
  onTestFinished(() => pool.end())
  return pool
}

let tables = 0
const newTable = (): string => `records_${++tables}`

/** A record through all verbs: what a setting of the pool could break shows in one of them. */
async function goesThroughLife(store: MysqlStore<never>): Promise<void> {
  const asked = newClaim({ operation: 'o\'hara \\ " ключ 🔑 ', principalTag: 'Ä ' })
  expect((await store.claim([asked])).replies).toEqual([{ kind: 'claimed' }])
  const found = (await store.claim([newClaim({ id: asked.id })])).replies[0]
  expect(found).toMatchObject({ kind: 'found', record: { token: asked.token, phase: 'running' } })
  expect((await store.renew([{ ...asked, leaseMs: 70_000 }])).replies).toEqual([{ kind: 'renewed' }])
  expect((await store.renew([{ ...asked, leaseMs: 70_000 }])).replies).toEqual([{ kind: 'renewed' }])
  const outcome = Buffer.from("octets ' \\ \0 \u001a\n", 'utf8')
  expect((await store.settle([completion(asked, { outcome })])).replies).toEqual([{ kind: 'settled' }])
  expect((await store.settle([completion(asked, { outcome })])).replies[0]).toMatchObject({ kind: 'refused' })
  const taker = newClaim({ id: asked.id })
  expect(
    (await store.supersede([{ seenToken: asked.token, seenPhase: 'completed', claim: taker }])).replies,
  ).toEqual([{ kind: 'superseded', fence: 2 }])
  const others = [newClaim(), newClaim()]
  await store.claim(others)
  await store.settle([completion(taker, { outcome }), ...others.map((it) => completion(it))])
  const [record] = (await store.read([asked.id])).replies
  expect(record).toMatchObject({ phase: 'completed', fence: 2, operation: taker.operation })
  expect(record?.phase === 'completed' && Buffer.from(record.outcome).equals(outcome)).toBe(true)
  const listed = await store.list({ limit: 10, principalTag: taker.principalTag })
  expect(listed.records.map(({ id }) => id)).toContain(asked.id)
  const end = await store.transaction(async (_tx, records) => {
    const inside = newClaim()
    expect((await records.claim([inside])).replies).toEqual([{ kind: 'claimed' }])
    return { kind: 'commit', value: inside.id, settlement: completion(inside) }
  })
  expect(end.kind).toBe('committed')
}

describe('options', () => {
  test('a name that is not plain is refused, and never gets into a statement', () => {
    const pool = mysql2Pool()
    const bad = ['', '1a', 'a`b', 'a b', 'a.b.c', 'a-b', '.a', 'a.', 'ä', 'a;', "a'", 'x'.repeat(49), 7, null]
    for (const table of bad) {
      expect(() => mysqlStore({ pool, table: table as string }), String(table)).toThrow(/table/)
      expect(() => mysqlSchemaSql({ table: table as string })).toThrow(/table/)
    }
    mysqlStore({ pool, table: `${'s'.repeat(48)}._1` })
  })

  test('a pool that is none, or of another library, is refused', () => {
    const callbacks = callbackMysql.createPool(url)
    onTestFinished(() => callbacks.promise().end())
    const bad: unknown[] = [{}, { pool: {} }, { pool: callbacks }, { mariadb: mysql2Pool() }, { pool: null }]
    for (const options of [...bad, { pool: mysql2Pool(), mariadb: mariadbPool() }]) {
      expect(() => mysqlStore(options as never)).toThrow(/Option (pool|mariadb)/)
    }
    const pool = mysql2Pool()
    expect(() => mysqlStore({ pool, migrate: 'never' as never })).toThrow(/migrate/)
    expect(() => mysqlStore({ pool, isolation: 'dirty' as never })).toThrow(/isolation/)
  })

  test('a pool that allows several statements at once is refused', async () => {
    const table = newTable()
    const stores = [
      mysqlStore({ pool: mysql2Pool({ multipleStatements: true }), table }),
      mysqlStore({ mariadb: mariadbPool({ multipleStatements: true }), table }),
    ]
    for (const store of stores) {
      await expect(store.ready()).rejects.toMatchObject({ code: 'option-invalid' })
      await expect(store.read([newClaim().id])).rejects.toMatchObject({ code: 'option-invalid' })
    }
  })

  test('a pool without autocommit is refused: it would keep nothing', async () => {
    const pool = mysql2Pool()
    pool.on(
      'connection',
      (connection) => void (connection as never as mysql.Connection).query('SET autocommit = 0'),
    )
    await expect(mysqlStore({ pool }).ready()).rejects.toMatchObject({ code: 'option-invalid' })
  })
})

describe('settings of the client libraries do not matter', () => {
  const mysql2Settings: Record<string, mysql.PoolOptions> = {
    'rows as arrays': { rowsAsArray: true },
    'nested tables': { nestTables: true },
    'a typeCast of the user': { typeCast: () => 'nonsense' },
    'no typeCast': { typeCast: false },
    'named placeholders': { namedPlaceholders: true },
    'numbers as text': { supportBigNumbers: true, bigNumberStrings: true, dateStrings: true },
    'changed rows only': { flags: ['-FOUND_ROWS'] },
    'a time zone': { timezone: '+09:00' },
    'one connection': { connectionLimit: 1 },
  }
  for (const [what, settings] of Object.entries(mysql2Settings)) {
    test(`mysql2: ${what}`, async () => {
      await goesThroughLife(
        mysqlStore({ pool: mysql2Pool(settings), table: newTable() }) as MysqlStore<never>,
      )
    })
  }

  const mariadbSettings: Record<string, PoolConfig> = {
    'rows as arrays': { rowsAsArray: true, metaAsArray: true },
    'nested tables': { nestTables: true },
    'a typeCast of the user': { typeCast: () => 'nonsense' },
    'numbers as text': { supportBigNumbers: true, bigNumberStrings: true, dateStrings: true },
    'numbers as bigint': { insertIdAsNumber: false, bigIntAsNumber: false },
    'named placeholders': { namedPlaceholders: true },
    'changed rows only': { foundRows: false },
    'one connection': { connectionLimit: 1 },
  }
  for (const [what, settings] of Object.entries(mariadbSettings)) {
    test(`mariadb: ${what}`, async () => {
      const store = mysqlStore({ mariadb: mariadbPool(settings), table: newTable() })
      await goesThroughLife(store as MysqlStore<never>)
    })
  }

  const modes = [
    '',
    'ANSI_QUOTES',
    'NO_BACKSLASH_ESCAPES',
    'ANSI,TRADITIONAL,HIGH_NOT_PRECEDENCE,PAD_CHAR_TO_FULL_LENGTH',
  ]
  for (const mode of modes) {
    test(`sql_mode '${mode}'`, async () => {
      const pool = mysql2Pool()
      pool.on('connection', (connection) => {
        void (connection as never as mysql.Connection).query(`SET sql_mode = '${mode}'`)
      })
      await goesThroughLife(mysqlStore({ pool, table: newTable() }) as MysqlStore<never>)
      const other = mariadbPool({ initSql: `SET sql_mode = '${mode}'` })
      await goesThroughLife(mysqlStore({ mariadb: other, table: newTable() }) as MysqlStore<never>)
    })
  }

  test('the largest outcome comes back, alone and in a batch', async () => {
    for (const open of [
      () => mysqlStore({ pool: mysql2Pool(), table: newTable() }),
      () => mysqlStore({ mariadb: mariadbPool(), table: newTable() }),
    ]) {
      const store = open()
      // Every octet would be escaped, were it written as text.
      const outcome = Buffer.alloc(store.capabilities.outcomeBytesMax, "'")
      const claims = [newClaim(), newClaim(), newClaim()]
      await store.claim(claims)
      const [first, ...others] = claims
      if (first === undefined) throw new Error('no claim')
      await store.settle([completion(first, { outcome })])
      await store.settle(others.map((it) => completion(it, { outcome })))
      for (const { id } of claims) {
        const [record] = (await store.read([id])).replies
        expect(record?.phase === 'completed' && Buffer.compare(outcome, record.outcome)).toBe(0)
      }
    }
  })
})

describe('comparisons', () => {
  test('texts that a collation takes for equal are different', async () => {
    const store = mysqlStore({ pool: mysql2Pool(), table: newTable() })
    const pairs = [
      ['abc', 'ABC'],
      ['abc', 'abc '],
      ['cafe', 'café'],
      ['café', 'cafe\u0301'],
      ['😀', '😁'],
      ['', ' '],
      ['0', ''],
    ] as const
    for (const [one, other] of pairs) {
      const asked = newClaim({ operation: one, principalTag: one })
      await store.claim([asked])
      const [record] = (await store.read([asked.id])).replies
      expect(record).toMatchObject({ operation: one, principalTag: one })
      const ids = async (query: object): Promise<string[]> =>
        (await store.list({ limit: 100, ...query })).records.map(({ id }) => id)
      expect(await ids({ operation: one }), one).toContain(asked.id)
      expect(await ids({ operation: other }), other).not.toContain(asked.id)
      expect(await ids({ principalTag: other }), other).not.toContain(asked.id)
    }
  })

  test('ids and tokens that differ only in case are different', async () => {
    const store = mysqlStore({ pool: mysql2Pool(), table: newTable() })
    const token = `abcdefghijklmnopqrstuA`
    const asked = newClaim({ id: 'aaaaaaaaaaaaaaaaaaaaaA' as never, token })
    const cased = newClaim({ id: 'AAAAAAAAAAAAAAAAAAAAAA' as never })
    const { replies } = await store.claim([asked, cased])
    expect(replies.map(({ kind }) => kind)).toEqual(['claimed', 'claimed'])
    const stolen = completion({ id: asked.id, token: 'ABCDEFGHIJKLMNOPQRSTUA' })
    expect((await store.settle([stolen])).replies[0]?.kind).toBe('refused')
  })

  test('a number or an object in the place of an id, token or name finds and changes nothing', async () => {
    const store = mysqlStore({ pool: mysql2Pool(), table: newTable() })
    const asked = newClaim()
    await store.claim([asked])
    for (const odd of [0, 1, true, null, { id: 1 }, ['a'], '', '0'] as never[]) {
      await expect(store.read([odd])).rejects.toMatchObject({ code: 'store-failed', failure: 'permanent' })
      const { replies } = await store.settle([
        completion({ id: asked.id, token: odd }),
        completion({ id: odd, token: asked.token }),
      ])
      expect(replies.map(({ kind }) => kind)).toEqual(['failed', 'failed'])
      const claims = [newClaim({ fingerprint: odd }), newClaim({ token: odd })]
      if (typeof odd !== 'string') claims.push(newClaim({ operation: odd }), newClaim({ principalTag: odd }))
      const claimed = (await store.claim([...claims, newClaim()])).replies.map(({ kind }) => kind)
      expect(claimed).toEqual([...claims.map(() => 'failed'), 'claimed'])
    }
    expect((await store.read([asked.id])).replies[0]?.phase).toBe('running')
  })

  test('what does not fit is refused, where a server that is not strict would cut it', async () => {
    const pool = mysql2Pool()
    pool.on('connection', (connection) => {
      void (connection as never as mysql.Connection).query(`SET sql_mode = ''`)
    })
    const store = mysqlStore({ pool, table: newTable() })
    const long = '🔑'.repeat(127)
    const fits = newClaim({ operation: long, principalTag: 'ф'.repeat(255) })
    const tooLong = newClaim({ operation: 'x'.repeat(256) })
    const broken = newClaim({ principalTag: 'half of a pair: \ud83d' })
    const endless = newClaim({ retentionMs: Number.POSITIVE_INFINITY })
    const { replies } = await store.claim([fits, tooLong, broken, endless])
    expect(replies.map(({ kind }) => kind)).toEqual(['claimed', 'failed', 'failed', 'failed'])
    expect((await store.read([fits.id])).replies[0]).toMatchObject({
      operation: fits.operation,
      principalTag: fits.principalTag,
    })
  })

  test('a damaged row is an error, and hides no other from a list', async () => {
    const table = newTable()
    const store = mysqlStore({ pool: mysql2Pool(), table })
    const [good, bad] = [newClaim(), newClaim()]
    await store.claim([good, bad])
    await admin.query(`UPDATE ${table} SET phase = 9 WHERE token = ?`, [Buffer.from(bad.token, 'base64url')])
    await expect(store.read([bad.id])).rejects.toMatchObject({ failure: 'permanent' })
    expect((await store.claim([newClaim({ id: bad.id })])).replies[0]?.kind).toBe('failed')
    expect((await store.list({ limit: 10 })).records.map(({ id }) => id)).toEqual([good.id])
  })

  test('errors carry no value of a statement', async () => {
    const table = newTable()
    const store = mysqlStore({ mariadb: mariadbPool(), table })
    await store.ready()
    await admin.query(`DROP TABLE ${table}`)
    const asked = newClaim()
    const error: Error = await store.claim([asked]).then(
      () => new Error('no error'),
      (e) => e,
    )
    expect(error).toMatchObject({ code: 'store-failed', failure: 'permanent', cause: { errno: 1146 } })
    const text = JSON.stringify([error.message, error.cause, (error.cause as Error).message])
    expect(text).not.toContain(Buffer.from(asked.id, 'base64url').toString('hex'))
    expect(text).not.toContain('INSERT')
  })
})

describe('the clock', () => {
  test('is the server’s, in UTC, whatever the time zone of the session', async () => {
    const table = newTable()
    for (const zone of ['+00:00', '+13:00', '-11:30']) {
      const pool = mysql2Pool()
      pool.on('connection', (connection) => {
        void (connection as never as mysql.Connection).query(`SET time_zone = '${zone}'`)
      })
      const store = mysqlStore({ pool, table })
      const asked = newClaim({ leaseMs: 60_000 })
      const { now } = await store.claim([asked])
      const [rows] = await admin.query<mysql.RowDataPacket[]>('SELECT UNIX_TIMESTAMP() AS seconds')
      expect(Math.abs(Number(rows[0]?.seconds) * 1_000 - now), zone).toBeLessThan(60_000)
      const reader = mysqlStore({ mariadb: mariadbPool({ timezone: '+05:00' }), table })
      const read = await reader.read([asked.id])
      expect(read.replies[0]).toMatchObject({ createdAt: now, leaseUntil: now + 60_000 })
      expect(read.now - now).toBeLessThan(60_000)
    }
  })

  test('goes on inside a transaction', async () => {
    const store = mysqlStore({ pool: mysql2Pool(), table: newTable() })
    await store.transaction(async (tx, records) => {
      const before = (await records.read([])).now
      await tx.query('DO SLEEP(0.02)')
      expect((await records.read([])).now).toBeGreaterThan(before)
      return { kind: 'roll-back', value: undefined }
    })
  })
})

describe('the table', () => {
  test('is made once by processes that start at once', async () => {
    const table = newTable()
    const stores = Array.from({ length: 4 }, () => mysqlStore({ pool: mysql2Pool(), table }))
    await Promise.all(stores.map((store) => store.ready()))
    const [rows] = await admin.query('SELECT version FROM retrysafe_schema WHERE name = ?', [table])
    expect(rows).toEqual([{ version: 1 }])
    const lock = `LEFT(CONCAT('retrysafe.', DATABASE()), 64)`
    const [locks] = await admin.query<mysql.RowDataPacket[]>(`SELECT IS_FREE_LOCK(${lock}) AS free`)
    expect(locks[0]?.free).toBe(1)
    // Whoever has it makes others wait, and tells them when that takes too long.
    await admin.query(`SELECT GET_LOCK(${lock}, 0)`)
    const late = mysqlStore({ pool: mysql2Pool(), table: newTable() }).ready()
    await expect(late).rejects.toMatchObject({ code: 'store-failed', failure: 'transient' })
    await admin.query(`DO RELEASE_LOCK(${lock})`)
  })

  test('may be in another database', async () => {
    const other = new URL(await mariadbDatabase()).pathname.slice(1)
    const store = mysqlStore({ pool: mysql2Pool(), table: `${other}.records` })
    await goesThroughLife(store as MysqlStore<never>)
    const [rows] = await admin.query(`SHOW TABLES FROM ${other}`)
    expect(rows).toHaveLength(2)
  })

  test('is of transactional, binary make', async () => {
    const table = newTable()
    await mysqlStore({ pool: mysql2Pool(), table }).ready()
    const [rows] = await admin.query<mysql.RowDataPacket[]>(
      'SELECT DATA_TYPE AS type, COUNT(*) AS columns FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? GROUP BY DATA_TYPE',
      [table],
    )
    expect(rows.map(({ type }) => type as string).toSorted()).toEqual([
      'bigint',
      'binary',
      'int',
      'longblob',
      'tinyint',
      'varbinary',
    ])
  })

  test('that is missing is named with the command that makes it', async () => {
    const store = mysqlStore({ pool: mysql2Pool(), table: newTable(), migrate: 'check' })
    const failure = { code: 'schema-mismatch', message: expect.stringContaining('mysqlMigrations') }
    await expect(store.ready()).rejects.toMatchObject(failure)
    await expect(store.claim([newClaim()])).rejects.toMatchObject(failure)
  })

  test('of a newer version is refused', async () => {
    const table = newTable()
    await mysqlStore({ pool: mysql2Pool(), table }).ready()
    await admin.query('UPDATE retrysafe_schema SET version = 2 WHERE name = ?', [table])
    const pool = mysql2Pool()
    for (const migrate of ['auto', 'check'] as const) {
      await expect(mysqlStore({ pool, table, migrate }).ready()).rejects.toMatchObject({
        code: 'schema-mismatch',
      })
    }
    await expect(mysqlMigrations({ pool, table }).status()).rejects.toMatchObject({ code: 'schema-mismatch' })
  })

  test('of an engine without transactions is refused', async () => {
    const table = newTable()
    const pool = mysql2Pool()
    await mysqlMigrations({ pool, table }).apply()
    await admin.query(`ALTER TABLE ${table} ENGINE = MyISAM`)
    await expect(mysqlStore({ pool, table }).ready()).rejects.toMatchObject({ code: 'schema-mismatch' })
  })

  test('is not made by a user who may not, who is told what to do, and served once it is there', async () => {
    const table = newTable()
    const user = `u${newToken().replaceAll(/\W/g, '').slice(0, 12)}`
    await admin.query(`CREATE USER ${user}@'%' IDENTIFIED BY 'p'`)
    await admin.query(`CREATE TABLE orders_of_${table} (id INT)`)
    await admin.query(`GRANT SELECT ON ${database()}.orders_of_${table} TO ${user}@'%'`)
    const address = Object.assign(new URL(url), { username: user, password: 'p' }).href
    const store = mysqlStore({ pool: mysql2Pool({}, address), table })
    await expect(store.ready()).rejects.toMatchObject({
      code: 'schema-mismatch',
      message: expect.stringContaining('mysqlMigrations'),
    })
    await mysqlMigrations({ pool: mysql2Pool(), table }).apply()
    await admin.query(`GRANT SELECT ON ${database()}.retrysafe_schema TO ${user}@'%'`)
    await admin.query(`GRANT SELECT, INSERT, UPDATE ON ${database()}.${table} TO ${user}@'%'`)
    // DELETE is missing, which only the sweep would find out.
    await expect(store.ready()).rejects.toMatchObject({ message: expect.stringContaining('GRANT') })
    await admin.query(`GRANT DELETE ON ${database()}.${table} TO ${user}@'%'`)
    await goesThroughLife(store as MysqlStore<never>)
  })

  test('has its steps as SQL, which do the same by hand', async () => {
    const table = newTable()
    const pool = mysql2Pool()
    const migrations = mysqlMigrations({ pool, table })
    expect(await migrations.status()).toEqual({ version: 0, latest: 1 })
    const sql = await migrations.pending()
    expect(sql).toBe(mysqlSchemaSql({ table }))
    for (const statement of sql.split(';\n').filter((it) => it !== '')) await admin.query(statement)
    expect(await migrations.status()).toEqual({ version: 1, latest: 1 })
    expect(await migrations.pending()).toBe('')
    await migrations.apply()
    await goesThroughLife(mysqlStore({ pool, table, migrate: 'check' }) as MysqlStore<never>)
  })
})
