/** One effect in every mode: a row in a ledger that has no unique index, and would take a second one. */
import { randomUUID } from 'node:crypto'
import mysql from 'mysql2/promise'
import pg from 'pg'
import {
  createIdempotency,
  type Duration,
  isIdempotencyError,
  type TransactionalStore,
} from '../../src/index.ts'
import { mysqlStore } from '../../src/stores/mysql.ts'
import { postgresStore } from '../../src/stores/postgres.ts'

export const modes = ['transaction', 'statement', 'within', 'lease'] as const
export type Mode = (typeof modes)[number]

/** A lease that is over soon, so that takeovers happen within a run. */
export const leaseMs = 2_000
const retention = '1h'
const poolMax = 8

export interface Shop {
  /** Runs the operation of a mode. Rejects with what the public interface rejects with. */
  ask(mode: Mode, key: string): Promise<{ readonly value: string; readonly replayed: boolean }>
  /** Writes into the ledger, without any key. */
  insert(key: string, value: string): Promise<void>
  rows(text: string): Promise<Record<string, unknown>[]>
  /** The code of an error of Retrysafe, or `handler`. */
  codeOf(error: unknown): string
  close(): Promise<void>
}

interface Input {
  readonly key: string
}

const principal = 'shop'

export const ledgerTables: Readonly<Record<'postgres' | 'mysql', string>> = {
  postgres: 'CREATE TABLE ledger (name text NOT NULL, value text NOT NULL)',
  mysql: 'CREATE TABLE ledger (name varchar(100) NOT NULL, value varchar(100) NOT NULL) ENGINE = InnoDB',
}

export async function openShop(
  dialect: 'postgres' | 'mysql',
  url: string,
  wait: Duration = '3s',
): Promise<Shop> {
  return dialect === 'postgres' ? shopOf(onPostgres(url), wait) : shopOf(onMysql(url), wait)
}

/** What lease mode and its handler promise: an effect that may have happened is never run again. */
const leaseOptions = { onUnknown: 'hold', onError: 'unknown' } as const

/** What a shop needs of a client library. `Tx`: its handle of a connection with a transaction. */
interface Library<Tx> {
  readonly store: TransactionalStore<Tx>
  readonly insertText: string
  /** Runs a statement in a transaction, or by itself. */
  run(tx: Tx | undefined, text: string, values: readonly string[]): Promise<Record<string, unknown>[]>
  /** Opens a transaction of the user's own, commits when `work` resolves, and gives up the connection otherwise. */
  transaction<Value>(work: (tx: Tx) => Promise<Value>): Promise<Value>
  end(): Promise<void>
}

function shopOf<Tx>(library: Library<Tx>, wait: Duration): Shop {
  const options = { lease: leaseMs, retention, wait } as const
  const idem = createIdempotency({ store: library.store, ...options })
  const write = async (tx: Tx | undefined, key: string, value: string = randomUUID()): Promise<string> => {
    await library.run(tx, library.insertText, [key, value])
    return value
  }
  const inTransaction = idem.transaction('transaction', ({ key }: Input, { tx }) => write(tx, key))
  const lease = idem.operation('lease', leaseOptions, ({ key }: Input) => write(undefined, key))
  const statement = idem.statement<Input, { value: string }>(
    'statement',
    `${library.insertText} RETURNING value`,
    ({ key }) => [key, randomUUID()],
  )
  return {
    async ask(mode, key) {
      const call = { key, principal, input: { key } }
      switch (mode) {
        case 'transaction':
          return await inTransaction.run(call)
        case 'lease':
          return await lease.run(call)
        case 'statement': {
          const { value, replayed } = await statement.run(call)
          return { value: value[0]?.value ?? '', replayed }
        }
        case 'within':
          return await library.transaction((tx) =>
            idem.within(tx, { operation: 'within', ...call, ...options }, () => write(tx, key)),
          )
        default:
          return mode satisfies never
      }
    },
    insert: async (key, value) => void (await write(undefined, key, value)),
    rows: (text) => library.run(undefined, text, []),
    codeOf: (error) => (isIdempotencyError(error) ? error.code : 'handler'),
    async close() {
      await idem.close()
      await library.end()
    },
  }
}

function onPostgres(url: string): Library<pg.PoolClient> {
  const pool = new pg.Pool({ connectionString: url, max: poolMax, connectionTimeoutMillis: 3_000 })
  return {
    store: postgresStore({ pool }),
    insertText: 'INSERT INTO ledger (name, value) VALUES ($1, $2)',
    run: async (tx, text, values) => (await (tx ?? pool).query(text, [...values])).rows,
    async transaction(work) {
      const client = await pool.connect()
      let sound = false
      try {
        client.on('error', ignore)
        await client.query('BEGIN')
        const value = await work(client)
        const { command } = await client.query('COMMIT')
        if (command !== 'COMMIT') throw new Error(command)
        sound = true
        return value
      } finally {
        client.off('error', ignore)
        client.release(!sound)
      }
    },
    end: () => pool.end(),
  }
}

function onMysql(url: string): Library<mysql.PoolConnection> {
  const pool = mysql.createPool({ uri: url, connectionLimit: poolMax, connectTimeout: 3_000 })
  return {
    store: mysqlStore({ pool }),
    insertText: 'INSERT INTO ledger (name, value) VALUES (?, ?)',
    run: async (tx, text, values) =>
      (await (tx ?? pool).query(text, [...values]))[0] as Record<string, unknown>[],
    async transaction(work) {
      const connection = await pool.getConnection()
      let sound = false
      try {
        await connection.query('SET TRANSACTION ISOLATION LEVEL READ COMMITTED')
        await connection.query('START TRANSACTION')
        const value = await work(connection)
        await connection.query('COMMIT')
        sound = true
        return value
      } finally {
        if (sound) connection.release()
        else connection.destroy()
      }
    },
    end: () => pool.end(),
  }
}

const ignore = (): void => {}

/** mulberry32: the same numbers for the same seed. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
