/**
 * Every statement on records, in one place, with why it is shaped so. Each question mark
 * is a value, in the order named beside the statement; the client puts it there.
 */
import { phaseNumber } from '../sql/phases.ts'
import type { TableName } from '../../core/table-name.ts'
import { columns } from './rows.ts'

const { running, completed, tombstone } = phaseNumber

/**
 * The server's clock in milliseconds: when the statement began, also inside a transaction, where it is not frozen.
 * Not SYSDATE(): it is local time, which comes twice in the night when summer time ends, and no index can be used
 * for a comparison with it. Not UNIX_TIMESTAMP() either, which is read as the session's local time.
 */
export const nowMs = `(TIMESTAMPDIFF(MICROSECOND, TIMESTAMP'1970-01-01 00:00:00', UTC_TIMESTAMP(6)) DIV 1000)`

/**
 * LAST_INSERT_ID(expression) comes back in the answer of a statement that writes, so that a verb has the store's
 * clock without a second round trip. Left out in transactions of the user's, who may be about to read their own.
 */
const answeredNow = `LAST_INSERT_ID(${nowMs})`

export function quoted({ schema, table }: TableName): string {
  return schema === undefined ? `\`${table}\`` : `\`${schema}\`.\`${table}\``
}

export interface Statements {
  /** How many rows: id, token, fingerprint, principal tag, operation, lease, retention, retention for each. */
  claim(count: number): string
  /** token, fingerprint, principal tag, operation, lease, retention, id, seen token, seen phase */
  readonly supersede: string
  /** How many rows: id, seen token, seen phase, token, fingerprint, principal tag, operation, lease, retention for each. */
  supersedeMany(count: number): string
  /** lease, id, token */
  readonly renew: string
  /** How many rows: id, token, lease for each. */
  renewMany(count: number): string
  /** phase, live, kept, live, outcome, id, token */
  readonly settle: string
  /** How many rows: id, token, phase, live, kept, outcome for each. */
  settleMany(count: number): string
  /** How many ids. One row at least, which carries the clock. */
  read(count: number): string
  /**
   * The same after a statement that changed less than it was to. In a transaction it is a locking read, which sees
   * the newest version also where the transaction's snapshot is older; it takes the lock that the statement, by
   * losing, has already.
   */
  look(count: number): string
  /** Fails at once when another transaction holds the id; MySQL only. id */
  readonly probe: string
  /** Takes away a claim that was made outside of a transaction. id, token */
  readonly unclaim: string
  readonly now: string
}

/** How the two families of servers differ. */
export interface Dialect {
  /**
   * Before a statement: how long it waits for a lock. MariaDB has it for one statement; MySQL only for the
   * session, and the session is the user's.
   */
  waiting(seconds: number): string
  readonly isMariadb: boolean
}

export const mariadbDialect: Dialect = {
  isMariadb: true,
  waiting: (seconds) => `SET STATEMENT innodb_lock_wait_timeout=${seconds} FOR `,
}

export const mysqlDialect: Dialect = { isMariadb: false, waiting: () => '' }

/** How long a verb waits for a row that a transaction holds, in seconds; under `statementMsMax`. */
const verbWaitSeconds = 2
/** A claim inside a transaction does not wait at all. */
const claimWaitSeconds = 0

/**
 * @param scope `pool`: each statement commits by itself. `own`: in a transaction that the store opened. `joined`:
 * in one of the user's
 */
