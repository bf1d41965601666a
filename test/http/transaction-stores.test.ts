/** Transaction mode over HTTP on each store that joins transactions, and in transactions of the user's own. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { PrismaPg } from '@prisma/adapter-pg'
import { drizzle } from 'drizzle-orm/node-postgres'
import { pgTable, text } from 'drizzle-orm/pg-core'
import { Kysely, PostgresDialect } from 'kysely'
import mysql from 'mysql2/promise'
import pg from 'pg'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createIdempotency, type Idempotency } from '../../src/engine/idempotency.ts'
import type { OwnTransactions } from '../../src/engine/own-transactions.ts'
import { idempotent } from '../../src/http/node.ts'
import type { TransactionContext } from '../../src/http/node.ts'
import { dynamodbStore } from '../../src/stores/dynamodb.ts'
import { mysqlStore } from '../../src/stores/mysql.ts'
import { postgresStore } from '../../src/stores/postgres.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { drizzleTransactions } from '../../src/transactions/drizzle.ts'
import { kyselyTransactions } from '../../src/transactions/kysely.ts'
import { prismaTransactions } from '../../src/transactions/prisma.ts'
import {
  dynamodbTable,
  hasDynamodb,
  hasMariadb,
  hasPostgres,
  mariadbDatabase,
  postgresDatabase,
} from '../servers.ts'
import { clientOf } from '../stores/dynamodb-shop.ts'
import { generateClient } from '../transactions/prisma-client.ts'
import { codeOf, post, serve } from './serving.ts'

/** A database with an empty table `orders (customer)`, whose handle or ORM's transaction handlers get. */
interface Subject<Tx> {
  readonly idem: Idempotency<Tx>
  /** `undefined`: the store's own. */
  readonly own?: OwnTransactions<Tx>
  insert(tx: Tx, customer: string): unknown
  /** As others see them. */
  orders(): Promise<string[]>
}

const customersOf = (rows: unknown): string[] =>
  (rows as { customer: string }[]).map(({ customer }) => customer)

async function onPostgres(): Promise<{ url: string; pool: pg.Pool; orders(): Promise<string[]> }> {
  const url = await postgresDatabase()
  const pool = new pg.Pool({ connectionString: url, max: 2 })
  onTestFinished(() => pool.end())
  await pool.query('CREATE TABLE orders (id serial PRIMARY KEY, customer text NOT NULL)')
  const orders = async (): Promise<string[]> =>
    customersOf((await pool.query('SELECT customer FROM orders ORDER BY customer')).rows)
  return { url, pool, orders }
}

function closing<Tx>(idem: Idempotency<Tx>): Idempotency<Tx> {
  onTestFinished(() => idem.close())
  return idem
}

type Open = () => Promise<Subject<never>>

const subject = <Tx>(open: () => Promise<Subject<Tx>>): Open => open as unknown as Open

const drizzleOrders = pgTable('orders', { customer: text().notNull() })

/** What these tests use of Prisma's generated client. */
interface PrismaTx {
  $queryRawUnsafe(text: string, ...values: unknown[]): Promise<unknown>
  $executeRawUnsafe(text: string, ...values: unknown[]): Promise<number>
  readonly order: { create(call: { data: { customer: string } }): Promise<unknown> }
}
interface PrismaClient extends PrismaTx {
  $transaction(queries: never, options?: never): Promise<unknown>
  $transaction<Value>(work: (tx: PrismaTx) => Promise<Value>, options?: object): Promise<Value>
  $disconnect(): Promise<void>
}

