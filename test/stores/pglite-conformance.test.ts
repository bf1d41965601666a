/** In a process of its own: what PGlite computes, it computes in the thread that waits for other servers. */
import { PGlite } from '@electric-sql/pglite'
import { afterAll, test } from 'vitest'
import { type PostgresStore, postgresStore } from '../../src/stores/postgres.ts'
import { storeConformance } from '../../src/verification/index.ts'
import { type Client, names, passes, underTest } from './postgres-clients.ts'

/** One connection: whoever has a transaction open keeps everybody else out, so these cases cannot run. */
const needsAnotherConnection = 'PGlite has one connection'

const db = new PGlite()
afterAll(() => db.close())
storeConformance({
  name: 'postgres on PGlite',
  test,
  joinsTransaction: true,
  advance: passes,
  skip: {
    'an uncommitted claim is not visible outside, and visible inside': needsAnotherConnection,
    'a claim does not wait for another open transaction on its id longer than a moment':
      needsAnotherConnection,
    'records joined to the user’s own transaction commit and roll back with it': needsAnotherConnection,
  },
  open: async () => {
    const { business, table } = names()
    const client: Client = {
      store: postgresStore({ pglite: db, table }) as PostgresStore<unknown>,
      on: async (tx, text, values) => (await (tx as PGlite).query(text, values)).rows,
      read: async (text) => (await db.query(text)).rows,
      begin: () => Promise.reject(new Error(needsAnotherConnection)),
    }
    return await underTest(client, business, table)
  },
})
