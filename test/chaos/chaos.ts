/**
 * Worker processes on a real server while processes are killed, connections are cut before and after their COMMIT,
 * backends are killed and the server is restarted without a checkpoint. Afterwards every key is asked for once
 * more, and the ledger is counted.
 *
 * What must hold, for every key: at most one row; a value that anybody was told is the value of its row; in the
 * modes that commit effect and record together, one row in the end. In lease mode an outcome that nobody knows is
 * held, and then nobody was told a value.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import mysql from 'mysql2/promise'
import pg from 'pg'
import { startFaultProxy } from '../../src/verification/index.ts'
import { MortalMariadb } from '../stores/mortal-mariadb.ts'
import { MortalPostgres } from '../stores/mortal-postgres.ts'
import { ledgerTables, type Mode, openShop, seededRandom, type Shop } from './shop.ts'
import type { Line, WorkerOptions } from './worker.ts'

export interface ChaosOptions {
  readonly dialect: 'postgres' | 'mysql'
  readonly seed: number
  /** Whether another fault shall follow after so many. */
  goesOn(faults: number): boolean
  /** See `WorkerOptions`. */
  readonly unprotected?: boolean
}

export interface ChaosReport {
  readonly seed: number
  readonly operations: number
  readonly executed: number
  readonly replayed: number
  /** Refusals and failures, by code. */
  readonly errors: Readonly<Record<string, number>>
  readonly faults: Readonly<Record<string, number>>
  readonly unknownCommits: Readonly<Record<string, number>>
  /** Connections that were cut at a COMMIT or an INSERT. */
  readonly cuts: number
  readonly keys: number
  /** Keys in lease mode whose outcome nobody knows. */
  readonly held: number
  readonly violations: readonly string[]
}

const workerCount = 3
/** Answers between two faults, so that something is under way when the next one comes. */
const answersBetween = 60
const workerFile = new URL('./worker.ts', import.meta.url).pathname

/** What a caller may be told. `handler`: what the handler's own statements threw. */
const documentedCodes: ReadonlySet<string> = new Set([
  'in-progress',
  'outcome-unknown',
  'store-unavailable',
  'not-applied',
  'retry-transaction',
  'handler',
])

interface Server {
  readonly port: number
  readonly url: string
  restart(): Promise<void>
  killBackends(): Promise<number>
  dispose(): Promise<void>
}

