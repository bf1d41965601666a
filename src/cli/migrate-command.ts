/** `retrysafe migrate`, `retrysafe migrate status` and `retrysafe migrate export`. */
import { existsSync } from 'node:fs'
import { isIdempotencyError } from '../core/errors.ts'
import { dynamodbMigrations } from '../stores/dynamodb.ts'
import { mysqlMigrations, mysqlSchemaSql } from '../stores/mysql.ts'
import { postgresMigrations, postgresSchemaSql } from '../stores/postgres.ts'
import { sqliteMigrations, sqliteSchemaSql } from '../stores/sqlite.ts'
import {
  type DynamodbAddress,
  readDatabaseAddress,
  readDynamodbAddress,
  withoutPassword,
} from './database-address.ts'
import { loadFirst } from './database-client.ts'
import { failure, usageError } from './failure.ts'
import { readFlags, type SwitchFlag, type TextFlag } from './flags.ts'
import { type SchemaDialect, type SchemaTool, schemaFor, schemaTools } from './schema-definitions.ts'

const storeFlag: TextFlag = {
  type: 'string',
  description:
    'postgres://.., mysql://.., sqlite:./file.db or dynamodb://region/table (default: the environment variable RETRYSAFE_STORE)',
  valueHint: 'address',
}
const tableFlag: TextFlag = {
  type: 'string',
  description: 'table or schema.table (retrysafe_records)',
  valueHint: 'name',
}

export const statusFlags: Readonly<Record<'store' | 'table', TextFlag>> = {
  store: storeFlag,
  table: tableFlag,
}
export const migrateFlags: typeof statusFlags & { readonly 'dry-run': SwitchFlag } = {
  store: storeFlag,
  table: tableFlag,
  'dry-run': { type: 'boolean', description: 'Print what is missing, as SQL, and run nothing' },
}
export const exportFlags: Readonly<Record<'for' | 'dialect' | 'table', TextFlag>> = {
  for: { type: 'string', description: `The tool: ${schemaTools.join(', ')}`, valueHint: 'tool' },
  dialect: { type: 'string', description: 'postgres, mysql or sqlite', valueHint: 'name' },
  table: tableFlag,
}

const tableDefault = 'retrysafe_records'

interface Steps {
  status(): Promise<{ readonly version: number; readonly latest: number }>
  pending(): Promise<string>
  apply(): Promise<void>
}

interface OpenedSteps extends Steps {
  readonly table: string
  /** The steps are no statements: what they make is said before. */
  readonly inWords?: true
  close(): Promise<unknown>
}

/** Applies what is missing, or prints it. @throws CommandError */
export async function runMigrate(rawArgs: readonly string[]): Promise<void> {
  const { store, table: given, 'dry-run': dryRun } = readFlags(rawArgs, migrateFlags)
  await withSteps(store, given, async (steps) => {
    const { table } = steps
    const { version, latest } = await steps.status()
    if (dryRun === true) {
      const pending = await steps.pending()
      process.stdout.write(
        pending === '' ? `-- ${table} is up to date: version ${latest}.\n` : `${pending}\n`,
      )
      return
    }
    if (version < latest) {
      if (steps.inWords === true) process.stdout.write(`${await steps.pending()}\n`)
      await steps.apply()
    }
    const was =
      version === latest ? 'is up to date' : version === 0 ? 'was made' : `was of version ${version}`
    process.stdout.write(`${table} ${was}: version ${latest}.\n`)
  })
}

/** Prints the version; fails where steps are missing, so that a deployment can ask. @throws CommandError */
export async function runMigrateStatus(rawArgs: readonly string[]): Promise<void> {
  const { store, table: given } = readFlags(rawArgs, statusFlags)
  await withSteps(store, given, async (steps) => {
    const { table } = steps
    const { version, latest } = await steps.status()
    if (version < latest) {
      const is = version === 0 ? 'is missing' : `is of version ${version}`
      throw failure(`${table} ${is}; this release needs version ${latest}. Run: retrysafe migrate`)
    }
    process.stdout.write(`${table} is up to date: version ${latest}.\n`)
  })
}

