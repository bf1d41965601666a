/** What a simulated run is about: a mode of the engine on a kind of store, with what the two promise. */
import type { EffectPromise } from '../history.ts'

export type ModeKind = 'lease' | 'transaction' | 'statement' | 'within'

export interface SimMode {
  readonly kind: ModeKind
  readonly promise: EffectPromise
  readonly onUnknown: 'hold' | 'rerun' | 'reconcile'
  /** The store may come back without the last things it acknowledged. */
  readonly forgets: boolean
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

export const simModes: Readonly<Record<SimModeName, SimMode>> = {
  hold: { kind: 'lease', promise: 'held', onUnknown: 'hold', forgets: false },
  rerun: { kind: 'lease', promise: 'rerun', onUnknown: 'rerun', forgets: false },
  reconcile: { kind: 'lease', promise: 'reconciled', onUnknown: 'reconcile', forgets: false },
  transaction: { kind: 'transaction', promise: 'once', onUnknown: 'hold', forgets: false },
  statement: { kind: 'statement', promise: 'once', onUnknown: 'hold', forgets: false },
  within: { kind: 'within', promise: 'once', onUnknown: 'hold', forgets: false },
  'hold-on-a-store-that-forgets': { kind: 'lease', promise: 'held', onUnknown: 'hold', forgets: true },
  'transaction-on-a-store-that-forgets': {
    kind: 'transaction',
    promise: 'once',
    onUnknown: 'hold',
    forgets: true,
  },
}

export const simModeNames = Object.keys(simModes) as readonly SimModeName[]
