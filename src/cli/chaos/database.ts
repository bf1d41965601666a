/**
 * The database of a run, seen from the side: its tables, the ledger, and a log that triggers write whenever a record
 * changes, in the transaction that changes it.
 */
import { rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { mysqlMigrations } from '../../stores/mysql.ts'
import { postgresMigrations } from '../../stores/postgres.ts'
import { sqliteMigrations } from '../../stores/sqlite.ts'
import { phaseOf } from '../../stores/sql/phases.ts'
import type { RecordState } from '../../verification/history.ts'
import { loadFirst } from '../database-client.ts'
import type { ChaosDatabase, LedgerRow, LoggedChange } from './contract.ts'
import { openElsewhere } from './elsewhere.ts'
import { type ChaosMode, type Dialect, tables } from './protocol.ts'
import { onRedis } from './redis-database.ts'

export function openDatabase(dialect: Dialect, address: string): ChaosDatabase {
  switch (dialect) {
    case 'postgres':
      return onPostgres(address)
    case 'mysql':
      return onMysql(address)
    case 'sqlite':
      return onSqlite(address)
    case 'redis':
      return onRedis(address, ledgerTable('TEXT', 'REAL'), asLedgerRow)
    default:
      return dialect satisfies never
  }
}

const { records, ledger, log } = tables
const states = ['phase', 'token', 'fence', 'fingerprint', 'live_until', 'settled_at'] as const

/** Text columns throughout: what is compared are equal texts. */
function columns(text: string, number: string): string {
  return `seen_at ${number}, record ${text}, operation ${text}, ${['old', 'new']
    .flatMap((which) => [
      `${which}_phase ${number}`,
      `${which}_token ${text}`,
      `${which}_fence ${number}`,
      `${which}_fingerprint ${text}`,
      `${which}_live_until ${number}`,
      `${which}_settled_at ${number}`,
    ])
    .join(', ')}`
}

const logColumns = [
  'seen_at',
  'record',
  'operation',
  ...['old', 'new'].flatMap((which) => states.map((name) => `${which}_${name}`)),
]

function ledgerTable(text: string, number: string): string {
  return `CREATE TABLE ${ledger} (effect ${text}, mode ${text}, principal ${text}, name ${text}, request ${text}, asked ${number}, token ${text}, happened ${number})`
}

const drops = [
  `DROP TABLE IF EXISTS ${records}`,
  `DROP TABLE IF EXISTS ${ledger}`,
  `DROP TABLE IF EXISTS ${log}`,
]

/** A constraint that is checked at COMMIT, and takes 100 ms. */
const slowCommitSql = `
  CREATE OR REPLACE FUNCTION ${ledger}() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN PERFORM pg_sleep(0.1); RETURN NULL; END $$;
  CREATE CONSTRAINT TRIGGER ${ledger} AFTER INSERT ON ${ledger} DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION ${ledger}()`

function onPostgres(address: string): ChaosDatabase {
  const { library: pg } = loadFirst(['pg'])
  const pool = new pg.Pool({ connectionString: address, max: 2 })
  pool.on('error', () => {})
  const all = async (text: string): Promise<any[]> => (await pool.query(text)).rows
  const stateOf = (row: string): string =>
    `${row}.phase, ${row}.token::text, ${row}.fence, encode(${row}.fingerprint, 'hex'), ${row}.live_until, ${row}.settled_at`
  const nothing = 'NULL, NULL, NULL, NULL, NULL, NULL'
  const insert = (head: string, before: string, after: string): string =>
    `INSERT INTO ${log} (${logColumns.join(', ')})
     VALUES (floor(date_part('epoch', clock_timestamp()) * 1000), ${head}.id::text, ${head}.operation, ${before}, ${after});`
  return {
    async prepare(slowCommits) {
      for (const text of drops) await pool.query(text)
      const migrations = postgresMigrations({ pool, table: records })
      // Of a run that was ended by force.
      await pool.query(`DELETE FROM retrysafe_schema WHERE name = '${records}'`).catch(() => {})
      await migrations.apply()
      await pool.query(ledgerTable('text', 'double precision'))
      await pool.query(
        `CREATE TABLE ${log} (at bigserial PRIMARY KEY, ${columns('text', 'double precision')})`,
      )
      await pool.query(`
        CREATE OR REPLACE FUNCTION ${log}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF TG_OP = 'INSERT' THEN ${insert('NEW', nothing, stateOf('NEW'))}
          ELSIF TG_OP = 'UPDATE' THEN ${insert('NEW', stateOf('OLD'), stateOf('NEW'))}
          ELSE ${insert('OLD', stateOf('OLD'), nothing)}
          END IF;
          RETURN NULL;
        END $$`)
      await pool.query(
        `CREATE TRIGGER ${log} AFTER INSERT OR UPDATE OR DELETE ON ${records} FOR EACH ROW EXECUTE FUNCTION ${log}()`,
      )
      if (slowCommits) await pool.query(slowCommitSql)
    },
    ledger: async () => (await all(`SELECT * FROM ${ledger}`)).map(asLedgerRow),
    changes: async () => (await all(`SELECT * FROM ${log} ORDER BY at`)).map(asChange),
    async killBackends() {
      const killed = await all(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND state <> 'idle'
           AND datname = current_database() AND query LIKE '%retrysafe_chaos%' LIMIT 4`,
      )
      return killed.length
    },
    async dispose() {
      for (const text of drops) await pool.query(text)
      await pool.query(`DROP FUNCTION IF EXISTS ${log}; DROP FUNCTION IF EXISTS ${ledger}`)
      await pool.query(`DELETE FROM retrysafe_schema WHERE name = '${records}'`).catch(() => {})
      await pool.end()
    },
  }
}

/** ER_TABLEACCESS_DENIED, ER_SPECIFIC_ACCESS_DENIED, and ER_BINLOG_CREATE_ROUTINE_NEED_SUPER. */
const triggersRefused: ReadonlySet<number> = new Set([1142, 1227, 1419])

function onMysql(address: string): ChaosDatabase {
  const { library: mysql } = loadFirst(['mysql2/promise'])
  const pool = mysql.createPool({ uri: address, connectionLimit: 2 })
  const all = async (text: string): Promise<any[]> => (await pool.query(text))[0]
  const stateOf = (row: string): string =>
    `${row}.phase, HEX(${row}.token), ${row}.fence, HEX(${row}.fingerprint), ${row}.live_until, ${row}.settled_at`
  const nothing = 'NULL, NULL, NULL, NULL, NULL, NULL'
  const insert = (head: string, before: string, after: string): string =>
    `INSERT INTO ${log} (${logColumns.join(', ')})
     VALUES (FLOOR(UNIX_TIMESTAMP(SYSDATE(3)) * 1000), HEX(${head}.id), ${head}.operation, ${before}, ${after})`
  return {
    async prepare() {
      for (const text of drops) await pool.query(text)
      await pool.query(`DELETE FROM retrysafe_schema WHERE name = '${records}'`).catch(() => {})
      await mysqlMigrations({ pool, table: records }).apply()
      await pool.query(`${ledgerTable('varchar(200)', 'double')} ENGINE = InnoDB`)
      await pool.query(
        `CREATE TABLE ${log} (at bigint AUTO_INCREMENT PRIMARY KEY, ${columns('varchar(200)', 'double')}) ENGINE = InnoDB`,
      )
      try {
        for (const [event, text] of Object.entries({
          INSERT: insert('NEW', nothing, stateOf('NEW')),
          UPDATE: insert('NEW', stateOf('OLD'), stateOf('NEW')),
          DELETE: insert('OLD', stateOf('OLD'), nothing),
        })) {
          await pool.query(`CREATE TRIGGER ${log}_${event} AFTER ${event} ON ${records} FOR EACH ROW ${text}`)
        }
      } catch (error) {
        // Hosted servers often allow no triggers: then records are not watched, and the report says so.
        if (!triggersRefused.has((error as { errno?: number }).errno ?? 0)) throw error
      }
    },
    ledger: async () => (await all(`SELECT * FROM ${ledger}`)).map(asLedgerRow),
    changes: async () => (await all(`SELECT * FROM ${log} ORDER BY at`)).map(asChange),
    async killBackends() {
      const rows = await all(
        `SELECT ID AS id FROM information_schema.PROCESSLIST
         WHERE ID <> CONNECTION_ID() AND DB = DATABASE() AND COMMAND <> 'Sleep' AND INFO LIKE '%retrysafe_chaos%' LIMIT 4`,
      )
      for (const { id } of rows) await pool.query(`KILL ${id}`).catch(() => {})
      return rows.length
    },
    async dispose() {
      for (const text of drops) await pool.query(text)
      await pool.query(`DELETE FROM retrysafe_schema WHERE name = '${records}'`).catch(() => {})
      await pool.end()
    },
  }
}

function onSqlite(file: string): ChaosDatabase {
  const db = new DatabaseSync(file)
  db.exec('PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL')
  // In another file, or an effect of lease mode would wait for a transaction of its own process.
  const elsewhereFile = `${file}.elsewhere`
  const elsewhere = openElsewhere(elsewhereFile)
  const all = (text: string, from = db): any[] => from.prepare(text).all()
  const stateOf = (row: string): string =>
    `${row}.phase, ${row}.token, ${row}.fence, ${row}.fingerprint, ${row}.live_until, ${row}.settled_at`
  const nothing = 'NULL, NULL, NULL, NULL, NULL, NULL'
  const insert = (head: string, before: string, after: string): string =>
    `INSERT INTO ${log} (${logColumns.join(', ')})
     VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), hex(${head}.id), ${head}.operation, ${before}, ${after});`
  return {
    elsewhere: elsewhereFile,
    async prepare() {
      for (const text of drops) db.exec(text)
      await sqliteMigrations({ file, table: records }).apply()
      elsewhere.exec(`DROP TABLE IF EXISTS ${ledger}`)
      for (const one of [db, elsewhere]) one.exec(ledgerTable('TEXT', 'REAL'))
      db.exec(`CREATE TABLE ${log} (at INTEGER PRIMARY KEY AUTOINCREMENT, ${columns('TEXT', 'REAL')})`)
      db.exec(`
        CREATE TRIGGER ${log}_insert AFTER INSERT ON ${records} BEGIN ${insert('NEW', nothing, stateOf('NEW'))} END;
        CREATE TRIGGER ${log}_update AFTER UPDATE ON ${records} BEGIN ${insert('NEW', stateOf('OLD'), stateOf('NEW'))} END;
        CREATE TRIGGER ${log}_delete AFTER DELETE ON ${records} BEGIN ${insert('OLD', stateOf('OLD'), nothing)} END;`)
    },
    ledger: async () =>
      [db, elsewhere].flatMap((one) => all(`SELECT * FROM ${ledger}`, one)).map(asLedgerRow),
    changes: async () => all(`SELECT * FROM ${log} ORDER BY at`).map(asChange),
    async dispose() {
      for (const text of drops) db.exec(text)
      db.exec(`DELETE FROM retrysafe_schema WHERE name = '${records}'`)
      db.close()
      elsewhere.close()
      for (const ending of ['', '-wal', '-shm']) rmSync(elsewhereFile + ending, { force: true })
    },
  }
}

function asLedgerRow(row: Record<string, unknown>): LedgerRow {
  return { ...row, asked: Number(row['asked']), happened: Number(row['happened']) } as unknown as LedgerRow
}

function asChange(row: Record<string, unknown>): LoggedChange {
  return {
    record: String(row['record']),
    operation: String(row['operation']) as ChaosMode,
    now: Number(row['seen_at']),
    before: asState(row, 'old'),
    after: asState(row, 'new'),
  }
}

function asState(row: Record<string, unknown>, which: 'old' | 'new'): RecordState | undefined {
  const phase = phaseOf(Number(row[`${which}_phase`]))
  if (phase === undefined) return undefined
  const settledAt = Number(row[`${which}_settled_at`])
  return {
    phase,
    token: String(row[`${which}_token`]),
    fence: Number(row[`${which}_fence`]),
    fingerprint: String(row[`${which}_fingerprint`]),
    leaseUntil: phase === 'running' ? Number(row[`${which}_live_until`]) : undefined,
    settledAt: phase === 'running' ? undefined : settledAt,
  }
}
