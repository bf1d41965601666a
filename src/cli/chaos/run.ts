/**
 * Worker processes on a real database while they are killed and paused at named points, connections are cut, held
 * and delayed, and backends end. Afterwards every key is asked for once more. What was seen is one history for each
 * mode, which the checker reads.
 */
import { check, type CheckReport } from '../../verification/checker.ts'
import { type CrashPoint, crashPointNames } from '../../verification/crash-points.ts'
import type { FaultProxy } from '../../verification/fault-proxy.ts'
import type { EffectPromise, History, HistoryEvent } from '../../verification/history.ts'
import { seededRandom } from '../../verification/random.ts'
import { cutsOf, type Fault, proxyTo } from './cuts.ts'
import { openDatabase } from './database.ts'
import {
  type AskCommand,
  type ChaosMode,
  type Dialect,
  leaseMs,
  machineTime,
  modesOf,
  retentionMs,
} from './protocol.ts'
import { Worker, workerProgram } from './worker-process.ts'

export interface StoreChaosOptions {
  readonly dialect: Dialect
  /** URL of the server, or the file. */
  readonly address: string
  readonly seed: number
  /** Whether another round shall follow; each round is one fault. */
  goesOn(rounds: number): boolean
  readonly modes?: readonly ChaosMode[]
  /** Runs the handlers without Retrysafe. Default `false`. */
  readonly unprotected?: boolean
  /** Restarts the server at once, without a checkpoint. */
  restart?(): Promise<void>
  /** Every COMMIT takes 100 ms (Postgres), so that what is lost is still happening. Default `false`. */
  readonly slowCommits?: boolean
  /** The program of the workers. Default: that of this package. */
  readonly workerFile?: string
  onProgress?(progress: Progress): void
}

export interface Progress {
  readonly rounds: number
  readonly calls: number
  readonly fault: string
}

export interface StoreChaosRun {
  readonly mode: ChaosMode
  readonly history: History
  readonly report: CheckReport
}

export const promiseOf: Readonly<Record<ChaosMode, EffectPromise>> = {
  transaction: 'once',
  statement: 'once',
  within: 'once',
  hold: 'held',
  rerun: 'rerun',
  reconcile: 'reconciled',
}

const workerCount = 3
const lanes = 10
/** Answers between two faults, so that something is under way when the next one comes. */
const answersBetween = 50
/** A paused process sleeps over its leases. */
const pauseMs = leaseMs + 400
/** How long an armed point is waited for: some are never reached in some modes. */
const armedMs = 1_500
/** Beyond its lease, a key may take the budgets of the engine. */
const recoveryMs = leaseMs + 5_000
const probesMax = 30
const probePauseMs = 250
const probersCount = 8
const proberHasEnded = 'The process that asks for every key once more has ended.'

export async function runStoreChaos(options: StoreChaosOptions): Promise<readonly StoreChaosRun[]> {
  const { dialect, address } = options
  const database = openDatabase(dialect, address)
  const proxy = dialect === 'sqlite' ? undefined : await proxyTo(dialect, address)
  const run = new ChaosRun(options, proxy, database.elsewhere)
  try {
    await database.prepare(options.slowCommits === true)
    await run.go(async () => (await database.killBackends?.()) ?? 0)
    const [ledger, changes] = [await database.ledger(), await database.changes()]
    return run.histories(ledger, changes).map((history) => ({
      mode: history.header.mode as ChaosMode,
      history,
      report: check(history),
    }))
  } finally {
    await run.stop()
    await proxy?.close()
    await database.dispose()
  }
}

class ChaosRun {
  readonly #options: StoreChaosOptions
  readonly #proxy: FaultProxy | undefined
  readonly #elsewhere: string | undefined
  readonly #random: () => number
  readonly #modes: readonly ChaosMode[]
  readonly #events = new Map<ChaosMode, HistoryEvent[]>()
  readonly #workers = new Set<Worker>()
  /** Who waits for the end of a call that a worker was told to make. */
  readonly #waiting = new Map<number, PromiseWithResolvers<HistoryEvent>>()
  #started = 0
  #answers = 0
  #calls = 0
  #wake: () => void = () => {}

