import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import pg from 'pg'
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

const folders = ['/usr/lib/postgresql/*/bin']

/** Starts PostgreSQL with its durable defaults on a free port of the loopback. */
export async function startPostgres(): Promise<RunningServer> {
  const initdb = requireProgram('initdb', folders, 'postgresql')
  const program = requireProgram('postgres', folders, 'postgresql')
  const account = accountOf('postgres')
  const folder = newFolder('postgres', account)
  const data = join(folder, 'data')
  execFileSync(initdb, ['-D', data, '-A', 'trust', '-U', 'postgres', '-E', 'UTF8'], {
    stdio: 'ignore',
    cwd: folder,
    ...account,
  })
  const port = await freePort()
  const args = ['-D', data, '-p', `${port}`, '-h', '127.0.0.1', '-k', folder, '-c', 'max_connections=200']
  const child = spawnServer(program, args, account)
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  await untilAnswers(child, async () => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    await client.end()
  })
  return { url, port, stop: () => endServer(child, folder) }
}
