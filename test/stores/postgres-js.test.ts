/** What only postgres.js does: it goes on with a handle whose connection was lost, and folds results. */
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { postgresStore } from '../../src/stores/postgres.ts'
import { newClaim } from '../../src/verification/store-cases/context.ts'
import { hasPostgres, postgresDatabase } from '../servers.ts'

const insertText = 'INSERT INTO ledger (key) VALUES ($1)'

let url: string
let admin: pg.Pool

beforeAll(async () => {
  if (!hasPostgres) return
  url = await postgresDatabase()
  admin = new pg.Pool({ connectionString: url, max: 2 })
  await admin.query('CREATE TABLE ledger (key text NOT NULL)')
})

afterAll(() => admin?.end())

beforeEach(({ skip }) => skip(!hasPostgres, 'no server of postgres'))

const effects = async (key: string): Promise<number> => {
  const { rows } = await admin.query('SELECT count(*)::int AS count FROM ledger WHERE key = $1', [key])
  return rows[0].count
}

describe('a connection that ends under the handler', () => {
  test.each([
    ['nobody else asks for a connection', false],
    ['others get connections in its place', true],
  ])('takes no more statements, and nothing was applied: %s', async (_, isBusy) => {
    const closed = Promise.withResolvers<void>()
    const sql = postgres(url, {
      max: 2,
      onnotice: () => {},
      onclose: () => closed.resolve(),
    })
    onTestFinished(() => sql.end({ timeout: 1 }))
    const idem = createIdempotency({ store: postgresStore({ sql }), sweep: false })
    let isFirst = true
    const place = idem.transaction('place', async (key: string, { tx }) => {
      await tx.unsafe(insertText, [key])
      if (isFirst) {
        isFirst = false
        const [row] = await tx.unsafe('SELECT pg_backend_pid() AS pid')
        await admin.query('SELECT pg_terminate_backend($1)', [row?.['pid']])
        await closed.promise
        const others = Array.from({ length: isBusy ? 4 : 0 }, () => sql.unsafe('SELECT pg_sleep(0.01)'))
        await Promise.all(others)
        await expect(tx.unsafe(insertText, [key])).rejects.toThrow(/lost/)
        await expect(Promise.resolve(tx`SELECT 1`)).rejects.toThrow(/lost/)
      }
      return key
    })
    const key = randomUUID()
    const call = { key, principal: 'alice', input: key }
    await expect(place.run(call)).rejects.toMatchObject({ code: 'not-applied' })
    expect(await effects(key)).toBe(0)
    expect(await place.run(call)).toEqual({ value: key, replayed: false })
    expect(await place.run(call)).toEqual({ value: key, replayed: true })
    expect(await effects(key)).toBe(1)
  })
})

test('an instance without fetch_types is refused where a connection has to be reserved, and serves otherwise', async () => {
  const whole = postgres(url, { max: 1, onnotice: () => {} })
  const bare = postgres(url, { max: 1, fetch_types: false })
  onTestFinished(async () => {
    await whole.end({ timeout: 1 })
    await bare.end({ timeout: 1 })
  })
  const table = 'bare_records'
  const store = postgresStore({ sql: bare, table })
  await expect(store.ready()).rejects.toMatchObject({ code: 'option-invalid', option: 'sql' })
  await postgresStore({ sql: whole, table }).ready()
  expect((await store.claim([newClaim()])).replies).toEqual([{ kind: 'claimed' }])
  const order = createIdempotency({ store, sweep: false }).transaction('order', () => 1)
  await expect(order.run({ key: 'k', principal: 'alice', input: 1 })).rejects.toMatchObject({
    code: 'option-invalid',
    option: 'sql',
  })
})

describe('a handler', () => {
  test('is told when it deletes the record of its own key', async () => {
    const sql = postgres(url, { max: 2, onnotice: () => {} })
    onTestFinished(() => sql.end({ timeout: 1 }))
    const idem = createIdempotency({ store: postgresStore({ sql }), sweep: false })
    const place = idem.transaction('place', async (key: string, { tx }) => {
      await tx.unsafe('DELETE FROM retrysafe_records')
      await tx.unsafe(insertText, [key])
    })
    const key = randomUUID()
    await expect(place.run({ key, principal: 'alice', input: key })).rejects.toMatchObject({
      code: 'outcome-unknown',
      settled: false,
    })
    expect(await effects(key)).toBe(1)
  })
})
