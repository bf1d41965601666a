/** The user's program of a run: one effect in every mode, a row in a ledger that would take a second one. */
import { randomUUID } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import { isIdempotencyError } from '../../core/errors.ts'
import { type IdempotencyStore, joinsTransaction, type TransactionalStore } from '../../core/store.ts'
import type { Attempt } from '../../engine/attempt.ts'
import { createIdempotency, type Idempotency } from '../../engine/idempotency.ts'
import type { Operation, Reconciliation } from '../../engine/operation.ts'
import { mysqlStore } from '../../stores/mysql.ts'
import { postgresStore } from '../../stores/postgres.ts'
import { redisStore } from '../../stores/redis.ts'
import { sqliteStore } from '../../stores/sqlite.ts'
import { type CrashPoint, withCrashPoints } from '../../verification/crash-points.ts'
import { loadFirst } from '../database-client.ts'
import { connectRedis } from '../redis-client.ts'
import { openElsewhere } from './elsewhere.ts'
import {
  type ChaosMode,
  type Dialect,
  type LeaseMode,
  leaseMs,
  machineTime,
  redisClientName,
  redisPrefix,
  retentionMs,
  tables,
} from './protocol.ts'
import { readAddress } from './redis-database.ts'

export interface Ask {
  readonly call: number
  readonly mode: ChaosMode
  readonly principal: string
  readonly key: string
  readonly request: string
}

/** What a shop tells while it works. */
export interface ShopEvents {
  reach(point: CrashPoint): Promise<void> | void
  starts(ask: Ask, token: string, fence: number): void
  stops(ask: Ask, token: string): void
  /** The ledger was asked, and has the effect or not. */
  reconciles(ask: Ask, adopted: boolean): void
}

export interface Shop {
  /** Rejects with what the public interface rejects with. */
  ask(ask: Ask): Promise<{ readonly value: string; readonly replayed: boolean }>
  /** The effect alone, without any key. */
  unprotected(ask: Ask): Promise<string>
  close(): Promise<void>
}

/** The code of an error of Retrysafe, or `handler`. */
export function codeOf(error: unknown): string {
  return isIdempotencyError(error) ? error.code : 'handler'
}

const poolMax = 8
const connectMs = 3_000
const wait = 3_000

/** What a shop needs of a client library. `Tx`: its handle of a connection with a transaction. */
interface Library<Tx> {
  readonly store: TransactionalStore<Tx> | IdempotencyStore
  /** Of the value at a place, which is counted from 1. */
  placeholder(at: number): string
  /** Runs a statement in a transaction, or by itself. */
  run(tx: Tx | undefined, text: string, values: readonly unknown[]): Promise<unknown>
  /** Asks where the effects of lease mode are. */
  rows(text: string, values: readonly unknown[]): Promise<readonly Record<string, unknown>[]>
  /** Opens a transaction of the user's own, commits when `work` resolves, and gives up the connection otherwise. */
  transaction?<Value>(work: (tx: Tx) => Promise<Value>): Promise<Value>
  end(): Promise<void>
}

/** @param elsewhere a file of SQLite, where effects cannot be beside their records */
export function openShop(
  dialect: Dialect,
  address: string,
  elsewhere: string | undefined,
  events: ShopEvents,
): Shop {
  switch (dialect) {
    case 'postgres':
      return shopOf(onPostgres(address), events)
    case 'mysql':
      return shopOf(onMysql(address), events)
    case 'sqlite':
      return shopOf(onSqlite(address, elsewhere ?? address), events)
    case 'redis':
      return shopOf(onRedis(address, elsewhere ?? ':memory:'), events)
    default:
      return dialect satisfies never
  }
}

/** The handler died after its effect, or a message of it was lost: nobody knows. */
const leaseOptions = { onError: 'unknown' } as const
const fingerprint = ({ request }: Ask): string => request

