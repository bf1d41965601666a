/**
 * An operation in one transaction, against a workflow with one transactional step of DBOS Transact, on one server
 * and in one run.
 */
import { randomUUID } from 'node:crypto'
import { DBOS } from '@dbos-inc/dbos-sdk'
import { PostgresDataSource } from '@dbos-inc/postgres-datasource'
import pg from 'pg'
import { createIdempotency } from '../src/index.ts'
import { postgresStore } from '../src/stores/postgres.ts'
import { withPostgres } from './database.ts'
import { type Case, drive, inRounds, type Pace, type Question, type Row } from './rounds.ts'

const poolMax = 16
const principal = 'merchant-7'
const input = { amount: 4_200, currency: 'EUR' }
const insert = 'INSERT INTO charges (id, amount, currency) VALUES ($1, $2, $3)'
const floor = 'workflow with one transactional step'
const bars = { 1: 8, 64: 8 }

async function measureOn(url: string, pace: Pace): Promise<readonly Row[]> {
  const pool = new pg.Pool({ connectionString: url, max: poolMax })
  await pool.query('CREATE TABLE charges (id uuid PRIMARY KEY, amount int NOT NULL, currency text NOT NULL)')
  const idem = createIdempotency({ store: postgresStore({ pool }), sweep: false })
  const inTransaction = idem.transaction('order', async (_input: typeof input, { tx }) => {
    await tx.query(insert, [randomUUID(), input.amount, input.currency])
    return input
  })
  const asStatement = idem.statement('entry', `${insert} RETURNING id`, () => [
    randomUUID(),
    input.amount,
    input.currency,
  ])
  const silent = { info: ignore, debug: ignore, warn: ignore, error: console.error }
  DBOS.setConfig({
    name: 'bench',
    systemDatabaseUrl: url,
    systemDatabasePoolSize: poolMax,
    runAdminServer: false,
    logger: silent,
  } as never)
  const { hostname, port, username, pathname } = new URL(url)
  const place = { host: hostname, port: Number(port), user: username, database: pathname.slice(1) }
  const options = { ...place, max: poolMax, onnotice: ignore }
  await PostgresDataSource.initializeDBOSSchema(options)
  const source = new PostgresDataSource('shop', options)
  const step = source.registerTransaction(
    async (id: string) => {
      await PostgresDataSource.client`INSERT INTO charges (id, amount, currency) VALUES (${id}, ${input.amount}, ${input.currency})`
      return input
    },
    { name: 'charge' },
  )
  const workflow = DBOS.registerWorkflow((id: string) => step(id), { name: 'order' })
  await DBOS.launch()

  const cases: readonly Case[] = [
    {
      name: floor,
      floor,
      measure: (concurrency, ms) =>
        drive(concurrency, ms, async () => {
          const handle = await DBOS.startWorkflow(workflow, { workflowID: randomUUID() })(randomUUID())
          await handle.getResult()
        }),
    },
    {
      name: 'transaction mode',
      floor,
      bars,
      measure: (concurrency, ms) =>
        drive(concurrency, ms, () => inTransaction.run({ key: randomUUID(), principal, input })),
    },
    {
      name: 'one-statement mode',
      floor,
      bars,
      measure: (concurrency, ms) =>
        drive(concurrency, ms, () => asStatement.run({ key: randomUUID(), principal, input })),
    },
  ]
  try {
    return await inRounds(cases, pace)
  } finally {
    await DBOS.shutdown()
    await idem.close()
    await pool.end()
  }
}

const ignore = (): void => {}

export const question: Question = {
  asks: 'operations in one transaction against a workflow of DBOS Transact with one transactional step',
  measure: (pace) => withPostgres((url) => measureOn(url, pace)),
}
