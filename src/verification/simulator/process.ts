/**
 * A process of the user's: it has clocks of its own, it may be paused, and when it crashes nothing of it goes on,
 * although what it has sent still arrives.
 */
import type { Runtime } from '../../core/runtime.ts'
import { nodeRuntime } from '../../engine/node-runtime.ts'
import type { SeededRandom } from '../random.ts'
import { type Fate, processFates, type Rates } from './faults.ts'
import type { Scheduled, World } from './world.ts'

const { digest, sealing } = nodeRuntime()

/** Wall clocks show a time of day; nothing may depend on it. */
export const epoch = 1_800_000_000_000
const skews = [0, 2_500, -2_500, 86_400_000, -86_400_000]
const tokenCharacters = 22

/** Counts the tokens of a whole run: they are as unique as random ones, and tell who made them. */
export interface Tokens {
  made: number
}

export class SimProcess implements Scheduled {
  readonly name: string
  readonly runtime: Runtime
  alive = true
  pausedUntil = 0
  /** Called once, when it crashes. */
  onCrash: () => void = () => {}
  readonly #world: World
  readonly #rates: Rates

  constructor(world: World, name: string, rates: Rates, random: SeededRandom, tokens: Tokens) {
    this.name = name
    this.#world = world
    this.#rates = rates
    const skewMs = rates.skewed ? (skews[world.tape.pick('skew', skews.length)] as number) : 0
    const after = (delayMs: number, run: () => void): (() => void) =>
      world.later(Math.max(0, delayMs), 'timer', run, this)
    this.runtime = {
      clock: { now: () => epoch + world.time + skewMs, monotonic: () => world.time },
      timers: {
        after,
        background: after,
        atTurnEnd: (run) => void world.later(0, 'end of turn', run, this),
      },
      random: {
        token: () => `${name}.${tokens.made++}.`.padEnd(tokenCharacters, '0'),
        fraction: random,
      },
      digest,
      sealing,
    }
  }

  /** Decides what happens to this process at an event of its. */
  fate(event: string): Fate {
    // The end of a turn follows what asked for it; a crash between the two is a crash after the first.
    if (event === 'end of turn') return 'goes on'
    const chosen = this.#world.tape.weighted(event, this.#rates.process)
    const { fate, pauseMs } = processFates[chosen] as (typeof processFates)[number]
    if (fate === 'pauses') {
      this.pausedUntil = this.#world.time + pauseMs
      this.#world.record({ type: 'fault', fault: `paused ${pauseMs} ms`, target: this.name })
      this.#world.tell(() => `${this.name} is paused for ${pauseMs} ms before ${event}`)
    }
    return fate
  }

  crash(when: string): void {
    if (!this.alive) return
    this.alive = false
    this.#world.record({ type: 'fault', fault: 'crashed', target: this.name })
    this.#world.tell(() => `${this.name} crashes ${when}`)
    this.onCrash()
  }
}
