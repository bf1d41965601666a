/** The one table of MySQL's and MariaDB's errors: what each says about a statement or a commit. By number. */
import { IdempotencyError, StoreError, type StoreFailure } from '../../core/errors.ts'

interface Meaning {
  /** The error hit a statement whose transaction can still be rolled back. */
  readonly failure: StoreFailure
  /** The error hit a COMMIT, or a statement that commits by itself. */
  readonly atCommit: StoreFailure
  readonly says: string
}

const same = (failure: StoreFailure, says: string): Meaning => ({ failure, atCommit: failure, says })
const transient = (says: string): Meaning => same('transient', says)
const permanent = (says: string): Meaning => same('permanent', says)
const wrongNode = (says: string): Meaning => same('wrong-node', says)
/** The server gave the statement or its connection up: at a commit nobody knows what became of it. */
const ends = (says: string): Meaning => ({ failure: 'transient', atCommit: 'lost', says })

const noTable = 'The table of records is missing or of another version. Run `npx retrysafe migrate`.'
const noRight = 'The user may not use the table of records.'
const noLogin = 'The server refused the login.'
const readOnly = 'This server is read-only.'
const full = 'The disk of the server is full.'
const ended = 'The server ended the connection.'
const tooLong = 'A statement took too long.'
const refusedValue = 'The server refused a value.'

/** By error number. What is not listed is `unrecognised`. */
const meanings: Readonly<Record<number, Meaning>> = {
  1020: transient('A record was changed by another transaction since this one began.'),
  1021: transient(full),
  1040: transient('The server has too many connections.'),
  1041: transient('The server is out of memory.'),
  1044: permanent(noLogin),
  1045: permanent(noLogin),
  1047: wrongNode('This node of the cluster takes no statements now.'),
  1049: permanent('The database does not exist.'),
  1053: ends('The server is shutting down.'),
  1054: permanent(noTable),
  1062: permanent('The server refused a record.'),
  1064: permanent('The server refused a statement.'),
  1114: transient(full),
  1129: transient('The server refuses connections of this host.'),
  1142: permanent(noRight),
  1143: permanent(noRight),
  1146: permanent(noTable),
  1152: ends(ended),
  1153: permanent('A statement is over max_allowed_packet of the server.'),
  1158: ends(ended),
  1159: ends(ended),
  1160: ends(ended),
  1161: ends(ended),
  1180: ends('The server failed to commit.'),
  1203: transient('The user has too many connections.'),
  1205: transient('A lock could not be had in time.'),
  1213: transient('The server ended a deadlock by rolling the transaction back.'),
  1226: transient('The user is over a limit of the server.'),
  1227: permanent(noRight),
  1290: wrongNode(readOnly),
  1317: ends('A statement was interrupted.'),
  1364: permanent(noTable),
  1366: permanent(refusedValue),
  1406: permanent(refusedValue),
  1568: permanent('A transaction is open on the connection already.'),
  1689: transient('A table lock could not be had in time.'),
  1792: wrongNode('The transaction is read-only.'),
  1836: wrongNode(readOnly),
  1874: wrongNode(readOnly),
  1927: ends('The connection was killed.'),
  1969: ends(tooLong),
  2006: ends(ended),
  2013: ends(ended),
  3024: ends(tooLong),
  3058: transient('A user-level lock could not be had without a deadlock.'),
  3572: transient('A lock is held by another transaction.'),
  4031: ends('The server ended an idle connection.'),
}

/** Errors of sockets, and of `mariadb` (45xxx), that come before anything of the statement was sent. */
const neverSent: ReadonlySet<string | number> = new Set<string | number>([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENOENT',
  'EHOSTUNREACH',
  45001,
  45012,
  45013,
  45027,
  45028,
  45035,
  45037,
  45046,
])

/** The pool gave no connection, or this one was closed before. */
export class NotSentError extends Error {
  constructor(cause?: unknown) {
    super('No connection could be had.', cause === undefined ? undefined : { cause })
  }
}

