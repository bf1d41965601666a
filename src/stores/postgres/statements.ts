/**
 * Every statement on records, in one place, with why it is shaped so.
 *
 * - The clock is the server's own, in milliseconds: `statement_timestamp()`, which is one time for a whole
 *   statement and, unlike `now()`, goes on inside a transaction. A statement that had to wait judges by when it
 *   came in, and so takes a lease for live rather than for over.
 * - A batch comes as one array for each column, as text that every client library passes on unchanged; octets
 *   and names are hexadecimal in it, so that nothing has to be quoted.
 * - A statement that finds its guard broken returns no row. What is there now is read by a statement of its own:
 *   the snapshot of the first one may be older than the commit it waited for.
 * - An indexed column changes only in the sweep, and where a settlement keeps a record for shorter than its claim
 *   said. So updates stay on their page (HOT) and cost no index entry.
 */
import type { TableName } from '../../core/table-name.ts'
import { phaseNumber } from '../sql/phases.ts'

const { running, completed, tombstone } = phaseNumber

/** A statement and the names of its columns, for client libraries that give rows as objects. */
export interface ColumnedStatement {
  readonly text: string
  readonly columns: readonly string[]
}

const nowMs = "floor(date_part('epoch', statement_timestamp()) * 1000)::bigint"

/** In the order of the table, see `migrations.ts`. */
const columnNames =
  'created_at, settled_at, live_until, kept_until, fence, sweep_minute, phase, id, token, fingerprint, principal_tag, operation, outcome'

/** Minutes since 1970, as far as the column reaches; the sweep looks for rows by it. */
const minuteOf = (ms: string): string => `least((${ms}) / 60000, 2147483647)::int`

export interface Statements {
  /** id, token, fingerprint, principal tag, operation, lease, retention; one of each */
  readonly claimOne: ColumnedStatement
  /**
   * For a transaction: nothing is inserted while another one has the key; what is there is read by `read`. As
   * `claimOne`, and the lock
   */
  readonly claimInTransaction: ColumnedStatement
  /** The same for scripts, whose answers count rows; returning one would cost as much again. */
  readonly claimInScript: ColumnedStatement
  /** The same as arrays */
  readonly claim: ColumnedStatement
  /** id, seen token, seen phase, token, fingerprint, principal tag, operation, lease, retention */
  readonly supersede: ColumnedStatement
  /** id, token, lease */
  readonly renew: ColumnedStatement
  /** id, token, phase, live for, kept for, outcome */
  readonly settleOne: ColumnedStatement
  /**
   * As `settleOne`, for the end of a transaction: where it finds no row it fails (22012), so that the COMMIT
   * after it does not happen. `xmin`: the row is of this very transaction; a handler that sent a COMMIT of its
   * own shows there.
   */
  readonly settleOrFail: ColumnedStatement
  /**
   * The same for a record that this transaction has inserted, which therefore is there: it fails where the
   * record is not as it was. Plainer than a statement that has to notice a missing row.
   */
  readonly settleInserted: ColumnedStatement
  /** The same as arrays */
  readonly settle: ColumnedStatement
  /** ids */
  readonly read: ColumnedStatement
  /** rows at most */
  readonly sweep: ColumnedStatement
  /** before this time, or at it with a smaller id; not before this time; phase or 0; operation or ''; principal tag or ''; rows */
  readonly list: ColumnedStatement
  readonly now: ColumnedStatement
}

/** A table's name as it stands in statements. */
export function quoted({ schema, table }: TableName): string {
  return schema === undefined ? `"${table}"` : `"${schema}"."${table}"`
}

