/**
 * The tables of the SQL stores in the words of migration tools, so that a tool that owns the whole database knows
 * them and drops none. What a tool cannot say (storage parameters, the row with the version) is in the SQL, which
 * is the migration.
 */

export type SchemaDialect = 'postgres' | 'mysql' | 'sqlite'
export type SchemaTool = 'drizzle' | 'prisma' | 'knex'

export const schemaTools: readonly SchemaTool[] = ['drizzle', 'prisma', 'knex']

/** `undefined`: the tool cannot name a table of another schema so. */
export function schemaFor(
  tool: SchemaTool,
  dialect: SchemaDialect,
  table: string,
  sql: string,
): string | undefined {
  if (tool === 'knex') return knexMigration(table, sql)
  if (table.includes('.')) return undefined
  return tool === 'drizzle' ? drizzleTables[dialect](table) : prismaModels[dialect](table)
}

/** One statement at a time: not every client library takes several. */
function knexMigration(table: string, sql: string): string {
  const statements = sql
    .split(/;\s*(?:\n|$)/)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '')
  const list = statements.map((statement) => `  ${JSON.stringify(statement)},`)
  return `// The records of Retrysafe. A migration of Knex: statements as they are, so that nothing is lost.
const statements = [
${list.join('\n')}
]

export async function up(knex) {
  for (const statement of statements) await knex.raw(statement.replaceAll('?', '\\\\?'))
}

export async function down(knex) {
  await knex.raw('DROP TABLE ${table}')
  await knex('retrysafe_schema').where({ name: '${table.split('.').at(-1)}' }).delete()
}
`
}

const drizzleTables: Readonly<Record<SchemaDialect, (table: string) => string>> = {
  postgres: (
    table,
  ) => `import { bigint, customType, index, integer, pgTable, smallint, text, uuid } from 'drizzle-orm/pg-core'

const bytea = customType<{ data: Uint8Array }>({ dataType: () => 'bytea' })

/** The records of Retrysafe, which writes them itself: its SQL is the migration. */
export const retrysafeRecords = pgTable(
  '${table}',
  {
    createdAt: bigint('created_at', { mode: 'number' }).notNull(),
    settledAt: bigint('settled_at', { mode: 'number' }).notNull(),
    liveUntil: bigint('live_until', { mode: 'number' }).notNull(),
    keptUntil: bigint('kept_until', { mode: 'number' }).notNull(),
    fence: integer('fence').notNull(),
    sweepMinute: integer('sweep_minute').notNull(),
    phase: smallint('phase').notNull(),
    id: uuid('id').primaryKey(),
    token: uuid('token').notNull(),
    fingerprint: bytea('fingerprint').notNull(),
    principalTag: text('principal_tag').notNull(),
    operation: text('operation').notNull(),
    outcome: bytea('outcome').notNull(),
  },
  (record) => [
    index('${table}_sweep').on(record.sweepMinute),
    index('${table}_created').using('brin', record.createdAt).with({ pages_per_range: 32, autosummarize: true }),
  ],
)

export const retrysafeSchema = pgTable('retrysafe_schema', {
  name: text('name').primaryKey(),
  version: integer('version').notNull(),
})
`,
  mysql: (
    table,
  ) => `import { bigint, binary, customType, index, int, mysqlTable, tinyint, varbinary } from 'drizzle-orm/mysql-core'

const longblob = customType<{ data: Uint8Array }>({ dataType: () => 'longblob' })

/** The records of Retrysafe, which writes them itself: its SQL is the migration. */
export const retrysafeRecords = mysqlTable(
  '${table}',
  {
    id: binary('id', { length: 16 }).primaryKey(),
    token: binary('token', { length: 16 }).notNull(),
    fingerprint: varbinary('fingerprint', { length: 64 }).notNull(),
    principalTag: varbinary('principal_tag', { length: 1020 }).notNull(),
    operation: varbinary('operation', { length: 1020 }).notNull(),
    phase: tinyint('phase', { unsigned: true }).notNull(),
    fence: int('fence', { unsigned: true }).notNull(),
    createdAt: bigint('created_at', { mode: 'number' }).notNull(),
    settledAt: bigint('settled_at', { mode: 'number' }).notNull(),
    liveUntil: bigint('live_until', { mode: 'number' }).notNull(),
    keptMs: bigint('kept_ms', { mode: 'number' }).notNull(),
    sweepAt: bigint('sweep_at', { mode: 'number' }).notNull(),
    outcome: longblob('outcome').notNull(),
  },
  (record) => [index('created_at').on(record.createdAt), index('sweep_at').on(record.sweepAt)],
)

export const retrysafeSchema = mysqlTable('retrysafe_schema', {
  name: varbinary('name', { length: 64 }).primaryKey(),
  version: int('version').notNull(),
})
`,
  sqlite: (table) => `import { blob, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/** The records of Retrysafe, which writes them itself: its SQL is the migration. */
export const retrysafeRecords = sqliteTable('${table}', {
  seq: integer('seq').primaryKey(),
  id: blob('id').notNull().unique(),
  phase: integer('phase').notNull(),
  fingerprint: text('fingerprint').notNull(),
  token: text('token').notNull(),
  fence: integer('fence').notNull(),
  operation: text('operation').notNull(),
  principalTag: text('principal_tag').notNull(),
  createdAt: integer('created_at').notNull(),
  settledAt: integer('settled_at'),
  liveUntil: integer('live_until').notNull(),
  keptUntil: integer('kept_until').notNull(),
  outcome: blob('outcome'),
})

export const retrysafeSchema = sqliteTable('retrysafe_schema', {
  name: text('name').primaryKey(),
  version: integer('version').notNull(),
})
`,
}