export function statementsFor(
  name: TableName,
  dialect: Dialect,
  scope: 'pool' | 'own' | 'joined',
): Statements {
  const table = quoted(name)
  const now = scope === 'joined' ? nowMs : answeredNow
  const wait = dialect.waiting(verbWaitSeconds)
  const claimWait = dialect.waiting(scope === 'pool' ? verbWaitSeconds : claimWaitSeconds)
  const fields = columns.map((column) => `r.${column}`).join(', ')
  const read = (count: number): string => `
    SELECT ${nowMs} AS now_ms, ${fields}
    FROM (SELECT 1 AS one) o LEFT JOIN ${table} r FORCE INDEX (PRIMARY) ON r.id IN (${list('?', count)})`
  const lapsed = `NOT (r.phase = ${running} AND r.live_until > ${nowMs})`

  return {
    // Loses without an error, and affectedRows is exact: ON DUPLICATE KEY UPDATE counts a no-op like a row under
    // the flag that mysql2 sets. IGNORE would also cut values that are too long; these were checked before.
    // sweep_at is the earliest time at which the sweep may find something to do; a settlement rarely moves it.
    claim: (count) => `
      ${claimWait}INSERT IGNORE INTO ${table}
        (id, token, fingerprint, principal_tag, operation, phase, fence,
         created_at, settled_at, live_until, kept_ms, sweep_at, outcome)
      VALUES ${list(`(?, ?, ?, ?, ?, ${running}, 1, ${now}, 0, ${nowMs} + ?, ?, ${nowMs} + ?, '')`, count)}`,
    // All guards are in the WHERE clause, so that look and write are one step. A row of an unknown phase is
    // damaged and stays as it is.
    supersede: `
      ${wait}UPDATE ${table} r
      SET r.token = ?, r.fingerprint = ?, r.principal_tag = ?, r.operation = ?, r.phase = ${running},
          r.fence = r.fence + 1, r.settled_at = 0, r.live_until = ${now} + ?, r.kept_ms = ?, r.outcome = ''
      WHERE r.id = ? AND r.token = ? AND r.phase = ? AND ${lapsed}`,
    supersedeMany: (count) => `
      ${wait}UPDATE ${batch(table, takeoverColumns, count)}
      SET r.token = i.new_token, r.fingerprint = i.fingerprint, r.principal_tag = i.principal_tag,
          r.operation = i.operation, r.phase = ${running}, r.fence = r.fence + 1, r.settled_at = 0,
          r.live_until = ${now} + i.lease, r.kept_ms = i.kept, r.outcome = ''
      WHERE r.phase = i.seen_phase AND ${lapsed}`,
    renew: `
      ${wait}UPDATE ${table} r SET r.live_until = ${now} + ?
      WHERE r.id = ? AND r.token = ? AND r.phase = ${running}`,
    renewMany: (count) => `
      ${wait}UPDATE ${batch(table, ['id', 'token', 'lease'], count)}
      SET r.live_until = ${now} + i.lease WHERE r.phase = ${running}`,
    settle: `
      ${wait}UPDATE ${table} r
      SET r.phase = ?, r.settled_at = ${now}, r.live_until = ${nowMs} + ?, r.kept_ms = ?,
          r.sweep_at = LEAST(r.sweep_at, ${nowMs} + ?), r.outcome = ?
      WHERE r.id = ? AND r.token = ? AND r.phase = ${running}`,
    settleMany: (count) => `
      ${wait}UPDATE ${batch(table, ['id', 'token', 'phase', 'live', 'kept', 'outcome'], count)}
      SET r.phase = i.phase, r.settled_at = ${now}, r.live_until = ${nowMs} + i.live, r.kept_ms = i.kept,
          r.sweep_at = LEAST(r.sweep_at, ${nowMs} + i.live), r.outcome = i.outcome
      WHERE r.phase = ${running}`,
    read,
    // Begins with SELECT, by which some ORMs tell that there will be rows.
    look: (count) => (scope === 'pool' ? read(count) : `${read(count)} LOCK IN SHARE MODE`),
    probe: `SELECT r.id FROM ${table} r WHERE r.id = ? FOR SHARE NOWAIT`,
    unclaim: `DELETE FROM ${table} WHERE id = ? AND token = ?`,
    now: `SELECT ${nowMs} AS now_ms`,
  }
}

const takeoverColumns: readonly string[] = [
  'id',
  'token',
  'seen_phase',
  'new_token',
  'fingerprint',
  'principal_tag',
  'operation',
  'lease',
  'kept',
]

