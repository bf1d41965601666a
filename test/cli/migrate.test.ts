/** `retrysafe migrate` as a process, on real databases and with the client libraries of the working folder. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import { getTableConfig as mysqlTableConfig } from 'drizzle-orm/mysql-core'
import { getTableConfig as pgTableConfig } from 'drizzle-orm/pg-core'
import { getTableConfig as sqliteTableConfig } from 'drizzle-orm/sqlite-core'
import knexOf from 'knex'
import mysql from 'mysql2/promise'
import pg from 'pg'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { mysqlStore } from '../../src/stores/mysql.ts'
import { postgresStore } from '../../src/stores/postgres.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import {
  dynamodbTable,
  hasDynamodb,
  hasMariadb,
  hasPostgres,
  mariadbDatabase,
  postgresDatabase,
} from '../servers.ts'
import { generateClient } from '../transactions/prisma-client.ts'
import { emptyFolder, run, start } from './program.ts'

// Most tests start several processes one after the other.
vi.setConfig({ testTimeout: 120_000 })

const root = resolve(import.meta.dirname, '../..')

/** A folder in which these client libraries are installed. */
function folderWith(...packages: readonly string[]): string {
  const folder = emptyFolder()
  mkdirSync(join(folder, 'node_modules'))
  for (const name of packages)
    symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name))
  return folder
}

