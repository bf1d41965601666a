/** Writes that are safe to retry without a key: a unique key or a version in the row says what was done before. */
export type { SqlDialect, SqlExecutor, SqlResult } from '../core/sql.ts'
export {
  type MariadbQueryable,
  mariadbExecutor,
  type Mysql2Queryable,
  mysql2Executor,
  type PgliteQueryable,
  pgliteExecutor,
  type PgQueryable,
  pgExecutor,
  type PostgresJsQueryable,
  postgresJsExecutor,
  type SqliteQueryable,
  sqliteExecutor,
} from './executors.ts'
export { insertOnce, type InsertOnce, type InsertedOnce } from './insert-once.ts'
export { updateVersion, type UpdatedVersion, type UpdateVersion } from './update-version.ts'
export type { ColumnValue, ColumnValues, Row } from './statement.ts'
