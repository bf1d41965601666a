/** Handlers behind a layer in transaction mode get `tx` by its own type, and others have none. */
import type { ExtractTablesWithRelations } from 'drizzle-orm'
import type { NodePgDatabase, NodePgTransaction } from 'drizzle-orm/node-postgres'
import express from 'express'
import fastify from 'fastify'
import { Hono } from 'hono'
import type { Knex } from 'knex'
import type { Kysely, Transaction as KyselyTransaction } from 'kysely'
import type pg from 'pg'
import { expectTypeOf, test } from 'vitest'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import type { OwnTransactions } from '../../src/engine/own-transactions.ts'
import { idempotent as expressLayer } from '../../src/http/express.ts'
import { idempotency as fastifyPlugin } from '../../src/http/fastify.ts'
import { idempotent as fetchLayer } from '../../src/http/fetch.ts'
import { idempotent as honoLayer, type TransactionContext } from '../../src/http/hono.ts'
import { type IdempotencyContext, idempotent as nodeLayer } from '../../src/http/node.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { postgresStore } from '../../src/stores/postgres.ts'
import { redisStore } from '../../src/stores/redis.ts'
import { drizzleTransactions } from '../../src/transactions/drizzle.ts'
import { fromKnex } from '../../src/transactions/knex.ts'
import { kyselyTransactions } from '../../src/transactions/kysely.ts'

declare module 'retrysafe' {
  interface Register {
    transaction: pg.PoolClient
  }
}

interface Tables {
  orders: { id: number; customer: string }
}
type Schema = Record<string, never>
type DrizzleTx = NodePgTransaction<Schema, ExtractTablesWithRelations<Schema>>

const idem = createIdempotency({ store: postgresStore({ pool: {} as pg.Pool }) })
const everybody = 'anonymous' as const

test("the store's own transaction", () => {
  nodeLayer(idem, { principal: everybody, transaction: true }, (_request, response, idempotency) => {
    expectTypeOf(idempotency).toEqualTypeOf<TransactionContext<pg.PoolClient> | undefined>()
    expectTypeOf(response.writeHead).toBeFunction()
  })
  nodeLayer(idem, { principal: (request) => request.url, transaction: true }, (_request, _, idempotency) => {
    expectTypeOf(idempotency?.tx).toEqualTypeOf<pg.PoolClient | undefined>()
  })
  fetchLayer(idem, { principal: everybody, transaction: true }, (_request, idempotency) => {
    expectTypeOf(idempotency?.tx).toEqualTypeOf<pg.PoolClient | undefined>()
    return new Response()
  })
  const withOrm = createIdempotency({
    store: postgresStore({
      pool: {} as pg.Pool,
      transactions: drizzleTransactions({} as NodePgDatabase<Schema>),
    }),
  })
  fetchLayer(withOrm, { principal: everybody, transaction: true }, (_request, idempotency) => {
    expectTypeOf(idempotency?.tx.insert).toEqualTypeOf<DrizzleTx['insert'] | undefined>()
    return new Response()
  })
})

test("the user's own transaction", () => {
  const kysely = kyselyTransactions({} as Kysely<Tables>)
  nodeLayer(idem, { principal: everybody, transaction: kysely }, (_request, _response, idempotency) => {
    expectTypeOf(idempotency?.tx).toEqualTypeOf<KyselyTransaction<Tables> | undefined>()
  })
  const knex = {} as Knex
  const transaction = {
    transaction: <Value>(work: (tx: Knex.Transaction) => Promise<Value>) => knex.transaction(work),
    join: fromKnex,
  }
  fetchLayer(idem, { principal: everybody, transaction }, (_request, idempotency) => {
    if (idempotency !== undefined) expectTypeOf(idempotency.tx).toEqualTypeOf<Knex.Transaction>()
    return new Response()
  })
  const db = {} as NodePgDatabase<Schema>
  const serializable = {
    ...drizzleTransactions(db),
    transaction: <Value>(work: (tx: DrizzleTx) => Promise<Value>) =>
      db.transaction(work, { isolationLevel: 'serializable' }),
  }
  fetchLayer(idem, { principal: everybody, transaction: serializable }, (_request, idempotency) => {
    expectTypeOf(idempotency?.tx.insert).toEqualTypeOf<DrizzleTx['insert'] | undefined>()
    return new Response()
  })
  const pool = {} as OwnTransactions<pg.PoolClient>
  fetchLayer(idem, { principal: everybody, transaction: pool }, (_request, idempotency) => {
    expectTypeOf(idempotency?.tx).toEqualTypeOf<pg.PoolClient | undefined>()
    return new Response()
  })
})

test('under a lease there is no transaction', () => {
  for (const options of [{ principal: everybody }, { principal: everybody, transaction: false } as const]) {
    nodeLayer(idem, options, (_request, _response, idempotency) => {
      expectTypeOf(idempotency).toEqualTypeOf<IdempotencyContext | undefined>()
    })
  }
  const redis = createIdempotency({ store: redisStore({ client: {} as never }) })
  fetchLayer(redis, { principal: everybody }, (_request, idempotency) => {
    expectTypeOf(idempotency).toEqualTypeOf<IdempotencyContext | undefined>()
    // @ts-expect-error no transaction
    return new Response(String(idempotency?.tx))
  })
  fetchLayer(
    createIdempotency({ store: memoryStore() }),
    { principal: everybody },
    (_request, idempotency) => {
      expectTypeOf(idempotency).toEqualTypeOf<IdempotencyContext | undefined>()
      return new Response()
    },
  )
})

test('frameworks that declare their request once', () => {
  const app = express()
  app.post('/', expressLayer(idem, { principal: everybody, transaction: true }), (request, response) => {
    expectTypeOf(request.idempotency).toEqualTypeOf<TransactionContext<pg.PoolClient> | undefined>()
    response.end()
  })
  const server = fastify()
  void server.register(fastifyPlugin, { idem, principal: everybody, transaction: true })
  server.post('/', { config: { idempotency: { transaction: false } } }, async (request) => {
    expectTypeOf(request.idempotency).toEqualTypeOf<TransactionContext<pg.PoolClient> | null>()
  })
})

test("Hono's variables", () => {
  const app = new Hono<{ Variables: { idempotency: TransactionContext<pg.PoolClient> } }>()
  app.post('/', honoLayer(idem, { principal: everybody, transaction: true }), (context) => {
    expectTypeOf(context.get('idempotency').tx).toEqualTypeOf<pg.PoolClient>()
    return context.body(null)
  })
})
