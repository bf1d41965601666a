/**
 * The schema, as numbered steps. Each store table has its own version, in a table of ours: `user_version`
 * belongs to the user, whose file it may be. A step that was released is never changed; a change is a new step.
 */
import { SchemaMismatchError } from '../../core/errors.ts'
import type { SqliteTx } from './driver.ts'

const versionTable = 'retrysafe_schema'

/** Step n takes the schema from version n - 1 to version n. */
const steps: readonly ((table: string) => string)[] = [
  // A row of 32 random octets would scatter its outcome over the whole file, so rows lie in the order of their
  // creation (`seq`, which is also the cursor of lists) and only the small index of ids is random.
  // There is no index of times: it would be one more page in every commit, a tenth of a claim that comes alone.
  // The sweep reads the table in slices instead, oldest rows first.
  // STRICT: without it '1' and '01' could be made one number. AUTOINCREMENT is left out on purpose: it costs a
  // write to another table, and a `seq` that is used again after the newest row was swept harms no cursor.
  (table) => `
    CREATE TABLE "${table}" (
      seq INTEGER PRIMARY KEY,
      id BLOB NOT NULL UNIQUE,
      phase INTEGER NOT NULL,
      fingerprint TEXT NOT NULL,
      token TEXT NOT NULL,
      fence INTEGER NOT NULL,
      operation TEXT NOT NULL,
      principal_tag TEXT NOT NULL,
      created_at INTEGER NOT NULL,
      settled_at INTEGER,
      -- lease, retention or release marker, by phase
      live_until INTEGER NOT NULL,
      -- when the record means nothing any more
      kept_until INTEGER NOT NULL,
      outcome BLOB
    ) STRICT
  `,
]

/** The version that this release reads and writes. */
export const schemaVersion: number = steps.length

/**
 * The version of `table` in this file, 0 when it is not there.
 *
 * @throws SchemaMismatchError when the version is newer than this release knows
 */
export function readVersion(db: SqliteTx, table: string): number {
  const there = db.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?").get(versionTable)
  if (there === undefined) return 0
  const row = db.prepare(`SELECT version FROM ${versionTable} WHERE name = ?`).get(table) as
    | { readonly version: unknown }
    | undefined
  const version = row === undefined ? 0 : Number(row.version)
  if (Number.isInteger(version) && version >= 0 && version <= schemaVersion) return version
  throw new SchemaMismatchError(
    `Table ${table} of the SQLite store has schema version ${version}, and this release of Retrysafe knows ` +
      `versions up to ${schemaVersion}. Start a release that knows version ${version}, or use another table.`,
  )
}

/**
 * Brings `table` to `schemaVersion`. Call inside a write transaction, which is also the lock against another
 * process that starts at the same time.
 */
export function migrate(db: SqliteTx, table: string): void {
  const version = readVersion(db, table)
  if (version < schemaVersion) db.exec(migrationSql(table, version))
}

/** The statements that bring a table from `version` to the newest. */
export function migrationSql(table: string, version: number): string {
  return [
    `CREATE TABLE IF NOT EXISTS ${versionTable} (name TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT;`,
    ...steps.slice(version).map((step) => `${step(table).trim()};`),
    `INSERT INTO ${versionTable} (name, version) VALUES ('${table}', ${schemaVersion})
     ON CONFLICT (name) DO UPDATE SET version = excluded.version;`,
    '',
  ].join('\n')
}

/** BEGIN IMMEDIATE succeeds on a connection that may only read; a write fails there, also one of no rows. */
export function checkWritable(db: SqliteTx): void {
  db.exec(`DELETE FROM ${versionTable} WHERE false`)
}
