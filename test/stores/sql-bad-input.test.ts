/** Bad options, addresses, values and rows: each is refused by a typed error, by itself, and tells no secret. */
import { randomUUID } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { inspect } from 'node:util'
import mariadb from 'mariadb'
import mysql from 'mysql2/promise'
import pg from 'pg'
import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { IdempotencyStore } from '../../src/core/store.ts'
import { createIdempotency, type Idempotency } from '../../src/engine/idempotency.ts'
import { type MysqlStore, mysqlSchemaSql, mysqlStore } from '../../src/stores/mysql.ts'
import { type PostgresStore, postgresSchemaSql, postgresStore } from '../../src/stores/postgres.ts'
import { completion, newClaim } from '../../src/verification/store-cases/context.ts'
import { hasMariadb, hasPostgres, mariadbDatabase, postgresDatabase } from '../servers.ts'
import { MortalPostgres } from './mortal-postgres.ts'

const canary = 'canary:p@ss/w#rd%'

let postgresUrl: string
let mariadbUrl: string
let pgPool: pg.Pool
let mysqlPool: mysql.Pool

beforeAll(async () => {
  if (!hasPostgres || !hasMariadb) return
  postgresUrl = await postgresDatabase()
  mariadbUrl = await mariadbDatabase()
  pgPool = new pg.Pool({ connectionString: postgresUrl, max: 4 })
  mysqlPool = mysql.createPool({ uri: mariadbUrl, connectionLimit: 4 })
})

afterAll(async () => {
  await pgPool?.end()
  await mysqlPool?.end()
})

beforeEach(({ skip }) => skip(!hasPostgres || !hasMariadb, 'no servers of postgres and mariadb'))

/** Each store on its database, and how to change a row behind its back. */
interface Subject {
  readonly store: IdempotencyStore
  readonly idem: Idempotency<never>
  readonly insert: string
  written(): Promise<readonly unknown[]>
  damage(token: string, what: string): Promise<unknown>
}

const newName = (prefix: string): string => `${prefix}_${randomUUID().slice(0, 8)}`

const subjects: Readonly<Record<'postgres' | 'mysql', () => Promise<Subject>>> = {
  async postgres() {
    const [orders, table] = [newName('orders'), newName('records')]
    await pgPool.query(`CREATE TABLE ${orders} (sku text)`)
    const store = postgresStore({ pool: pgPool, table })
    return {
      store,
      idem: createIdempotency({ store, sweep: false, wait: 0 }) as Idempotency<never>,
      insert: `INSERT INTO ${orders} (sku) VALUES ($1) RETURNING sku`,
      written: async () => (await pgPool.query(`SELECT sku FROM ${orders}`)).rows,
      damage: (token, what) => pgPool.query(`UPDATE ${table} SET ${what} WHERE token = '${hexOf(token)}'`),
    }
  },
  async mysql() {
    const [orders, table] = [newName('orders'), newName('records')]
    await mysqlPool.query(`CREATE TABLE ${orders} (sku VARCHAR(200))`)
    const store = mysqlStore({ pool: mysqlPool, table })
    return {
      store,
      idem: createIdempotency({ store, sweep: false, wait: 0 }) as Idempotency<never>,
      insert: `INSERT INTO ${orders} (sku) VALUES (?)`,
      written: async () => (await mysqlPool.query<mysql.RowDataPacket[]>(`SELECT sku FROM ${orders}`))[0],
      damage: (token, what) =>
        mysqlPool.query(`UPDATE ${table} SET ${what} WHERE token = x'${hexOf(token)}'`),
    }
  },
}

const hexOf = (token: string): string => Buffer.from(token, 'base64url').toString('hex')

async function errorOf(asked: () => unknown): Promise<Error> {
  try {
    await asked()
  } catch (error) {
    return error as Error
  }
  throw new Error('There was no error.')
}

/** Everything that a log could write of an error. */
function textOf(error: Error): string {
  return [inspect(error, { depth: 20, showHidden: true }), JSON.stringify(error), error.stack].join('\n')
}

