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
import { phaseNumberOf, settledParts } from '../sql/phases.ts'
import { asRow, idOctets, recordOf } from './rows.ts'
import { prepareStatements, type Statements } from './statements.ts'

/** Largest encoded outcome that the store takes. */
export const outcomeBytesMax: number = 16 * 1024 * 1024

/** Rows that one sweep looks through: some milliseconds. */
const sliceRowsMax = 10_000

interface DueRow {
  readonly seq: number
  readonly entombs: number
}

export class ConnectionVerbs {
  readonly statements: Statements
  #sweptTo = 0

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
    )
    if (changes === 1) return { kind: 'claimed' }
    const record = this.#readOctets(claim.id, id)
    // Nothing can remove the row between the two statements: the write lock is ours until the transaction ends,
    // and without a transaction another process would have to sweep a record that was there a moment ago.
    if (record === undefined) return gone()
    return { kind: 'found', record }
  }

  supersede({ seenToken, seenPhase, claim }: Takeover, now: number): TakeoverReply {
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
      id,
      seenToken,
      phaseNumberOf(seenPhase),
      now,
    ) as { readonly fence: number } | undefined
    if (row !== undefined) return { kind: 'superseded', fence: row.fence }
    return { kind: 'refused', record: this.#readOctets(claim.id, id) }
  }

  renew({ id, token, leaseMs }: Renewal, now: number): RenewalReply {
    const leaseUntil = now + leaseMs
    const { changes } = this.statements.renew.run(leaseUntil, leaseUntil, idOctets(id), token)
    return changes === 1 ? { kind: 'renewed' } : { kind: 'lost' }
  }

  settle(settlement: Settlement, now: number): SettlementReply {
    const { token } = settlement
    const id = idOctets(settlement.id)
    const { liveMs, keptMs, outcome, phase } = settledParts(settlement)
    const liveUntil = now + liveMs
    if (outcome !== undefined && outcome.byteLength > outcomeBytesMax) {
      throw new StoreError('permanent', `An outcome is over ${outcomeBytesMax} bytes.`)
    }
    const { changes } = this.statements.settle.run(
      phase,
      now,
      liveUntil,
      liveUntil + keptMs,
      outcome ?? null,
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

  /** Goes on where the last sweep of this connection stopped; after the end it begins anew. */
  sweep(limit: number, now: number): SweepReply {
    const { entomb, remove } = this.statements
    const slice = this.#dueSlice(limit, now)
    let removed = 0
    let entombed = 0
    for (const { seq, entombs } of slice.due) {
      if (entombs === 1) {
        entomb.run(seq)
        entombed += 1
      } else {
        removed += Number(remove.run(seq, now, now).changes)
      }
    }
    this.#sweptTo = slice.next
    return { removed, entombed, more: slice.next > 0 }
  }

  /** A sweep that has nothing to do; `undefined` when it has. */
  peekSweep(now: number): SweepReply | undefined {
    const { due, next } = this.#dueSlice(1, now)
    if (due.length > 0) return undefined
    this.#sweptTo = next
    return { removed: 0, entombed: 0, more: next > 0 }
  }

  /** What is due in the next slice, and where to go on: 0 at the end of the table. */
  #dueSlice(limit: number, now: number): { readonly due: readonly DueRow[]; readonly next: number } {
    const { sliceEnd, due } = this.statements
    const from = this.#sweptTo
    const end = sliceEnd.get(from, sliceRowsMax - 1) as { readonly seq: number } | undefined
    const to = end?.seq ?? Number.MAX_SAFE_INTEGER
    const rows = due.all(now, from, to, now, now, limit) as DueRow[]
    const last = rows.length === limit ? rows.at(-1)?.seq : end?.seq
    return { due: rows, next: last ?? 0 }
  }

  #readOctets(id: RecordId, octets: Uint8Array): IdempotencyRecord | undefined {
    const row = asRow(this.statements.read.get(octets))
    return row === undefined ? undefined : recordOf(id, row)
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
