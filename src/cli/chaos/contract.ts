/** What a run needs of its database. */
import type { RecordState } from '../../verification/history.ts'
import type { ChaosMode } from './protocol.ts'

export interface LedgerRow {
  readonly effect: string
  readonly mode: ChaosMode
  readonly principal: string
  readonly name: string
  readonly request: string
  readonly asked: number
  readonly token: string
  readonly happened: number
}

/** One change of one record, in the order in which they were committed. */
export interface LoggedChange {
  readonly record: string
  readonly operation: ChaosMode
  readonly now: number
  readonly before: RecordState | undefined
  readonly after: RecordState | undefined
}

export interface ChaosDatabase {
  /** A file of SQLite for effects that cannot be beside their records. */
  readonly elsewhere?: string
  /** Makes the tables, empty. `slowCommits`: what is written into the ledger takes its time to commit. */
  prepare(slowCommits: boolean): Promise<void>
  ledger(): Promise<readonly LedgerRow[]>
  changes(): Promise<readonly LoggedChange[]>
  /** Ends some connections that are in the middle of something. `undefined` where there are none to end. */
  killBackends?(): Promise<number>
  /** Drops the tables and gives up the connection. */
  dispose(): Promise<void>
}