function expectNoSecret(error: Error): void {
  const text = textOf(error)
  for (const form of [canary, encodeURIComponent(canary), 'canary']) expect(text).not.toContain(form)
}

describe('the option', () => {
  const makers = {
    postgres: (options: object) => postgresStore({ pool: pgPool, ...options } as never),
    mysql: (options: object) => mysqlStore({ pool: mysqlPool, ...options } as never),
  }
  const bare = {
    postgres: (options: object) => postgresStore(options as never),
    mysql: (options: object) => mysqlStore(options as never),
  }
  const cases: readonly (readonly [option: string, given: object])[] = [
    ...[
      '',
      ' ',
      'x"; drop',
      'x`; drop',
      'a b',
      '😀',
      'é',
      'a'.repeat(49),
      'a'.repeat(64),
      `${'a'.repeat(49)}.b`,
      'a.b.c',
      '.a',
      'a.',
      '1a',
      'a-b',
      "a'",
      'a\0',
      'a\nb',
      'A'.repeat(10_000),
      7,
      null,
      {},
      ['a'],
      true,
    ].map((table) => ['table', { table }] as const),
    ...['never', 'Auto', '', null, true, {}].map((migrate) => ['migrate', { migrate }] as const),
    ...[
      'dirty',
      'SERIALIZABLE',
      'read uncommitted',
      'serializable; DROP TABLE x',
      null,
      3,
      ['serializable'],
    ].map((isolation) => ['isolation', { isolation }] as const),
    ['postgresStore.isolaton', { isolaton: 'serializable' }],
    ['mysqlStore.isolaton', { isolaton: 'serializable' }],
  ]

  test.each(['postgres', 'mysql'] as const)('of a store of %s is refused where it is wrong', (name) => {
    for (const [option, given] of cases) {
      if (option.includes('.') && !option.startsWith(name)) continue
      expect(() => makers[name](given), inspect(given)).toThrow(
        expect.objectContaining({ code: 'option-invalid', option }),
      )
    }
  })

  test('idleTimeout is a duration of at least a millisecond', () => {
    for (const idleTimeout of [
      0,
      -1,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      1.5,
      '10',
      '10 s',
      '1h30m',
      '',
      null,
      {},
      1e12,
    ]) {
      expect(() => makers.postgres({ idleTimeout }), inspect(idleTimeout)).toThrow(
        expect.objectContaining({ code: 'option-invalid', option: 'idleTimeout' }),
      )
    }
    for (const idleTimeout of [1, 5_000, '250ms', '1.5h', '7d']) makers.postgres({ idleTimeout })
  })

  test.each([
    ['postgres', { pool: {} }],
    ['postgres', { pool: undefined }],
    ['postgres', { pool: 7 }],
    ['postgres', { sql: {} }],
    ['postgres', { pool: new EventEmitter(), sql: () => {} }],
    ['postgres', { pglite: {} }],
    ['postgres', { pool: null }],
    ['postgres', { sql: null }],
    ['postgres', { pglite: null }],
    ['postgres', {}],
    ['mysql', { pool: {} }],
    ['mysql', { pool: null }],
    ['mysql', { pool: undefined }],
    ['mysql', { mariadb: {} }],
    ['mysql', { pool: 7 }],
  ] as const)('of a store of %s gives one pool, and not %o', (name, given) => {
    expect(() => bare[name](given)).toThrow(expect.objectContaining({ code: 'option-invalid' }))
  })

  test.each(['postgres', 'mysql'] as const)(
    'pool of %s is no connection string, which is not repeated',
    async (name) => {
      const address = `${name}://shop:${encodeURIComponent(canary)}@db.internal/shop`
      for (const given of [address, `host=db password=${canary}`]) {
        expectNoSecret(await errorOf(() => makers[name]({ pool: given })))
        expectNoSecret(await errorOf(() => makers[name]({ table: given })))
      }
    },
  )

  test('table may be a reserved word', async () => {
    for (const store of [
      postgresStore({ pool: pgPool, table: 'select' }),
      mysqlStore({ pool: mysqlPool, table: 'select' }),
    ]) {
      expect((await store.claim([newClaim()])).replies).toEqual([{ kind: 'claimed' }])
      expect((await store.list({ limit: 10 })).records).toHaveLength(1)
    }
    for (const sql of [postgresSchemaSql, mysqlSchemaSql]) {
      expect(() => sql({ table: 'x"`; drop' })).toThrow(expect.objectContaining({ code: 'option-invalid' }))
    }
  })
})