const subjects: Readonly<Record<string, readonly [available: boolean, open: Open]>> = {
  sqlite: [
    true,
    subject(async () => {
      const folder = mkdtempSync(join(tmpdir(), 'retrysafe-http-'))
      const file = join(folder, 'records.db')
      const outside = new DatabaseSync(file)
      onTestFinished(() => {
        outside.close()
        rmSync(folder, { recursive: true })
      })
      outside.exec('CREATE TABLE orders (customer text NOT NULL)')
      return {
        idem: closing(createIdempotency({ store: sqliteStore({ file }), sweep: false })),
        insert: (tx, customer) => tx.prepare('INSERT INTO orders VALUES (?)').run(customer),
        orders: async () => customersOf(outside.prepare('SELECT customer FROM orders ORDER BY 1').all()),
      }
    }),
  ],
  mariadb: [
    hasMariadb,
    subject(async () => {
      const pool = mysql.createPool({ uri: await mariadbDatabase(), connectionLimit: 2 })
      onTestFinished(() => pool.end())
      await pool.query('CREATE TABLE orders (customer varchar(99) NOT NULL) ENGINE = InnoDB')
      return {
        idem: closing(createIdempotency({ store: mysqlStore({ pool }), sweep: false })),
        insert: (tx, customer) => tx.query('INSERT INTO orders VALUES (?)', [customer]),
        orders: async () => customersOf((await pool.query('SELECT customer FROM orders ORDER BY 1'))[0]),
      }
    }),
  ],
  'postgres, with transactions of Kysely that the store opens': [
    hasPostgres,
    subject(async () => {
      const { url, pool, orders } = await onPostgres()
      const db = new Kysely<{ orders: { customer: string } }>({
        dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: url, max: 2 }) }),
      })
      onTestFinished(() => db.destroy())
      const store = postgresStore({ pool, transactions: kyselyTransactions(db) })
      return {
        idem: closing(createIdempotency({ store, sweep: false })),
        insert: (tx, customer) => tx.insertInto('orders').values({ customer }).execute(),
        orders,
      }
    }),
  ],
  'postgres, in transactions of Drizzle': [
    hasPostgres,
    subject(async () => {
      const { url, pool, orders } = await onPostgres()
      const ormPool = new pg.Pool({ connectionString: url, max: 2 })
      onTestFinished(() => ormPool.end())
      const own = drizzleTransactions(drizzle(ormPool))
      type Tx = Parameters<typeof own.join>[0]
      return {
        idem: closing(
          createIdempotency({ store: postgresStore({ pool }), sweep: false }),
        ) as Idempotency<never>,
        own: own as OwnTransactions<never>,
        insert: (tx: Tx, customer: string) => tx.insert(drizzleOrders).values({ customer }),
        orders,
      }
    }),
  ],
  'postgres, in transactions of Prisma': [
    hasPostgres,
    subject(async () => {
      const { url, pool, orders } = await onPostgres()
      const generated = generateClient('postgresql')
      const { PrismaClient: Client } = (await import(join(generated.folder, 'client/client.ts'))) as {
        PrismaClient: new (options: object) => PrismaClient
      }
      const prisma = new Client({ adapter: new PrismaPg({ connectionString: url }) })
      onTestFinished(async () => {
        await prisma.$disconnect()
        generated.remove()
      })
      return {
        idem: closing(
          createIdempotency({ store: postgresStore({ pool }), sweep: false }),
        ) as Idempotency<never>,
        own: prismaTransactions(prisma) as OwnTransactions<never>,
        insert: (tx: PrismaTx, customer: string) => tx.order.create({ data: { customer } }),
        orders,
      }
    }),
  ],
  'postgres, in transactions that the user opens on a pool': [
    hasPostgres,
    subject(async () => {
      const { pool, orders } = await onPostgres()
      const own: OwnTransactions<pg.PoolClient> = {
        async transaction(work) {
          const client = await pool.connect()
          try {
            await client.query('BEGIN')
            const value = await work(client)
            await client.query('COMMIT')
            return value
          } catch (error) {
            await client.query('ROLLBACK')
            throw error
          } finally {
            client.release()
          }
        },
        join: (client) => client,
      }
      return {
        idem: closing(createIdempotency({ store: postgresStore({ pool }), sweep: false })),
        own,
        insert: (tx, customer) => tx.query('INSERT INTO orders (customer) VALUES ($1)', [customer]),
        orders,
      }
    }),
  ],
}

interface Behaviour {
  readonly timeout?: '300ms'
  /** What the handler does between its effect and its answer. */
  before?(context: TransactionContext<never>): unknown
}

/** Serves a handler that inserts an order and answers the status that the request asks for. */
async function served(
  { idem, own, insert }: Subject<never>,
  { before, ...options }: Behaviour = {},
): Promise<string> {
  const { origin } = await serve(
    idempotent(
      idem,
      { principal: 'anonymous', transaction: own ?? true, ...options },
      async (request, response, idempotency) => {
        const context = idempotency as unknown as TransactionContext<never>
        await insert(context.tx, 'ada')
        await before?.(context)
        response.writeHead(Number(request.headers['x-status'] ?? 201)).end('ordered')
      },
    ),
  )
  return origin
}

