/** Connections that break at the worst moment, and a server that is killed. */
import { once } from 'node:events'
import { connect, createServer, type Server } from 'node:net'
import mariadb, { type Pool } from 'mariadb'
import mysql from 'mysql2/promise'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type MysqlStore, mysqlStore } from '../../src/stores/mysql.ts'
import { asStoreError } from '../../src/stores/mysql/errors.ts'
import { completion, newClaim } from '../../src/verification/store-cases/context.ts'
import { mariadbDatabase } from '../servers.ts'
import { MortalMariadb } from './mortal-mariadb.ts'

let url: string
let admin: mysql.Connection

beforeAll(async () => {
  url = await mariadbDatabase()
  admin = await mysql.createConnection(url)
  await admin.query('CREATE TABLE orders (id INT PRIMARY KEY, text VARCHAR(100)) ENGINE = InnoDB')
})

afterAll(() => admin.end())

type Cut = { readonly at: RegExp; readonly when: 'before' | 'after' }

/**
 * Stands between a client and the server, and cuts the connection when a statement passes by: `before` the server
 * gets it, or `after` it has answered, so that the answer is lost.
 */
class Line {
  cut: Cut | undefined
  readonly #server: Server

  constructor(port: number) {
    this.#server = createServer((client) => {
      const server = connect(port, '127.0.0.1')
      let isDoomed = false
      for (const socket of [client, server]) {
        socket.on('error', () => {})
        socket.on('close', () => {
          client.destroy()
          server.destroy()
        })
      }
      client.on('data', (octets) => {
        // A statement of the text protocol is in one packet, and in these tests in one piece.
        if (this.cut?.at.test(octets.toString('latin1', 5))) {
          const { when } = this.cut
          this.cut = undefined
          isDoomed = true
          if (when === 'before') client.destroy()
        }
        if (!client.destroyed) server.write(octets)
      })
      server.on('data', (octets) => {
        if (isDoomed) client.destroy()
        else client.write(octets)
      })
    })
  }

  async url(): Promise<string> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    const { port } = this.#server.address() as { port: number }
    return Object.assign(new URL(url), { port: String(port) }).href
  }

  /** Resolves when the last connection is closed: pools go on connecting after their end. */
  async close(): Promise<void> {
    this.#server.close()
    await once(this.#server, 'close')
  }
}

interface Rig {
  readonly line: Line
  readonly store: MysqlStore<never>
}

let tables = 0

const libraries: Record<string, (address: string) => { store: MysqlStore<never>; end(): Promise<void> }> = {
  mysql2(address) {
    const pool = mysql.createPool({ uri: address, connectionLimit: 2 })
    const store = mysqlStore({ pool, table: `records_${++tables}` }) as MysqlStore<never>
    return { store, end: () => pool.end() }
  },
  mariadb(address) {
    const pool = mariadb.createPool(address.replace(/^mysql:/, 'mariadb:'))
    const store = mysqlStore({ mariadb: pool, table: `records_${++tables}` }) as MysqlStore<never>
    return { store, end: () => pool.end() }
  },
}

async function rigOf(library: string): Promise<Rig> {
  const line = new Line(Number(new URL(url).port))
  const { store, end } = (libraries[library] as (typeof libraries)[string])(await line.url())
  onTestFinished(async () => {
    await end()
    await line.close()
  })
  await store.ready()
  await admin.query('DELETE FROM orders')
  return { line, store }
}

const orders = async (): Promise<number> =>
  ((await admin.query<mysql.RowDataPacket[]>('SELECT id FROM orders'))[0] as unknown[]).length

