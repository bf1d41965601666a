/**
 * The table and its versions. Steps are numbered and never changed; a table of a newer version than this release
 * knows is refused. DDL commits by itself here, so a step may be repeated: it makes only what is not there.
 *
 * Everything that is compared is of a binary type. `created_at` and `sweep_at` are fixed when a record is claimed,
 * so that settling it changes no index, and both grow, so that only the primary key is random.
 */
import { SchemaMismatchError, StoreError } from '../../core/errors.ts'
import type { TableName } from '../../core/table-name.ts'
import type { MysqlClient, MysqlSession, Run } from './client.ts'
import { asStoreError, errorNumber, errorNumbers } from './errors.ts'
import { integer } from './rows.ts'
import { quoted } from './statements.ts'

const versionTable = 'retrysafe_schema'

/**
 * A named lock, so that two processes that start at once do not migrate at once. Such locks are the server's, so
 * the name has the database in it; a name may have 64 characters.
 */
function migrationLock({ schema }: TableName): string {
  const database = schema === undefined ? 'DATABASE()' : `'${schema}'`
  return `LEFT(CONCAT('retrysafe.', ${database}), 64)`
}

const lockSecondsMax = 4

const command = 'Run `npx retrysafe migrate`, or `await mysqlMigrations({ pool }).apply()`'

type Step = (table: string) => readonly string[]

const steps: readonly Step[] = [
  (table) => [
    `CREATE TABLE IF NOT EXISTS ${table} (
  id BINARY(16) NOT NULL,
  token BINARY(16) NOT NULL,
  fingerprint VARBINARY(64) NOT NULL,
  principal_tag VARBINARY(1020) NOT NULL,
  operation VARBINARY(1020) NOT NULL,
  phase TINYINT UNSIGNED NOT NULL,
  fence INT UNSIGNED NOT NULL,
  created_at BIGINT NOT NULL,
  settled_at BIGINT NOT NULL,
  live_until BIGINT NOT NULL,
  kept_ms BIGINT NOT NULL,
  sweep_at BIGINT NOT NULL,
  outcome LONGBLOB NOT NULL,
  PRIMARY KEY (id),
  KEY created_at (created_at),
  KEY sweep_at (sweep_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`,
  ],
]

/** The newest version of the schema that this release writes and reads. */
export const schemaVersion: number = steps.length

function versions({ schema }: TableName): string {
  return quoted({ schema, table: versionTable })
}

/** The statements that bring a table from `version` to the newest. */
export function migrationStatements(name: TableName, version: number): readonly string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${versions(name)} (
  name VARBINARY(64) NOT NULL PRIMARY KEY,
  version INT NOT NULL
) ENGINE = InnoDB`,
    ...steps.slice(version).flatMap((step) => step(quoted(name))),
    `INSERT INTO ${versions(name)} (name, version) VALUES ('${name.table}', ${schemaVersion})
ON DUPLICATE KEY UPDATE version = ${schemaVersion}`,
  ]
}

/** The same as text, for migration tools. */
export function migrationSql(name: TableName, version: number): string {
  if (version === schemaVersion) return ''
  return migrationStatements(name, version)
    .map((statement) => `${statement};\n`)
    .join('')
}

/**
 * The version of the table; 0 when it is not there.
 *
 * @throws SchemaMismatchError when it is newer than this release
 */
export async function readVersion(run: Run, name: TableName): Promise<number> {
  let version = 0
  try {
    const { rows } = await run(`SELECT version FROM ${versions(name)} WHERE name = '${name.table}'`, [])
    if (rows[0] !== undefined) version = integer(rows[0].version, 'version')
  } catch (error) {
    if (errorNumber(error) === errorNumbers.noTable) return 0
    throw mayNot(error, name)
  }
  if (version >= 0 && version <= schemaVersion) return version
  throw new SchemaMismatchError(
    `The table ${quoted(name)} has schema version ${version}, and this release knows versions up to ${schemaVersion}. Update retrysafe, or use another table.`,
  )
}

/**
 * Brings the table up to date, under a lock.
 *
 * @throws SchemaMismatchError with the command that mends it when the user may not create tables
 */
export async function migrate<Tx>(client: MysqlClient<Tx>, name: TableName): Promise<void> {
  await onSession(client, async ({ run }) => {
    if ((await readVersion(run, name)) === schemaVersion) return
    const { rows } = await run(`SELECT GET_LOCK(${migrationLock(name)}, ${lockSecondsMax}) AS got`, [])
    if (Number(rows[0]?.got) !== 1)
      throw new StoreError('transient', 'Another process is migrating the table.')
    try {
      for (const statement of migrationStatements(name, await readVersion(run, name)))
        await run(statement, [])
    } catch (error) {
      throw mayNot(error, name)
    } finally {
      // The lock belongs to the connection: given back with it, it would stay.
      await run(`DO RELEASE_LOCK(${migrationLock(name)})`, [])
    }
  })
}

/** Runs on one connection, which is destroyed when anything fails. */
export async function onSession<Tx, Value>(
  client: MysqlClient<Tx>,
  work: (session: MysqlSession<Tx>) => Promise<Value>,
): Promise<Value> {
  let session: MysqlSession<Tx> | undefined
  let isSound = false
  try {
    session = await client.open()
    const value = await work(session)
    isSound = true
    return value
  } catch (error) {
    throw asStoreError(error, 'statement')
  } finally {
    session?.release(!isSound)
  }
}

/** Fails as every verb would: once, at the start, and with what to do. */
export async function checkTable(run: Run, name: TableName): Promise<void> {
  const version = await readVersion(run, name)
  if (version < schemaVersion) {
    throw new SchemaMismatchError(
      `The table ${quoted(name)} is ${version === 0 ? 'missing' : `of version ${version}`}. ${command}.`,
    )
  }
  const table = quoted(name)
  try {
    // Rights show only when they are used; no row is touched.
    await run(`INSERT INTO ${table} SELECT * FROM ${table} WHERE FALSE`, [])
    await run(`UPDATE ${table} SET fence = fence WHERE FALSE`, [])
    await run(`DELETE FROM ${table} WHERE FALSE`, [])
    const schema = name.schema === undefined ? 'DATABASE()' : `'${name.schema}'`
    const { rows } = await run(
      `SELECT ENGINE AS engine FROM information_schema.TABLES WHERE TABLE_SCHEMA = ${schema} AND TABLE_NAME = '${name.table}'`,
      [],
    )
    const engine = String(rows[0]?.engine)
    if (engine === 'InnoDB') return
    throw new SchemaMismatchError(
      `The table ${table} is kept by ${engine}, which has no transactions. It must be InnoDB.`,
    )
  } catch (error) {
    throw mayNot(error, name)
  }
}

const noRights: ReadonlySet<number> = new Set([1044, 1142, 1143, 1227])

function mayNot(error: unknown, name: TableName): unknown {
  const number = errorNumber(error)
  if (number === errorNumbers.noTable) {
    return new SchemaMismatchError(`The table ${quoted(name)} is missing. ${command}.`)
  }
  if (number === undefined || !noRights.has(number)) return error
  const rights = `GRANT SELECT, INSERT, UPDATE, DELETE ON ${quoted(name)} and SELECT ON ${versions(name)}`
  return new SchemaMismatchError(
    `The user may not use or create ${quoted(name)}. ${command} as a user who may create tables, and give this user its rights: ${rights}.`,
    { cause: asStoreError(error, 'statement') },
  )
}