  constructor(options: StoreChaosOptions, proxy: FaultProxy | undefined, elsewhere: string | undefined) {
    this.#options = options
    this.#proxy = proxy
    this.#elsewhere = elsewhere
    this.#random = seededRandom(options.seed)
    this.#modes = options.modes ?? modesOf[options.dialect]
    for (const mode of this.#modes) this.#events.set(mode, [])
  }

  async go(killBackends: () => Promise<number>): Promise<void> {
    for (let count = 0; count < workerCount; count++) this.#startWorker(lanes, this.#through)
    const faults = this.#faults(killBackends)
    const names = Object.keys(faults)
    for (let rounds = 0; this.#options.goesOn(rounds); rounds++) {
      await this.#untilAnswers(answersBetween)
      // Each kind once in a round of all kinds, in an order of its own.
      const fault = names[(rounds + Math.floor(this.#random() * 2)) % names.length] as string
      await faults[fault]?.()
      this.#options.onProgress?.({ rounds: rounds + 1, calls: this.#calls, fault })
    }
    await this.#untilAnswers(answersBetween)
    this.#proxy?.disarm()
    // The user's own transactions have no deadline: on a half-open connection they would wait for ever.
    this.#proxy?.dropAll()
    await Promise.all(Array.from(this.#workers, (worker) => worker.end()))
    this.#beQuiet()
    await this.#probeAll()
  }

  async stop(): Promise<void> {
    await Promise.all(Array.from(this.#workers, (worker) => worker.kill()))
  }

  histories(
    ledger: Awaited<ReturnType<ReturnType<typeof openDatabase>['ledger']>>,
    changes: Awaited<ReturnType<ReturnType<typeof openDatabase>['changes']>>,
  ): readonly History[] {
    return this.#modes.map((mode) => {
      const events = this.#events.get(mode) ?? []
      for (const row of ledger) {
        if (row.mode !== mode) continue
        const { effect, principal, name: key, request, asked: call, token, happened: at } = row
        // A token is written here as the store writes it, to be found there.
        events.push({
          at,
          type: 'effect',
          effect,
          principal,
          key,
          request,
          call,
          token: tokenAsLogged(token, this.#options.dialect),
        })
      }
      const inOrder = events.toSorted((a, b) => a.at - b.at)
      const first = inOrder[0]?.at ?? 0
      const ofRecords: HistoryEvent[] = changes
        .filter(({ operation }) => operation === mode)
        .map(({ record, now, before, after }) => ({ at: first, type: 'record', record, now, before, after }))
      return {
        header: {
          seed: this.#options.seed,
          store: this.#options.dialect,
          mode,
          promise: promiseOf[mode],
          leaseMs,
          retentionMs,
          tombstoneMs: 0,
          recoveryMs,
        },
        // Records by the order of their commits; the other events know nothing of that.
        events: [
          ...ofRecords,
          ...inOrder.map(asLogged(this.#options.dialect)),
          { at: machineTime(), type: 'end', leftOver: [] },
        ],
      }
    })
  }

  get #through(): string {
    const { address } = this.#options
    if (this.#proxy === undefined) return address
    const url = new URL(address)
    url.hostname = '127.0.0.1'
    url.port = String(this.#proxy.port)
    return url.href
  }

  #startWorker(lanesOfIt: number, address: string): Worker {
    const { dialect, unprotected = false, workerFile = workerProgram } = this.#options
    this.#started += 1
    const worker = new Worker(
      {
        dialect,
        address,
        ...(this.#elsewhere === undefined ? {} : { elsewhere: this.#elsewhere }),
        name: `worker ${this.#started}`,
        seed: Math.floor(this.#random() * 2 ** 31),
        modes: this.#modes,
        lanes: lanesOfIt,
        callsFrom: this.#started * 1_000_000,
        unprotected,
      },
      workerFile,
      (mode, event) => this.#note(mode, event),
    )
    this.#workers.add(worker)
    worker.child.once('close', () => {
      this.#workers.delete(worker)
      for (const [call, mode] of worker.open) {
        this.#note(mode, { at: machineTime(), type: 'info', call, code: 'gone' })
      }
      for (const { reject } of this.#waiting.values()) reject(new Error(proberHasEnded))
      this.#wake()
    })
    return worker
  }

  #note(mode: ChaosMode, event: HistoryEvent): void {
    this.#events.get(mode)?.push(event)
    if (event.type === 'invoke') this.#calls += 1
    if (event.type !== 'ok' && event.type !== 'fail' && event.type !== 'info') return
    this.#answers += 1
    this.#wake()
    this.#waiting.get(event.call)?.resolve(event)
    this.#waiting.delete(event.call)
  }

  #noteFault(fault: string, target: string): void {
    for (const mode of this.#modes) this.#note(mode, { at: machineTime(), type: 'fault', fault, target })
  }

  async #untilAnswers(more: number): Promise<void> {
    const enough = this.#answers + more
    while (this.#answers < enough) {
      if (this.#workers.size === 0) throw new Error('All workers have ended.')
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  get #anyWorker(): Worker {
    return [...this.#workers][Math.floor(this.#random() * this.#workers.size)] as Worker
  }

  #faults(killBackends: () => Promise<number>): Readonly<Record<string, Fault>> {
    const { dialect, restart } = this.#options
    const proxy = this.#proxy
    const on =
      (name: string, act: () => unknown): Fault =>
      async () => {
        this.#noteFault(name, 'connections')
        await act()
      }
    return {
      'killed at a point': () => this.#atPoint('killed', (worker) => this.#replace(worker)),
      'paused at a point': () => this.#atPoint('paused', (worker) => this.#pause(worker)),
      'killed anywhere': async () => {
        const worker = this.#anyWorker
        this.#noteFault('killed', worker.name)
        await this.#replace(worker)
      },
      ...(proxy === undefined || dialect === 'sqlite'
        ? {}
        : {
            'cut at a point': () => this.#atPoint('cut', async () => void proxy.dropAll()),
            ...cutsOf(dialect, proxy, on),
            'all connections dropped': on('all connections dropped', () => proxy.dropAll()),
            'answers delayed': on('answers delayed', () => this.#whileSet({ delayMs: 40 })),
            'one octet at a time': on('one octet at a time', () => this.#whileSet({ slices: true })),
            'everything stalls': on('everything stalls', () => this.#stall()),
            'new connections refused': on('new connections refused', async () => {
              proxy.dropAll()
              await this.#whileSet({ refuses: true })
            }),
            'backends ended': on('backends ended', killBackends),
          }),
      ...(restart === undefined ? {} : { 'server restarted': on('server restarted', restart) }),
    }
  }

  /** Waits until some worker is at a point of its life, and does something to it there. */
  async #atPoint(what: string, act: (worker: Worker) => Promise<void>): Promise<void> {
    const worker = this.#anyWorker
    const point = crashPointNames[Math.floor(this.#random() * crashPointNames.length)] as CrashPoint
    const reached = await worker.stopAt(point, armedMs)
    this.#noteFault(reached ? `${what}: ${point}` : what, worker.name)
    await act(worker)
    worker.tell({ do: 'go' })
  }

  async #replace(worker: Worker): Promise<void> {
    await worker.kill()
    this.#startWorker(lanes, this.#through)
  }

  async #pause(worker: Worker): Promise<void> {
    worker.child.kill('SIGSTOP')
    await pause(pauseMs)
    worker.child.kill('SIGCONT')
  }

  async #whileSet(settings: Partial<Pick<FaultProxy, 'delayMs' | 'slices' | 'refuses'>>): Promise<void> {
    const proxy = this.#proxy as FaultProxy
    Object.assign(proxy, settings)
    await pause(400)
    Object.assign(proxy, { delayMs: 0, slices: false, refuses: false })
  }

  async #stall(): Promise<void> {
    const release = (this.#proxy as FaultProxy).stall()
    await pause(pauseMs)
    release()
  }

  #beQuiet(): void {
    const at = machineTime()
    for (const events of this.#events.values()) events.push({ at, type: 'quiet' })
  }

  /** A new process asks for every key, on a connection that nobody breaks, until it has an answer. */
  async #probeAll(): Promise<void> {
    const worker = this.#startWorker(0, this.#options.address)
    const keys = new Map<string, AskCommand>()
    for (const [mode, events] of this.#events) {
      for (const event of events) {
        if (event.type !== 'invoke') continue
        const { principal, key, request } = event
        keys.set([mode, principal, key, request].join('|'), { do: 'ask', mode, principal, key, request })
      }
    }
    // A key may be bound to the one request or to the other: the usual one first.
    const byKey = Map.groupBy(keys.values(), ({ mode, principal, key }) => `${mode}|${principal}|${key}`)
    const waiting = Array.from(byKey.values(), (asks) =>
      asks.toSorted((a, b) => (a.request < b.request ? 1 : -1)),
    )
    const probeNext = async (): Promise<void> => {
      for (let asks = waiting.pop(); asks !== undefined; asks = waiting.pop()) await this.#probe(worker, asks)
    }
    await Promise.all(Array.from({ length: probersCount }, probeNext))
    await worker.end()
  }

  async #probe(worker: Worker, asks: readonly AskCommand[]): Promise<void> {
    let held = 0
    for (let probes = 0; probes < probesMax; probes++) {
      const ask = asks[probes % asks.length] as AskCommand
      const end = await this.#answerTo(worker, ask)
      if (end.type === 'ok') return
      if (end.type !== 'info' && end.type !== 'fail') return
      if (end.code === 'outcome-unknown' && promiseOf[ask.mode] === 'held' && ++held > asks.length) return
      // The other request is the right one: no need to wait.
      if (end.code !== 'key-reused') await pause(probePauseMs)
    }
  }

  /** A worker without lanes numbers its calls in the order in which it is told to make them. */
  async #answerTo(worker: Worker, ask: AskCommand): Promise<HistoryEvent> {
    if (!this.#workers.has(worker)) throw new Error(proberHasEnded)
    worker.asked += 1
    const call = worker.callsFrom + worker.asked
    const end = Promise.withResolvers<HistoryEvent>()
    this.#waiting.set(call, end)
    worker.tell(ask)
    return await end.promise
  }
}

/** Tokens as the triggers write them. */
function tokenAsLogged(token: string, dialect: Dialect): string {
  // Redis has none, and what is kept elsewhere is as the workers say it.
  if (token === '' || dialect === 'sqlite' || dialect === 'redis') return token
  const hex = Buffer.from(token, 'base64url').toString('hex')
  if (dialect === 'mysql') return hex.toUpperCase()
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

function asLogged(dialect: Dialect): (event: HistoryEvent) => HistoryEvent {
  return (event) => ('token' in event ? { ...event, token: tokenAsLogged(event.token, dialect) } : event)
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
