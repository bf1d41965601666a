/** One effect in every mode: a row in a ledger that has no unique index, and would take a second one. */
import { randomUUID } from 'node:crypto'
import mysql from 'mysql2/promise'
import pg from 'pg'
import { createIdempotency, type Duration, isIdempotencyError, type Operation } from '../../src/index.ts'
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
  return dialect === 'postgres' ? onPostgres(url, wait) : onMysql(url, wait)
}

/** What lease mode and its handler promise: an effect that may have happened is never run again. */
const leaseOptions = { onUnknown: 'hold', onError: 'unknown' } as const

const codeOf = (error: unknown): string => (isIdempotencyError(error) ? error.code : 'handler')

function onPostgres(url: string, wait: Duration): Shop {
  const pool = new pg.Pool({ connectionString: url, max: poolMax, connectionTimeoutMillis: 3_000 })
  const options = { lease: leaseMs, retention, wait } as const
  const idem = createIdempotency({ store: postgresStore({ pool }), ...options })
  const text = 'INSERT INTO ledger (name, value) VALUES ($1, $2)'
  const write = async (on: pg.Pool | pg.PoolClient, key: string): Promise<string> => {
    const value = randomUUID()
    await on.query(text, [key, value])
    return value
  }
  const operations: Readonly<Record<Exclude<Mode, 'within' | 'statement'>, Operation<Input, string>>> = {
    transaction: idem.transaction('transaction', ({ key }: Input, { tx }) => write(tx, key)),
    lease: idem.operation('lease', leaseOptions, ({ key }: Input) => write(pool, key)),
  }
  const statement = idem.statement<Input, { value: string }>(
    'statement',
    `${text} RETURNING value`,
    ({ key }) => [key, randomUUID()],
  )
  return {
    async ask(mode, key) {
      const call = { key, principal, input: { key } }
      if (mode === 'statement') return flat(await statement.run(call))
      if (mode !== 'within') return await operations[mode].run(call)
      const client = await pool.connect()
      let sound = false
      try {
        client.on('error', ignore)
        await client.query('BEGIN')
        const result = await idem.within(client, { operation: 'within', ...call, ...options }, () =>
          write(client, key),
        )
        const { command } = await client.query('COMMIT')
        if (command !== 'COMMIT') throw new Error(command)
        sound = true
        return result
      } finally {
        client.off('error', ignore)
        client.release(!sound)
      }
    },
    insert: async (key, value) => void (await pool.query(text, [key, value])),
    rows: async (query) => (await pool.query(query)).rows,
    codeOf,
    async close() {
      await idem.close()
      await pool.end()
    },
  }
}

function onMysql(url: string, wait: Duration): Shop {
  const pool = mysql.createPool({ uri: url, connectionLimit: poolMax, connectTimeout: 3_000 })
  const options = { lease: leaseMs, retention, wait } as const
  const idem = createIdempotency({ store: mysqlStore({ pool }), ...options })
  const text = 'INSERT INTO ledger (name, value) VALUES (?, ?)'
  const write = async (on: mysql.Pool | mysql.PoolConnection, key: string): Promise<string> => {
    const value = randomUUID()
    await on.query(text, [key, value])
    return value
  }
  const operations: Readonly<Record<Exclude<Mode, 'within' | 'statement'>, Operation<Input, string>>> = {
    transaction: idem.transaction('transaction', ({ key }: Input, { tx }) => write(tx, key)),
    lease: idem.operation('lease', leaseOptions, ({ key }: Input) => write(pool, key)),
  }
  const statement = idem.statement<Input, { value: string }>(
    'statement',
    `${text} RETURNING value`,
    ({ key }) => [key, randomUUID()],
  )
  return {
    async ask(mode, key) {
      const call = { key, principal, input: { key } }
      if (mode === 'statement') return flat(await statement.run(call))
      if (mode !== 'within') return await operations[mode].run(call)
      const connection = await pool.getConnection()
      let sound = false
      try {
        await connection.query('SET TRANSACTION ISOLATION LEVEL READ COMMITTED')
        await connection.query('START TRANSACTION')
        const result = await idem.within(connection, { operation: 'within', ...call, ...options }, () =>
          write(connection, key),
        )
        await connection.query('COMMIT')
        sound = true
        return result
      } finally {
        if (sound) connection.release()
        else connection.destroy()
      }
    },
    insert: async (key, value) => void (await pool.query(text, [key, value])),
    rows: async (query) => (await pool.query(query))[0] as Record<string, unknown>[],
    codeOf,
    async close() {
      await idem.close()
      await pool.end()
    },
  }
}

const ignore = (): void => {}

function flat({ value, replayed }: { value: { value: string }[]; replayed: boolean }) {
  return { value: value[0]?.value ?? '', replayed }
}

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
