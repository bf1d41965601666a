/**
 * The table and its versions. Steps are numbered and never changed; a table of a newer version than this release
 * knows is refused.
 *
 * The table is 16 octets of id, 16 of token and fixed-size columns first, without a NULL. Pages are filled to the
 * end: first versions of other rows, once they are dead, are the room for second ones, so that settling mostly
 * needs no index entry (HOT). A lower `fillfactor` made the table larger and not one update cheaper. Outcomes are
 * compressed before they come here; large ones go out of line by themselves.
 *
 * A plan that was made while the table was tiny would read it whole, and connections keep their plans. So the
 * table is never smaller than `pagesMin` pages: rows that are deleted again make them, and `vacuum_truncate` keeps
 * them.
 */
import { SchemaMismatchError } from '../../core/errors.ts'
import type { TableName } from '../../core/table-name.ts'
import { asStoreError, serverError } from './errors.ts'
import type { PostgresClient } from './client.ts'
import { quoted } from './statements.ts'

/** The newest version of the schema that this release writes and reads. */
export const schemaVersion = 1

const versionTable = 'retrysafe_schema'

const command = 'Run `npx retrysafe migrate`, or `await postgresMigrations({ pool }).apply()`'

/** Keeps two processes from migrating at once: a number of our own, for `pg_advisory_xact_lock`. */
const migrationLock = '7251004711600283213'

/** From about eight pages on, looking one row up by the index is the cheaper plan. */
const pagesMin = 20
const rowsPerPage = 60

type Step = (name: TableName) => string

const steps: readonly Step[] = [
  (name) => `
    CREATE TABLE IF NOT EXISTS ${quoted(name)} (
      created_at bigint NOT NULL,
      settled_at bigint NOT NULL,
      live_until bigint NOT NULL,
      kept_until bigint NOT NULL,
      fence integer NOT NULL,
      sweep_minute integer NOT NULL,
      phase smallint NOT NULL,
      id uuid NOT NULL PRIMARY KEY,
      token uuid NOT NULL,
      fingerprint bytea NOT NULL,
      principal_tag text NOT NULL,
      operation text NOT NULL,
      outcome bytea NOT NULL
    ) WITH (autovacuum_vacuum_scale_factor = 0.05, vacuum_truncate = off);
    ALTER TABLE ${quoted(name)} ALTER COLUMN outcome SET STORAGE EXTERNAL;
    CREATE INDEX IF NOT EXISTS "${name.table}_sweep" ON ${quoted(name)} (sweep_minute);
    CREATE INDEX IF NOT EXISTS "${name.table}_created" ON ${quoted(name)} USING brin (created_at)
      WITH (pages_per_range = 32, autosummarize = on);
    INSERT INTO ${quoted(name)}
      SELECT 0, 0, 0, 0, 1, 0, 5, md5('filler ' || n)::uuid, md5('filler ' || n)::uuid, '', '', '', ''
      FROM generate_series(1, ${pagesMin * rowsPerPage}) AS n ON CONFLICT DO NOTHING;
    DELETE FROM ${quoted(name)} WHERE created_at = 0;`,
]

function versions({ schema }: TableName): string {
  return quoted({ schema, table: versionTable })
}

/** The statements that bring a table from `version` to the newest. */
export function migrationSql(name: TableName, version: number): string {
  const table = name.table
  return [
    `CREATE TABLE IF NOT EXISTS ${versions(name)} (name text PRIMARY KEY, version integer NOT NULL);`,
    ...steps.slice(version).map((step) => step(name)),
    `INSERT INTO ${versions(name)} (name, version) VALUES ('${table}', ${schemaVersion})
     ON CONFLICT (name) DO UPDATE SET version = excluded.version;`,
  ].join('\n')
}

/**
 * The version of the table; 0 when it is not there.
 *
 * @throws SchemaMismatchError when it is newer than this release
 */
export async function readVersion<Tx>(client: PostgresClient<Tx>, name: TableName): Promise<number> {
  try {
    const rows = await client.query(`SELECT version FROM ${versions(name)} WHERE name = $1::text`, [
      name.table,
    ])
    const version = rows.length === 0 ? 0 : Number(rows[0]?.[0])
    if (Number.isInteger(version) && version >= 0 && version <= schemaVersion) return version
    throw new SchemaMismatchError(
      `The table ${quoted(name)} has schema version ${version}, and this release knows up to ${schemaVersion}. Update retrysafe, or use another table.`,
    )
  } catch (error) {
    if (serverError(error)?.code === '42P01') return 0
    throw mayNot(error, name)
  }
}

/**
 * Brings the table up to date, under a lock.
 *
 * @throws SchemaMismatchError with the command that mends it when the role may not create tables
 */
export async function migrate<Tx>(client: PostgresClient<Tx>, name: TableName): Promise<void> {
  const version = await readVersion(client, name)
  if (version === schemaVersion) return
  const session = await client.open()
  let done = false
  try {
    await session.script(`BEGIN; SELECT pg_advisory_xact_lock(${migrationLock});`)
    await session.script(`${migrationSql(name, version)} COMMIT;`)
    done = true
  } catch (error) {
    await session.script('ROLLBACK').catch(() => {})
    throw mayNot(error, name)
  } finally {
    session.release(!done)
  }
}

/** Fails as every verb would: once, at the start, and with what to do. */
export async function checkTable<Tx>(client: PostgresClient<Tx>, name: TableName): Promise<void> {
  const version = await readVersion(client, name)
  if (version < schemaVersion) {
    throw new SchemaMismatchError(
      `The table ${quoted(name)} is ${version === 0 ? 'missing' : `of version ${version}`}. ${command}, with a role that may create tables.`,
    )
  }
  try {
    // Rights show only when they are used; no row is touched.
    await client.query(
      `WITH seen AS (SELECT 1 FROM ${quoted(name)} LIMIT 0), made AS (INSERT INTO ${quoted(name)} SELECT * FROM ${quoted(name)} WHERE false), kept AS (UPDATE ${quoted(name)} SET fence = fence WHERE false) DELETE FROM ${quoted(name)} WHERE false`,
      [],
    )
  } catch (error) {
    throw mayNot(error, name)
  }
}

function mayNot(error: unknown, name: TableName): Error {
  const code = serverError(error)?.code
  if (code === '42501') {
    const rights = `GRANT SELECT, INSERT, UPDATE, DELETE ON ${quoted(name)} TO <the role>`
    return new SchemaMismatchError(
      `The role may not use or create ${quoted(name)}. ${command}, as its owner, and: ${rights}; GRANT SELECT ON ${versions(name)} TO <the role>.`,
      { cause: error },
    )
  }
  if (code === '3F000') {
    return new SchemaMismatchError(
      `The schema of ${quoted(name)} is missing. Run: CREATE SCHEMA "${name.schema}".`,
      { cause: error },
    )
  }
  return asStoreError(error, 'statement')
}
