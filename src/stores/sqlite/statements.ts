/**
 * Every statement on records, in one place, with why it is shaped so. Ids are octets, times come from outside.
 * Parameters are plain `?`, in the order of the list before the statement: better-sqlite3 takes `?1` as a name.
 */
import type { SqliteStatement, SqliteTx } from './driver.ts'
import { phaseNumber } from '../sql/phases.ts'
import { columns } from './rows.ts'

const { running, completed, tombstone } = phaseNumber

/**
 * Loses without an error, so that neighbours in the same transaction are not disturbed, and writes nothing when
 * it loses, so that a claim that only finds costs no sync.
 * id, fingerprint, token, operation, principal tag, now, lease until, kept until
 */
const claim = (table: string): string => `
  INSERT INTO ${table} (id, phase, fingerprint, token, fence, operation, principal_tag,
                        created_at, live_until, kept_until)
  VALUES (?, ${running}, ?, ?, 1, ?, ?, ?, ?, ?)
  ON CONFLICT (id) DO NOTHING`

/**
 * All guards are in the WHERE clause, so that look and write are one step. A row of an unknown phase is damaged
 * and stays as it is.
 * fingerprint, token, operation, principal tag, lease until, kept until, id, seen token, seen phase, now
 */
const supersede = (table: string): string => `
  UPDATE ${table}
  SET phase = ${running}, fingerprint = ?, token = ?, fence = fence + 1, operation = ?, principal_tag = ?,
      settled_at = NULL, live_until = ?, kept_until = ?, outcome = NULL
  WHERE id = ? AND token = ? AND phase = ?
    AND NOT (phase = ${running} AND live_until > ?)
  RETURNING fence`

/** What was kept after the lease stays as long as it was. lease until (twice), id, token */
const renew = (table: string): string => `
  UPDATE ${table}
  SET live_until = ?, kept_until = ? + kept_until - live_until
  WHERE id = ? AND token = ? AND phase = ${running}`

/** phase, now, live until, kept until, outcome, id, token */
const settle = (table: string): string => `
  UPDATE ${table}
  SET phase = ?, settled_at = ?, live_until = ?, kept_until = ?, outcome = ?
  WHERE id = ? AND token = ? AND phase = ${running}`

const read = (table: string): string => `SELECT ${columns} FROM ${table} WHERE id = ?`

/** Where a slice of the table ends that begins after a row; none when it is the last slice. seq, rows less one */
const sliceEnd = (table: string): string => `
  SELECT seq FROM ${table} WHERE seq > ? ORDER BY seq LIMIT 1 OFFSET ?`

/**
 * The rows of a slice for the sweep. Asks for the phase, so that damaged rows do not fill the batch.
 * now, after seq, to seq, now, now, limit
 */
const due = (table: string): string => `
  SELECT seq, phase = ${completed} AND kept_until > ? AS entombs FROM ${table}
  WHERE seq > ? AND seq <= ? AND phase BETWEEN ${running} AND ${tombstone}
    AND (kept_until <= ? OR (phase = ${completed} AND live_until <= ?))
  ORDER BY seq LIMIT ?`

/** seq */
const entomb = (table: string): string => `
  UPDATE ${table} SET phase = ${tombstone}, outcome = NULL WHERE seq = ?`

/** Asks the times again, so that no slip elsewhere can remove a live lease. seq, now, now */
const remove = (table: string): string => `
  DELETE FROM ${table} WHERE seq = ? AND kept_until <= ? AND live_until <= ?`

/**
 * Only what a list filters by and the sizes, so that a page does not read outcomes it then leaves out. The scan
 * is bounded, because the filters have no index: a rare phase would otherwise read the whole table.
 * before seq, rows scanned at most
 */
const scan = (table: string): string => `
  SELECT seq, phase, operation, principal_tag, length(outcome) AS octets
  FROM ${table} WHERE seq < ? ORDER BY seq DESC LIMIT ?`

const readSeq = (table: string): string => `SELECT id, ${columns} FROM ${table} WHERE seq = ?`

type StatementName =
  | 'claim'
  | 'supersede'
  | 'renew'
  | 'settle'
  | 'read'
  | 'sliceEnd'
  | 'due'
  | 'entomb'
  | 'remove'
  | 'scan'
  | 'readSeq'

export type Statements = { readonly [Name in StatementName]: SqliteStatement }

const texts: Readonly<Record<StatementName, (table: string) => string>> = {
  claim,
  supersede,
  renew,
  settle,
  read,
  sliceEnd,
  due,
  entomb,
  remove,
  scan,
  readSeq,
}

/** Settings of statements in which the user's connection may differ from ours. */
interface Adjustable {
  setReadBigInts?(on: boolean): void
  setReturnArrays?(on: boolean): void
  safeIntegers?(on: boolean): void
  raw?(on: boolean): void
}

/** Read as arrays, where the driver can. */
const asArrays: ReadonlySet<string> = new Set(['read', 'readSeq'])

/** Prepares all statements on one connection. */
export function prepareStatements(db: SqliteTx, table: string): Statements {
  const names = Object.keys(texts) as StatementName[]
  const prepared = names.map((name) => {
    const statement: SqliteStatement & Adjustable = db.prepare(texts[name](`"${table}"`))
    statement.setReadBigInts?.(false)
    statement.safeIntegers?.(false)
    statement.setReturnArrays?.(asArrays.has(name))
    if (asArrays.has(name)) statement.raw?.(true)
    return [name, statement] as const
  })
  return Object.fromEntries(prepared) as unknown as Statements
}
