/**
 * The verbs on one connection, without waiting and without BEGIN or COMMIT. An item that fails by itself is
 * answered `failed`; any other error of the driver is thrown as it is and ends the transaction around it.
 */
import { StoreError } from '../../core/errors.ts'
import type { IdempotencyRecord, RecordId } from '../../core/record.ts'
import type {
  Claim,
  ClaimReply,
  FailedItem,
  Renewal,
  RenewalReply,
  Settlement,
  SettlementReply,
  SweepReply,
  Takeover,
  TakeoverReply,
} from '../../core/store.ts'
import type { SqliteTx } from './driver.ts'
import { asStoreError, isOfItem } from './errors.ts'
import { asRow, idOctets, phaseNumber, recordOf } from './rows.ts'
import { prepareStatements, type Statements } from './statements.ts'

/** Largest encoded outcome that the store takes. */
export const outcomeBytesMax: number = 16 * 1024 * 1024

export class ConnectionVerbs {
  readonly statements: Statements

  constructor(db: SqliteTx, table: string) {
    this.statements = prepareStatements(db, table)
  }

  claim(claim: Claim, now: number): ClaimReply {
    const { fingerprint, token, operation, principalTag, leaseMs, retentionMs } = claim
    const id = idOctets(claim.id)
    const leaseUntil = now + leaseMs
    const { changes } = this.statements.claim.run(
      id,
      fingerprint,
      token,
      operation,
      principalTag,
      now,
      leaseUntil,
      leaseUntil + retentionMs,
      leaseUntil + retentionMs,
    )
    if (changes === 1) return { kind: 'claimed' }
    const record = this.#readOctets(claim.id, id)
    // Nothing can remove the row between the two statements: the write lock is ours until the transaction ends,
    // and without a transaction another process would have to sweep a record that was there a moment ago.
    if (record === undefined) return gone()
    return { kind: 'found', record }
  }

  supersede({ seenToken, claim }: Takeover, now: number): TakeoverReply {
    const { fingerprint, token, operation, principalTag, leaseMs, retentionMs } = claim
    const id = idOctets(claim.id)
    const leaseUntil = now + leaseMs
    const row = this.statements.supersede.get(
      fingerprint,
      token,
      operation,
      principalTag,
      leaseUntil,
      leaseUntil + retentionMs,
      leaseUntil + retentionMs,
      id,
      seenToken,
      now,
    ) as { readonly fence: number } | undefined
    if (row !== undefined) return { kind: 'superseded', fence: row.fence }
    return { kind: 'refused', record: this.#readOctets(claim.id, id) }
  }

  renew({ id, token, leaseMs }: Renewal, now: number): RenewalReply {
    const leaseUntil = now + leaseMs
    const { changes } = this.statements.renew.run(leaseUntil, leaseUntil, leaseUntil, idOctets(id), token)
    return changes === 1 ? { kind: 'renewed' } : { kind: 'lost' }
  }

  settle(settlement: Settlement, now: number): SettlementReply {
    const { token, to } = settlement
    const id = idOctets(settlement.id)
    const { liveUntil, keptUntil, outcome } = settledTimes(settlement, now)
    if (outcome !== null && outcome.byteLength > outcomeBytesMax) {
      throw new StoreError('permanent', `An outcome is over ${outcomeBytesMax} bytes.`)
    }
    const { changes } = this.statements.settle.run(
      phaseNumber[to],
      now,
      liveUntil,
      keptUntil,
      // Only a completed record is kept after it; the sweep entombs it then.
      liveUntil,
      outcome,
      id,
      token,
    )
    if (changes === 1) return { kind: 'settled' }
    return { kind: 'refused', record: this.#readOctets(settlement.id, id) }
  }

  /** What a claim finds that need not write; `undefined` when it must. */
  peekClaim({ id }: Claim): ClaimReply | undefined {
    const record = this.read(id)
    return record === undefined ? undefined : { kind: 'found', record }
  }

  /** @throws StoreError when the record is damaged */
  read(id: RecordId): IdempotencyRecord | undefined {
    return this.#readOctets(id, idOctets(id))
  }

  sweep(limit: number, now: number): SweepReply {
    const { due, entomb, remove } = this.statements
    const rows = due.all(now, now, limit) as { readonly seq: number; readonly entombs: number }[]
    let removed = 0
    let entombed = 0
    for (const { seq, entombs } of rows) {
      if (entombs === 1) {
        entomb.run(seq)
        entombed += 1
      } else {
        removed += Number(remove.run(seq, now, now).changes)
      }
    }
    return { removed, entombed, more: rows.length === limit }
  }

  /** A sweep that has nothing to do; `undefined` when it has. */
  peekSweep(now: number): SweepReply | undefined {
    const isIdle = this.statements.due.get(now, now, 1) === undefined
    return isIdle ? { removed: 0, entombed: 0, more: false } : undefined
  }

  #readOctets(id: RecordId, octets: Uint8Array): IdempotencyRecord | undefined {
    const row = asRow(this.statements.read.get(octets))
    return row === undefined ? undefined : recordOf(id, row)
  }
}

interface SettledTimes {
  readonly liveUntil: number
  readonly keptUntil: number
  readonly outcome: Uint8Array | null
}

function settledTimes(settlement: Settlement, now: number): SettledTimes {
  switch (settlement.to) {
    case 'completed': {
      const liveUntil = now + settlement.retentionMs
      return { liveUntil, keptUntil: liveUntil + settlement.tombstoneMs, outcome: settlement.outcome }
    }
    case 'released':
      return { liveUntil: now + settlement.markerMs, keptUntil: now + settlement.markerMs, outcome: null }
    case 'unknown': {
      const liveUntil = now + settlement.retentionMs
      return { liveUntil, keptUntil: liveUntil, outcome: null }
    }
    default:
      return settlement satisfies never
  }
}

/**
 * Answers each item of a verb. An item that fails by itself is answered `failed`.
 *
 * @throws what the driver throws when the error is not about the item
 */
export function answerEach<Item, Reply>(
  items: readonly Item[],
  one: (item: Item, at: number) => Reply | FailedItem,
): (Reply | FailedItem)[] {
  return items.map((item, at) => {
    try {
      return one(item, at)
    } catch (error) {
      if (!isOfItem(error)) throw error
      return { kind: 'failed', error: asStoreError(error, 'statement') as StoreError }
    }
  })
}

function gone(): FailedItem {
  return {
    kind: 'failed',
    error: new StoreError('transient', 'A record was removed while it was looked at.'),
  }
}