/** The server did not answer; the connection was destroyed. */
export class StatementTimeoutError extends Error {
  constructor(ms: number) {
    super(`The server did not answer within ${ms} ms.`)
  }
}

export const errorNumbers = {
  deadlock: 1213,
  lockWait: 1205,
  lockNowait: 3572,
  snapshot: 1020,
  noTable: 1146,
  noSavepoint: 1305,
  syntax: 1064,
} as const

/** How deep an error is looked into: ORMs wrap what their client library throws. */
const causesMax = 10

const wrappers = ['cause', 'original', 'parent', 'driverError', 'meta'] as const

/** The server's number of an error, also inside the error of an ORM; `undefined` for any other error. */
export function errorNumber(error: unknown): number | undefined {
  for (const at of layers(error)) {
    const { errno } = at as { errno?: unknown }
    // Errors of sockets have negative numbers of the operating system, those of `mariadb` itself are 45xxx.
    if (typeof errno === 'number' && errno >= 1_000 && errno < 45_000) return errno
  }
  return undefined
}

function* layers(error: unknown): Generator<object> {
  let at = error
  for (let depth = 0; depth < causesMax && typeof at === 'object' && at !== null; depth++) {
    yield at
    const inner = at as Record<string, unknown>
    at = wrappers.map((name) => inner[name]).find((value) => typeof value === 'object' && value !== null)
  }
}

/** The database asks for the whole transaction to be run again. */
export function asksForRetry(error: unknown): boolean {
  const number = errorNumber(error)
  return number === errorNumbers.deadlock || number === errorNumbers.snapshot
}

/** The lock is another transaction's, which is still open. */
export function isLocked(error: unknown): boolean {
  const number = errorNumber(error)
  return number === errorNumbers.lockWait || number === errorNumbers.lockNowait
}

/** Nothing of the statement was sent. */
function isNeverSent(error: unknown): boolean {
  for (const at of layers(error)) {
    if (at instanceof NotSentError) return true
    const { code, errno, fatal, message } = at as Record<'code' | 'errno' | 'fatal' | 'message', unknown>
    if (neverSent.has(code as string) || neverSent.has(errno as number)) return true
    // mysql2 refuses a statement on a closed connection with an error that has no code.
    const isBare = fatal === true && code === undefined && errno === undefined
    if (isBare && typeof message === 'string' && message.startsWith("Can't add new command")) return true
  }
  return false
}

/**
 * A client library's error as the error of a store.
 *
 * @param at `commit` when the failed statement was to commit something
 */
export function asStoreError(error: unknown, at: 'statement' | 'commit'): IdempotencyError {
  if (error instanceof IdempotencyError) return error
  const cause = withoutValues(error)
  const number = errorNumber(error)
  if (number !== undefined) {
    const meaning = meanings[number]
    if (meaning === undefined) {
      return new StoreError('unrecognised', `The server failed with error ${number}.`, { cause })
    }
    return new StoreError(at === 'commit' ? meaning.atCommit : meaning.failure, meaning.says, { cause })
  }
  if (isNeverSent(error)) {
    return new StoreError('transient', 'The server cannot be reached, or has no free connection.', { cause })
  }
  return new StoreError(at === 'commit' ? 'lost' : 'transient', 'The connection was lost.', { cause })
}

/** Client libraries put the whole statement with its values into their errors (`sql`, or the message itself). */
function withoutValues(error: unknown): unknown {
  if (error instanceof NotSentError) {
    const inner = error.cause
    return inner === undefined ? error : withoutValues(inner)
  }
  if (error instanceof StatementTimeoutError) return error
  for (const at of layers(error)) {
    const { code, errno, sqlState } = at as Record<'code' | 'errno' | 'sqlState', unknown>
    if (code === undefined && errno === undefined) continue
    const parts = [code, errno, sqlState].filter((part) => part !== undefined)
    return Object.assign(new Error(`The client library failed: ${parts.join(' ')}.`), {
      code,
      errno,
      sqlState,
    })
  }
  return error instanceof Error && 'sql' in error ? undefined : error
}
