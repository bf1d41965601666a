/** A MariaDB server of a test's own, which may be killed and started again on its data. */
import { type ChildProcess, execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import mysql from 'mysql2/promise'
import {
  accountOf,
  endServer,
  freePort,
  newFolder,
  requireProgram,
  spawnServer,
  untilAnswers,
} from '../../scripts/servers/process.ts'

const folders = ['/usr/sbin', '/usr/bin']

export class MortalMariadb {
  readonly port: number
  readonly #account = accountOf('mysql')
  readonly #folder = newFolder('mortal-mariadb', this.#account)
  #shell: ChildProcess | undefined

  static async make(): Promise<MortalMariadb> {
    const server = new MortalMariadb(await freePort())
    await server.start()
    return server
  }

  private constructor(port: number) {
    this.port = port
    const install = requireProgram('mariadb-install-db', folders, 'mariadb-server')
    const options = [`--datadir=${this.#data}`, '--auth-root-authentication-method=normal', '--skip-test-db']
    execFileSync(install, ['--no-defaults', ...options], {
      stdio: 'ignore',
      cwd: this.#folder,
      ...this.#account,
    })
  }

  /** Logs in as a user who may do everything. */
  get url(): string {
    return `mysql://root@127.0.0.1:${this.port}/mysql`
  }

  async start(): Promise<void> {
    const program = requireProgram('mariadbd', folders, 'mariadb-server')
    const places = [
      `--datadir=${this.#data}`,
      // One of its own: a server that starts clears away the temporary tables of the others.
      `--tmpdir=${this.#folder}`,
      `--socket=${this.#socket}`,
      `--pid-file=${this.#pidFile}`,
    ]
    const options = [`--port=${this.port}`, '--bind-address=127.0.0.1', '--skip-name-resolve']
    this.#shell = spawnServer(program, ['--no-defaults', ...places, ...options], this.#account)
    await untilAnswers(this.#shell, async () => {
      const connection = await mysql.createConnection({ socketPath: this.#socket, user: 'root' })
      await connection.query("CREATE USER IF NOT EXISTS 'root'@'127.0.0.1'")
      await connection.query("GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION")
      await connection.end()
    })
  }

  /** As a crash does: nothing is flushed, no connection is told. */
  async kill(): Promise<void> {
    const shell = this.#shell
    if (shell === undefined || !existsSync(this.#pidFile)) return
    process.kill(Number(readFileSync(this.#pidFile, 'utf8')), 'SIGKILL')
    const gone = new Promise((resolve) => shell.once('exit', resolve))
    shell.stdin?.end()
    await gone
    this.#shell = undefined
  }

  async dispose(): Promise<void> {
    if (this.#shell !== undefined) await endServer(this.#shell, this.#folder)
  }

  get #data(): string {
    return join(this.#folder, 'data')
  }

  get #socket(): string {
    return join(this.#folder, 'socket')
  }

  get #pidFile(): string {
    return join(this.#folder, 'pid')
  }
}
