/** What all operations of one instance share. */
import { digestOf } from '../core/bytes.ts'
import type { RecordId } from '../core/record.ts'
import type { Runtime } from '../core/runtime.ts'
import type { IdempotencyStore } from '../core/store.ts'
import { type Coalescer, createCoalescer } from './coalescer.ts'
import { createLeaseKeeper, type LeaseKeeper } from './lease-keeper.ts'
import type { OutcomeSeal } from './outcome-seal.ts'
import { createWaiters, type Waiters } from './waiters.ts'

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

/** Puts an instance's parts together. */
export function createMachinery(
  store: IdempotencyStore,
  namespace: string,
  runtime: Runtime,
  isClosed: () => boolean,
  seal: OutcomeSeal,
): Machinery {
  const { clock, timers, random, digest } = runtime
  const coalescer = createCoalescer(store, runtime)
  return {
    namespace,
    isClosed,
    runtime,
    store,
    coalescer,
    keeper: createLeaseKeeper(coalescer, clock, timers),
    waiters: createWaiters(coalescer, timers, random),
    seal,
    downstreamKey: (id, name) => digestOf(digest, ['downstream', id, name]),
  }
}
