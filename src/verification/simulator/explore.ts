/** Many seeds of one mode, with what they reached together. */
import type { Violation } from '../violations.ts'
import { requiredSights, type Sight } from '../sights.ts'
import { type SimModeName, simModes } from './modes.ts'
import { simulate } from './simulate.ts'
import type { SimTier } from './tier.ts'

export interface ExploreOptions {
  readonly mode: SimModeName
  /** The first seed. Default 1. */
  readonly from?: number
  readonly seeds: number
  /** As for `simulate`. */
  readonly tier?: () => SimTier
  /** Asked after each seed. Default: goes on to the end. */
  goesOn?(found: number): boolean
}

export interface Exploration {
  readonly seeds: number
  readonly calls: number
  readonly events: number
  /** Virtual time. */
  readonly hours: number
  /** Real time. */
  readonly seconds: number
  /** The seeds that break a promise, with how. */
  readonly found: readonly { readonly seed: number; readonly violations: readonly Violation[] }[]
  readonly sights: Readonly<Record<string, number>>
  /** What was never reached, although a set of runs of this mode should. */
  readonly neverReached: readonly Sight[]
}

/**
 * Simulates one seed after the other.
 *
 * @example
 * const { found, neverReached } = await explore({ mode: 'hold', seeds: 20_000 })
 */
export async function explore(options: ExploreOptions): Promise<Exploration> {
  const { mode, from = 1, seeds, tier, goesOn = () => true } = options
  const found: { seed: number; violations: readonly Violation[] }[] = []
  const sights: Record<string, number> = {}
  let [calls, events, virtualMs, done] = [0, 0, 0, 0]
  const startedAt = performance.now()
  while (done < seeds && goesOn(found.length)) {
    const seed = from + done
    const run = await simulate(tier === undefined ? { mode, seed } : { mode, seed, tier })
    done += 1
    calls += run.calls
    events += run.events
    virtualMs += run.timeMs
    for (const [sight, count] of Object.entries(run.report.sights))
      sights[sight] = (sights[sight] ?? 0) + count
    const { violations } = run.report
    if (violations.length > 0) found.push({ seed, violations })
  }
  return {
    seeds: done,
    calls,
    events,
    hours: virtualMs / 3_600_000,
    seconds: (performance.now() - startedAt) / 1_000,
    found,
    sights,
    neverReached: requiredSights(simModes[mode]).filter((sight) => (sights[sight] ?? 0) === 0),
  }
}
