/** What the SQL stores write alike: the phase as a number, and the deadlines of a settlement. */
import { StoreError } from '../../core/errors.ts'
import type { Phase } from '../../core/record.ts'
import type { Settlement } from '../../core/store.ts'

/** The phase column. Numbers are never reused. */
export const phaseNumber: Readonly<Record<Phase, number>> = {
  running: 1,
  completed: 2,
  released: 3,
  unknown: 4,
  tombstone: 5,
}

/** The number of a phase that a caller names. @throws StoreError when it names none */
export function phaseNumberOf(phase: Phase): number {
  const found: unknown = Object.hasOwn(phaseNumber, phase) ? phaseNumber[phase] : undefined
  if (typeof found !== 'number') throw new StoreError('permanent', 'A takeover names no phase that it saw.')
  return found
}

const phases: readonly (Phase | undefined)[] = [
  undefined,
  'running',
  'completed',
  'released',
  'unknown',
  'tombstone',
]

/** The phase of a number, `undefined` when it is none that this release knows. */
export function phaseOf(code: number): Phase | undefined {
  return phases[code]
}

/** A settlement as durations: what is live for `liveMs` is kept for `keptMs` more. */
export interface SettledParts {
  readonly phase: number
  readonly liveMs: number
  readonly keptMs: number
  readonly outcome: Uint8Array | undefined
}

export function settledParts(settlement: Settlement): SettledParts {
  const phase = phaseNumber[settlement.to]
  switch (settlement.to) {
    case 'completed': {
      const { retentionMs, tombstoneMs, outcome } = settlement
      return { phase, liveMs: retentionMs, keptMs: tombstoneMs, outcome }
    }
    case 'released':
      return { phase, liveMs: settlement.markerMs, keptMs: 0, outcome: undefined }
    case 'unknown':
      return { phase, liveMs: settlement.retentionMs, keptMs: 0, outcome: undefined }
    default:
      return settlement satisfies never
  }
}
