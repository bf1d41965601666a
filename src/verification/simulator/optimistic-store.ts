/**
 * A store whose transactions are no more than a list: nothing is open on the server, a claim only reads, and one
 * request writes records and effects together if what was read is still there. So duplicates of several processes
 * run side by side, and one of them commits.
 */
import { StoreError } from '../../core/errors.ts'
import type { IdempotencyRecord, RecordId } from '../../core/record.ts'
import { claimRecord, settleRecord, supersedeRecord } from '../../core/record-verbs.ts'
import type {
  Claim,
  ClaimReply,
  RecordVerbs,
  Settlement,
  SettlementReply,
  Takeover,
  TakeoverReply,
  TransactionEnd,
  TransactionVerdict,
} from '../../core/store.ts'
import type { CommitReply, CommitRequest, Effect, Seen } from './database.ts'
import { SimStore, type SimTransaction } from './store.ts'

/** What a transaction has read and wants to write. */
interface Collected {
  readonly changes: Map<RecordId, { readonly record: IdempotencyRecord; readonly seen: Seen }>
  readonly effects: Effect[]
  /** Ids that it has claimed for its process. */
  readonly own: Set<RecordId>
}

/** The client library sends a request that got no answer again, so often. */
const sendsAgainMax = 2
/** A commit that the server had no time for is sent again. */
const triesMax = 6
const pauseMs = 20

export class OptimisticSimStore extends SimStore {
  /** Others of this process would run for nothing. */
  readonly #claimed = new Set<RecordId>()
  #heard = { now: 0, at: 0 }

  override async transaction<Value>(
    work: (tx: SimTransaction, records: RecordVerbs) => Promise<TransactionVerdict<Value>>,
  ): Promise<TransactionEnd<Value>> {
    const collected: Collected = { changes: new Map(), effects: [], own: new Set() }
    const tx: SimTransaction = {
      kind: 'simulated',
      token: '',
      insert: async (effect) => void collected.effects.push(effect),
    }
    try {
      const verdict = await work(tx, this.#verbsOf(tx, collected))
      const { value } = verdict
      if (verdict.kind === 'roll-back') return { kind: 'rolled-back', value }
      const { settlement } = verdict
      if (settlement !== undefined && this.#settle(collected, settlement).kind !== 'settled') {
        return { kind: 'refused' }
      }
      return await this.#commit({ token: tx.token, ...collected }, value)
    } finally {
      for (const id of collected.own) this.#claimed.delete(id)
    }
  }

  /** @throws StoreError when it certainly did not commit */
  async #commit<Value>(request: CommitRequest, value: Value): Promise<TransactionEnd<Value>> {
    for (let tries = 1; ; tries++) {
      try {
        const reply = await this.#send(request)
        return reply.kind === 'committed' || this.#isOwn(reply, request)
          ? { kind: 'committed', value }
          : { kind: 'refused' }
      } catch (error) {
        if (!(error instanceof StoreError)) throw error
        if (error.failure !== 'transient') return { kind: 'unknown', value, error }
        if (tries === triesMax) throw error
        await this.pause(pauseMs)
      }
    }
  }

  /** As the client library does. A send that is refused tells nothing of the one before that got no answer. */
  async #send(request: CommitRequest): Promise<CommitReply> {
    const { world, database } = this
    for (let sent = 1; ; sent++) {
      try {
        return await this.roundTrip('COMMIT', [], () => database.commitAsSeen(request))
      } catch (error) {
        if (!(error instanceof StoreError)) throw error
        if (error.failure === 'transient' && sent === 1) throw error
        const again = !world.quiet && sent <= sendsAgainMax && world.tape.pick('sends again', 2) === 1
        if (!again) throw new StoreError('lost', 'The commit got no answer.', { cause: error })
      }
    }
  }

  /** The record that refused is the one that was to be written: an earlier send had been applied. */
  #isOwn({ id, found }: Extract<CommitReply, { kind: 'refused' }>, { changes }: CommitRequest): boolean {
    const written = changes.get(id)?.record
    const isOwn = found?.token === written?.token && found?.phase === written?.phase
    if (isOwn) this.world.record({ type: 'resent-commit', knownBy: 'record' })
    return isOwn
  }

  /** The server's clock as far as answers have told it, and never ahead of it. */
  get #now(): number {
    return this.#heard.now + (this.world.time - this.#heard.at)
  }

  async #current({ changes }: Collected, id: RecordId): Promise<IdempotencyRecord | undefined> {
    const changed = changes.get(id)
    if (changed !== undefined) return changed.record
    const { now, replies } = await this.roundTrip('read in transaction', [], () => this.database.read([id]))
    this.#heard = { now, at: this.world.time }
    return replies[0]
  }

  #isLocked({ own }: Collected, id: RecordId): boolean {
    if (own.has(id)) return false
    if (this.#claimed.has(id)) return true
    this.#claimed.add(id)
    own.add(id)
    return false
  }

  /** What was found and not taken is nobody's. */
  #unlock({ own, changes }: Collected, id: RecordId): void {
    if (!changes.has(id) && own.delete(id)) this.#claimed.delete(id)
  }

  #change({ changes }: Collected, record: IdempotencyRecord | undefined, seen: Seen): void {
    if (record === undefined) return
    const before = changes.get(record.id)
    changes.set(record.id, { record, seen: before === undefined ? seen : before.seen })
  }

  async #claim(collected: Collected, claim: Claim): Promise<ClaimReply> {
    const { id } = claim
    if (this.#isLocked(collected, id)) return { kind: 'locked' }
    try {
      const { reply, write } = claimRecord(await this.#current(collected, id), claim, this.#now)
      this.#change(collected, write, undefined)
      return reply
    } finally {
      this.#unlock(collected, id)
    }
  }

  async #supersede(collected: Collected, takeover: Takeover): Promise<TakeoverReply> {
    const { id } = takeover.claim
    const isElsewhere = this.#isLocked(collected, id)
    try {
      const found = await this.#current(collected, id)
      if (isElsewhere) return { kind: 'refused', record: found }
      const { reply, write } = supersedeRecord(found, takeover, this.#now)
      this.#change(collected, write, { token: takeover.seenToken, phase: takeover.seenPhase })
      return reply
    } finally {
      if (!isElsewhere) this.#unlock(collected, id)
    }
  }

  #settle(collected: Collected, settlement: Settlement): SettlementReply {
    const record = collected.changes.get(settlement.id)?.record
    const { reply, write } = settleRecord(record, settlement, this.#now)
    this.#change(collected, write, undefined)
    return reply
  }

  #verbsOf(tx: SimTransaction, collected: Collected): RecordVerbs {
    const each = async <Item, Reply>(items: readonly Item[], one: (item: Item) => Promise<Reply> | Reply) => {
      const replies: Reply[] = []
      for (const item of items) replies.push(await one(item))
      return { now: this.#now, replies }
    }
    return {
      claim: (claims) => {
        tx.token = claims[0]?.token ?? ''
        return each(claims, (claim) => this.#claim(collected, claim))
      },
      supersede: (takeovers) => each(takeovers, (takeover) => this.#supersede(collected, takeover)),
      settle: (settlements) => each(settlements, (settlement) => this.#settle(collected, settlement)),
      read: (ids) => each(ids, (id) => this.#current(collected, id)),
    }
  }
}