for (const library of Object.keys(libraries)) {
  describe(`a connection of ${library} that breaks`, () => {
    for (const when of ['before', 'after'] as const) {
      test(`${when} the answer to COMMIT: unknown, and the next claim tells`, async () => {
        const { line, store } = await rigOf(library)
        const asked = newClaim()
        const end = await store.transaction(async (tx, records) => {
          await records.claim([asked])
          await (tx as mysql.PoolConnection).query(`INSERT INTO orders VALUES (1, '')`)
          line.cut = { at: /^COMMIT/, when }
          return { kind: 'commit', value: 17, settlement: completion(asked) }
        })
        expect(end).toMatchObject({ kind: 'unknown', value: 17, error: { failure: 'lost' } })
        const [reply] = (await store.claim([newClaim({ id: asked.id })])).replies
        expect(reply?.kind).toBe(when === 'after' ? 'found' : 'claimed')
        expect(await orders()).toBe(when === 'after' ? 1 : 0)
      })

      test(`${when} the answer to a claim: lost, and sent again it finds its own`, async () => {
        const { line, store } = await rigOf(library)
        const asked = newClaim()
        line.cut = { at: /INSERT IGNORE/, when }
        await expect(store.claim([asked])).rejects.toMatchObject({ code: 'store-failed', failure: 'lost' })
        const [reply] = (await store.claim([asked])).replies
        if (when === 'before') expect(reply?.kind).toBe('claimed')
        else expect(reply).toMatchObject({ kind: 'found', record: { token: asked.token, phase: 'running' } })
      })

      test(`${when} the answer to the settlement: nothing was applied`, async () => {
        const { line, store } = await rigOf(library)
        const asked = newClaim()
        const call = store.transaction(async (tx, records) => {
          await records.claim([asked])
          await (tx as mysql.PoolConnection).query(`INSERT INTO orders VALUES (1, '')`)
          line.cut = { at: /UPDATE/, when }
          return { kind: 'commit', value: 17, settlement: completion(asked) }
        })
        await expect(call).rejects.toMatchObject({ code: 'store-failed', failure: 'transient' })
        expect((await store.claim([newClaim({ id: asked.id })])).replies[0]?.kind).toBe('claimed')
        expect(await orders()).toBe(0)
      })

      test(`${when} the answer to a sweep’s COMMIT: the next one goes on`, async () => {
        const { line, store } = await rigOf(library)
        const asked = newClaim({ leaseMs: 1, retentionMs: 0 })
        await store.claim([asked])
        await admin.query('DO SLEEP(0.005)')
        line.cut = { at: /^COMMIT/, when }
        await expect(store.sweep(10)).rejects.toMatchObject({ failure: 'lost' })
        // The server lets go of the locks of a connection once it has noticed that it is gone.
        let removed = 0
        const isThere = async (): Promise<boolean> => (await store.read([asked.id])).replies[0] !== undefined
        for (let sweeps = 0; sweeps < 1_000 && (await isThere()); sweeps++) {
          removed += (await store.sweep(10)).removed
        }
        expect(removed).toBe(when === 'after' ? 0 : 1)
      })
    }

    test('when the transaction begins: nothing was applied', async () => {
      const { line, store } = await rigOf(library)
      for (const at of [/^SET @@/, /^SAVEPOINT/, /INSERT IGNORE/, /^RELEASE/]) {
        line.cut = { at, when: 'after' }
        const asked = newClaim()
        const call = store.transaction(async (_tx, records) => {
          await records.claim([asked])
          return { kind: 'commit', value: undefined, settlement: completion(asked) }
        })
        await expect(call, String(at)).rejects.toMatchObject({ code: 'store-failed', failure: 'transient' })
        expect((await store.read([asked.id])).replies).toEqual([undefined])
      }
    })

    test('after COMMIT, on its way back to the pool: committed', async () => {
      const { line, store } = await rigOf(library)
      line.cut = { at: /^SET autocommit = 1/, when: 'before' }
      const end = await store.transaction(async () => ({ kind: 'commit', value: 17 }))
      expect(end).toEqual({ kind: 'committed', value: 17 })
      expect((await store.claim([newClaim()])).replies).toEqual([{ kind: 'claimed' }])
    })
  })
}

/**
 * Waits until the pool makes no more connections. In 3.5.4 a connection that dies at the end of its handshake leaves
 * a rejected promise that nobody can reach, which is none of the store's.
 */
