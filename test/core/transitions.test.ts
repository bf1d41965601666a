import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Fingerprint, IdempotencyRecord, RecordId } from '../../src/core/record.ts'
import { removableFrom } from '../../src/core/record.ts'
import { type Decision, decide, judgeRefusedSettle, type OnUnknown } from '../../src/core/transitions.ts'

const same = '1.same' as Fingerprint
const other = '1.other' as Fingerprint
const now = 1_000_000

const head = {
  id: 'id' as RecordId,
  fingerprint: same,
  token: 'theirs',
  fence: 3,
  operation: 'charge',
  principalTag: 'tag',
  createdAt: now - 500,
}
const records = {
  'running, lease live': { ...head, phase: 'running', leaseUntil: now + 10, retentionMs: 1_000 },
  'running, lease over': { ...head, phase: 'running', leaseUntil: now, retentionMs: 1_000 },
  'running, lease over for longer than retention': {
    ...head,
    phase: 'running',
    leaseUntil: now - 1_000,
    retentionMs: 1_000,
  },
  unknown: { ...head, phase: 'unknown', settledAt: now - 5, retainUntil: now + 10 },
  'unknown, retention over': { ...head, phase: 'unknown', settledAt: now - 5, retainUntil: now },
  released: { ...head, phase: 'released', settledAt: now - 5, markerUntil: now + 10 },
  'released, marker over': { ...head, phase: 'released', settledAt: now - 5, markerUntil: now },
  completed: {
    ...head,
    phase: 'completed',
    settledAt: now - 5,
    retainUntil: now + 1,
    tombstoneUntil: now + 1,
    outcome: new Uint8Array(),
  },
  'completed, retention over': {
    ...head,
    phase: 'completed',
    settledAt: now - 5,
    retainUntil: now,
    tombstoneUntil: now,
    outcome: new Uint8Array(),
  },
  'completed, tombstone live': {
    ...head,
    phase: 'completed',
    settledAt: now - 5,
    retainUntil: now,
    tombstoneUntil: now + 1,
    outcome: new Uint8Array(),
  },
  tombstone: { ...head, phase: 'tombstone', settledAt: now - 5, tombstoneUntil: now + 1 },
  'tombstone over': { ...head, phase: 'tombstone', settledAt: now - 5, tombstoneUntil: now },
} satisfies Record<string, IdempotencyRecord>

function decideOn(
  record: IdempotencyRecord | undefined,
  fingerprint: Fingerprint,
  onUnknown: OnUnknown,
): string {
  const decision = decide(record, { fingerprint, token: 'mine', onUnknown }, now)
  return decision.kind === 'supersede' && decision.reconcile ? 'reconcile' : decision.kind
}

describe('the transition table', () => {
  const table: [keyof typeof records, sameRequest: Decision['kind'], otherRequest: Decision['kind']][] = [
    ['running, lease live', 'in-progress', 'mismatch'],
    ['running, lease over', 'unknown', 'mismatch'],
    ['running, lease over for longer than retention', 'supersede', 'supersede'],
    ['unknown', 'unknown', 'mismatch'],
    ['unknown, retention over', 'supersede', 'supersede'],
    ['released', 'supersede', 'mismatch'],
    ['released, marker over', 'supersede', 'supersede'],
    ['completed', 'replay', 'mismatch'],
    ['completed, retention over', 'supersede', 'supersede'],
    ['completed, tombstone live', 'expired', 'expired'],
    ['tombstone', 'expired', 'expired'],
    ['tombstone over', 'supersede', 'supersede'],
  ]

  test.each(table)('%s: %s for the same request, %s for another', (name, sameRequest, otherRequest) => {
    expect(decideOn(records[name], same, 'hold')).toBe(sameRequest)
    expect(decideOn(records[name], other, 'hold')).toBe(otherRequest)
  })

  test('an absent record is claimed', () => {
    expect(decideOn(undefined, same, 'hold')).toBe('claim')
  })

  test.each(['running, lease over', 'unknown'] as const)('%s follows onUnknown', (name) => {
    expect(decideOn(records[name], same, 'hold')).toBe('unknown')
    expect(decideOn(records[name], same, 'rerun')).toBe('supersede')
    expect(decideOn(records[name], same, 'reconcile')).toBe('reconcile')
    expect(decideOn(records[name], other, 'rerun')).toBe('mismatch')
  })

  test('a running record under its own token is held, also once its lease is over', () => {
    const own = { fingerprint: same, token: 'theirs', onUnknown: 'hold' } as const
    expect(decide(records['running, lease live'], own, now)).toEqual({ kind: 'hold', fence: 3 })
    expect(decide(records['running, lease over'], own, now)).toEqual({ kind: 'hold', fence: 3 })
  })

  test('a live lease is never superseded, whatever else the record holds', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1_000_000 }),
        fc.nat(1_000_000),
        fc.constantFrom<OnUnknown>('hold', 'rerun', 'reconcile'),
        fc.boolean(),
        (leaseLeftMs, retentionMs, onUnknown, sameRequest) => {
          const record: IdempotencyRecord = {
            ...head,
            phase: 'running',
            leaseUntil: now + leaseLeftMs,
            retentionMs,
          }
          const kind = decideOn(record, sameRequest ? same : other, onUnknown)
          expect(kind).toBe(sameRequest ? 'in-progress' : 'mismatch')
        },
      ),
    )
  })

  test('the sweep may take a record exactly when a claimer would supersede it under any request', () => {
    for (const record of Object.values(records)) {
      const free = decideOn(record, other, 'hold') === 'supersede'
      expect(now >= removableFrom(record)).toBe(free)
    }
  })
})

describe('a refused settle', () => {
  test('was applied before when the record shows its own token and phase', () => {
    expect(judgeRefusedSettle(records.completed, 'theirs', 'completed')).toEqual({ kind: 'already-settled' })
  })

  test.each([
    ['another holder', records.completed, 'mine', 'completed'],
    ['another phase', records.released, 'theirs', 'completed'],
    ['no record', undefined, 'theirs', 'completed'],
  ] as const)('is lost with %s', (_, record, token, to) => {
    expect(judgeRefusedSettle(record, token, to)).toEqual({ kind: 'lost' })
  })
})
