/** Every statement on records, in one place, with why it is shaped so. Ids are octets, times come from outside. */
import type { SqliteStatement, SqliteTx } from './driver.ts'
import { columns, phaseNumber } from './rows.ts'

const { running, completed, tombstone } = phaseNumber

/**
 * Loses without an error, so that neighbours in the same transaction are not disturbed, and writes nothing when
 * it loses, so that a claim that only finds costs no sync.
 * 1 id, 2 fingerprint, 3 token, 4 operation, 5 principal tag, 6 now, 7 lease until, 8 kept until
 */
const claim = (table: string): string => `
  INSERT INTO ${table} (id, phase, fingerprint, token, fence, operation, principal_tag,
                        created_at, live_until, kept_until, sweep_at)
  VALUES (?1, ${running}, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?8, ?8)
  ON CONFLICT (id) DO NOTHING`

/**
 * All guards are in the WHERE clause, so that look and write are one step. A row of an unknown phase is damaged
 * and stays as it is.
 * 1 id, 2 seen token, 3 fingerprint, 4 token, 5 operation, 6 principal tag, 7 now, 8 lease until, 9 kept until
 */
const supersede = (table: string): string => `
  UPDATE ${table}
  SET phase = ${running}, fingerprint = ?3, token = ?4, fence = fence + 1, operation = ?5, principal_tag = ?6,
      settled_at = NULL, live_until = ?8, kept_until = ?9, sweep_at = ?9, outcome = NULL
  WHERE id = ?1 AND token = ?2 AND phase BETWEEN ${running} AND ${tombstone}
    AND NOT (phase = ${running} AND live_until > ?7)
  RETURNING fence`

/** What was kept after the lease stays as long as it was. 1 id, 2 token, 3 lease until */
const renew = (table: string): string => `
  UPDATE ${table}
  SET live_until = ?3, kept_until = ?3 + kept_until - live_until, sweep_at = ?3 + kept_until - live_until
  WHERE id = ?1 AND token = ?2 AND phase = ${running}`

/** 1 id, 2 token, 3 phase, 4 now, 5 live until, 6 kept until, 7 sweep at, 8 outcome */
const settle = (table: string): string => `
  UPDATE ${table}
  SET phase = ?3, settled_at = ?4, live_until = ?5, kept_until = ?6, sweep_at = ?7, outcome = ?8
  WHERE id = ?1 AND token = ?2 AND phase = ${running}`

const read = (table: string): string => `SELECT ${columns} FROM ${table} WHERE id = ?1`

/**
 * The index hands out the rows in the order in which they fell due, so a batch reads no more rows than it
 * handles. Asks for the phase, so that damaged rows do not fill the batch. 1 now, 2 limit
 */
const due = (table: string): string => `
  SELECT seq, phase = ${completed} AND kept_until > ?1 AS entombs FROM ${table}
  WHERE sweep_at <= ?1 AND phase BETWEEN ${running} AND ${tombstone} ORDER BY sweep_at LIMIT ?2`

/** 1 seq */
const entomb = (table: string): string => `
  UPDATE ${table} SET phase = ${tombstone}, outcome = NULL, sweep_at = kept_until WHERE seq = ?1`

/** Asks the times again, so that not even a damaged `sweep_at` removes a live lease. 1 seq, 2 now */
const remove = (table: string): string => `
  DELETE FROM ${table} WHERE seq = ?1 AND kept_until <= ?2 AND live_until <= ?2`

/**
 * Only what a list filters by and the sizes, so that a page does not read outcomes it then leaves out. The scan
 * is bounded, because the filters have no index: a rare phase would otherwise read the whole table.
 * 1 before seq, 2 rows scanned at most
 */
const scan = (table: string): string => `
  SELECT seq, phase, operation, principal_tag, length(outcome) AS octets
  FROM ${table} WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2`

const readSeq = (table: string): string => `SELECT id, ${columns} FROM ${table} WHERE seq = ?1`

type StatementName =
  | 'claim'
  | 'supersede'
  | 'renew'
  | 'settle'
  | 'read'
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
