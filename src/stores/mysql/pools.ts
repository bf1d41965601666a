/** Which client library an option, or a handle of the user's, is of. */
import { InvalidOptionError } from '../../core/errors.ts'
import { isSqlTransaction, type SqlTransaction, type TransactionOpener } from '../../core/sql.ts'
import {
  mariadbClient,
  type MariadbConnection,
  type MariadbPool,
  type MariadbPoolConnection,
  mariadbRun,
  mysql2Client,
  type Mysql2Connection,
  type Mysql2Pool,
  type Mysql2PoolConnection,
  mysql2Run,
  type MysqlClient,
  type Run,
  sqlTransactionRun,
} from './client.ts'

/** One of the client libraries. */
export type MysqlPool<Client extends Mysql2PoolConnection, Mariadb extends MariadbPoolConnection> =
  | {
      /** A pool of `mysql2/promise`. */
      readonly pool: Mysql2Pool<Client>
    }
  | {
      /** A pool of `mariadb`. */
      readonly mariadb: MariadbPool<Mariadb>
    }

/** @throws InvalidOptionError when it is no pool, or not one */
export function clientOf(
  options: MysqlPool<Mysql2PoolConnection, MariadbPoolConnection>,
): MysqlClient<unknown> {
  const { pool, mariadb } = options as { readonly pool?: Mysql2Pool; readonly mariadb?: MariadbPool }
  if ((pool === undefined) === (mariadb === undefined)) {
    throw new InvalidOptionError('pool', 'or mariadb must be given, and not both')
  }
  if (mariadb !== undefined) {
    if (typeof mariadb.getConnection === 'function' && typeof mariadb.totalConnections === 'function') {
      return mariadbClient(mariadb) as MysqlClient<unknown>
    }
    throw new InvalidOptionError('mariadb', 'must be a pool of mariadb', mariadb)
  }
  if (typeof pool?.getConnection === 'function' && !('promise' in pool)) {
    return mysql2Client(pool) as MysqlClient<unknown>
  }
  throw new InvalidOptionError('pool', 'must be a pool of mysql2/promise', pool)
}

/**
 * How to run statements on a transaction of the user's.
 *
 * @throws InvalidOptionError when it is none
 */
export function joinedRun(tx: unknown, opener: TransactionOpener<unknown> | undefined): Run {
  const joined = isSqlTransaction(tx) ? tx : opener?.join(tx)
  if (joined !== undefined) {
    if (joined.dialect === 'mysql') return sqlTransactionRun(joined as SqlTransaction)
    throw new InvalidOptionError('tx', 'must be a transaction on MySQL or MariaDB', joined.dialect)
  }
  const connection = tx as Partial<MariadbConnection & Mysql2Connection> | null
  // A connection of mysql2 without promises has `promise()`, and its `query` never resolves.
  if (typeof connection !== 'object' || typeof connection?.query !== 'function' || 'promise' in connection) {
    throw new InvalidOptionError(
      'tx',
      'must be a connection of mysql2/promise or mariadb, or a SqlTransaction',
    )
  }
  const isMariadb = typeof connection.isValid === 'function'
  return isMariadb ? mariadbRun(connection as MariadbConnection) : mysql2Run(connection as Mysql2Connection)
}