describe.each(['postgres', 'mysql'] as const)('a store of %s', (name) => {
  let subject: Subject
  beforeEach(async ({ skip }) => {
    skip(!hasPostgres || !hasMariadb, 'no servers of postgres and mariadb')
    subject = await subjects[name]()
  })

  const wrongTexts: readonly unknown[] = [
    undefined,
    null,
    0,
    7,
    Number.NaN,
    true,
    [],
    ['a'],
    {},
    { toPostgres: () => 'x' },
    { toSqlString: () => '1' },
    new String('a'),
    Buffer.alloc(22, 'a'),
    Symbol('a'),
    new Date(0),
    '',
    'a'.repeat(22),
    `${'A'.repeat(22)}\0`,
    "' OR 1=1 --",
    '😀'.repeat(11),
  ]
  const wrongDurations: readonly unknown[] = [
    undefined,
    null,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    -1,
    2 ** 60,
    1e300,
    '1000',
    1n,
    true,
    [],
    [5],
    {},
    new Date(5),
    { valueOf: () => 5 },
  ]

  test('answers a claim of the wrong types by itself, and its neighbour is claimed', async () => {
    const { store } = subject
    const wrong = [
      ...wrongTexts.flatMap((it) => [{ id: it }, { token: it }, { fingerprint: it }]),
      ...wrongTexts
        .filter((it) => typeof it !== 'string')
        .flatMap((it) => [{ principalTag: it }, { operation: it }]),
      ...['a\ud800', 'a'.repeat(256)].flatMap((it) => [{ principalTag: it }, { operation: it }]),
      ...wrongDurations.flatMap((it) => [{ leaseMs: it }, { retentionMs: it }]),
    ]
    for (const given of wrong) {
      const claims = [newClaim(given as never), newClaim()]
      const { replies } = await store.claim(claims)
      expect(replies, inspect(given)).toMatchObject([
        { kind: 'failed', error: { code: 'store-failed', failure: 'permanent' } },
        { kind: 'claimed' },
      ])
    }
  })

  test('answers renewals, takeovers and settlements of the wrong types by themselves', async () => {
    const { store } = subject
    const failed = { kind: 'failed', error: { code: 'store-failed', failure: 'permanent' } }
    const [one, two] = [newClaim(), newClaim()]
    await store.claim([one, two])
    const wrong = [
      ...wrongTexts.flatMap((it) => [{ id: it }, { token: it }]),
      ...wrongDurations.map((it) => ({ leaseMs: it, retentionMs: it })),
      ...wrongTexts
        .filter((it) => it !== undefined && !(it instanceof Uint8Array))
        .map((it) => ({ outcome: it })),
    ]
    for (const given of wrong as never[]) {
      const message = inspect(given)
      const renewals = [one, two].map(({ id, token }) => ({ id, token, leaseMs: 600_000 }))
      if (!Object.keys(given).includes('outcome')) {
        const renewed = await store.renew([
          { ...renewals[0], ...(given as object) } as never,
          renewals[1] as never,
        ])
        expect(renewed.replies, message).toMatchObject([failed, { kind: 'renewed' }])
      }
      // Alone and in a batch, which are different statements.
      const bad = { ...completion(one), ...(given as object) } as never
      expect((await store.settle([bad])).replies, message).toMatchObject([failed])
      const other = newClaim()
      await store.claim([other])
      const { replies } = await store.settle([bad, completion(other)])
      expect(replies, message).toMatchObject([failed, { kind: 'settled' }])
    }
    for (const seenToken of wrongTexts as never[]) {
      const { replies } = await store.supersede([
        { seenToken, seenPhase: 'running', claim: newClaim() },
        { seenToken: one.token, seenPhase: seenToken, claim: newClaim() },
      ])
      expect(replies, inspect(seenToken)).toMatchObject([failed, failed])
    }
    const [record] = (await store.read([one.id])).replies
    expect(record).toMatchObject({ phase: 'running', token: one.token })
  })

  test('reads no record by a wrong id', async () => {
    for (const id of wrongTexts as never[]) {
      await expect(subject.store.read([id]), inspect(id)).rejects.toMatchObject({
        code: 'store-failed',
        failure: 'permanent',
      })
    }
  })

  const damages: readonly (readonly [what: string, isDamaged: boolean])[] = [
    ['fence = 0', true],
    ['phase = 0', true],
    ['phase = 9', true],
    ['phase = 127', true],
    // A column does not take these, or they are only strange.
    ['created_at = 5', false],
    ['live_until = 253402300799000', false],
    ...(name === 'postgres'
      ? ([
          ['fence = -1', true],
          ['phase = -1', true],
        ] as const)
      : []),
    ...(name === 'mysql'
      ? ([
          ['live_until = 9223372036854775807', true],
          ['settled_at = -9223372036854775808', true],
          ['kept_ms = 9223372036854775807', true],
        ] as const)
      : []),
  ]

  test.each(damages)(
    'with a row of %s (damaged: %s) answers for that record alone',
    async (what, isDamaged) => {
      const { store, idem, damage } = subject
      const [good, bad] = [newClaim(), newClaim()]
      await store.claim([good, bad])
      await damage(bad.token, what)
      const { replies } = await store.claim([newClaim({ id: good.id }), newClaim({ id: bad.id }), newClaim()])
      expect(replies.map(({ kind }) => kind)).toEqual(['found', isDamaged ? 'failed' : 'found', 'claimed'])
      const listed = (await store.list({ limit: 10 })).records.map(({ id }) => id)
      expect(listed).toContain(good.id)
      expect(listed.includes(bad.id)).toBe(!isDamaged)
      const read = store.read([bad.id])
      if (isDamaged) await expect(read).rejects.toMatchObject({ code: 'store-failed', failure: 'permanent' })
      else expect((await read).replies).toMatchObject([{ phase: 'running' }])
      expect((await store.read([good.id])).replies).toMatchObject([{ phase: 'running' }])
      await idem.sweep()
      expect((await store.read([good.id])).replies).toMatchObject([{ phase: 'running' }])
    },
  )

  test.each([
    ['fence = 0', 'store-unavailable'],
    ['phase = 9', 'store-unavailable'],
    ["outcome = ''", 'outcome-unreadable'],
    [
      name === 'postgres' ? 'outcome = substr(outcome, 1, 5)' : 'outcome = SUBSTR(outcome, 1, 5)',
      'outcome-unreadable',
    ],
    [
      name === 'postgres'
        ? "outcome = '\\x63'::bytea || substr(outcome, 2)"
        : "outcome = CONCAT('c', SUBSTR(outcome, 2))",
      'outcome-unreadable',
    ],
  ])('with a completed record of %s never runs its handler again: %s', async (what, code) => {
    const { store, idem, damage } = subject
    let runs = 0
    const handler = (): number => ++runs
    const operations = [idem.operation('lease', handler), idem.transaction('transaction', handler)]
    for (const operation of operations) {
      const call = { key: randomUUID(), principal: 'alice', input: 1 }
      await operation.run(call)
      const { records } = await store.list({ limit: 1, operation: operation.name })
      await damage(String(records[0]?.token), what)
      const fresh = runs
      await expect(operation.run(call)).rejects.toMatchObject({ code })
      expect(runs).toBe(fresh)
      expect((await operation.run({ ...call, key: randomUUID() })).replayed).toBe(false)
    }
  })

  test('passes the plain values of a statement on as they are', async () => {
    const { idem, insert, written } = subject
    const values = ['plain', "'; DROP TABLE orders; --", '\\', '%_', '"', '😀', '12', '1970-01-01']
    for (const value of values) {
      if (name === 'mysql' && value === '😀') continue
      const order = idem.statement('order', insert, (input: string) => [input])
      await order.run({ key: randomUUID(), principal: 'alice', input: value })
    }
    expect(await written()).toEqual(
      values.filter((value) => name !== 'mysql' || value !== '😀').map((sku) => ({ sku })),
    )
  })
})

