/** What one answer means to a client that knows nothing of the service. When unsure, it may have taken effect. */
import type { Seen } from './client.ts'

export type Meaning =
  /** The key came to an end, and this is its answer. */
  | { readonly kind: 'final' }
  /** It is known that nothing took effect through this call. */
  | { readonly kind: 'refused'; readonly code: string; readonly again: boolean }
  | { readonly kind: 'unsure'; readonly code: string; readonly again: boolean }

/** Invite another try, or speak of this sending and not of the operation. */
const passingStatuses: ReadonlySet<number> = new Set([401, 403, 407, 408, 421, 423, 425, 428, 429])
/** By which services say that a key was used for another request. */
const mismatchStatuses: ReadonlySet<number> = new Set([400, 409, 422])

/** @param isOther another request under a key whose first one has an answer */
export function meaningOf(seen: Seen, isOther: boolean): Meaning {
  if (seen.kind === 'lost') return { kind: 'unsure', code: seen.code, again: true }
  const { status, code, retryAfter } = seen
  if (code === 'in-progress') return { kind: 'refused', code, again: true }
  if (code === 'key-reused' || code === 'key-expired') return { kind: 'refused', code, again: false }
  if (code === 'outcome-unknown') return { kind: 'unsure', code, again: retryAfter }
  if (status >= 200 && status < 400) return { kind: 'final' }
  if (status === 409 && retryAfter) return { kind: 'refused', code: 'in-progress', again: true }
  if (isOther) {
    return mismatchStatuses.has(status)
      ? { kind: 'refused', code: 'key-reused', again: false }
      : { kind: 'unsure', code: `status-${status}`, again: false }
  }
  // Without more, a 409 may be an operation that has not ended as well as an answer of it.
  const mayChange = status === 409 || status < 400 || status >= 500 || passingStatuses.has(status)
  return mayChange ? { kind: 'unsure', code: `status-${status}`, again: true } : { kind: 'final' }
}
