/** What the Postgres store costs and saves, against the same work written by hand with `pg`. */
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { createIdempotency, type Idempotency } from '../src/index.ts'
import { postgresStore } from '../src/stores/postgres.ts'
import { withPostgres } from './database.ts'
import { type Case, drive, inRounds, type Pace, type Question, type Row } from './rounds.ts'

interface Charge {
  readonly amount: number
  readonly currency: string
}

const input: Charge = { amount: 4_200, currency: 'EUR' }
const principal = 'merchant-7'
const poolMax = 16
/** Keys that have an answer. */
const settledKeys = 1_000

const tables = `
  CREATE TABLE answers (key text PRIMARY KEY, state text NOT NULL, body text);
  CREATE TABLE charges (id uuid PRIMARY KEY, amount int NOT NULL, currency text NOT NULL)`

const insertCharge = 'INSERT INTO charges (id, amount, currency) VALUES ($1, $2, $3)'

/** Claim and store the answer, each a statement that commits by itself. */
async function freshByHand(pool: pg.Pool, key: string): Promise<void> {
  const claim = "INSERT INTO answers (key, state) VALUES ($1, 'running') ON CONFLICT (key) DO NOTHING"
  const { rowCount } = await pool.query(claim, [key])
  if (rowCount !== 1) throw new Error('The key is not fresh.')
  const settle = "UPDATE answers SET state = 'done', body = $2 WHERE key = $1 AND state = 'running'"
  await pool.query(settle, [key, JSON.stringify(input)])
}

async function replayByHand(pool: pg.Pool, key: string): Promise<void> {
  const claim = "INSERT INTO answers (key, state) VALUES ($1, 'running') ON CONFLICT (key) DO NOTHING"
  await pool.query(claim, [key])
  const { rows } = await pool.query('SELECT state, body FROM answers WHERE key = $1', [key])
  JSON.parse(rows[0].body)
}

/** The business transaction without any key. */
async function bareTransaction(pool: pg.Pool): Promise<void> {
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    await client.query(insertCharge, [randomUUID(), input.amount, input.currency])
    await client.query('COMMIT')
  } finally {
    client.release()
  }
}

async function measureOn(url: string, pace: Pace): Promise<readonly Row[]> {
  const pool = new pg.Pool({ connectionString: url, max: poolMax })
  const idem = createIdempotency({ store: postgresStore({ pool }), sweep: false })
  try {
    await pool.query(tables)
    return await inRounds(await casesOf(pool, idem), pace)
  } finally {
    await idem.close()
    await pool.end()
  }
}

async function casesOf(pool: pg.Pool, idem: Idempotency<pg.PoolClient>): Promise<Case[]> {
  const charge = idem.operation('charge', () => input)
  const inTransaction = idem.transaction('order', async (_input: Charge, { tx }) => {
    await tx.query(insertCharge, [randomUUID(), input.amount, input.currency])
    return input
  })
  const asStatement = idem.statement('entry', `${insertCharge} RETURNING id`, () => [
    randomUUID(),
    input.amount,
    input.currency,
  ])
  const keys = Array.from({ length: settledKeys }, () => randomUUID())
  await Promise.all(keys.flatMap((key) => [freshByHand(pool, key), charge.run({ key, principal, input })]))
  let at = 0
  const nextKey = (): string => keys[at++ % keys.length] as string
  const fresh = (run: (key: string) => Promise<unknown>): Case['measure'] => {
    return (concurrency, ms) => drive(concurrency, ms, () => run(randomUUID()))
  }
  const replay = (run: (key: string) => Promise<unknown>): Case['measure'] => {
    return (concurrency, ms) => drive(concurrency, ms, () => run(nextKey()))
  }
  const run = (key: string): Promise<unknown> => charge.run({ key, principal, input })
  const [hand, bare] = ['by hand', 'bare transaction']
  return [
    { name: `fresh, ${hand}`, floor: `fresh, ${hand}`, measure: fresh((key) => freshByHand(pool, key)) },
    { name: 'fresh, lease mode', floor: `fresh, ${hand}`, bars: { 1: 0.9, 64: 4 }, measure: fresh(run) },
    { name: `replay, ${hand}`, floor: `replay, ${hand}`, measure: replay((key) => replayByHand(pool, key)) },
    { name: 'replay, lease mode', floor: `replay, ${hand}`, bars: { 1: 0.9, 64: 6 }, measure: replay(run) },
    { name: bare, floor: bare, measure: fresh(() => bareTransaction(pool)) },
    {
      name: 'transaction mode',
      floor: bare,
      bars: { 1: 0.7, 64: 0.6 },
      measure: fresh((key) => inTransaction.run({ key, principal, input })),
    },
    {
      name: 'one-statement mode',
      floor: bare,
      bars: { 1: 1.2, 64: 1.2 },
      measure: fresh((key) => asStatement.run({ key, principal, input })),
    },
  ]
}

export const question: Question = {
  asks: 'operations on the Postgres store against the same work by hand (pg, 16 connections)',
  measure: (pace) => withPostgres((url) => measureOn(url, pace)),
}
