/**
 * What became of the claims of this process: a settlement names only token and outcome, and with what its claim said
 * it is the whole record. An attempt that took a key over is left out, since the time of the first claim is not
 * known; its record comes to the tiers with its first replay.
 */
import type { CompletedRecord } from '../../core/record.ts'
import type { Claim, Settlement } from '../../core/store.ts'

/** Attempts that are remembered; the oldest goes first. */
const attemptsMax = 10_000

interface Attempted {
  readonly claim: Claim
  readonly createdAt: number
}

export class Attempts {
  readonly #byToken = new Map<string, Attempted>()

  claimed(claim: Claim, now: number): void {
    this.#byToken.set(claim.token, { claim, createdAt: now })
    if (this.#byToken.size <= attemptsMax) return
    for (const oldest of this.#byToken.keys()) {
      this.#byToken.delete(oldest)
      break
    }
  }

  /** Ends an attempt; the completed record, where it is one and where its claim is known. */
  settled(settlement: Settlement, now: number): CompletedRecord | undefined {
    const { id, token } = settlement
    const attempted = this.#byToken.get(token)
    this.#byToken.delete(token)
    if (attempted === undefined || attempted.claim.id !== id || settlement.to !== 'completed')
      return undefined
    const { claim, createdAt } = attempted
    const { fingerprint, operation, principalTag } = claim
    const retainUntil = now + settlement.retentionMs
    return {
      phase: 'completed',
      id,
      fingerprint,
      token,
      fence: 1,
      operation,
      principalTag,
      createdAt,
      settledAt: now,
      retainUntil,
      tombstoneUntil: retainUntil + settlement.tombstoneMs,
      outcome: new Uint8Array(settlement.outcome),
    }
  }
}
