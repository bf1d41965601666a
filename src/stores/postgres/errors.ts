/** The one table of Postgres' errors: what each says about a statement or a commit. By SQLSTATE, never by message. */
import { IdempotencyError, StoreError, type StoreFailure } from '../../core/errors.ts'

interface Meaning {
  readonly failure: StoreFailure
  readonly says: string
  /** The server gave the connection up: at a COMMIT nobody knows what became of it. */
  readonly endsConnection?: true
}

const transient = (says: string): Meaning => ({ failure: 'transient', says })
const permanent = (says: string): Meaning => ({ failure: 'permanent', says })
const wrongNode = (says: string): Meaning => ({ failure: 'wrong-node', says })
const ends = (failure: StoreFailure, says: string): Meaning => ({ failure, says, endsConnection: true })

/** By SQLSTATE, and below by its class. */
const meanings: Readonly<Record<string, Meaning>> = {
  '25006': wrongNode('This Postgres server is read-only.'),
  '25P01': permanent('There is no transaction.'),
  '25P02': permanent('The transaction was aborted by an earlier error.'),
  '25P03': ends('transient', 'The transaction was idle for too long.'),
  '25P04': ends('transient', 'The transaction took too long.'),
  '40001': transient('Postgres could not serialize the transaction.'),
  '40003': ends('lost', 'Postgres does not know whether the statement completed.'),
  '40P01': transient('Postgres ended a deadlock.'),
  '42501': permanent('The role may not use the table of records.'),
  '42P01': permanent('The table of records is missing. Run `npx retrysafe migrate`.'),
  '42703': permanent('The table of records is of another version. Run `npx retrysafe migrate`.'),
  '53100': transient('The disk of the Postgres server is full.'),
  '53200': transient('The Postgres server is out of memory.'),
  '53300': transient('The Postgres server has too many connections.'),
  '55P03': transient('A lock could not be had in time.'),
  '57014': transient('A statement was cancelled or took too long.'),
  '57P01': ends('lost', 'The Postgres server ended the connection.'),
  '57P02': ends('lost', 'The Postgres server crashed and ended the connection.'),
  '57P03': transient('The Postgres server does not accept connections now.'),
  '57P05': ends('lost', 'The Postgres server ended an idle connection.'),
}

const classMeanings: Readonly<Record<string, Meaning>> = {
  '08': ends('lost', 'The connection to Postgres failed.'),
  '22': permanent('Postgres refused a value.'),
  '23': permanent('Postgres refused a record.'),
  '28': permanent('Postgres refused the login.'),
  '3D': permanent('The database does not exist.'),
  '42': permanent('Postgres refused a statement.'),
  '53': transient('The Postgres server lacks resources.'),
  '54': permanent('A statement is too large for Postgres.'),
  '58': ends('lost', 'The Postgres server failed.'),
  XX: ends('lost', 'The Postgres server failed.'),
}

/** Errors of Node's sockets that come before anything was sent. */
const neverSent: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENOENT',
  'EHOSTUNREACH',
])

/** How deep an error is looked into: ORMs wrap what their client library throws. */
const causesMax = 10

const wrappers = ['cause', 'original', 'parent', 'driverError', 'meta', 'driverAdapterError'] as const

/** A SQLSTATE. Prisma's own codes (P1000 and on) have its form; those of PL/pgSQL begin with P0. */
const sqlState = /^(?!P[1-9])(?=.*\d)[0-9A-Z]{5}$/

interface ServerError {
  readonly code: string
  readonly severity: string | undefined
}

/** The SQLSTATE and severity of an error of the server, also inside the error of an ORM. */
export function serverError(error: unknown): ServerError | undefined {
  let at = error
  for (let depth = 0; depth < causesMax && typeof at === 'object' && at !== null; depth++) {
    const { originalCode, code = originalCode, severity } = at as Record<string, unknown>
    if (typeof code === 'string' && sqlState.test(code)) {
      return { code, severity: typeof severity === 'string' ? severity : undefined }
    }
    const inner: Record<string, unknown> = at as Record<string, unknown>
    at = wrappers.map((name) => inner[name]).find((value) => typeof value === 'object' && value !== null)
  }
  return undefined
}

function meaningOf({ code }: ServerError): Meaning | undefined {
  return meanings[code] ?? classMeanings[code.slice(0, 2)]
}

/** The database asks for the whole transaction to be run again. */
export function asksForRetry(error: unknown): boolean {
  const code = serverError(error)?.code
  return code === '40001' || code === '40P01'
}

/** Postgres answered that it refuses, so that nothing of the statement or the transaction took place. */
export function isRefusal(error: unknown): boolean {
  const server = serverError(error)
  if (server === undefined || server.severity === 'FATAL' || server.severity === 'PANIC') return false
  return meaningOf(server)?.endsConnection !== true && meaningOf(server) !== undefined
}

/**
 * A client library's error as the error of a store.
 *
 * @param phase `connect`: nothing was sent. `statement`: inside a transaction that has not been committed, so a
 * lost connection undoes it. `commit`: a COMMIT, or a statement that commits by itself
 */
export function asStoreError(error: unknown, phase: 'connect' | 'statement' | 'commit'): IdempotencyError {
  if (error instanceof IdempotencyError) return error
  const server = serverError(error)
  if (server !== undefined) {
    const meaning = meaningOf(server)
    if (meaning === undefined) {
      return new StoreError('unrecognised', `Postgres failed with SQLSTATE ${server.code}.`, { cause: error })
    }
    // A server that is going down may have committed before it said so.
    const failure = meaning.endsConnection && phase !== 'commit' ? 'transient' : meaning.failure
    return new StoreError(failure, meaning.says, { cause: error })
  }
  const { code } = (error ?? {}) as { code?: unknown }
  if (phase === 'connect' || (typeof code === 'string' && neverSent.has(code))) {
    return new StoreError('transient', 'The Postgres server cannot be reached.', { cause: error })
  }
  const failure = phase === 'commit' ? 'lost' : 'transient'
  return new StoreError(failure, 'The connection to Postgres was lost.', { cause: error })
}