/**
 * The batch first and then one look-up for each of its rows: with another order, or a scan of a small table, an
 * UPDATE would lock rows that are none of its business. The first row names the columns of all.
 */
function batch(table: string, names: readonly string[], count: number): string {
  const head = `SELECT ${names.map((it) => `? AS ${it}`).join(', ')}`
  const more = ` UNION ALL SELECT ${list('?', names.length)}`
  return `(${head}${more.repeat(count - 1)}) i
    STRAIGHT_JOIN ${table} r FORCE INDEX (PRIMARY) ON r.id = i.id AND r.token = i.token`
}

function list(item: string, count: number): string {
  return Array.from({ length: count }, () => item).join(', ')
}

/** The statements of the sweep, inside a transaction. */
export interface SweepStatements {
  /** Whether there is anything to do; locks nothing. */
  readonly peek: string
  /** limit */
  readonly due: string
  /** How many ids. Asks the times again, so that no slip elsewhere can remove a live lease. */
  remove(count: number): string
  entomb(count: number): string
  move(count: number): string
}

/**
 * Every row that is looked at is dealt with: removed, made a tombstone, or put off until it is due, so that a sweep
 * looks at no more than its limit. SKIP LOCKED leaves alone what somebody works on or another sweep has.
 */
export function sweepStatements(name: TableName): SweepStatements {
  const table = quoted(name)
  const from = `
    FROM ${table} r FORCE INDEX (sweep_at)
    WHERE r.sweep_at <= ${nowMs} AND r.phase BETWEEN ${running} AND ${tombstone}`
  // Without the hint a small table would be scanned, and rows locked that another sweep has its hands on.
  const byId = `${table} r FORCE INDEX (PRIMARY)`
  // A sum of damaged times may be none, and one such row must not end every sweep.
  const bounded = (column: string): string => `LEAST(GREATEST(${column}, 0), ${Number.MAX_SAFE_INTEGER})`
  const keptUntil = `${bounded('r.live_until')} + ${bounded('r.kept_ms')}`
  const isOver = `${keptUntil} <= ${nowMs}`
  return {
    peek: `SELECT 1 AS due ${from} LIMIT 1`,
    due: `
      SELECT r.id, ${isOver} AS is_over, (r.phase = ${completed} AND r.live_until <= ${nowMs}) AS entombs
      ${from} ORDER BY r.sweep_at LIMIT ? FOR UPDATE SKIP LOCKED`,
    remove: (count) => `
      DELETE r FROM ${byId}
      WHERE r.id IN (${list('?', count)}) AND ${isOver} AND r.live_until <= ${nowMs}`,
    entomb: (count) => `
      UPDATE ${byId} SET r.phase = ${tombstone}, r.outcome = '', r.sweep_at = ${keptUntil}
      WHERE r.id IN (${list('?', count)})`,
    move: (count) => `
      UPDATE ${byId} SET r.sweep_at = IF(r.phase = ${completed}, r.live_until, ${keptUntil})
      WHERE r.id IN (${list('?', count)})`,
  }
}

/** The statements of lists. */
export interface ListStatements {
  /** created_at, created_at, id, rows at most. Only what a list filters by, and the sizes of outcomes. */
  readonly scan: string
  /** How many ids. */
  read(count: number): string
}

export function listStatements(name: TableName): ListStatements {
  const table = quoted(name)
  const fields = columns.map((column) => `r.${column}`).join(', ')
  return {
    // The index of created_at ends in the primary key, so it gives this order.
    scan: `
      SELECT r.id, r.created_at, r.phase, r.operation, r.principal_tag, LENGTH(r.outcome) AS octets
      FROM ${table} r FORCE INDEX (created_at)
      WHERE r.created_at <= ? AND (r.created_at < ? OR r.id < ?)
      ORDER BY r.created_at DESC, r.id DESC LIMIT ?`,
    read: (count) => `SELECT ${fields} FROM ${table} r WHERE r.id IN (${list('?', count)})`,
  }
}
