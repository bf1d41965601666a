import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import mysql from 'mysql2/promise'
import {
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

/** Starts MariaDB with its durable defaults on a free port of the loopback; its user may do everything. */
export async function startMariadb(): Promise<RunningServer> {
  const program = requireProgram('mariadbd', folders, 'mariadb-server')
  const install = requireProgram('mariadb-install-db', folders, 'mariadb-server')
  const account = accountOf('mysql')
  const folder = newFolder('mariadb', account)
  const data = join(folder, 'data')
  execFileSync(
    install,
    ['--no-defaults', `--datadir=${data}`, '--auth-root-authentication-method=normal', '--skip-test-db'],
    { stdio: 'ignore', cwd: folder, ...account },
  )
  const port = await freePort()
  const child = spawnServer(
    program,
    [
      '--no-defaults',
      `--datadir=${data}`,
      `--port=${port}`,
      '--bind-address=127.0.0.1',
      // One of its own: a server that starts clears away the temporary tables of the others.
      `--tmpdir=${folder}`,
      `--socket=${join(folder, 'socket')}`,
      `--pid-file=${join(folder, 'pid')}`,
      '--max-connections=200',
      '--skip-name-resolve',
    ],
    account,
  )
  // Without names, 127.0.0.1 is an account of its own next to localhost.
  const url = `mysql://root@127.0.0.1:${port}/mysql`
  await untilAnswers(child, async () => {
    const connection = await mysql.createConnection({ socketPath: join(folder, 'socket'), user: 'root' })
    await connection.query("CREATE USER IF NOT EXISTS 'root'@'127.0.0.1'")
    await connection.query("GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION")
    await connection.end()
  })
  return { url, port, stop: () => endServer(child, folder) }
}
