/** A Redis of a test's own, which may be killed and started again on its data. */
import { type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pingRedis, redisProgram } from '../../scripts/servers/redis.ts'
import { freePort, newFolder, spawnServer, untilAnswers } from '../../scripts/servers/process.ts'

export interface MortalRedisOptions {
  /** Each write is in a file that is synced before its answer. Default `true`; otherwise nothing is saved. */
  readonly persists?: boolean
  /** More words for the command line, such as `--requirepass secret`. */
  readonly settings?: readonly string[]
}

export class MortalRedis {
  readonly port: number
  readonly #folder = newFolder('mortal-redis', undefined)
  readonly #options: MortalRedisOptions
  #shell: ChildProcess | undefined

  static async make(options: MortalRedisOptions = {}): Promise<MortalRedis> {
    const server = new MortalRedis(await freePort(), options)
    await server.start()
    return server
  }

  private constructor(port: number, options: MortalRedisOptions) {
    this.port = port
    this.#options = options
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  async start(): Promise<void> {
    const { persists = true, settings = [] } = this.#options
    const saves = persists ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no']
    const place = ['--port', `${this.port}`, '--bind', '127.0.0.1', '--dir', this.#folder]
    const pidFile = ['--pidfile', join(this.#folder, 'pid')]
    const words = [...place, ...pidFile, '--save', '', ...saves, ...settings]
    const shell = spawnServer(redisProgram(), words, undefined, 'KILL')
    this.#shell = shell
    await untilAnswers(shell, () => pingRedis(this.port))
  }

  /** SIGKILL: nothing is written any more. */
  async kill(): Promise<void> {
    const shell = this.#shell
    if (shell === undefined) return
    this.#shell = undefined
    const gone = once(shell, 'exit')
    process.kill(Number(readFileSync(join(this.#folder, 'pid'), 'utf8')), 'SIGKILL')
    shell.stdin?.end()
    await gone
  }

  async dispose(): Promise<void> {
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