const withStatus = (status: number): RequestInit => ({ headers: { 'X-Status': `${status}` } })

describe.each(Object.entries(subjects))('%s', (_name, [available, open]) => {
  test('a 2xx and a 4xx commit, a 5xx rolls back', async ({ skip }) => {
    skip(!available, 'no server of its kind')
    const rig = await open()
    const origin = await served(rig)
    const failed = await post(origin, withStatus(500))
    expect([failed.status, await rig.orders()]).toEqual([500, []])
    const refused = await post(origin, withStatus(409))
    expect([refused.status, await rig.orders()]).toEqual([409, ['ada']])
    const replayed = await post(origin)
    expect([replayed.status, replayed.replayed, await rig.orders()]).toEqual([409, true, ['ada']])
  })

  test('twenty at once have one effect', async ({ skip }) => {
    skip(!available, 'no server of its kind')
    const rig = await open()
    const origin = await served(rig)
    const answers = await Promise.all(Array.from({ length: 20 }, () => post(origin)))
    const ran = answers.filter(({ status, replayed }) => status === 201 && !replayed)
    expect([ran.length, await rig.orders()]).toEqual([1, ['ada']])
  })

  test('a handler out of time is rolled back, and the key runs again', async ({ skip }) => {
    skip(!available, 'no server of its kind')
    const rig = await open()
    let runs = 0
    const origin = await served(rig, {
      timeout: '300ms',
      before: ({ signal }) => (++runs === 1 ? once(signal, 'abort') : undefined),
    })
    const slow = await post(origin)
    expect([slow.status, codeOf(slow)]).toEqual([503, 'not-applied'])
    let again = await post(origin)
    while (again.status === 409) again = await post(origin)
    expect([again.status, runs, await rig.orders()]).toEqual([201, 2, ['ada']])
  })
})

test('a transaction that the store of records refuses at its commit gives the answer of the winner', async ({
  skip,
}) => {
  skip(!hasDynamodb, 'no server of dynamodb')
  const { endpoint, table } = dynamodbTable()
  const client = clientOf(endpoint)
  onTestFinished(() => client.destroy())
  const first = dynamodbStore({ client, table, migrate: 'auto' })
  await first.ready()
  const working = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  const origins = [first, dynamodbStore({ client, table })].map(async (store, at) => {
    const idem = closing(createIdempotency({ store, sweep: false }))
    const { origin } = await serve(
      idempotent(idem, { principal: 'anonymous', transaction: true }, async (_request, response) => {
        if (at === 0) {
          working.resolve()
          await goOn.promise
        }
        response.writeHead(201).end(`by process ${at}`)
      }),
    )
    return origin
  })
  const [slow, quick] = (await Promise.all(origins)) as [string, string]
  const loser = post(slow)
  await working.promise
  expect((await post(quick)).body.toString()).toBe('by process 1')
  goOn.resolve()
  const answer = await loser
  expect([answer.status, answer.body.toString(), answer.replayed]).toEqual([201, 'by process 1', true])
})

test('an opener that commits although its work was rolled back is found out', async ({ skip }) => {
  skip(!hasPostgres, 'no server of postgres')
  const { pool } = await onPostgres()
  const own: OwnTransactions<pg.PoolClient> = {
    async transaction<Value>(work: (tx: pg.PoolClient) => Promise<Value>): Promise<Value> {
      const client = await pool.connect()
      await client.query('BEGIN')
      const value = await work(client).catch(() => undefined)
      await client.query('COMMIT')
      client.release()
      return value as Value
    },
    join: (client) => client,
  }
  const idem = closing(createIdempotency({ store: postgresStore({ pool }), sweep: false }))
  const { origin } = await serve(
    idempotent(idem, { principal: 'anonymous', transaction: own }, (_request, response) => {
      response.writeHead(500).end()
    }),
  )
  const answer = await post(origin)
  expect([answer.status, codeOf(answer)]).toEqual([503, 'outcome-unknown'])
})