test('a sweep of Postgres is not ended by a row of a time that fits no minute', async () => {
  const { store, damage } = await subjects.postgres()
  const [due, bad, live] = [newClaim(), newClaim(), newClaim()]
  await store.claim([due, bad, live])
  await damage(due.token, 'live_until = 1, kept_until = 1, sweep_minute = 2')
  await damage(bad.token, 'kept_until = 253402300799000, sweep_minute = 1')
  for (let batch = 0; batch < 3; batch++) await store.sweep(100)
  expect((await store.read([due.id, live.id])).replies).toMatchObject([undefined, { token: live.token }])
})

describe('a sweep of MySQL', () => {
  test.each([
    'live_until = 9223372036854775807, kept_ms = 9223372036854775807',
    'live_until = -9223372036854775808, kept_ms = -9223372036854775808',
    'live_until = 253402300799000',
  ])('is not ended by a row of %s', async (what) => {
    const { store, damage } = await subjects.mysql()
    const [due, bad, live] = [newClaim(), newClaim(), newClaim()]
    await store.claim([due, bad, live])
    await damage(due.token, 'live_until = 1, kept_ms = 1, sweep_at = 2')
    await damage(bad.token, `${what}, sweep_at = 1`)
    for (let batch = 0; batch < 3; batch++) await store.sweep(100)
    expect((await store.read([due.id, live.id])).replies).toMatchObject([undefined, { token: live.token }])
  })
})

