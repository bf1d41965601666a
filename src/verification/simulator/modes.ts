/** What a simulated run is about: a mode of the engine on a kind of store, with what the two promise. */
import type { EffectPromise } from '../history.ts'

export type ModeKind = 'lease' | 'transaction' | 'statement' | 'within'

/**
 * How the store keeps records and transactions.
 *
 * locks       a database: a claim in an open transaction holds the key (Postgres, MySQL, SQLite).
 * optimistic  no open transactions: one request writes everything if what was read is still there (DynamoDB).
 * evicts      no transactions, and a record may be gone at any moment (Redis).
 */
export type StoreKind = 'locks' | 'optimistic' | 'evicts'

export interface SimMode {
  readonly kind: ModeKind
  readonly promise: EffectPromise
  readonly onUnknown: 'hold' | 'rerun' | 'reconcile'
  readonly store: StoreKind
  /** The store may come back without the last things it acknowledged. */
  readonly forgets: boolean
  /** For people. */
  readonly about: string
}

export type SimModeName =
  | 'hold'
  | 'rerun'
  | 'reconcile'
  | 'transaction'
  | 'statement'
  | 'within'
  | 'hold-on-a-store-that-forgets'
  | 'transaction-on-a-store-that-forgets'
  | 'hold-on-a-store-that-evicts'
  | 'rerun-on-a-store-that-evicts'
  | 'transaction-without-locks'

const lease = { kind: 'lease', store: 'locks', forgets: false } as const
const hold = { ...lease, promise: 'held', onUnknown: 'hold' } as const
const rerun = { ...lease, promise: 'rerun', onUnknown: 'rerun' } as const
const once = { promise: 'once', onUnknown: 'hold', store: 'locks', forgets: false } as const

export const simModes: Readonly<Record<SimModeName, SimMode>> = {
  hold: { ...hold, about: 'effects elsewhere, an unknown outcome is held' },
  rerun: { ...rerun, about: 'effects elsewhere, an unknown outcome is run again' },
  reconcile: {
    ...lease,
    promise: 'reconciled',
    onUnknown: 'reconcile',
    about: 'effects elsewhere, an unknown outcome is asked for',
  },
  transaction: { ...once, kind: 'transaction', about: 'effect and record in a transaction of the store' },
  statement: { ...once, kind: 'statement', about: 'effect and record in one statement' },
  within: { ...once, kind: 'within', about: 'effect and record in a transaction of the user' },
  'hold-on-a-store-that-forgets': {
    ...hold,
    forgets: true,
    about: 'the store comes back as an older copy: a failover to a replica that lags',
  },
  'transaction-on-a-store-that-forgets': {
    ...once,
    kind: 'transaction',
    forgets: true,
    about: 'the store comes back as an older copy: a failover to a replica that lags',
  },
  'hold-on-a-store-that-evicts': {
    ...hold,
    store: 'evicts',
    forgets: true,
    about: 'records are gone at any moment, or older ones come back: Redis',
  },
  'rerun-on-a-store-that-evicts': {
    ...rerun,
    store: 'evicts',
    forgets: true,
    about: 'records are gone at any moment, or older ones come back: Redis',
  },
  'transaction-without-locks': {
    ...once,
    kind: 'transaction',
    store: 'optimistic',
    about: 'one request writes all if what was read is still there: DynamoDB',
  },
}

export const simModeNames = Object.keys(simModes) as readonly SimModeName[]