export function statementsFor(name: TableName): Statements {
  const table = quoted(name)
  const clock = `(SELECT ${nowMs} AS now) AS clock`
  const newRow = `
    SELECT clock.now, 0, clock.now + i.lease, clock.now + i.lease + i.retention, 1,
           ${minuteOf('clock.now + i.retention')}, ${running}, i.id, i.token, decode(i.fingerprint, 'hex'),
           convert_from(decode(i.principal_tag, 'hex'), 'UTF8'), convert_from(decode(i.operation, 'hex'), 'UTF8'), ''`

  const asOne = `(
      SELECT $1::uuid AS id, $2::uuid AS token, $3::text AS fingerprint, $4::text AS principal_tag,
             $5::text AS operation, $6::bigint AS lease, $7::bigint AS retention
    ) AS i`
  const claimOne = `
    WITH inserted AS (
      INSERT INTO ${table} (${columnNames}) ${newRow} FROM ${asOne} CROSS JOIN ${clock}
      ON CONFLICT (id) DO NOTHING RETURNING created_at
    )
    SELECT 1 AS ord, created_at::float8 AS now, NULL::bytea AS record FROM inserted
    UNION ALL
    SELECT 1, (${nowMs})::float8, record_send(r) FROM ${table} r WHERE r.id = $1::uuid`
  const claimLocked = `
    INSERT INTO ${table} (${columnNames}) ${newRow} FROM ${asOne} CROSS JOIN ${clock}
    WHERE pg_try_advisory_xact_lock($8::bigint)
    ON CONFLICT (id) DO NOTHING`

  // A plan is kept for longer than the size of the table that it was made for, and must not read the whole table
  // some day. `ord = abs(ord)`, always true, is taken for rare: few rows are expected, and looked up by the index.
  const arrays = (...columns: readonly (readonly [name: string, type: string])[]): string => {
    const values = columns.map(([, type], at) => `$${at + 1}::text::${type}[]`).join(', ')
    const names = columns.map(([column]) => column).join(', ')
    return `(SELECT * FROM unnest(${values}) WITH ORDINALITY AS i(${names}, ord) WHERE ord = abs(ord)) AS i`
  }
  const claimColumns = [
    ['fingerprint', 'text'],
    ['principal_tag', 'text'],
    ['operation', 'text'],
    ['lease', 'bigint'],
    ['retention', 'bigint'],
  ] as const
  const settleColumns = [
    ['id', 'uuid'],
    ['token', 'uuid'],
    ['phase', 'int'],
    ['live', 'bigint'],
    ['kept', 'bigint'],
    ['outcome', 'text'],
  ] as const

  const settlement = `
    SET phase = $3::int, settled_at = ${nowMs}, live_until = ${nowMs} + $4::bigint,
        kept_until = ${nowMs} + $4::bigint + $5::bigint, outcome = $6::bytea,
        sweep_minute = least(r.sweep_minute, ${minuteOf(`${nowMs} + $4::bigint`)})`
  const isHeld = `r.token = $2::uuid AND r.phase = ${running}`
  const isOurs = 'r.xmin = pg_current_xact_id()::xid'
  const settleOne = `UPDATE ${table} AS r ${settlement} WHERE r.id = $1::uuid AND ${isHeld}`

  const found = ['ord', 'now', 'record'] as const
  const done = ['ord', 'now'] as const
  return {
    claimOne: { columns: found, text: claimOne },
    claimInTransaction: {
      columns: found,
      text: `${claimLocked} RETURNING 1 AS ord, created_at::float8 AS now, NULL::bytea AS record`,
    },
    claimInScript: { columns: [], text: claimLocked },
    claim: {
      columns: found,
      text: `
        WITH i AS MATERIALIZED (
          SELECT * FROM ${arrays(['id', 'uuid'], ['token', 'uuid'], ...claimColumns)}
        ), inserted AS (
          INSERT INTO ${table} (${columnNames}) ${newRow} FROM i CROSS JOIN ${clock}
          ON CONFLICT (id) DO NOTHING RETURNING id, token
        )
        SELECT i.ord::int AS ord, (${nowMs})::float8 AS now, found.record
        FROM i
        LEFT JOIN inserted ON inserted.id = i.id AND inserted.token = i.token
        LEFT JOIN LATERAL (
          SELECT record_send(r) AS record FROM ${table} r WHERE inserted.id IS NULL AND r.id = i.id OFFSET 0
        ) AS found ON true
        WHERE inserted.id IS NOT NULL OR found.record IS NOT NULL
        ORDER BY i.ord`,
    },
    supersede: {
      columns: ['ord', 'now', 'fence'],
      text: `
        UPDATE ${table} AS r
        SET phase = ${running}, fence = r.fence + 1, token = i.token, fingerprint = decode(i.fingerprint, 'hex'),
            principal_tag = convert_from(decode(i.principal_tag, 'hex'), 'UTF8'),
            operation = convert_from(decode(i.operation, 'hex'), 'UTF8'),
            settled_at = 0, live_until = clock.now + i.lease, kept_until = clock.now + i.lease + i.retention,
            outcome = ''
        FROM ${arrays(['id', 'uuid'], ['seen', 'uuid'], ['seen_phase', 'smallint'], ['token', 'uuid'], ...claimColumns)} CROSS JOIN ${clock}
        WHERE r.id = i.id AND r.token = i.seen AND r.phase = i.seen_phase
          AND NOT (r.phase = ${running} AND r.live_until > clock.now)
        RETURNING i.ord::int AS ord, clock.now::float8 AS now, r.fence AS fence`,
    },
    renew: {
      columns: done,
      text: `
        UPDATE ${table} AS r
        SET live_until = clock.now + i.lease, kept_until = clock.now + i.lease + r.kept_until - r.live_until
        FROM ${arrays(['id', 'uuid'], ['token', 'uuid'], ['lease', 'bigint'])} CROSS JOIN ${clock}
        WHERE r.id = i.id AND r.token = i.token AND r.phase = ${running}
        RETURNING i.ord::int AS ord, clock.now::float8 AS now`,
    },
    settleOne: {
      columns: done,
      text: `${settleOne} RETURNING 1 AS ord, settled_at::float8 AS now`,
    },
    settleOrFail: {
      columns: [],
      text: `
        WITH settled AS (${settleOne} AND ${isOurs} RETURNING 1)
        SELECT 1 / count(*) FROM settled`,
    },
    settleInserted: {
      columns: [],
      text: `
        UPDATE ${table} AS r ${settlement}
        WHERE r.id = $1::uuid AND 1 = 1 / CASE WHEN ${isHeld} AND ${isOurs} THEN 1 ELSE 0 END`,
    },
    settle: {
      columns: done,
      text: `
        UPDATE ${table} AS r
        SET phase = i.phase, settled_at = clock.now, live_until = clock.now + i.live,
            kept_until = clock.now + i.live + i.kept, outcome = decode(i.outcome, 'hex'),
            sweep_minute = least(r.sweep_minute, ${minuteOf('clock.now + i.live')})
        FROM ${arrays(...settleColumns)} CROSS JOIN ${clock}
        WHERE r.id = i.id AND r.token = i.token AND r.phase = ${running}
        RETURNING i.ord::int AS ord, r.settled_at::float8 AS now`,
    },
    read: {
      columns: found,
      text: `
        SELECT i.ord::int AS ord, (${nowMs})::float8 AS now, record_send(r) AS record
        FROM ${arrays(['id', 'uuid'])} JOIN ${table} r ON r.id = i.id`,
    },
    sweep: { columns: ['removed', 'entombed', 'moved'], text: sweepOf(table, clock) },
    list: {
      columns: ['record', 'created_at', 'id'],
      text: `
        SELECT record_send(r) AS record, r.created_at::float8 AS created_at, r.id::text AS id FROM ${table} r
        WHERE r.created_at >= $3::bigint AND r.created_at <= $1::bigint
          AND (r.created_at, r.id) < ($1::bigint, $2::uuid)
          AND ($4::int = 0 OR r.phase = $4::int)
          AND ($5::text = '' OR r.operation = $5::text) AND ($6::text = '' OR r.principal_tag = $6::text)
        ORDER BY r.created_at DESC, r.id DESC LIMIT $7::int`,
    },
    now: { columns: ['now'], text: `SELECT (${nowMs})::float8 AS now` },
  }
}