describe('values of a statement', () => {
  test.each(['postgres', 'mysql'] as const)(
    'that a client of %s would write as something else are refused, and nothing is left',
    async (name) => {
      const { idem, insert, written, store } = await subjects[name]()
      const wrong = [
        undefined,
        Number.NaN,
        Number.POSITIVE_INFINITY,
        new Date(Number.NaN),
        'a\ud800',
        Symbol('a'),
        () => 1,
        ...(name === 'mysql' ? [{}, [], ['a', 'b']] : [[undefined], { a: Number.NaN }]),
        new Map(),
        new String('a'),
        { toPostgres: () => '1' },
        { toSqlString: () => '1); DROP TABLE orders' },
        { deep: { toPostgres: () => '1' } },
      ]
      for (const value of wrong) {
        const order = idem.statement('order', insert, () => [value])
        await expect(
          order.run({ key: randomUUID(), principal: 'alice', input: 1 }),
          inspect(value),
        ).rejects.toMatchObject({ code: 'option-invalid', option: 'values' })
      }
      for (const values of [undefined, null, 'ab', {}, 7] as never[]) {
        const order = idem.statement('order', insert, () => values)
        await expect(
          order.run({ key: randomUUID(), principal: 'alice', input: 1 }),
          inspect(values),
        ).rejects.toMatchObject({ code: 'option-invalid', option: 'values' })
      }
      expect(await written()).toEqual([])
      expect((await store.list({ limit: 10 })).records).toEqual([])
    },
  )

  test('with a NUL are the database’s own error on Postgres, and text on MySQL', async () => {
    for (const name of ['postgres', 'mysql'] as const) {
      const { idem, insert, written, store } = await subjects[name]()
      const order = idem.statement('order', insert, () => ['a\0b'])
      const asked = order.run({ key: randomUUID(), principal: 'alice', input: 1 })
      if (name === 'postgres') {
        await expect(asked).rejects.toMatchObject({ code: '22021' })
        expect(await written()).toEqual([])
        expect((await store.list({ limit: 10 })).records).toEqual([])
      } else {
        await asked
        expect(await written()).toEqual([{ sku: 'a\0b' }])
      }
    }
  })

  test('cannot end the statement that Postgres runs around them', async () => {
    const { idem } = await subjects.postgres()
    for (const text of [
      'SELECT 1; SELECT 2',
      'SELECT 1) SELECT 2 AS rows --',
      'SELECT 1 /*',
      "SELECT '",
      '$$',
      'COMMIT',
    ]) {
      const order = idem.statement('order', text, () => [])
      await expect(
        order.run({ key: randomUUID(), principal: 'alice', input: 1 }),
        text,
      ).rejects.toMatchObject({
        code: '42601',
      })
    }
  })
})