async function startServer(dialect: 'postgres' | 'mysql'): Promise<Server> {
  if (dialect === 'postgres') {
    const server = await MortalPostgres.make()
    return {
      port: server.port,
      url: server.url,
      async restart() {
        await server.stopAtOnce()
        await server.start()
      },
      async killBackends() {
        const client = new pg.Client({ connectionString: server.url })
        client.on('error', () => {})
        await client.connect()
        const { rowCount } = await client.query(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND state <> 'idle' LIMIT 4`,
        )
        await client.end()
        return rowCount ?? 0
      },
      dispose: () => server.dispose(),
    }
  }
  const server = await MortalMariadb.make()
  return {
    port: server.port,
    url: server.url,
    async restart() {
      await server.kill()
      await server.start()
    },
    async killBackends() {
      const connection = await mysql.createConnection(server.url)
      const [rows] = await connection.query<mysql.RowDataPacket[]>(
        `SELECT ID AS id FROM information_schema.PROCESSLIST
         WHERE ID <> CONNECTION_ID() AND USER = 'root' AND COMMAND <> 'Sleep' LIMIT 4`,
      )
      for (const { id } of rows) await connection.query(`KILL ${id}`).catch(() => {})
      await connection.end()
      return rows.length
    },
    dispose: () => server.dispose(),
  }
}

export async function runChaos({
  dialect,
  seed,
  goesOn,
  unprotected = false,
}: ChaosOptions): Promise<ChaosReport> {
  const random = seededRandom(seed)
  const server = await startServer(dialect)
  const proxy = await startFaultProxy({ target: { port: server.port } })
  const proxied = new URL(server.url)
  proxied.port = String(proxy.port)
  const lines: Line[] = []
  let wake = (): void => {}
  const workers = new Set<ChildProcess>()
  const faults: Record<string, number> = {}

  function startWorker(): void {
    const options: WorkerOptions = {
      dialect,
      url: proxied.href,
      seed: Math.floor(random() * 2 ** 31),
      unprotected,
    }
    const child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', workerFile, JSON.stringify(options)],
      {
        stdio: ['pipe', 'pipe', 'inherit'],
      },
    )
    workers.add(child)
    child.stdin?.on('error', () => {})
    if (child.stdout !== null) {
      createInterface({ input: child.stdout }).on('line', (text) => {
        // The last line of a killed process may be half of one.
        if (!text.endsWith('}')) return
        lines.push(JSON.parse(text) as Line)
        wake()
      })
    }
    child.once('exit', () => {
      workers.delete(child)
      wake()
    })
  }

  async function untilAnswers(more: number): Promise<void> {
    const enough = lines.length + more
    while (lines.length < enough) {
      if (workers.size === 0) throw new Error('All workers have ended.')
      await new Promise<void>((resolve) => (wake = resolve))
    }
  }

  async function killWorker(): Promise<void> {
    const victim = [...workers][Math.floor(random() * workers.size)] as ChildProcess
    const gone = once(victim, 'exit')
    victim.kill('SIGKILL')
    await gone
    startWorker()
  }

  const kinds: Readonly<Record<string, () => unknown>> = {
    'worker killed': killWorker,
    'cut before COMMIT': () => proxy.cutOn('COMMIT', 'before', 3),
    'cut after COMMIT': () => proxy.cutOn('COMMIT', 'after', 3),
    'cut after INSERT': () => proxy.cutOn('INSERT', 'after', 2),
    'connections dropped': () => proxy.dropAll(),
    'backends killed': () => server.killBackends(),
    'server restarted': () => server.restart(),
  }

  try {
    const admin = await openShop(dialect, server.url)
    await admin.rows(ledgerTables[dialect])
    await admin.close()
    for (let at = 0; at < workerCount; at++) startWorker()
    const names = Object.keys(kinds)
    for (let count = 0; goesOn(count); count++) {
      await untilAnswers(answersBetween)
      // Each kind once in a round, in an order of its own.
      const name = names[(count + Math.floor(random() * 2)) % names.length] as string
      await kinds[name]?.()
      faults[name] = (faults[name] ?? 0) + 1
    }
    await untilAnswers(answersBetween)
    proxy.disarm()
    await Promise.all(Array.from(workers, end))
    const { cutBefore, cutAfter } = proxy.counts
    return await check(dialect, server.url, seed, lines, { faults, cuts: cutBefore + cutAfter })
  } finally {
    for (const worker of workers) worker.kill('SIGKILL')
    await proxy.close()
    await server.dispose()
  }
}

async function end(worker: ChildProcess): Promise<void> {
  const gone = once(worker, 'exit')
  worker.stdin?.end()
  await gone
}

/** Longer than a lease and five seconds: what is in progress then is stuck. */
const lastWait = '7s'
const lastLanes = 8
const lastTriesMax = 20
const lastPauseMs = 250

type LastAnswer =
  | { readonly kind: 'value'; readonly value: string }
  | { readonly kind: 'error'; readonly code: string; readonly says: string }

/** As a client does that has time: what may be tried again is. */
async function askToTheEnd(shop: Shop, mode: Mode, key: string): Promise<LastAnswer> {
  for (let tries = 1; ; tries++) {
    try {
      const { value } = await shop.ask(mode, key)
      return { kind: 'value', value }
    } catch (error) {
      const code = shop.codeOf(error)
      if (code === 'outcome-unknown' || tries === lastTriesMax)
        return { kind: 'error', code, says: String(error) }
      await new Promise((resolve) => setTimeout(resolve, lastPauseMs))
    }
  }
}

async function check(
  dialect: 'postgres' | 'mysql',
  url: string,
  seed: number,
  lines: readonly Line[],
  done: Pick<ChaosReport, 'faults' | 'cuts'>,
): Promise<ChaosReport> {
  const told = new Map<string, { mode: Mode; values: Set<string> }>()
  const errors: Record<string, number> = {}
  const unknownCommits: Record<string, number> = {}
  const violations: string[] = []
  let executed = 0
  let replayed = 0
  for (const line of lines) {
    if (line.kind === 'unknown-commit') {
      const name = line.applied === true ? 'applied' : line.applied === false ? 'not applied' : 'undecided'
      unknownCommits[name] = (unknownCommits[name] ?? 0) + 1
      continue
    }
    const known = told.get(line.key) ?? { mode: line.mode, values: new Set() }
    told.set(line.key, known)
    if (line.kind === 'error') {
      errors[line.code] = (errors[line.code] ?? 0) + 1
      if (!documentedCodes.has(line.code)) violations.push(`${line.key}: answered ${line.code}`)
      continue
    }
    known.values.add(line.value)
    if (line.kind === 'executed') executed += 1
    else replayed += 1
  }

  const shop = await openShop(dialect, url, lastWait)
  let held = 0
  try {
    const last = new Set<string>()
    const open = [...told]
    const askNext = async (): Promise<void> => {
      for (let next = open.pop(); next !== undefined; next = open.pop()) {
        const [key, { mode, values }] = next
        const answer = await askToTheEnd(shop, mode, key)
        if (answer.kind === 'value') {
          values.add(answer.value)
          last.add(key)
        } else if (mode === 'lease' && answer.code === 'outcome-unknown') held += 1
        else violations.push(`${key}: asked at the end, ${answer.code}: ${answer.says}`)
      }
    }
    await Promise.all(Array.from({ length: lastLanes }, askNext))
    const rows = new Map<string, string[]>()
    for (const row of await shop.rows('SELECT name, value FROM ledger')) {
      const name = String(row['name'])
      rows.set(name, [...(rows.get(name) ?? []), String(row['value'])])
    }
    for (const [key, { mode, values }] of told) {
      const written = rows.get(key) ?? []
      if (written.length > 1) violations.push(`${key}: ${written.length} effects`)
      if (values.size > 1) violations.push(`${key}: ${values.size} different answers`)
      for (const value of values) {
        if (!written.includes(value)) violations.push(`${key}: an answer without its effect`)
      }
      if (mode !== 'lease' && written.length === 0) violations.push(`${key}: no effect`)
      if (!last.has(key) && values.size > 0) violations.push(`${key}: answered before, and not at the end`)
    }
  } finally {
    await shop.close()
  }
  const operations = lines.filter(({ kind }) => kind !== 'unknown-commit').length
  return {
    seed,
    operations,
    executed,
    replayed,
    errors,
    ...done,
    unknownCommits,
    keys: told.size,
    held,
    violations,
  }
}

/** Everything that anybody was told about a key, for the report of a violation. */
export function summary(report: ChaosReport): string {
  const counts = (record: Readonly<Record<string, number>>): string =>
    Object.entries(record)
      .map(([name, count]) => `${name} ${count}`)
      .join(', ') || 'none'
  return [
    `answers          ${report.operations}: executed ${report.executed}, replayed ${report.replayed}`,
    `refused, failed  ${counts(report.errors)}`,
    `faults           ${counts(report.faults)}; cut ${report.cuts}`,
    `unknown commits  ${counts(report.unknownCommits)}`,
    `keys             ${report.keys}, held in lease mode ${report.held}`,
    `violations       ${report.violations.length}`,
    ...report.violations.slice(0, 20).map((violation) => `  ${violation}`),
  ].join('\n')
}