/**
 * One bounded batch. Rows are found by the minute in which they were expected, when they were claimed, to be
 * past their retention. A row that turns out to be kept for longer is moved to the minute it is due in; one that
 * is due later in this very minute is left for the next sweep. SKIP LOCKED: a row that somebody works on, or
 * that another sweep has, is left alone; killed at any time, the batch has happened or not. Rows are named by an
 * array of places: joined with `due`, whose size a plan can only guess, they would be found by reading the table.
 */
function sweepOf(table: string, clock: string): string {
  const isOver = 'r.kept_until <= clock.now'
  const entombs = `r.phase = ${completed} AND r.live_until <= clock.now AND r.kept_until > clock.now`
  const dueAt = `CASE WHEN r.phase = ${completed} AND r.live_until > clock.now THEN r.live_until ELSE r.kept_until END`
  // What is neither over nor to be entombed and is completed is live.
  const movedTo = `CASE WHEN r.phase = ${completed} THEN r.live_until ELSE r.kept_until END`
  const placed = (which: string): string => `r.ctid = ANY (ARRAY(SELECT place FROM due WHERE ${which}))`
  return `
    WITH due AS MATERIALIZED (
      SELECT r.ctid AS place, ${isOver} AS is_over, ${entombs} AS entombs
      FROM ${table} r CROSS JOIN ${clock}
      WHERE r.sweep_minute <= ${minuteOf('clock.now')} AND r.phase BETWEEN ${running} AND ${tombstone}
        AND (${isOver} OR (${entombs}) OR ${minuteOf(dueAt)} > ${minuteOf('clock.now')})
      ORDER BY r.sweep_minute LIMIT $1::int
      FOR UPDATE OF r SKIP LOCKED
    ), removed AS (
      DELETE FROM ${table} r WHERE ${placed('is_over')} RETURNING 1
    ), entombed AS (
      UPDATE ${table} r SET phase = ${tombstone}, outcome = '', sweep_minute = ${minuteOf('r.kept_until')}
      WHERE ${placed('entombs')} RETURNING 1
    ), moved AS (
      UPDATE ${table} r SET sweep_minute = ${minuteOf(movedTo)}
      WHERE ${placed('NOT is_over AND NOT entombs')} RETURNING 1
    )
    SELECT (SELECT count(*) FROM removed)::int AS removed, (SELECT count(*) FROM entombed)::int AS entombed,
           (SELECT count(*) FROM moved)::int AS moved`
}