describe('an address', () => {
  /** What a store and a call through it answer, on each client library. */
  type Library = (address: string) => {
    store: PostgresStore<never> | MysqlStore<never>
    end(): Promise<unknown>
  }
  const pgLibrary: Library = (address) => {
    const pool = new pg.Pool({ connectionString: address, max: 2 })
    return { store: postgresStore({ pool }) as PostgresStore<never>, end: () => pool.end() }
  }
  const postgresJs: Library = (address) => {
    const sql = postgres(address, { max: 2, onnotice: () => {} })
    return { store: postgresStore({ sql }) as unknown as PostgresStore<never>, end: () => sql.end() }
  }
  const mysql2: Library = (address) => {
    const pool = mysql.createPool({ uri: address, connectionLimit: 2 })
    return { store: mysqlStore({ pool }) as MysqlStore<never>, end: () => pool.end() }
  }
  const mariadbLibrary: Library = (address) => {
    const pool = mariadb.createPool(address.replace(/^mysql:/, 'mariadb:'))
    return { store: mysqlStore({ mariadb: pool }) as MysqlStore<never>, end: () => pool.end() }
  }

  async function expectRefused(library: Library, address: string, failure: string): Promise<void> {
    const { store, end } = library(address)
    const idem = createIdempotency({ store, sweep: false })
    const ready = await errorOf(() => store.ready())
    expect(ready, address).toMatchObject({ code: 'store-failed', failure })
    expectNoSecret(ready)
    for (const asked of [() => store.read([newClaim().id]), () => store.claim([newClaim()])]) {
      const error = await errorOf(asked)
      expect(error).toMatchObject({ code: 'store-failed', failure })
      expectNoSecret(error)
    }
    if (failure === 'permanent') {
      const order = idem.transaction('order', () => 1)
      const error = await errorOf(() => order.run({ key: 'k', principal: 'alice', input: 1 }))
      expect(error).toMatchObject({ code: 'store-unavailable' })
      expectNoSecret(error)
    }
    await end()
  }

  const changed = (address: string, change: Partial<URL>): string =>
    Object.assign(new URL(address), change).href

  test('of Postgres that does not work is classified, and its password told to nobody', async () => {
    const server = await MortalPostgres.make({ password: canary })
    onTestFinished(() => server.dispose())
    for (const library of [pgLibrary, postgresJs]) {
      const sound = library(server.url)
      await sound.store.ready()
      await sound.end()
      await expectRefused(
        library,
        changed(server.url, { password: `${encodeURIComponent(canary)}x` }),
        'permanent',
      )
      await expectRefused(library, changed(server.url, { username: 'nobody' }), 'permanent')
      await expectRefused(library, changed(server.url, { pathname: '/nowhere' }), 'permanent')
      await expectRefused(library, changed(server.url, { port: '1' }), 'transient')
    }
  }, 60_000)

  test('of MySQL that does not work is classified, and its password told to nobody', async () => {
    const user = newName('user')
    const database = new URL(mariadbUrl).pathname.slice(1)
    await mysqlPool.query(`CREATE USER ${user}@'127.0.0.1' IDENTIFIED BY '${canary}'`)
    await mysqlPool.query(`GRANT ALL ON ${database}.* TO ${user}@'127.0.0.1'`)
    onTestFinished(async () => void (await mysqlPool.query(`DROP USER ${user}@'127.0.0.1'`)))
    const address = changed(mariadbUrl, { username: user, password: encodeURIComponent(canary) })
    const sound = mysql2(address)
    await sound.store.ready()
    await sound.end()
    for (const library of [mysql2, mariadbLibrary]) {
      await expectRefused(library, changed(address, { port: '1' }), 'transient')
    }
    await expectRefused(mysql2, changed(address, { password: `${encodeURIComponent(canary)}x` }), 'permanent')
    await expectRefused(mysql2, changed(address, { pathname: '/nowhere' }), 'permanent')
  }, 60_000)

  test('of Postgres whose server is read-only is the wrong node, for every verb', async () => {
    await postgresStore({ pool: pgPool }).ready()
    const options = encodeURIComponent('-c default_transaction_read_only=on')
    const { store, end } = pgLibrary(`${postgresUrl}?options=${options}`)
    const claim = newClaim()
    const verbs = [
      () => store.claim([claim]),
      () => store.renew([{ id: claim.id, token: claim.token, leaseMs: 1_000 }]),
      () => store.settle([completion(claim)]),
      () => store.supersede([{ seenToken: claim.token, seenPhase: 'running', claim: newClaim() }]),
      () => store.sweep(10),
    ]
    for (const verb of verbs) await expect(verb()).rejects.toMatchObject({ failure: 'wrong-node' })
    await end()
  })

  test('of Postgres with another search_path finds another table, unless its schema is named', async () => {
    const schema = newName('elsewhere')
    const table = newName('records')
    await pgPool.query(`CREATE SCHEMA ${schema}`)
    const options = encodeURIComponent(`-c search_path=${schema}`)
    const pool = new pg.Pool({ connectionString: `${postgresUrl}?options=${options}`, max: 2 })
    onTestFinished(() => pool.end())
    const here = postgresStore({ pool: pgPool, table })
    const claim = newClaim()
    await here.claim([claim])
    const kinds = async (store: IdempotencyStore): Promise<string[]> =>
      (await store.claim([newClaim({ id: claim.id })])).replies.map(({ kind }) => kind)

    const checked = postgresStore({ pool, table, migrate: 'check' })
    await expect(checked.ready()).rejects.toMatchObject({ code: 'schema-mismatch' })
    expect(await kinds(postgresStore({ pool, table: `public.${table}` }))).toEqual(['found'])
    expect(await kinds(postgresStore({ pool, table, migrate: 'auto' }))).toEqual(['claimed'])
    expect(await kinds(here)).toEqual(['found'])
  })

  test('of Postgres: a handler may set search_path where the schema of the table is named', async () => {
    const table = newName('records')
    const store = postgresStore({ pool: pgPool, table: `public.${table}` })
    const idem = createIdempotency({ store, sweep: false })
    const tenant = newName('tenant')
    await pgPool.query(`CREATE SCHEMA ${tenant}`)
    await pgPool.query(`CREATE TABLE ${tenant}.orders (sku text)`)
    const order = idem.transaction('order', async (_: number, { tx }) => {
      await tx.query(`SET LOCAL search_path = ${tenant}`)
      await tx.query("INSERT INTO orders VALUES ('A')")
    })
    const call = { key: randomUUID(), principal: 'alice', input: 1 }
    expect((await order.run(call)).replayed).toBe(false)
    expect((await order.run(call)).replayed).toBe(true)
    expect((await pgPool.query(`SELECT sku FROM ${tenant}.orders`)).rows).toEqual([{ sku: 'A' }])
  })
})
