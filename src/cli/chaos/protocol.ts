/** What a run and its worker processes say to each other, in lines of JSON. */
import type { CrashPoint } from '../../verification/crash-points.ts'
import type { HistoryEvent } from '../../verification/history.ts'

export type Dialect = 'postgres' | 'mysql' | 'sqlite' | 'redis'

/** How an effect and its record are kept together, or not. */
export type ChaosMode = 'transaction' | 'statement' | 'within' | LeaseMode

/** Modes whose effect is elsewhere, by what `onUnknown` says. */
export type LeaseMode = 'hold' | 'rerun' | 'reconcile'

export const modesOf: Readonly<Record<Dialect, readonly ChaosMode[]>> = {
  postgres: ['transaction', 'statement', 'within', 'hold', 'rerun', 'reconcile'],
  mysql: ['transaction', 'statement', 'within', 'hold', 'rerun', 'reconcile'],
  sqlite: ['transaction', 'statement', 'hold', 'rerun', 'reconcile'],
  redis: ['hold', 'rerun', 'reconcile'],
}

/** Short, so that takeovers happen within a run. */
export const leaseMs = 1_000
export const retentionMs = 3_600_000
export const principals = ['alice', 'bob'] as const

/** The tables of a run; they are made at its start and dropped at its end. */
export const tables = {
  records: 'retrysafe_chaos_records',
  ledger: 'retrysafe_chaos_ledger',
  log: 'retrysafe_chaos_log',
} as const

/** What a run's records on Redis begin with; they are removed at its start and at its end. */
export const redisPrefix: string = `${tables.records}:`
/** The name that workers give their connections to Redis. */
export const redisClientName = 'retrysafe_chaos'

/** The environment variable that holds a worker's `WorkerOptions`, as JSON. */
export const workerOptionsVariable = 'RETRYSAFE_CHAOS_WORKER'

export interface WorkerOptions {
  readonly dialect: Dialect
  /** URL of the server, or the file. */
  readonly address: string
  /** A file of SQLite for effects that cannot be beside their records. */
  readonly elsewhere?: string
  readonly name: string
  readonly seed: number
  readonly modes: readonly ChaosMode[]
  /** Calls at once. 0: it asks when it is told to. */
  readonly lanes: number
  /** Its calls are numbered from here. */
  readonly callsFrom: number
  /** Runs the handlers without Retrysafe, so that the check has something to find. */
  readonly unprotected: boolean
}

export interface AskCommand {
  readonly do: 'ask'
  readonly mode: ChaosMode
  readonly principal: string
  readonly key: string
  readonly request: string
  /** How long the handler takes, unless it is told to go on. Default 0. */
  readonly takesMs?: number
}

/** What a worker is told on its standard input. */
export type Command =
  /** Stop at this place the next time, say so, and wait. */
  | { readonly do: 'arm'; readonly point: CrashPoint }
  | { readonly do: 'go' }
  | AskCommand
  | { readonly do: 'end' }

/** What a worker says on its standard output. */
export type Said =
  | { readonly say: 'event'; readonly mode: ChaosMode; readonly event: HistoryEvent }
  | { readonly say: 'ready' }
  /** It waits there until it is told to go on. */
  | { readonly say: 'at'; readonly point: CrashPoint }

/** Milliseconds of a clock that all processes of a machine share. */
export function machineTime(): number {
  return Number(process.hrtime.bigint() / 1_000n) / 1_000
}
