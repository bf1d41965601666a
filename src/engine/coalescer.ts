/**
 * Turns concurrent verbs into batches.
 *
 * idle  a verb leaves at once, alone, on the store's cheapest path. A third verb while two such are under way
 *       shows that calls overlap: it and what follows in this turn leave together at the end of the turn
 * busy  what is asked in one turn leaves together at its end, one call for each verb. Where a store takes several
 *       flights, a batch leaves as soon as it has `batchGoal` items: the store works on it while this process
 *       makes the next one. Idle again after a turn in which one verb left or none
 *
 * What arrives while all flights are under way leaves as the next batch. Ids are sorted within a batch, so that
 * two processes lock rows in the same order. A flight without an answer is given up after `flightMsMax` as lost;
 * a late answer is dropped, and the token tells later what it did.
 */
import { StoreError } from '../core/errors.ts'
import type { IdempotencyRecord, RecordId } from '../core/record.ts'
import type { Runtime } from '../core/runtime.ts'
import type {
  Claim,
  ClaimReply,
  FailedItem,
  IdempotencyStore,
  Renewal,
  RenewalReply,
  Replies,
  Settlement,
  SettlementReply,
  Takeover,
  TakeoverReply,
} from '../core/store.ts'
import { report } from './events.ts'
import { createOverdue, type Overdue } from './overdue.ts'

/** One reply, with the store's clock. Items that `failed` reject instead. */
export interface Answer<Reply> {
  readonly now: number
  readonly reply: Exclude<Reply, FailedItem>
}

/** The store's verbs, one item at a time. Each rejects with `StoreError`. */
export interface Coalescer {
  claim(claim: Claim): Promise<Answer<ClaimReply>>
  supersede(takeover: Takeover): Promise<Answer<TakeoverReply>>
  renew(renewal: Renewal): Promise<Answer<RenewalReply>>
  settle(settlement: Settlement): Promise<Answer<SettlementReply>>
  read(id: RecordId): Promise<Answer<IdempotencyRecord | undefined>>
}

/** Verbs that are under way alone: the claim of one call beside the settlement of another. */
const aloneMax = 2

/** Larger batches save a store little more, and keep it waiting for longer. */
const batchGoal = 24

/** How long a call to the store may take before it counts as lost. */
export const flightMsMax = 5_000

interface Waiting<Item, Reply> {
  readonly item: Item
  readonly resolve: (answer: Answer<Reply>) => void
  readonly reject: (error: StoreError) => void
}

/** One verb: what waits for it and how many calls of it are under way. */
class VerbQueue<Item, Reply> {
  #waiting: Waiting<Item, Reply>[] = []
  #flights = 0
  readonly #name: string
  readonly #idOf: (item: Item) => RecordId
  readonly #call: (items: readonly Item[]) => Promise<Replies<Reply>>
  readonly #coalescer: Shared

  constructor(
    coalescer: Shared,
    name: string,
    idOf: (item: Item) => RecordId,
    call: (items: readonly Item[]) => Promise<Replies<Reply>>,
  ) {
    this.#coalescer = coalescer
    this.#name = name
    this.#idOf = idOf
    this.#call = call
  }

