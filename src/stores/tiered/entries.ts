/** Entries of fast tiers: made from what the durable store gave, and judged when they come back. */
import { hash } from 'node:crypto'
import { lengthPrefixed } from '../../core/bytes.ts'
import type { CompletedRecord, RecordId } from '../../core/record.ts'
import type { TieredRecord } from '../../core/replay-tier.ts'

/**
 * Digest over all that an entry says, so that one whose octets were damaged is not taken for another answer. It keeps
 * out accidents and not whoever can write to the tier: `encryption` of the instance does that for outcomes.
 */
export function checkOf(record: CompletedRecord, seenAt: number): string {
  const { id, fingerprint, token, operation, principalTag, outcome } = record
  const { fence, createdAt, settledAt, retainUntil, tombstoneUntil } = record
  const numbers = [seenAt, fence, createdAt, settledAt, retainUntil, tombstoneUntil].join()
  const parts = ['tiered', id, fingerprint, token, operation, principalTag, numbers, outcome]
  return hash('sha256', lengthPrefixed(parts), 'base64url')
}

/** Whether what a tier gave for `id` is an entry, whole and of this id. */
export function isSound(given: unknown, id: RecordId): given is TieredRecord {
  if (!isObject(given) || !isObject(given['record'])) return false
  const { seenAt, check, leftMs, record } = given
  if (!Number.isFinite(seenAt) || !Number.isFinite(leftMs) || typeof check !== 'string') return false
  if (record['phase'] !== 'completed' || record['id'] !== id || !(record['outcome'] instanceof Uint8Array))
    return false
  const isWhole =
    ['fingerprint', 'token', 'operation', 'principalTag'].every((name) => typeof record[name] === 'string') &&
    ['fence', 'createdAt', 'settledAt', 'retainUntil', 'tombstoneUntil'].every((name) =>
      Number.isFinite(record[name]),
    )
  return isWhole && check === checkOf(record as unknown as CompletedRecord, seenAt as number)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