/** A folder of the project, from which packages are found. */
function scratchFolder(): string {
  mkdirSync(join(root, '.scratch'), { recursive: true })
  const folder = mkdtempSync(join(root, '.scratch', 'migrate-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

interface Database {
  readonly address: string
  rows(text: string): Promise<Record<string, unknown>[]>
  /** All that is in the database but the rows, as one value. */
  schema(): Promise<unknown>
  /** Runs several statements, as the database's own shell does. */
  shell(sql: string): Promise<unknown>
}

async function postgres(): Promise<Database> {
  const address = await postgresDatabase()
  const pool = new pg.Pool({ connectionString: address, max: 1 })
  onTestFinished(() => pool.end())
  const rows = async (text: string): Promise<Record<string, unknown>[]> => (await pool.query(text)).rows
  const texts = [
    `SELECT table_name, column_name, ordinal_position, data_type, is_nullable, column_default
     FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 3`,
    `SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1`,
    `SELECT relname, reloptions FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1`,
    `SELECT attname, attstorage FROM pg_attribute WHERE attrelid = 'retrysafe_records'::regclass AND attnum > 0 ORDER BY 1`,
    'SELECT * FROM retrysafe_schema ORDER BY 1',
  ]
  return { address, rows, schema: () => Promise.all(texts.map(rows)), shell: rows }
}

async function mariadb(): Promise<Database> {
  const address = await mariadbDatabase()
  const pool = mysql.createPool({ uri: address, connectionLimit: 1, multipleStatements: true })
  onTestFinished(() => pool.end())
  const rows = async (text: string): Promise<Record<string, unknown>[]> =>
    (await pool.query(text))[0] as Record<string, unknown>[]
  const texts = [
    'SHOW CREATE TABLE retrysafe_records',
    'SHOW CREATE TABLE retrysafe_schema',
    'SELECT * FROM retrysafe_schema ORDER BY 1',
  ]
  return { address, rows, schema: () => Promise.all(texts.map(rows)), shell: rows }
}

async function sqlite(): Promise<Database> {
  const file = join(emptyFolder(), 'shop.db')
  const withFile = <Value>(work: (db: DatabaseSync) => Value): Value => {
    const db = new DatabaseSync(file)
    try {
      return work(db)
    } finally {
      db.close()
    }
  }
  const rows = async (text: string): Promise<Record<string, unknown>[]> =>
    withFile((db) => db.prepare(text).all()) as Record<string, unknown>[]
  const texts = [
    'SELECT name, sql FROM sqlite_schema ORDER BY 1',
    'SELECT * FROM retrysafe_schema ORDER BY 1',
  ]
  return {
    address: `sqlite:${file}`,
    rows,
    schema: () => Promise.all(texts.map(rows)),
    shell: async (sql) => withFile((db) => db.exec(sql)),
  }
}

const databases = {
  postgres: { available: hasPostgres, open: postgres, libraries: ['pg', 'postgres'] },
  mysql: { available: hasMariadb, open: mariadb, libraries: ['mysql2', 'mariadb'] },
  sqlite: { available: true, open: sqlite, libraries: [''] },
} as const

for (const [dialect, { available, open, libraries }] of Object.entries(databases)) {
  describe.skipIf(!available)(dialect, () => {
    for (const library of libraries) {
      test(`${library} looks, makes the table and finds it up to date`, async () => {
        const database = await open()
        const folder = folderWith(...(library === '' ? [] : [library]))
        const migrate = (...args: string[]) => run(folder, 'migrate', ...args, '--store', database.address)

        expect(await migrate('status')).toMatchObject({
          code: 1,
          output: expect.stringMatching(/is missing/),
        })
        const dry = await migrate('--dry-run')
        expect(dry).toMatchObject({ code: 0, output: expect.stringMatching(/CREATE TABLE/) })
        expect((await migrate('status')).code).toBe(1)

        expect(await migrate()).toEqual({ code: 0, output: 'retrysafe_records was made: version 1.\n' })
        const made = await database.schema()
        const upToDate = { code: 0, output: 'retrysafe_records is up to date: version 1.\n' }
        expect(await migrate()).toEqual(upToDate)
        expect(await migrate('status')).toEqual(upToDate)
        expect(await migrate('--dry-run')).toEqual({ ...upToDate, output: `-- ${upToDate.output}` })

        const other = await open()
        await other.shell(dry.output)
        expect(await other.schema()).toEqual(made)
      })
    }

    test('two at once make it once', async () => {
      const database = await open()
      const folder = folderWith(...libraries.filter((name) => name !== ''))
      const ends = await Promise.all([1, 2, 3].map(() => run(folder, 'migrate', '--store', database.address)))
      expect(ends.map(({ code }) => code)).toEqual([0, 0, 0])
      expect(await database.rows('SELECT version FROM retrysafe_schema')).toHaveLength(1)
    })

    test('a newer version is refused', async () => {
      const database = await open()
      const folder = folderWith(...libraries.filter((name) => name !== ''))
      await run(folder, 'migrate', '--store', database.address)
      await database.shell('UPDATE retrysafe_schema SET version = 99')
      for (const command of [['migrate'], ['migrate', 'status'], ['migrate', '--dry-run']]) {
        const { code, output } = await run(folder, ...command, '--store', database.address)
        expect([code, output]).toEqual([1, expect.stringMatching(/version 99/)])
      }
    })

    test('Knex runs its migration, with the same result', async () => {
      const [ours, theirs] = [await open(), await open()]
      const folder = folderWith(...libraries.filter((name) => name !== ''))
      await run(folder, 'migrate', '--store', ours.address)
      const { code, output } = await run(folder, 'migrate', 'export', '--for', 'knex', '--dialect', dialect)
      expect(code).toBe(0)
      const file = join(emptyFolder(), 'records.mjs')
      writeFileSync(file, output)
      const { up, down } = await import(pathToFileURL(file).href)
      const knex = knexOf(
        dialect === 'sqlite'
          ? {
              client: 'better-sqlite3',
              connection: { filename: theirs.address.slice('sqlite:'.length) },
              useNullAsDefault: true,
            }
          : { client: dialect === 'postgres' ? 'pg' : 'mysql2', connection: theirs.address },
      )
      try {
        await up(knex)
        expect(await theirs.schema()).toEqual(await ours.schema())
        await storeIsReady(dialect, theirs.address)
        await down(knex)
        expect((await run(folder, 'migrate', 'status', '--store', theirs.address)).code).toBe(1)
      } finally {
        await knex.destroy()
      }
    })

    test('Drizzle knows the columns and indexes that are there', async () => {
      const database = await open()
      const folder = folderWith(...libraries.filter((name) => name !== ''))
      await run(folder, 'migrate', '--store', database.address)
      const { output } = await run(folder, 'migrate', 'export', '--for', 'drizzle', '--dialect', dialect)
      const file = join(scratchFolder(), 'records.ts')
      writeFileSync(file, output)
      const { retrysafeRecords, retrysafeSchema } = await import(pathToFileURL(file).href)
      for (const table of [retrysafeRecords, retrysafeSchema]) {
        const { name, columns, indexes } =
          dialect === 'postgres'
            ? pgTableConfig(table)
            : dialect === 'mysql'
              ? mysqlTableConfig(table)
              : sqliteTableConfig(table)
        const said = columns.map((column) => [column.name, column.getSQLType().toLowerCase(), column.notNull])
        expect(said).toEqual(await columnsOf(dialect, database, name))
        expect(new Set(indexes.map((index) => index.config.name))).toEqual(
          new Set(await indexesOf(dialect, database, name)),
        )
      }
    })

    test('Prisma takes its models', async () => {
      const { output } = await run(
        emptyFolder(),
        'migrate',
        'export',
        '--for',
        'prisma',
        '--dialect',
        dialect,
      )
      const provider = dialect === 'postgres' ? 'postgresql' : (dialect as 'mysql' | 'sqlite')
      generateClient(provider, output).remove()
      const database = await open()
      const folder = folderWith(...libraries.filter((name) => name !== ''))
      await run(folder, 'migrate', '--store', database.address)
      const [, body = ''] = /model RetrysafeRecord \{\n(.*?)\n\}/s.exec(output) ?? []
      const names = Array.from(body.matchAll(/^  (\w+) +\w+\??.*$/gm), ([line, field]) => {
        return /@map\("(\w+)"\)/.exec(line)?.[1] ?? field
      })
      const columns = await columnsOf(dialect, database, 'retrysafe_records')
      expect(new Set(names)).toEqual(new Set(columns.map(([name]) => name)))
      expect(names).toHaveLength(columns.length)
    })
  })
}

async function storeIsReady(dialect: string, address: string): Promise<void> {
  if (dialect === 'sqlite') {
    const store = sqliteStore({ file: address.slice('sqlite:'.length) })
    await store.ready()
    return await store.close()
  }
  if (dialect === 'postgres') {
    const pool = new pg.Pool({ connectionString: address, max: 1 })
    await postgresStore({ pool, migrate: 'check' }).ready()
    return await pool.end()
  }
  const pool = mysql.createPool({ uri: address, connectionLimit: 1 })
  await mysqlStore({ pool, migrate: 'check' }).ready()
  await pool.end()
}

/** Name, type and whether NULL is refused, in the order of the table. */
async function columnsOf(dialect: string, database: Database, table: string): Promise<unknown[][]> {
  if (dialect === 'sqlite') {
    const rows = await database.rows(
      `SELECT name, lower(type) AS type, "notnull" AS n, pk FROM pragma_table_info('${table}')`,
    )
    return rows.map(({ name, type, n, pk }) => [name, type, n === 1 || pk === 1])
  }
  if (dialect === 'postgres') {
    const rows = await database.rows(
      `SELECT column_name, data_type, is_nullable FROM information_schema.columns WHERE table_name = '${table}' ORDER BY ordinal_position`,
    )
    return rows.map((row) => [row['column_name'], row['data_type'], row['is_nullable'] === 'NO'])
  }
  const rows = await database.rows(
    `SELECT COLUMN_NAME AS name, COLUMN_TYPE AS type, IS_NULLABLE AS n FROM information_schema.COLUMNS
     WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '${table}' ORDER BY ORDINAL_POSITION`,
  )
  // MariaDB still says a display width.
  return rows.map(({ name, type, n }) => [name, String(type).replace(/^(\w*int)\(\d+\)/, '$1'), n === 'NO'])
}

/** Names of the indexes beside those of keys and unique columns. */
async function indexesOf(dialect: string, database: Database, table: string): Promise<unknown[]> {
  const texts: Record<string, string> = {
    sqlite: `SELECT name FROM pragma_index_list('${table}') WHERE origin = 'c' ORDER BY 1`,
    postgres: `SELECT indexname AS name FROM pg_indexes WHERE tablename = '${table}' AND indexname NOT LIKE '%_pkey' ORDER BY 1`,
    mysql: `SELECT INDEX_NAME AS name FROM information_schema.STATISTICS
      WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '${table}' AND INDEX_NAME <> 'PRIMARY' ORDER BY 1`,
  }
  return (await database.rows(texts[dialect] as string)).map(({ name }) => name)
}

describe.skipIf(!hasDynamodb)('dynamodb', () => {
  function folderWithSdk(): string {
    const folder = emptyFolder()
    const scope = join(folder, 'node_modules', '@aws-sdk')
    mkdirSync(scope, { recursive: true })
    symlinkSync(join(root, 'node_modules/@aws-sdk/client-dynamodb'), join(scope, 'client-dynamodb'))
    return folder
  }

  test('looks, says in words what it makes, makes it and finds it up to date', async () => {
    vi.stubEnv('AWS_ACCESS_KEY_ID', 'AKIAHUNTER2')
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'hunter2')
    onTestFinished(() => void vi.unstubAllEnvs())
    const { endpoint, table } = dynamodbTable()
    const folder = folderWithSdk()
    const store = `dynamodb://eu-central-1/${table}?endpoint=${endpoint}`
    const migrate = (...args: string[]) => run(folder, 'migrate', ...args, '--store', store)
    expect(await migrate('status')).toMatchObject({ code: 1, output: expect.stringMatching(/is missing/) })
    const words = `Create the table ${table}: a partition key \`id\` of type S and no sort key, billed per request (PAY_PER_REQUEST).
Enable time to live on the attribute \`expires\` of ${table}.
`
    expect(await migrate('--dry-run')).toEqual({ code: 0, output: words })
    expect((await migrate('status')).code).toBe(1)
    expect(await migrate()).toEqual({ code: 0, output: `${words}${table} was made: version 2.\n` })
    const upToDate = { code: 0, output: `${table} is up to date: version 2.\n` }
    expect(await migrate()).toEqual(upToDate)
    expect(await migrate('status')).toEqual(upToDate)
    expect(await migrate('--dry-run')).toEqual({ ...upToDate, output: `-- ${upToDate.output}` })
  })

  test.each<[args: string[], code: number, says: RegExp]>([
    [['--store', 'dynamodb://AKIA:hunter2@eu-central-1/records'], 2, /credentials are found as the SDK does/],
    [['--store', 'dynamodb:records'], 2, /dynamodb:\/\/region\/table/],
    [['--store', 'dynamodb://eu-central-1/a b'], 2, /dynamodb:\/\/region\/table/],
    [['--store', 'dynamodb://eu-central-1/records?secret=hunter2'], 2, /dynamodb:\/\/region\/table/],
    [['--store', 'dynamodb://eu-central-1/records?endpoint=here'], 2, /endpoint=http/],
    [['--store', 'dynamodb://eu-central-1/records', '--table', 'others'], 2, /--table names another table/],
    [['--store', 'dynamodb://eu-central-1/records'], 1, /install @aws-sdk\/client-dynamodb there/],
  ])('%j', async (args, code, says) => {
    const ended = await run(emptyFolder(), 'migrate', ...args)
    expect(ended).toEqual({ code, output: expect.stringMatching(says) })
    expect(ended.output).not.toContain('hunter2')
  })
})

describe('what cannot be done', () => {
  test.each<[args: string[], code: number, says: RegExp]>([
    [['migrate'], 2, /--store is missing.*RETRYSAFE_STORE/],
    [['migrate', '--store', 'memory:'], 2, /postgres:\/\/.*mysql.*sqlite/],
    [['migrate', '--store', 'postgres://'], 2, /URL with a host/],
    [['migrate', '--store', 'oracle://u:hunter2@h/d'], 2, /postgres:\/\/.*mysql.*sqlite/],
    [
      ['migrate', '--store', 'mysql://u:hunter2@127.0.0.1/d?multipleStatements=true'],
      2,
      /multipleStatements/,
    ],
    [['migrate', '--store', 'sqlite:./a.db', '--table', 'x"; drop'], 2, /table/],
    [['migrate', '--store', 'sqlite:./a.db', '--tabel', 'x'], 2, /--tabel.*--table/],
    [['migrate', '--store', 'sqlite:./a.db', '--dry-run=yes'], 2, /--dry-run takes no value/],
    [['migrate', '--store', 'sqlite:./no/folder/a.db'], 1, /folder|open/],
    [['migrate', '--store', 'postgres://u:100%hunter2@127.0.0.1/d'], 2, /%25/],
    [['migrate', '--store', `sqlite:${'a'.repeat(5_000)}`], 2, /4,096/],
    [['migrate', 'stats'], 2, /Did you mean status/],
    [['migrate', 'export', '--for', 'sequelize', '--dialect', 'mysql'], 2, /drizzle, prisma, knex/],
    [['migrate', 'export', '--for', 'knex', '--dialect', 'oracle'], 2, /postgres, mysql or sqlite/],
    [
      ['migrate', 'export', '--for', 'prisma', '--dialect', 'postgres', '--table', 'a.b'],
      2,
      /without a schema/,
    ],
    [['migrate', '--store', 'postgres://u:hunter2@127.0.0.1:1/d'], 1, /install pg or postgres/],
    [['migrate', '--store', 'mysql://u:hunter2@127.0.0.1:1/d'], 1, /install mysql2 or mariadb/],
  ])('%j', async (args, code, says) => {
    const ended = await run(emptyFolder(), ...args)
    expect(ended).toEqual({ code, output: expect.stringMatching(says) })
    expect(ended.output).not.toContain('hunter2')
  })

  test.skipIf(!hasPostgres)(
    'Postgres: no server, no database, no rights, and no password in the message',
    async () => {
      const address = new URL(await postgresDatabase())
      const admin = new pg.Pool({ connectionString: address.href, max: 1 })
      const role = `clerk_${process.pid}`
      await admin.query(`CREATE ROLE ${role} LOGIN`)
      onTestFinished(async () => {
        await admin.query(`DROP ROLE ${role}`)
        await admin.end()
      })
      address.password = encodeURIComponent('p@:/#%word')
      const folder = folderWith('pg')
      const closed = new URL(address)
      closed.port = '1'
      const missing = new URL(address)
      missing.pathname = '/nowhere'
      const clerk = new URL(address)
      clerk.username = role
      for (const [url, says] of [
        [closed, /ECONNREFUSED/],
        [missing, /nowhere/],
        [clerk, /GRANT SELECT, INSERT, UPDATE, DELETE/],
      ] as const) {
        const { code, output } = await run(folder, 'migrate', '--store', url.href)
        expect([code, output]).toEqual([1, expect.stringMatching(says)])
        expect(output).not.toMatch(/word/)
      }
    },
  )

  test('the address may stand in the environment', () => {
    const folder = emptyFolder()
    const program = join(root, 'src/cli/retrysafe.ts')
    const env = { ...process.env, RETRYSAFE_STORE: 'sqlite:./shop.db' }
    const { status, stdout } = spawnSync(process.execPath, [program, 'migrate'], { cwd: folder, env })
    expect([status, String(stdout)]).toEqual([0, 'retrysafe_records was made: version 1.\n'])
  })

  test('a reader that goes away is no failure', async () => {
    const started = start(emptyFolder(), 'migrate', 'export', '--for', 'drizzle', '--dialect', 'postgres')
    started.child.stdout?.destroy()
    expect(await started.ended).toBe(0)
  })
})
