/** `retrysafe chaos`: runs that break things on purpose, on a database or on any HTTP service, and judge what was seen. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { isIdempotencyError } from '../core/errors.ts'
import { check, type CheckReport, storyOf } from '../verification/checker.ts'
import { type History, historyLines } from '../verification/history.ts'
import { htmlReport, summaryTable } from '../verification/report.ts'
import { runServiceChaos } from '../verification/service-chaos/index.ts'
import { parseRedisAddress } from '../gateway/redis-address.ts'
import { printable } from '../gateway/text.ts'
import { type ChaosMode, type Dialect, modesOf } from './chaos/protocol.ts'
import { runStoreChaos } from './chaos/run.ts'
import { type DatabaseAddress, readDatabaseAddress, withoutPassword } from './database-address.ts'
import { loadFirst } from './database-client.ts'
import { exitCodes, failure, usageError } from './failure.ts'
import { readFlags, type SwitchFlag, type TextFlag } from './flags.ts'

type TextFlagName =
  | 'store'
  | 'modes'
  | 'url'
  | 'ledger'
  | 'ledger-query'
  | 'method'
  | 'header'
  | 'body'
  | 'key-header'
  | 'promise'
  | 'restart'
  | 'rounds'
  | 'seed'
  | 'report'
  | 'history'

export const chaosFlags: Readonly<Record<TextFlagName, TextFlag>> & { readonly json: SwitchFlag } = {
  store: {
    type: 'string',
    description:
      'postgres://.., mysql://.., redis://.. or sqlite:./file.db: workers on tables or keys of their own in it',
    valueHint: 'address',
  },
  modes: {
    type: 'string',
    description: 'Of a store: transaction,statement,within,hold,rerun,reconcile (all that it has)',
    valueHint: 'names',
  },
  url: { type: 'string', description: 'An HTTP service that takes idempotency keys', valueHint: 'url' },
  ledger: {
    type: 'string',
    description:
      'Where its effects are counted: a URL with {key} that answers a number or an array, or a database',
    valueHint: 'address',
  },
  'ledger-query': {
    type: 'string',
    description: 'Of a database: a statement that returns one row for each effect of the key $1 (or ?)',
    valueHint: 'sql',
  },
  method: { type: 'string', description: 'Of the requests (POST)', valueHint: 'name' },
  header: { type: 'string', description: 'A field that every request carries', valueHint: 'name: value' },
  body: {
    type: 'string',
    description: 'With {key} and {request} in it ({"request":"{request}"})',
    valueHint: 'text',
  },
  'key-header': { type: 'string', description: 'The field of the key (idempotency-key)', valueHint: 'name' },
  promise: { type: 'string', description: 'Of the service: once, or held (once)', valueHint: 'name' },
  restart: {
    type: 'string',
    description: 'A command that restarts what is tested, as one more fault',
    valueHint: 'command',
  },
  rounds: { type: 'string', description: 'One fault in each (40)', valueHint: 'number' },
  seed: { type: 'string', description: 'Determines the faults; printed at the start', valueHint: 'number' },
  report: {
    type: 'string',
    description: 'Writes a page with the figures and the stories of keys',
    valueHint: 'file',
  },
  history: { type: 'string', description: 'Writes all that was seen, as lines of JSON', valueHint: 'file' },
  json: { type: 'boolean', description: 'Prints the result as JSON' },
}

type Flags = { readonly [Name in TextFlagName]?: string } & { readonly json?: true }

interface CheckedRun {
  readonly history: History
  readonly report: CheckReport
}

const roundsDefault = 40
const roundsMax = 100_000
const ledgerMsMax = 10_000

/** @throws CommandError; its exit code is 1 where a promise is broken */
export async function runChaos(rawArgs: readonly string[]): Promise<void> {
  const flags: Flags = readFlags(rawArgs, chaosFlags)
  if ((flags.store === undefined) === (flags.url === undefined)) {
    throw usageError('Say what to test: --store with an address, or --url with --ledger.')
  }
  const seed = wholeNumber('seed', flags.seed, 0, 2 ** 31) ?? Math.floor(Math.random() * 2 ** 31)
  const rounds = wholeNumber('rounds', flags.rounds, 1, roundsMax) ?? roundsDefault
  const progress = flags.json === true ? () => {} : showProgress(seed)
  const runs = await asFailure(flags, () =>
    flags.store === undefined
      ? testService(flags, seed, rounds, progress)
      : testStore(flags, flags.store, seed, rounds, progress),
  )
  writeFiles(flags, runs)
  process.stdout.write(
    flags.json === true ? `${JSON.stringify(runs.map(asJson))}\n` : runs.map(shown).join('\n'),
  )
  const broken = runs.flatMap(({ report }) => report.violations)
  if (broken.length > 0) {
    process.exitCode = exitCodes.failure
    process.stderr.write(`${broken.length} violations. The same faults again: --seed ${seed}\n`)
  }
}

