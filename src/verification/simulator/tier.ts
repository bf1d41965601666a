/** Stores that stand in front of the simulated one in every process, such as a tiered store with its fast tiers. */
import type { Clock, Timers } from '../../core/runtime.ts'
import type { TransactionalStore } from '../../core/store.ts'
import type { Network, Server } from './network.ts'
import type { SimProcess } from './process.ts'
import type { World } from './world.ts'

/** What such a store has of the process that it lives in, and of the world. */
export interface SimTierTools {
  /** The process' own. */
  readonly clock: Clock
  /** The process' own. */
  readonly timers: Timers
  /**
   * Sends to a server that is not the store's, over the same network: what is sent may be late, lost, refused or
   * arrive twice, also after its sender has ended. Rejects where no answer comes.
   */
  remote<Reply>(name: string, apply: () => Reply): Promise<Reply>
  /** The clock of that server, in milliseconds from an arbitrary start. */
  remoteClock(): number
  /** A decision of the run: one of `options` choices, where 0 is the quiet one. */
  pick(name: string, options: number): number
}

/** Puts a store in front of the store of one process. */
export type SimTier = <Tx>(store: TransactionalStore<Tx>, tools: SimTierTools) => TransactionalStore<Tx>

const server: Server = { away: false, generation: 0 }

export function tierTools(world: World, network: Network, process: SimProcess): SimTierTools {
  const { clock, timers } = process.runtime
  return {
    clock,
    timers,
    remote: (name, apply) => network.send({ name, process, server, apply: (answer) => answer(apply()) }),
    remoteClock: () => world.time,
    // When all is quiet nothing more goes wrong.
    pick: (name, options) => (world.quiet ? 0 : world.tape.pick(name, options)),
  }
}
