/**
 * Makes a failing run as simple as it gets: decisions are set to their quiet choice, many at once and then one by
 * one, as long as the same thing is still wrong.
 */
import type { CheckReport } from '../checker.ts'
import type { SimModeName } from './modes.ts'
import { simulate } from './simulate.ts'

export interface Shrunk {
  readonly decisions: readonly number[]
  readonly runs: number
}

const runsMax = 3_000

/**
 * @param options `breaks`: whether a run still shows what is wrong
 * @example
 * const breaks = ({ violations }) => violations.some(({ invariant }) => invariant === 'I7')
 * const { decisions } = await shrink({ mode: 'rerun', seed: 11, decisions: run.decisions, breaks })
 */
export async function shrink(options: {
  readonly mode: SimModeName
  readonly seed: number
  readonly decisions: readonly number[]
  breaks(report: CheckReport): boolean
}): Promise<Shrunk> {
  const { mode, seed } = options
  let runs = 0
  const fails = async (decisions: readonly number[]): Promise<boolean> => {
    runs += 1
    const { report } = await simulate({ mode, seed, decisions })
    return options.breaks(report)
  }

  let best = trimmed(options.decisions)
  for (let size = best.length; size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < best.length && runs < runsMax; at += size) {
      if (best.slice(at, at + size).every((choice) => choice === 0)) continue
      const quieter = trimmed(best.map((choice, index) => (index >= at && index < at + size ? 0 : choice)))
      if (await fails(quieter)) best = quieter
    }
  }
  // Then each to its smallest choice.
  for (let at = 0; at < best.length; at++) {
    for (let choice = 1; choice < (best[at] ?? 0) && runs < runsMax; choice++) {
      const smaller = best.with(at, choice)
      if (await fails(smaller)) best = smaller
    }
  }
  return { decisions: best, runs }
}

/** What is missing at the end is 0. */
function trimmed(decisions: readonly number[]): readonly number[] {
  return decisions.slice(0, decisions.findLastIndex((choice) => choice !== 0) + 1)
}