async function testStore(
  flags: Flags,
  address: string,
  seed: number,
  rounds: number,
  progress: Progress,
): Promise<readonly CheckedRun[]> {
  for (const name of [
    'ledger',
    'ledger-query',
    'method',
    'header',
    'body',
    'key-header',
    'promise',
  ] as const) {
    if (flags[name] !== undefined) throw usageError(`--${name} belongs to --url.`)
  }
  const database = readStoreAddress(address)
  const { dialect } = database
  const modes = readModes(flags.modes, dialect)
  const { restart } = flags
  return await runStoreChaos({
    dialect,
    address: dialect === 'sqlite' ? database.file : database.url.href,
    seed,
    modes,
    goesOn: (done) => done < rounds,
    ...(restart === undefined ? {} : { restart: () => runCommand(restart) }),
    onProgress: ({ rounds: done, calls, fault }) => progress(done, rounds, calls, fault),
  })
}

function readStoreAddress(
  address: string,
): DatabaseAddress | { readonly dialect: 'redis'; readonly url: URL } {
  if (!/^rediss?:/.test(address)) return readDatabaseAddress('--store', address)
  const read = parseRedisAddress(address)
  if ('rule' in read) throw usageError(`--store ${read.rule}.`)
  if (read.tls) {
    throw usageError('--store must be redis:// here: what is sent over TLS cannot be cut where it matters.')
  }
  return { dialect: 'redis', url: new URL(address) }
}

function readModes(flag: string | undefined, dialect: Dialect): readonly ChaosMode[] {
  const known = modesOf[dialect]
  if (flag === undefined) return known
  const wanted = flag.split(',').map((name) => name.trim())
  const unknown = wanted.find((name) => !known.includes(name as ChaosMode))
  if (unknown !== undefined) throw usageError(`--modes has ${unknown}; ${dialect} has ${known.join(', ')}.`)
  return [...new Set(wanted)] as ChaosMode[]
}

async function testService(
  flags: Flags,
  seed: number,
  rounds: number,
  progress: Progress,
): Promise<readonly CheckedRun[]> {
  if (flags.modes !== undefined) throw usageError('--modes belongs to --store.')
  const { url = '', method, body, 'key-header': keyHeader, promise = 'once', restart } = flags
  if (promise !== 'once' && promise !== 'held') throw usageError('--promise must be once or held.')
  const headers = readHeader(flags.header)
  const ledger = openLedger(flags.ledger, flags['ledger-query'])
  try {
    const history = await runServiceChaos({
      url,
      seed,
      rounds,
      promise,
      headers,
      effects: (key) => ledger.effects(key),
      ...(method === undefined ? {} : { method }),
      ...(body === undefined ? {} : { body }),
      ...(keyHeader === undefined ? {} : { keyHeader }),
      ...(restart === undefined ? {} : { restart: () => runCommand(restart) }),
      onProgress: ({ round, calls, faults }) =>
        progress(round, rounds, calls, Object.keys(faults).at(-1) ?? ''),
    })
    return [{ history, report: check(history) }]
  } finally {
    await ledger.close()
  }
}

function readHeader(flag: string | undefined): Readonly<Record<string, string>> {
  if (flag === undefined) return {}
  const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+):\s*(.*)$/.exec(flag) ?? []
  if (name === undefined || value === undefined) throw usageError("--header must be 'name: value'.")
  return { [name]: value }
}

interface Ledger {
  effects(key: string): Promise<readonly string[]>
  close(): Promise<void>
}

/** A URL that answers a number or an array, or a statement on a database. */
function openLedger(address: string | undefined, query: string | undefined): Ledger {
  if (address === undefined)
    throw usageError('--ledger is missing: a URL with {key}, or a database with --ledger-query.')
  if (/^https?:\/\//.test(address)) {
    if (!address.includes('{key}')) throw usageError('--ledger must have {key} in it.')
    return {
      effects: (key) => askLedger(address.replaceAll('{key}', encodeURIComponent(key))),
      close: async () => {},
    }
  }
  if (query === undefined)
    throw usageError('--ledger-query is missing: a statement with one row for each effect.')
  return ofRows(readDatabaseAddress('--ledger', address), query)
}

async function askLedger(url: string): Promise<readonly string[]> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(ledgerMsMax) })
  if (!answer.ok) throw failure(`The ledger answered ${answer.status}.`)
  const said: unknown = await answer.json()
  if (typeof said === 'number') return Array.from({ length: said }, (_, at) => String(at + 1))
  if (!Array.isArray(said)) throw failure('The ledger must answer a number or an array, as JSON.')
  return said.map((effect, at) => `${at + 1} ${typeof effect === 'string' ? effect : JSON.stringify(effect)}`)
}

