/**
 * Completed records that this process replaced, or may have. The engine replaces one only after its retention, when no
 * tier answers it any more; the contract lets others do it earlier. Other processes learn of it after `confirmAfter`.
 */
import type { RecordId } from '../../core/record.ts'

/** Records that are remembered; the oldest goes first. */
const replacedMax = 10_000

export class Replaced {
  readonly #notBefore = new Map<RecordId, number>()

  /** Entries of `id` that were seen at `now` or earlier no longer count; none does while that is not known. */
  note(id: RecordId, now: number = Number.POSITIVE_INFINITY): void {
    this.#notBefore.delete(id)
    this.#notBefore.set(id, now)
    if (this.#notBefore.size <= replacedMax) return
    for (const oldest of this.#notBefore.keys()) {
      this.#notBefore.delete(oldest)
      break
    }
  }

  /** Whether an entry that was seen at `seenAt` may be of a record that was replaced. */
  covers(id: RecordId, seenAt: number): boolean {
    if (this.#notBefore.size === 0) return false
    const notBefore = this.#notBefore.get(id)
    return notBefore !== undefined && seenAt <= notBefore
  }
}
