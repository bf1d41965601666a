/** The figures of a run, and whether its promises were kept. */
import type { CheckReport } from '../checker.ts'
import type { History } from '../history.ts'
import type { Invariant } from '../violations.ts'
import { counted, numeral, short } from './text.ts'

export interface CheckedRun {
  readonly history: History
  readonly report: CheckReport
}

export interface Figure {
  readonly name: string
  readonly total: number
  /** What the total is made of. */
  readonly parts: readonly string[]
  /** Whether each of them is a broken promise. */
  readonly countsViolations: boolean
}

export interface Verdict {
  readonly isBroken: boolean
  readonly says: string
}

/** What must hold, in a few words; the checker says it at length. */
export const promises: Readonly<Record<Invariant, string>> = {
  I1: 'an effect takes place once, or as often as the mode allows',
  I2: 'nothing that anybody was told is lost',
  I3: 'all answers of a key are equal',
  I4: 'nobody gets the answer of another principal',
  I5: 'an answer belongs to the request that was sent',
  I6: 'after the faults every key comes to an end',
  I7: 'a record goes the ways that its phases allow',
  I8: 'no effect without a call that asked for it',
  I9: 'nobody claims or runs against a live lease',
  I10: 'the fingerprint of a record does not change',
  I11: 'a holder is never told that its own claim is not its own',
  I12: 'a new holder has a greater fence',
  I13: 'every call ends, and nothing is left over',
  I14: 'a call that failed for certain had no effect',
  I15: 'a run stays within its bounds',
  I16: 'no secret is where it must not be',
}

const invariants = Object.keys(promises) as readonly Invariant[]

export function violationsOf({ violations }: CheckReport, invariant: Invariant): CheckReport['violations'] {
  return violations.filter((violation) => violation.invariant === invariant)
}

export function brokenIn(report: CheckReport): readonly Invariant[] {
  return invariants.filter((invariant) => violationsOf(report, invariant).length > 0)
}

/** Invariants that the history tells too little about. */
export function uncheckedIn({ checked }: CheckReport): readonly Invariant[] {
  return invariants.filter((invariant) => !checked.includes(invariant))
}

export function verdictOf(report: CheckReport): Verdict {
  const broken = brokenIn(report)
  if (broken.length > 0) {
    const violations = counted(report.violations.length, 'violation')
    const says = `${counted(broken.length, 'promise')} broken: ${broken.join(', ')} (${violations})`
    return { isBroken: true, says }
  }
  const says =
    report.counts.calls === 0 ? 'no promise broken, but nobody asked for anything' : 'no promise broken'
  return { isBroken: false, says }
}

/** `simulated, rerun, seed 7`. */
export function titleOf({ header: { store, mode, seed } }: History): string {
  return `${short(store, nameMost)}, ${short(mode, nameMost)}, seed ${seed}`
}

const nameMost = 100

export function figuresOf({ counts, sights, violations }: CheckReport): readonly Figure[] {
  const { calls, ok, fail, info, replayed, effects, keys, faults } = counts
  const withoutEnd = calls - ok - fail - info
  const ended = { ok, fail, info, ...(withoutEnd > 0 ? { 'without an end': withoutEnd } : {}), replayed }
  const [applied, notApplied] = [sights['unknown commit, applied'], sights['unknown commit, not applied']]
  return [
    figure('operations', calls, ended),
    figure('keys', keys),
    figure('effects', effects),
    figure('faults', sumOf(faults), mostFirst(faults)),
    figure('takeovers', sights.takeover),
    figure('replays after a crash', sights['replay after a crash']),
    figure('fenced writers', sights['fenced writer']),
    figure('unknown commits', applied + notApplied, { applied, 'not applied': notApplied }),
    figure('held', sights.held),
    ...violationFigures(violations),
  ]
}

function violationFigures(violations: CheckReport['violations']): readonly Figure[] {
  const named: Partial<Record<Invariant, string>> = { I1: 'duplicates', I2: 'lost', I6: 'stuck' }
  const ofNamed = Object.entries(named).map(([invariant, name]): Figure => {
    const total = violations.filter((violation) => violation.invariant === invariant).length
    return { ...figure(`${name} (${invariant})`, total), countsViolations: true }
  })
  const others = violations.filter(({ invariant }) => named[invariant] === undefined)
  const byInvariant: Record<string, number> = {}
  for (const { invariant } of others) byInvariant[invariant] = (byInvariant[invariant] ?? 0) + 1
  return [...ofNamed, { ...figure('other violations', others.length, byInvariant), countsViolations: true }]
}

const partsMost = 30
const partNameMost = 60

function figure(name: string, total: number, by: Readonly<Record<string, number>> = {}): Figure {
  const named = Object.entries(by)
  const parts = named
    .slice(0, partsMost)
    .map(([part, count]) => `${short(part, partNameMost)} ${numeral(count)}`)
  const more = named.length - parts.length
  return {
    name,
    total,
    parts: more > 0 ? [...parts, `${numeral(more)} more kinds`] : parts,
    countsViolations: false,
  }
}

function mostFirst(counts: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(counts).toSorted(([, a], [, b]) => b - a))
}

function sumOf(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0)
}
