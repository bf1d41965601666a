/** Somebody else's system: effects in lease mode happen there, and it knows nothing of keys. */
import type { Effect } from './database.ts'
import type { World } from './world.ts'

export class SimService {
  readonly away = false
  readonly generation = 0
  readonly #world: World
  readonly #effects: Effect[] = []

  constructor(world: World) {
    this.#world = world
  }

  apply(effect: Effect): void {
    this.#effects.push(effect)
    this.#world.record({ type: 'effect', ...effect })
    this.#world.tell(() => `  service: ${effect.effect} for ${effect.principal} ${effect.key}`)
  }

  /** The effect of a key, if there is one. */
  find(principal: string, key: string): Effect | undefined {
    return this.#effects.find((effect) => effect.principal === principal && effect.key === key)
  }
}
