/**
 * The decisions of a run: how long a message takes, who crashes when, who asks for what. Each is a small whole
 * number and 0 is the quiet choice (nothing breaks, the usual delay), so that a run is a list of numbers, a shorter
 * or quieter list is a simpler run, and one number changed is one fault more.
 */
import { type SeededRandom, seededRandom } from '../random.ts'

/** Where decisions come from: drawn by a seed, or chosen by the number and the name of each. */
export type Decisions =
  | { readonly seed: number }
  | { readonly choose: (index: number, name: string) => number }

export class Tape {
  /** Every decision, in order. */
  readonly made: number[] = []
  /** What each decision was about; empty unless `named`. */
  readonly names: string[] = []
  readonly #random: SeededRandom | undefined
  readonly #choose: ((index: number, name: string) => number) | undefined
  readonly #named: boolean

  constructor(decisions: Decisions, named = false) {
    this.#random = 'seed' in decisions ? seededRandom(decisions.seed) : undefined
    this.#choose = 'choose' in decisions ? decisions.choose : undefined
    this.#named = named
  }

  /** One of `options` choices, all equally likely. */
  pick(name: string, options: number): number {
    return this.#make(name, options, (random) => Math.floor(random() * options))
  }

  /** A choice by weights: `upTo[i]` is the chance of a choice of at most `i`, and the last one is 1. */
  weighted(name: string, upTo: readonly number[]): number {
    return this.#make(name, upTo.length, (random) => {
      const drawn = random()
      let choice = 0
      while (drawn >= (upTo[choice] as number)) choice++
      return choice
    })
  }

  #make(name: string, options: number, draw: (random: SeededRandom) => number): number {
    const choice =
      this.#random === undefined
        ? Math.min(this.#choose?.(this.made.length, name) ?? 0, options - 1)
        : draw(this.#random)
    this.made.push(choice)
    if (this.#named) this.names.push(name)
    return choice
  }
}
