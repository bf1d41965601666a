/** The conformance suite on the client libraries that have a pool, at any address. */
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import postgres from 'postgres'
import { afterAll, test } from 'vitest'
import type { TransactionalStore } from '../../src/core/store.ts'
import { type PostgresStore, postgresStore } from '../../src/stores/postgres.ts'
import { type BusinessWrites, storeConformance, type StoreUnderTest } from '../../src/verification/index.ts'

export const passes = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** One way to run the business statements of the suite on a client library. */
export interface Client {
  readonly store: TransactionalStore<unknown>
  on(tx: unknown, text: string, values?: unknown[]): Promise<readonly unknown[]>
  read(text: string): Promise<readonly unknown[]>
  begin(): Promise<{ tx: unknown; end(how: 'COMMIT' | 'ROLLBACK'): Promise<void> }>
}

export async function underTest(client: Client, business: string, records: string): Promise<StoreUnderTest> {
  const { store, on, read, begin } = client
  await read(`CREATE TABLE ${business} (text text NOT NULL)`)
  const writes: BusinessWrites = {
    write: async (tx, text) => void (await on(tx, `INSERT INTO ${business} (text) VALUES ($1)`, [text])),
    written: async () =>
      (await read(`SELECT text FROM ${business} ORDER BY text`)).map((row) => (row as { text: string }).text),
    async begin() {
      const { tx, end } = await begin()
      return { tx, commit: () => end('COMMIT'), rollBack: () => end('ROLLBACK') }
    },
  }
  const dispose = async (): Promise<void> =>
    void (await read(`DROP TABLE ${business}, ${records}`).catch(() => {}))
  return { store, business: writes, dispose }
}

export const names = (): { business: string; table: string } => {
  const end = randomUUID().slice(0, 8)
  return { business: `orders_${end}`, table: `records_${end}` }
}

/** `over`: what stands in front of the store, such as fast tiers. */
export function conformanceOfPg(
  url: string,
  name = 'postgres on pg',
  over: (store: TransactionalStore<unknown>) => TransactionalStore<unknown> = (store) => store,
): void {
  const pool = new pg.Pool({ connectionString: url, max: 10 })
  afterAll(() => pool.end())
  storeConformance({
    name,
    test,
    joinsTransaction: true,
    advance: passes,
    open: async () => {
      const { business, table } = names()
      const client: Client = {
        store: over(postgresStore({ pool, table }) as PostgresStore<unknown>),
        on: async (tx, text, values) => (await (tx as pg.PoolClient).query(text, values)).rows,
        read: async (text) => (await pool.query(text)).rows,
        async begin() {
          const tx = await pool.connect()
          await tx.query('BEGIN')
          return {
            tx,
            async end(how): Promise<void> {
              await tx.query(how)
              tx.release()
            },
          }
        },
      }
      return await underTest(client, business, table)
    },
  })
}

export function conformanceOfPostgresJs(url: string, prepare = true): void {
  const sql = postgres(url, { max: 10, onnotice: () => {}, prepare })
  afterAll(() => sql.end())
  storeConformance({
    name: 'postgres on postgres.js',
    test,
    joinsTransaction: true,
    advance: passes,
    open: async () => {
      const { business, table } = names()
      const client: Client = {
        store: postgresStore({ sql, table }) as PostgresStore<unknown>,
        on: async (tx, text, values) => await (tx as typeof sql).unsafe(text, values as never[]),
        read: async (text) => await sql.unsafe(text),
        async begin() {
          const tx = await sql.reserve()
          await tx.unsafe('BEGIN')
          return {
            tx,
            async end(how): Promise<void> {
              await tx.unsafe(how)
              tx.release()
            },
          }
        },
      }
      return await underTest(client, business, table)
    },
  })
}
