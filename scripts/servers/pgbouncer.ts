import { chownSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import {
  type Account,
  accountOf,
  endServer,
  freePort,
  newFolder,
  requireProgram,
  type RunningServer,
  spawnServer,
  untilAnswers,
} from './process.ts'

const folders = ['/usr/sbin', '/usr/bin']

/** Server connections for all clients of one database. Few, so that clients really change between them. */
const poolSize = 3

/** Starts PgBouncer in transaction mode in front of a PostgreSQL on the loopback, whose user needs no password. */
export async function startPgbouncer(postgresUrl: string): Promise<RunningServer> {
  const program = requireProgram('pgbouncer', folders, 'pgbouncer')
  const account = accountOf('postgres')
  const folder = newFolder('pgbouncer', account)
  const port = await freePort()
  const { hostname, port: postgresPort, username, pathname } = new URL(postgresUrl)
  const file = join(folder, 'pgbouncer.ini')
  writeFileSync(
    file,
    [
      '[databases]',
      `* = host=${hostname} port=${postgresPort} user=${username}`,
      '[pgbouncer]',
      'listen_addr = 127.0.0.1',
      `listen_port = ${port}`,
      'unix_socket_dir =',
      'auth_type = any',
      'pool_mode = transaction',
      `default_pool_size = ${poolSize}`,
      'max_client_conn = 200',
      'ignore_startup_parameters = extra_float_digits',
      '',
    ].join('\n'),
  )
  own(file, account)
  // It has nothing to keep, and its releases differ in what other signals wait for.
  const child = spawnServer(program, [file], account, 'KILL')
  const url = `postgres://${username}@127.0.0.1:${port}${pathname}`
  await untilAnswers(child, async () => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    await client.end()
  })
  return { url, port, stop: () => endServer(child, folder) }
}

function own(file: string, account: Account | undefined): void {
  if (account !== undefined) chownSync(file, account.uid, account.gid)
}