/** Prints the schema for a migration tool. @throws CommandError */
export function runMigrateExport(rawArgs: readonly string[]): void {
  const { for: tool, dialect, table = tableDefault } = readFlags(rawArgs, exportFlags)
  if (tool === undefined || !schemaTools.includes(tool as SchemaTool)) {
    throw usageError(`--for must be one of ${schemaTools.join(', ')}.`)
  }
  const makers = { postgres: postgresSchemaSql, mysql: mysqlSchemaSql, sqlite: sqliteSchemaSql } as const
  if (dialect === undefined || !Object.hasOwn(makers, dialect)) {
    throw usageError('--dialect must be postgres, mysql or sqlite.')
  }
  const sql = asUsage(() => makers[dialect as SchemaDialect]({ table }))
  const text = schemaFor(tool as SchemaTool, dialect as SchemaDialect, table, sql)
  if (text === undefined)
    throw usageError(`--table must be a name without a schema for ${tool} on ${dialect}.`)
  process.stdout.write(text)
}

async function withSteps(
  flag: string | undefined,
  table: string | undefined,
  work: (steps: OpenedSteps) => Promise<void>,
): Promise<void> {
  const address = flag ?? process.env['RETRYSAFE_STORE'] ?? ''
  if (address === '') throw usageError('--store is missing, and the environment has no RETRYSAFE_STORE.')
  let steps: OpenedSteps | undefined
  try {
    steps = await openSteps(address, table)
    await work(steps)
  } catch (error) {
    throw isIdempotencyError(error) ? shown(error, address) : error
  } finally {
    await steps?.close()
  }
}

/** What went wrong, with the words of the client library and without the password. */
function shown(error: Error, address: string): Error {
  if (isIdempotencyError(error, 'option-invalid')) return usageError(error.message)
  const { cause } = error
  const lines = [error.message, ...(cause instanceof Error && cause.message !== '' ? [cause.message] : [])]
  return failure(...lines.map((line) => withoutPassword(line, address)))
}

async function openSteps(address: string, given: string | undefined): Promise<OpenedSteps> {
  const dynamodb = readDynamodbAddress('--store', address)
  if (dynamodb !== undefined) return openDynamodb(dynamodb, given)
  const table = given ?? tableDefault
  const read = readDatabaseAddress('--store', address)
  switch (read.dialect) {
    case 'postgres':
      return await openPostgres(read.url, table)
    case 'mysql':
      return await openMysql(read.url, table)
    case 'sqlite':
      return openSqlite(read.file, table)
    default:
      return read satisfies never
  }
}

async function openPostgres(url: URL, table: string): Promise<OpenedSteps> {
  const { name, library } = loadFirst(['pg', 'postgres'])
  if (name === 'pg') {
    const pool = new library.Pool({ connectionString: url.href, max: 1 })
    return { table, ...postgresMigrations({ pool, table }), close: () => pool.end() }
  }
  const sql = library(url.href, { max: 1, onnotice: () => {} })
  return { table, ...postgresMigrations({ sql, table }), close: () => sql.end() }
}

async function openMysql(url: URL, table: string): Promise<OpenedSteps> {
  const { name, library } = loadFirst(['mysql2/promise', 'mariadb'])
  const pool = library.createPool({
    host: url.hostname,
    port: url.port === '' ? 3306 : Number(url.port),
    user: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    database: decodeURIComponent(url.pathname.slice(1)),
    connectionLimit: 1,
  })
  const connection = name === 'mariadb' ? { mariadb: pool } : { pool }
  return { table, ...mysqlMigrations({ ...connection, table }), close: () => pool.end() }
}

function openDynamodb(
  { region, endpoint, table: addressed }: DynamodbAddress,
  given: string | undefined,
): OpenedSteps {
  if (given !== undefined && addressed !== undefined && given !== addressed) {
    throw usageError('--table names another table than --store.')
  }
  const table = given ?? addressed ?? tableDefault
  const { library } = loadFirst(['@aws-sdk/client-dynamodb'])
  const client = new library.DynamoDB({
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined ? {} : { endpoint }),
  })
  return {
    table,
    inWords: true,
    ...dynamodbMigrations({ client, table }),
    close: async () => client.destroy(),
  }
}

function openSqlite(file: string, table: string): OpenedSteps {
  const steps = { table, ...sqliteMigrations({ file, table }) }
  const close = async (): Promise<void> => {}
  if (existsSync(file)) return { ...steps, close }
  // Looking must not make the file.
  const { latest } = steps
  return {
    ...steps,
    status: async () => ({ version: 0, latest }),
    pending: async () => sqliteSchemaSql({ table }),
    close,
  }
}

function asUsage<Value>(make: () => Value): Value {
  try {
    return make()
  } catch (error) {
    if (isIdempotencyError(error, 'option-invalid')) throw usageError(error.message)
    throw error
  }
}
