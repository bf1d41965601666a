/** A worker process, as a run sees it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { CrashPoint } from '../../verification/crash-points.ts'
import type { HistoryEvent } from '../../verification/history.ts'
import {
  type ChaosMode,
  type Command,
  type Said,
  type WorkerOptions,
  workerOptionsVariable,
} from './protocol.ts'

export class Worker {
  readonly name: string
  readonly child: ChildProcess
  /** Calls that have no end yet, with their modes. */
  readonly open: Map<number, ChaosMode> = new Map()
  readonly callsFrom: number
  /** Calls that it was told to make. */
  asked = 0
  #at: ((point: CrashPoint) => void) | undefined

  constructor(
    options: WorkerOptions,
    workerFile: string,
    onEvent: (mode: ChaosMode, event: HistoryEvent) => void,
  ) {
    this.name = options.name
    this.callsFrom = options.callsFrom
    this.child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', workerFile], {
      // Arguments can be read by every user of the machine, and the address has a password in it.
      env: { ...process.env, [workerOptionsVariable]: JSON.stringify(options) },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.child.stdin?.on('error', () => {})
    if (this.child.stdout === null) throw new Error('A worker has no output.')
    createInterface({ input: this.child.stdout }).on('line', (text) => {
      // The last line of a killed process may be half of one.
      if (text.endsWith('}')) this.#hear(JSON.parse(text) as Said, onEvent)
    })
  }

  #hear(said: Said, onEvent: (mode: ChaosMode, event: HistoryEvent) => void): void {
    if (said.say === 'at') this.#at?.(said.point)
    if (said.say !== 'event') return
    const { event, mode } = said
    if (event.type === 'invoke') this.open.set(event.call, mode)
    if (event.type === 'ok' || event.type === 'fail' || event.type === 'info') this.open.delete(event.call)
    onEvent(mode, event)
  }

  tell(command: Command): void {
    this.child.stdin?.write(`${JSON.stringify(command)}\n`)
  }

  /** Resolves when the worker waits at the point, or `false` when that took too long. */
  async stopAt(point: CrashPoint, waitMs: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    this.#at = () => resolve(true)
    const timer = setTimeout(() => resolve(false), waitMs)
    this.child.once('exit', () => resolve(false))
    this.tell({ do: 'arm', point })
    const reached = await promise
    clearTimeout(timer)
    this.#at = undefined
    return reached
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const gone = once(this.child, 'close')
    this.child.kill('SIGKILL')
    await gone
  }

  async end(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const gone = once(this.child, 'close')
    this.tell({ do: 'end' })
    await gone
  }
}

export const workerProgram: string = new URL(
  import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js',
  import.meta.url,
).pathname