function ofRows(database: DatabaseAddress, query: string): Ledger {
  const named = (rows: readonly unknown[]): string[] =>
    rows.map((row, at) => `${at + 1} ${JSON.stringify(row)}`)
  switch (database.dialect) {
    case 'postgres': {
      const pool = new (loadFirst(['pg']).library.Pool)({ connectionString: database.url.href, max: 2 })
      return { effects: async (key) => named((await pool.query(query, [key])).rows), close: () => pool.end() }
    }
    case 'mysql': {
      const pool = loadFirst(['mysql2/promise']).library.createPool({
        uri: database.url.href,
        connectionLimit: 2,
      })
      return { effects: async (key) => named((await pool.query(query, [key]))[0]), close: () => pool.end() }
    }
    case 'sqlite': {
      const db = new DatabaseSync(database.file, { readOnly: true })
      return { effects: async (key) => named(db.prepare(query).all(key)), close: async () => db.close() }
    }
    default:
      return database satisfies never
  }
}

async function runCommand(command: string): Promise<void> {
  const child = spawn(command, { shell: true, stdio: 'ignore' })
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw failure(`The command of --restart ended with ${code}.`)
}

type Progress = (done: number, rounds: number, calls: number, fault: string) => void

/** One line that is written over, or a line now and then where nobody looks on. */
function showProgress(seed: number): Progress {
  process.stderr.write(`seed ${seed}\n`)
  const isTerminal = process.stderr.isTTY
  return (done, rounds, calls, fault) => {
    const line = `round ${done} of ${rounds}, ${calls} calls, ${fault}`
    if (isTerminal) process.stderr.write(`\r\u001b[K${line}${done === rounds ? '\n' : ''}`)
    else if (done % 10 === 0 || done === rounds) process.stderr.write(`${line}\n`)
  }
}

/** The table, and the whole story of the first keys that are wrong. */
function shown({ history, report }: CheckedRun): string {
  const suspicious = new Map(
    report.violations.flatMap(({ principal, key }) =>
      principal === undefined || key === undefined
        ? []
        : [[`${principal} ${key}`, { principal, key }] as const],
    ),
  )
  const stories = [...suspicious.values()].slice(0, storiesMax).map((which) => {
    const lines = storyOf(history, which).slice(0, storyLinesMax)
    return [
      `the story of ${which.principal}, ${which.key}`,
      ...lines.map((event) => `  ${printable(JSON.stringify(event))}`),
    ].join('\n')
  })
  return `${[summaryTable(history, report), ...stories].join('\n')}\n`
}

const storiesMax = 3
const storyLinesMax = 200

function asJson({ history, report }: CheckedRun): unknown {
  const { violations, sights, counts, checked } = report
  const of = (invariant: string): number => violations.filter((one) => one.invariant === invariant).length
  return {
    ...history.header,
    counts,
    sights,
    checked,
    duplicates: of('I1'),
    lost: of('I2'),
    stuck: of('I6'),
    violations: violations.map((violation) => ({
      ...violation,
      story:
        violation.principal === undefined || violation.key === undefined
          ? []
          : storyOf(history, { principal: violation.principal, key: violation.key }).slice(0, storyLinesMax),
    })),
  }
}

function writeFiles({ report, history }: Flags, runs: readonly CheckedRun[]): void {
  const write = (file: string, text: string): void => {
    try {
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, text)
    } catch (error) {
      throw failure(`The file cannot be written: ${(error as Error).message}`)
    }
  }
  if (report !== undefined) write(report, htmlReport(runs))
  if (history !== undefined) write(history, runs.map((run) => historyLines(run.history)).join(''))
}

function wholeNumber(name: string, flag: string | undefined, min: number, max: number): number | undefined {
  if (flag === undefined) return undefined
  const value = Number(flag)
  if (!/^\d+$/.test(flag) || value < min || value > max) {
    throw usageError(`--${name} must be a whole number from ${min} to ${max}.`)
  }
  return value
}

/** Errors of options and of what is tested, without the password of an address. */
async function asFailure<Value>(
  { store = '', ledger = '' }: Flags,
  work: () => Promise<Value>,
): Promise<Value> {
  try {
    return await work()
  } catch (error) {
    if (isIdempotencyError(error, 'option-invalid')) throw usageError(error.message)
    if (!(error instanceof Error)) throw error
    error.message = [store, ledger].reduce(withoutPassword, error.message)
    throw error
  }
}