const prismaModels: Readonly<Record<SchemaDialect, (table: string) => string>> = {
  postgres: (table) => `/// The records of Retrysafe, which writes them itself: its SQL is the migration.
model RetrysafeRecord {
  createdAt    BigInt @map("created_at")
  settledAt    BigInt @map("settled_at")
  liveUntil    BigInt @map("live_until")
  keptUntil    BigInt @map("kept_until")
  fence        Int
  sweepMinute  Int    @map("sweep_minute")
  phase        Int    @db.SmallInt
  id           String @id @db.Uuid
  token        String @db.Uuid
  fingerprint  Bytes
  principalTag String @map("principal_tag")
  operation    String
  outcome      Bytes

  @@index([sweepMinute], map: "${table}_sweep")
  @@index([createdAt], map: "${table}_created", type: Brin)
  @@map("${table}")
}

model RetrysafeSchema {
  name    String @id
  version Int

  @@map("retrysafe_schema")
}
`,
  mysql: (table) => `/// The records of Retrysafe, which writes them itself: its SQL is the migration.
model RetrysafeRecord {
  id           Bytes  @id @db.Binary(16)
  token        Bytes  @db.Binary(16)
  fingerprint  Bytes  @db.VarBinary(64)
  principalTag Bytes  @map("principal_tag") @db.VarBinary(1020)
  operation    Bytes  @db.VarBinary(1020)
  phase        Int    @db.UnsignedTinyInt
  fence        Int    @db.UnsignedInt
  createdAt    BigInt @map("created_at")
  settledAt    BigInt @map("settled_at")
  liveUntil    BigInt @map("live_until")
  keptMs       BigInt @map("kept_ms")
  sweepAt      BigInt @map("sweep_at")
  outcome      Bytes  @db.LongBlob

  @@index([createdAt], map: "created_at")
  @@index([sweepAt], map: "sweep_at")
  @@map("${table}")
}

model RetrysafeSchema {
  name    Bytes @id @db.VarBinary(64)
  version Int

  @@map("retrysafe_schema")
}
`,
  sqlite: (table) => `/// The records of Retrysafe, which writes them itself: its SQL is the migration.
model RetrysafeRecord {
  seq          Int    @id
  id           Bytes  @unique
  phase        Int
  fingerprint  String
  token        String
  fence        Int
  operation    String
  principalTag String @map("principal_tag")
  createdAt    BigInt @map("created_at")
  settledAt    BigInt? @map("settled_at")
  liveUntil    BigInt @map("live_until")
  keptUntil    BigInt @map("kept_until")
  outcome      Bytes?

  @@map("${table}")
}

model RetrysafeSchema {
  name    String @id
  version Int

  @@map("retrysafe_schema")
}
`,
}
