/**
 * A PostgreSQL server of a test's own, which may be ended without a checkpoint and started again on its data, and
 * whose data may lie on a disk that gets full.
 */
import { type ChildProcess, execFileSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chownSync,
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import {
  accountOf,
  freePort,
  newFolder,
  requireProgram,
  spawnServer,
  untilAnswers,
} from '../../scripts/servers/process.ts'

const folders = ['/usr/lib/postgresql/*/bin']

export interface MortalOptions {
  /** Every login takes this password. Default: none takes any. */
  readonly password?: string
  /** Lines for the command line, such as `deadlock_timeout=50ms`. */
  readonly settings?: readonly string[]
  /** What lies on a disk of its own, and how large that is; mounting it takes root. */
  readonly disk?: { readonly holds: 'tables' | 'log'; readonly mib: number }
}

export class MortalPostgres {
  readonly port: number
  readonly #account = accountOf('postgres')
  readonly #folder = newFolder('mortal-postgres', this.#account)
  readonly #options: MortalOptions
  #shell: ChildProcess | undefined

  static async make(options: MortalOptions = {}): Promise<MortalPostgres> {
    const server = new MortalPostgres(await freePort(), options)
    await server.start()
    return server
  }

  private constructor(port: number, options: MortalOptions) {
    this.port = port
    this.#options = options
    const initdb = requireProgram('initdb', folders, 'postgresql')
    if (options.disk !== undefined) this.#mount(options.disk.mib)
    const places = ['-D', this.#data, `--waldir=${this.#log}`]
    const form = ['-U', 'postgres', '-E', 'UTF8', '--no-sync', '--wal-segsize=1']
    execFileSync(initdb, [...places, ...form, ...this.#login()], {
      stdio: 'ignore',
      cwd: this.#folder,
      ...this.#account,
    })
  }

  /** Logs in as a user who may do everything. */
  get url(): string {
    const { password } = this.#options
    const user = password === undefined ? 'postgres' : `postgres:${encodeURIComponent(password)}`
    return `postgres://${user}@127.0.0.1:${this.port}/postgres`
  }

  async start(): Promise<void> {
    const program = requireProgram('postgres', folders, 'postgresql')
    const places = ['-D', this.#data, '-p', `${this.port}`, '-h', '127.0.0.1', '-k', this.#folder]
    const settings = (this.#options.settings ?? []).flatMap((line) => ['-c', line])
    const shell = spawnServer(program, [...places, ...settings], this.#account)
    this.#shell = shell
    await untilAnswers(shell, async () => {
      const client = new pg.Client({ connectionString: this.url })
      client.on('error', () => {})
      await client.connect()
      await client.end()
    })
  }

  /** As `pg_ctl stop -m immediate`: no checkpoint, every backend quits where it is. Recovery is at the next start. */
  async stopAtOnce(): Promise<void> {
    const shell = this.#shell
    if (shell === undefined) return
    this.#shell = undefined
    try {
      const [pid] = readFileSync(join(this.#data, 'postmaster.pid'), 'utf8').split('\n')
      process.kill(Number(pid), 'SIGQUIT')
    } catch {
      // It has ended by itself.
    }
    const gone = shell.exitCode === null && shell.signalCode === null ? once(shell, 'exit') : undefined
    shell.stdin?.end()
    await gone
  }

  /** Writes until the disk takes no more. */
  fillDisk(): void {
    const file = openSync(this.#filler, 'w')
    try {
      // Page by page at the end, so that none is left.
      for (const octets of [Buffer.alloc(1 << 20), Buffer.alloc(1 << 12)]) {
        try {
          for (;;) writeSync(file, octets)
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
        }
      }
    } finally {
      closeSync(file)
    }
  }

  freeDisk(): void {
    rmSync(this.#filler)
  }

  async dispose(): Promise<void> {
    await this.stopAtOnce()
    if (this.#options.disk !== undefined) execFileSync('umount', [this.#disk])
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #login(): string[] {
    const { password } = this.#options
    if (password === undefined) return ['-A', 'trust']
    const file = join(this.#folder, 'password')
    writeFileSync(file, password)
    return ['-A', 'scram-sha-256', `--pwfile=${file}`]
  }

  #mount(mib: number): void {
    mkdirSync(this.#disk)
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mib}m,mode=0755`, 'tmpfs', this.#disk])
    if (this.#account !== undefined) chownSync(this.#disk, this.#account.uid, this.#account.gid)
  }

  get #disk(): string {
    return join(this.#folder, 'disk')
  }

  get #filler(): string {
    return join(this.#disk, 'filler')
  }

  get #data(): string {
    return join(this.#options.disk?.holds === 'tables' ? this.#disk : this.#folder, 'data')
  }

  get #log(): string {
    return join(this.#options.disk?.holds === 'log' ? this.#disk : this.#folder, 'log')
  }
}
