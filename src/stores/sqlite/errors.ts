/** The one table of SQLite's errors: what each says about a statement or a commit. */
import { IdempotencyError, StoreError, type StoreFailure } from '../../core/errors.ts'

interface Meaning {
  /** The error hit a statement whose transaction can still be rolled back. */
  readonly failure: StoreFailure
  /** The error hit a COMMIT, or a statement that commits by itself. */
  readonly atCommit: StoreFailure
  /** The error is about one item; its neighbours can go on. */
  readonly ofItem?: true
  readonly says: string
}

const same = (failure: StoreFailure, says: string): Meaning => ({ failure, atCommit: failure, says })

/** By primary result code. What is not listed is `unrecognised`. */
const meanings: Readonly<Record<string, Meaning>> = {
  BUSY: same('transient', 'The SQLite file is locked by another writer.'),
  LOCKED: same('transient', 'The SQLite table is locked by another statement.'),
  PROTOCOL: same('transient', 'SQLite lost a race for its locks.'),
  NOMEM: same('transient', 'SQLite is out of memory.'),
  INTERRUPT: { failure: 'transient', atCommit: 'unrecognised', says: 'A SQLite statement was interrupted.' },
  IOERR: { failure: 'transient', atCommit: 'lost', says: 'SQLite could not read or write its file.' },
  FULL: same('permanent', 'The disk of the SQLite file is full.'),
  READONLY: same('permanent', 'The SQLite file cannot be written.'),
  CANTOPEN: same('permanent', 'The SQLite file cannot be opened.'),
  PERM: same('permanent', 'The SQLite file may not be opened.'),
  AUTH: same('permanent', 'The SQLite connection may not do this.'),
  NOTADB: same('permanent', 'The file of the SQLite store is not a SQLite database.'),
  CORRUPT: same('permanent', 'The SQLite file is damaged.'),
  ERROR: { failure: 'permanent', atCommit: 'unrecognised', says: 'SQLite refused a statement.' },
  CONSTRAINT: { ...same('permanent', 'SQLite refused a record.'), ofItem: true },
  MISMATCH: { ...same('permanent', 'SQLite refused the type of a value.'), ofItem: true },
  TOOBIG: { ...same('permanent', 'A record is too large for SQLite.'), ofItem: true },
  RANGE: { ...same('permanent', 'SQLite refused a value.'), ofItem: true },
}

const primaryCodes: Readonly<Record<number, string>> = {
  1: 'ERROR',
  3: 'PERM',
  5: 'BUSY',
  6: 'LOCKED',
  7: 'NOMEM',
  8: 'READONLY',
  9: 'INTERRUPT',
  10: 'IOERR',
  11: 'CORRUPT',
  13: 'FULL',
  14: 'CANTOPEN',
  15: 'PROTOCOL',
  18: 'TOOBIG',
  19: 'CONSTRAINT',
  20: 'MISMATCH',
  23: 'AUTH',
  25: 'RANGE',
  26: 'NOTADB',
}

/** SQLite's primary result code without its prefix, such as `BUSY`; `undefined` for any other error. */
export function resultCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  const { code, errcode } = error as { code?: unknown; errcode?: unknown }
  // node:sqlite gives the extended code as a number, better-sqlite3 gives its name.
  if (typeof errcode === 'number') return primaryCodes[errcode & 0xff] ?? `${errcode & 0xff}`
  return typeof code === 'string' ? /^SQLITE_([A-Z]+)/.exec(code)?.[1] : undefined
}

/** Another connection holds a lock: worth waiting for. */
export function isBusy(error: unknown): boolean {
  const code = resultCode(error)
  return code === 'BUSY' || code === 'PROTOCOL'
}

/** The statement failed by itself: its transaction stands, and neighbours may go on. */
export function isOfItem(error: unknown): boolean {
  if (error instanceof StoreError) return true
  const code = resultCode(error)
  return code === undefined ? isBindError(error) : meanings[code]?.ofItem === true
}

/** A driver refuses to bind a value, before SQLite sees it. */
function isBindError(error: unknown): boolean {
  return error instanceof TypeError || error instanceof RangeError
}

/**
 * A driver's error as the error of a store.
 *
 * @param at `commit` when the failed statement was to commit something
 */
export function asStoreError(error: unknown, at: 'statement' | 'commit'): IdempotencyError {
  if (error instanceof IdempotencyError) return error
  const code = resultCode(error)
  if (code === undefined && isBindError(error)) {
    return new StoreError('permanent', 'The SQLite driver refused a value.', { cause: error })
  }
  const meaning = code === undefined ? undefined : meanings[code]
  if (meaning === undefined) {
    return new StoreError('unrecognised', 'SQLite failed in a way that is not known.', { cause: error })
  }
  const failure = at === 'commit' ? meaning.atCommit : meaning.failure
  return new StoreError(failure, meaning.says, { cause: error })
}