function shopOf<Tx>(library: Library<Tx>, events: ShopEvents): Shop {
  const policy = { lease: leaseMs, retention: retentionMs, wait } as const
  const store = withCrashPoints(library.store, events.reach)
  const sweep = store.capabilities.expiresByItself === true ? false : '5s'
  const idem: Idempotency<Tx> = joinsTransaction(store)
    ? createIdempotency({ store: store as TransactionalStore<Tx>, ...policy, sweep })
    : createIdempotency({ store, ...policy, sweep })
  const insertText = insertOf(library.placeholder)

  const handle = async (ask: Ask, tx: Tx | undefined, token: string, fence: number): Promise<string> => {
    events.starts(ask, token, fence)
    await events.reach('in handler')
    const [value, ...values] = effectOf(ask, token)
    await library.run(tx, insertText, [value, ...values])
    await events.reach('effect written')
    events.stops(ask, token)
    await events.reach('handler returns')
    return valueOf(ask, value)
  }
  const reconcile = async (ask: Ask): Promise<Reconciliation<string>> => {
    const { mode, principal, key } = ask
    const [found] = await library.rows(findOf(library.placeholder), [mode, principal, key])
    events.reconciles(ask, found !== undefined)
    if (found === undefined) return { kind: 'not-applied' }
    return { kind: 'applied', value: valueOf(ask, String(found['effect'])) }
  }
  const lease = (onUnknown: LeaseMode): Operation<Ask, string> =>
    idem.operation(
      onUnknown,
      { ...leaseOptions, onUnknown, fingerprint, ...(onUnknown === 'reconcile' ? { reconcile } : {}) },
      // The attempt itself: its token tells whose effect a row is.
      (ask: Ask, run) => handle(ask, undefined, (run as Attempt).token, run.fence),
    )
  const leases: Readonly<Record<LeaseMode, Operation<Ask, string>>> = {
    hold: lease('hold'),
    rerun: lease('rerun'),
    reconcile: lease('reconcile'),
  }
  const joined = joinsTransaction(store)
    ? {
        transaction: idem.transaction('transaction', { fingerprint }, (ask: Ask, { tx, fence }) =>
          handle(ask, tx, '', fence),
        ),
        statement: idem.statement<Ask, { effect: string }>(
          'statement',
          `${insertText} RETURNING effect`,
          (ask) => effectOf(ask, ''),
          { fingerprint },
        ),
      }
    : undefined

  return {
    async ask(ask) {
      const { mode, principal, key } = ask
      const call = { principal, key, input: ask }
      switch (mode) {
        case 'hold':
        case 'rerun':
        case 'reconcile':
          return await leases[mode].run(call)
        case 'transaction':
          if (joined === undefined) throw new Error(joinsNone)
          return await joined.transaction.run(call)
        case 'statement': {
          if (joined === undefined) throw new Error(joinsNone)
          const { value, replayed } = await joined.statement.run(call)
          return { value: valueOf(ask, value[0]?.effect ?? ''), replayed }
        }
        case 'within': {
          if (library.transaction === undefined)
            throw new Error('There are no transactions of the user’s own.')
          const given = {
            operation: 'within',
            principal,
            key,
            input: ask.request,
            lease: leaseMs,
            retention: retentionMs,
          }
          return await library.transaction((tx) => idem.within(tx, given, () => handle(ask, tx, '', 0)))
        }
        default:
          return mode satisfies never
      }
    },
    async unprotected(ask) {
      const [value, ...values] = effectOf(ask, '')
      await library.run(undefined, insertText, [value, ...values])
      return valueOf(ask, value)
    },
    async close() {
      await idem.close()
      await library.end()
    },
  }
}

const joinsNone = 'The store joins no transaction.'

/** In the order of the ledger's columns. */
function effectOf({ mode, principal, key, request, call }: Ask, token: string): [string, ...unknown[]] {
  return [randomUUID(), mode, principal, key, request, call, token, machineTime()]
}

function valueOf({ principal, key, request }: Ask, effect: string): string {
  return `${principal}|${key}|${request}|${effect}`
}

export const ledgerColumns: readonly string[] = [
  'effect',
  'mode',
  'principal',
  'name',
  'request',
  'asked',
  'token',
  'happened',
]

function insertOf(placeholder: (at: number) => string): string {
  const values = ledgerColumns.map((_, at) => placeholder(at + 1)).join(', ')
  return `INSERT INTO ${tables.ledger} (${ledgerColumns.join(', ')}) VALUES (${values})`
}

function findOf(placeholder: (at: number) => string): string {
  const [mode, principal, name] = [1, 2, 3].map(placeholder)
  return `SELECT effect FROM ${tables.ledger}
    WHERE mode = ${mode} AND principal = ${principal} AND name = ${name} ORDER BY happened LIMIT 1`
}

function onPostgres(address: string): Library<any> {
  const { library: pg } = loadFirst(['pg'])
  const pool = new pg.Pool({ connectionString: address, max: poolMax, connectionTimeoutMillis: connectMs })
  pool.on('error', ignore)
  return {
    store: postgresStore({ pool, table: tables.records }),
    placeholder: (at) => `$${at}`,
    run: async (tx, text, values) => await (tx ?? pool).query(text, [...values]),
    rows: async (text, values) => (await pool.query(text, [...values])).rows,
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

function onMysql(address: string): Library<any> {
  const { library: mysql } = loadFirst(['mysql2/promise'])
  const pool = mysql.createPool({ uri: address, connectionLimit: poolMax, connectTimeout: connectMs })
  return {
    store: mysqlStore({ pool, table: tables.records }),
    placeholder: () => '?',
    run: async (tx, text, values) => await (tx ?? pool).query(text, [...values]),
    rows: async (text, values) => (await pool.query(text, [...values]))[0],
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

function onSqlite(file: string, elsewhere: string): Library<any> {
  return { ...onElsewhere(elsewhere), store: sqliteStore({ file, table: tables.records }) }
}

function onRedis(address: string, elsewhere: string): Library<any> {
  const link = connectRedis(readAddress(address), redisClientName)
  const ledger = onElsewhere(elsewhere)
  return {
    ...ledger,
    store: redisStore({ client: link.client, prefix: redisPrefix, onReady: ignore }),
    async end() {
      link.close()
      await ledger.end()
    },
  }
}

function onElsewhere(file: string): Omit<Library<DatabaseSync>, 'store'> {
  const db = openElsewhere(file)
  return {
    placeholder: () => '?',
    run: async (tx, text, values) => (tx ?? db).prepare(text).run(...(values as string[])),
    rows: async (text, values) => db.prepare(text).all(...(values as string[])),
    end: async () => db.close(),
  }
}

const ignore = (): void => {}