async function filled(pool: Pool, connections: number): Promise<void> {
  for (let tries = 0; tries < 1_000 && pool.totalConnections() < connections; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  expect(pool.totalConnections()).toBe(connections)
}

const mortals: Record<
  string,
  (server: MortalMariadb) => { store: MysqlStore<never>; settle(): Promise<void>; end(): Promise<void> }
> = {
  mysql2(server) {
    const pool = mysql.createPool({ uri: server.url, connectionLimit: 2 })
    const store = mysqlStore({ pool }) as MysqlStore<never>
    return { store, settle: async () => {}, end: () => pool.end() }
  },
  mariadb({ port }) {
    const options = { host: '127.0.0.1', port, user: 'root', database: 'mysql' }
    const pool = mariadb.createPool({ ...options, connectionLimit: 2, acquireTimeout: 1_000 })
    const store = mysqlStore({ mariadb: pool }) as MysqlStore<never>
    return { store, settle: () => filled(pool, 2), end: () => pool.end() }
  },
}

for (const [library, open] of Object.entries(mortals)) {
  test(`a killed server has what it acknowledged, and the store goes on: ${library}`, {
    timeout: 60_000,
  }, async () => {
    const server = await MortalMariadb.make()
    onTestFinished(() => server.dispose())
    const { store, settle, end } = open(server)
    onTestFinished(end)
    const [settled, running] = [newClaim(), newClaim()]
    await store.claim([settled, running])
    await store.settle([completion(settled)])
    const asked = newClaim()
    const call = store.transaction(async (_tx, records) => {
      await records.claim([asked])
      await settle()
      await server.kill()
      return { kind: 'commit', value: undefined, settlement: completion(asked) }
    })
    const failure = { code: 'store-failed', failure: 'transient' }
    await expect(call).rejects.toMatchObject(failure)
    await expect(store.claim([newClaim()])).rejects.toMatchObject(failure)
    await server.start()
    const { replies } = await store.read([settled.id, running.id, asked.id])
    expect(replies.map((record) => record?.phase)).toEqual(['completed', 'running', undefined])
    expect((await store.settle([completion(running)])).replies).toEqual([{ kind: 'settled' }])
    await settle()
  })
}

test('a server that turns read-only is named as the wrong node', { timeout: 60_000 }, async () => {
  const server = await MortalMariadb.make()
  onTestFinished(() => server.dispose())
  const root = await mysql.createConnection(server.url)
  onTestFinished(() => root.end())
  await root.query(`CREATE DATABASE shop`)
  await root.query(`CREATE USER app@'127.0.0.1' IDENTIFIED BY 'p'`)
  await root.query(`GRANT ALL ON shop.* TO app@'127.0.0.1'`)
  const pool = mysql.createPool(`mysql://app:p@127.0.0.1:${server.port}/shop`)
  onTestFinished(() => pool.end())
  const store = mysqlStore({ pool })
  const asked = newClaim()
  await store.claim([asked])
  await root.query('SET GLOBAL read_only = 1')
  await expect(store.claim([newClaim()])).rejects.toMatchObject({ failure: 'wrong-node' })
  expect((await store.read([asked.id])).replies[0]?.phase).toBe('running')
  const call = store.transaction(async (_tx, records) => {
    await records.claim([newClaim()])
    return { kind: 'commit', value: undefined }
  })
  await expect(call).rejects.toMatchObject({ failure: 'wrong-node' })
  await root.query('SET GLOBAL read_only = 0')
  expect((await store.settle([completion(asked)])).replies).toEqual([{ kind: 'settled' }])
  // What the server refuses is not what the store cannot reach.
  const stranger = mysql.createPool(`mysql://app:wrong@127.0.0.1:${server.port}/shop`)
  onTestFinished(() => stranger.end())
  await expect(mysqlStore({ pool: stranger }).ready()).rejects.toMatchObject({ failure: 'permanent' })
  const lost = mysql.createPool(`mysql://app:p@127.0.0.1:${server.port}/nowhere`)
  onTestFinished(() => lost.end())
  await expect(mysqlStore({ pool: lost }).ready()).rejects.toMatchObject({ failure: 'permanent' })
})

test('each error says the same of a statement and of a commit, except where the connection went', () => {
  const table: [number | string, string, string][] = [
    [1020, 'transient', 'transient'],
    [1040, 'transient', 'transient'],
    [1044, 'permanent', 'permanent'],
    [1045, 'permanent', 'permanent'],
    [1053, 'transient', 'lost'],
    [1062, 'permanent', 'permanent'],
    [1114, 'transient', 'transient'],
    [1142, 'permanent', 'permanent'],
    [1146, 'permanent', 'permanent'],
    [1205, 'transient', 'transient'],
    [1213, 'transient', 'transient'],
    [1290, 'wrong-node', 'wrong-node'],
    [1317, 'transient', 'lost'],
    [1366, 'permanent', 'permanent'],
    [1406, 'permanent', 'permanent'],
    [1792, 'wrong-node', 'wrong-node'],
    [1836, 'wrong-node', 'wrong-node'],
    [1969, 'transient', 'lost'],
    [2006, 'transient', 'lost'],
    [2013, 'transient', 'lost'],
    [3024, 'transient', 'lost'],
    [3572, 'transient', 'transient'],
    [9999, 'unrecognised', 'unrecognised'],
    ['PROTOCOL_CONNECTION_LOST', 'transient', 'lost'],
    ['ECONNRESET', 'transient', 'lost'],
    ['ECONNREFUSED', 'transient', 'transient'],
  ]
  for (const [given, statement, commit] of table) {
    const part = typeof given === 'number' ? { errno: given } : { code: given, errno: -1 }
    const plain = Object.assign(new Error('secret'), part)
    // Some ORMs wrap what their client library throws.
    const wrapped = Object.assign(new Error('secret'), { parent: plain })
    for (const error of [plain, wrapped]) {
      expect(asStoreError(error, 'statement'), String(given)).toMatchObject({ failure: statement })
      expect(asStoreError(error, 'commit'), String(given)).toMatchObject({ failure: commit })
      expect(asStoreError(error, 'commit').message).not.toContain('secret')
    }
  }
})