  ask(item: Item): Promise<Answer<Reply>> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      if (this.#coalescer.direct || this.#coalescer.mayLeaveAlone()) this.depart(true)
      else if (this.#coalescer.mayLeaveEarly(this.#waiting.length)) this.depart(false)
    })
  }

  /** Sends what waits, as far as flights are free. `alone`: without being counted as one of many. */
  depart(alone: boolean): void {
    const { flightsMax, batchMax } = this.#coalescer
    while (this.#waiting.length > 0 && this.#flights < flightsMax) {
      const batch = this.#waiting.length <= batchMax ? this.#waiting : this.#waiting.slice(0, batchMax)
      this.#waiting = this.#waiting.length <= batchMax ? [] : this.#waiting.slice(batchMax)
      if (batch.length > 1) batch.sort((a, b) => (this.#idOf(a.item) < this.#idOf(b.item) ? -1 : 1))
      if (!alone) this.#coalescer.left(batch.length)
      this.#fly(batch, alone)
    }
  }

  #fly(batch: readonly Waiting<Item, Reply>[], alone: boolean): void {
    this.#flights++
    if (alone) this.#coalescer.alone += 1
    let call: Promise<Replies<Reply>>
    try {
      call = this.#call(batch.map(itemOf))
    } catch (error) {
      call = Promise.reject(error)
    }
    // Everything from here on may wait until the store has the call.
    let landed = false
    const land = (): boolean => {
      if (landed) return false
      landed = true
      if (watched !== undefined) this.#coalescer.overdue.end(watched)
      this.#flights--
      if (alone) this.#coalescer.alone -= 1
      if (this.#waiting.length > 0) this.#coalescer.scheduleDeparture()
      return true
    }
    const watched = this.#coalescer.direct
      ? undefined
      : this.#coalescer.overdue.begin(() => {
          if (land())
            this.#fail(batch, new StoreError('lost', `The store did not answer in ${flightMsMax} ms.`))
        })
    call.then(
      (replies) => {
        if (land()) this.#deliver(batch, replies)
      },
      (error: unknown) => {
        if (land()) this.#fail(batch, asStoreError(error))
      },
    )
  }

  #deliver(batch: readonly Waiting<Item, Reply>[], { now, replies }: Replies<Reply>): void {
    if (replies.length !== batch.length) {
      this.#fail(
        batch,
        new StoreError('unrecognised', 'The store gave another number of replies than items.'),
      )
      return
    }
    for (let at = 0; at < batch.length; at++) {
      const waiting = batch[at] as Waiting<Item, Reply>
      const reply = replies[at] as Reply
      if (isFailed(reply)) {
        this.#report(reply.error)
        waiting.reject(reply.error)
      } else {
        waiting.resolve({ now, reply: reply as Exclude<Reply, FailedItem> })
      }
    }
  }

  #fail(batch: readonly Waiting<Item, Reply>[], error: StoreError): void {
    this.#report(error)
    for (const waiting of batch) waiting.reject(error)
  }

  #report(error: StoreError): void {
    report('store-error', () => ({ verb: this.#name, error }))
  }
}

/** What all verbs of one store share. */
interface Shared {
  readonly direct: boolean
  readonly flightsMax: number
  readonly batchMax: number
  readonly overdue: Overdue
  /** Flights of verbs that left alone. */
  alone: number
  /** Whether a verb that was just asked may leave now, by itself. */
  mayLeaveAlone(): boolean
  /** Whether so many may leave now; otherwise they leave at the end of the turn. */
  mayLeaveEarly(waiting: number): boolean
  /** So many items left. */
  left(items: number): void
  scheduleDeparture(): void
}

/** Puts a coalescer in front of a store. */
export function createCoalescer(
  store: IdempotencyStore,
  { clock, timers }: Pick<Runtime, 'clock' | 'timers'>,
): Coalescer {
  const { flightsMax, batchMax, answersInProcess = false } = store.capabilities
  let scheduled = false
  let busy = false
  let leftInTurn = 0
  const shared: Shared = {
    direct: answersInProcess,
    flightsMax,
    batchMax,
    overdue: createOverdue(flightMsMax, clock, timers),
    alone: 0,
    mayLeaveAlone: () => !busy && shared.alone < aloneMax,
    mayLeaveEarly(waiting): boolean {
      shared.scheduleDeparture()
      return flightsMax > 1 && waiting >= batchGoal
    },
    left(items): void {
      leftInTurn += items
    },
    scheduleDeparture(): void {
      if (scheduled) return
      scheduled = true
      timers.atTurnEnd(() => {
        scheduled = false
        // Settlements first: they free keys that claims of the same commit may wait for.
        for (const queue of [settle, claim, supersede, renew, read]) queue.depart(false)
        busy = leftInTurn > 1
        leftInTurn = 0
      })
    },
  }
  const claim = new VerbQueue<Claim, ClaimReply>(
    shared,
    'claim',
    (item) => item.id,
    (items) => store.claim(items),
  )
  const supersede = new VerbQueue<Takeover, TakeoverReply>(
    shared,
    'supersede',
    (item) => item.claim.id,
    (items) => store.supersede(items),
  )
  const renew = new VerbQueue<Renewal, RenewalReply>(
    shared,
    'renew',
    (item) => item.id,
    (items) => store.renew(items),
  )
  const settle = new VerbQueue<Settlement, SettlementReply>(
    shared,
    'settle',
    (item) => item.id,
    (items) => store.settle(items),
  )
  const read = new VerbQueue<RecordId, IdempotencyRecord | undefined>(
    shared,
    'read',
    (id) => id,
    (ids) => store.read(ids),
  )
  return {
    claim: (item) => claim.ask(item) as Promise<Answer<ClaimReply>>,
    supersede: (item) => supersede.ask(item) as Promise<Answer<TakeoverReply>>,
    renew: (item) => renew.ask(item) as Promise<Answer<RenewalReply>>,
    settle: (item) => settle.ask(item) as Promise<Answer<SettlementReply>>,
    read: (id) => read.ask(id),
  }
}

function itemOf<Item>(waiting: { readonly item: Item }): Item {
  return waiting.item
}

function isFailed(reply: unknown): reply is FailedItem {
  return typeof reply === 'object' && reply !== null && (reply as { kind?: unknown }).kind === 'failed'
}

function asStoreError(error: unknown): StoreError {
  if (error instanceof StoreError) return error
  return new StoreError('unrecognised', 'The store failed in a way it does not describe.', { cause: error })
}
