/** What all operations of one instance share. */
import type { RecordId } from '../core/record.ts'
import type { Runtime } from '../core/runtime.ts'
import type { IdempotencyStore } from '../core/store.ts'
import type { Coalescer } from './coalescer.ts'
import type { LeaseKeeper } from './lease-keeper.ts'
import type { OutcomeSeal } from './outcome-seal.ts'
import type { Waiters } from './waiters.ts'

export interface Machinery {
  readonly namespace: string
  /** Whether `close` was called: no new claim may be sent. */
  isClosed(): boolean
  readonly runtime: Runtime
  readonly store: IdempotencyStore
  readonly coalescer: Coalescer
  readonly keeper: LeaseKeeper
  readonly waiters: Waiters
  readonly seal: OutcomeSeal
  /** A digest of record id and name: equal for every attempt of one key. */
  downstreamKey(id: RecordId, name: string): string
}
