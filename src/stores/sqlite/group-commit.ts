/**
 * Verbs that are called in one turn of the event loop share one commit, and with it one sync to disk.
 *
 *   idle      no job is there
 *   leaving   jobs are there and a microtask will take them; further jobs of this turn join
 *   waiting   the connection is not open, the write turn is another's, or another process holds the lock; jobs
 *             join, and each is given up as transient when its time is over
 *   idle again once no job is left
 *
 * A job is answered after the commit that holds it, never before.
 */
import type { FailedItem, Replies } from '../../core/store.ts'
import { BusyPause } from './busy.ts'
import { type Connection, rollBack } from './connection.ts'
import { asStoreError, isBusy } from './errors.ts'
import { answerEach, type ConnectionVerbs } from './verbs.ts'
import { tooLong, type WriteTurns } from './write-turns.ts'

/** A verb on a connection, for one item. */
export type OneVerb<Item, Reply> = (verbs: ConnectionVerbs, item: Item, now: number) => Reply | FailedItem

/** Answers an item that needs no write, or gives `undefined`. */
export type OnePeek<Item, Reply> = (verbs: ConnectionVerbs, item: Item, now: number) => Reply | undefined

export interface VerbShape<Item, Reply> {
  readonly one: OneVerb<Item, Reply>
  readonly peek?: OnePeek<Item, Reply>
  /** An item writes with more than one statement, so that it needs BEGIN and COMMIT even alone. */
  readonly writesOften?: boolean
}

/** Items in one commit; a job is never split. Bounds how long the event loop stands still. */
const groupItemsMax = 2_000

/** How often jobs that wait are looked through for those whose time is over. */
const expiryEveryMs = 50

export interface GroupHost {
  readonly turns: WriteTurns
  readonly busyMsMax: number
  now(): number
  /** The connection for verbs, if it is open. */
  opened(): Connection | undefined
  open(): Promise<Connection>
  /** The connection is in no state to go on with. */
  discard(connection: Connection): void
}

export class GroupCommit {
  readonly #host: GroupHost
  #jobs: Job[] = []
  #leaving = false
  #idle: (() => void)[] = []
  #expectsDuplicate = false

  constructor(host: GroupHost) {
    this.#host = host
  }

  /** Puts a verb into the next group. */
  add<Item, Reply>(
    items: readonly Item[],
    shape: VerbShape<Item, Reply>,
  ): Promise<Replies<Reply | FailedItem>> {
    if (items.length === 0) return Promise.resolve({ now: this.#host.now(), replies: [] })
    return new Promise((resolve, reject) => {
      const until = performance.now() + this.#host.busyMsMax
      this.#jobs.push(new Job(items, shape, until, resolve, reject) as unknown as Job)
      if (this.#leaving) return
      this.#leaving = true
      queueMicrotask(() => this.#leave())
    })
  }

  /** Resolves when every job so far has its answer. */
  idle(): Promise<void> {
    if (!this.#leaving) return Promise.resolve()
    return new Promise((resolve) => {
      this.#idle.push(resolve)
    })
  }

  #leave(): void {
    const { turns } = this.#host
    const connection = this.#host.opened()
    if (connection === undefined) {
      void this.#waitAndLeave()
      return
    }
    if (!this.#writesFirst()) this.#peek(connection)
    if (this.#jobs.length === 0) {
      this.#left()
    } else if (this.#host.opened() !== connection || !turns.tryTake()) {
      void this.#waitAndLeave()
    } else if (this.#commit(connection) === 'busy') {
      void this.#persist()
    } else {
      turns.give()
      this.#left()
    }
  }

  /**
   * A claim that comes alone is written at once: if it loses, it has cost the write lock but no sync. After one
   * that lost, the next is more likely a duplicate too, and looks first.
   */
  #writesFirst(): boolean {
    const [first] = this.#jobs
    if (this.#jobs.length !== 1 || first?.left !== 1) return false
    return first.shape.writesOften !== true && !this.#expectsDuplicate
  }

  /** Goes on with jobs that came meanwhile, in a later turn, so that reading sockets gets its share. */
  #left(): void {
    if (this.#jobs.length > 0) {
      setImmediate(() => this.#leave())
      return
    }
    this.#leaving = false
    for (const resolve of this.#idle.splice(0)) resolve()
  }

  async #waitAndLeave(): Promise<void> {
    const expiry = this.#watchExpiry()
    try {
      this.#peek(await this.#host.open())
      await this.#host.turns.take(Number.POSITIVE_INFINITY)
    } catch (error) {
      for (const job of this.#jobs.splice(0)) job.reject(error as Error)
      this.#left()
      return
    } finally {
      clearInterval(expiry)
    }
    await this.#persist()
  }

  /** Holds the turn; tries until the jobs are committed or given up. */
  async #persist(): Promise<void> {
    const pause = new BusyPause()
    try {
      for (;;) {
        this.#expire()
        if (this.#jobs.length === 0) return
        const connection = await this.#host.open()
        if (this.#commit(connection) === 'done') return
        await pause.wait()
        this.#peek(connection)
      }
    } catch (error) {
      for (const job of this.#jobs.splice(0)) job.reject(error as Error)
    } finally {
      this.#host.turns.give()
      this.#left()
    }
  }

  #watchExpiry(): NodeJS.Timeout {
    return setInterval(() => this.#expire(), expiryEveryMs)
  }

  #expire(): void {
    const now = performance.now()
    let late = 0
    while ((this.#jobs[late]?.until ?? Number.POSITIVE_INFINITY) <= now) late += 1
    for (const job of this.#jobs.splice(0, late)) job.reject(tooLong())
  }

  /**
   * Answers the jobs that only find. Readers need no lock, so these wait neither for a transaction of this
   * process nor for another one, and cost no sync.
   */
  #peek(connection: Connection): void {
    const peekable = this.#jobs.reduce((sum, job) => sum + job.peekable, 0)
    if (peekable === 0) return
    const now = this.#host.now()
    const { db, verbs } = connection
    try {
      // Alone, each SELECT would take and leave its own place among the readers.
      if (peekable > 1) db.exec('BEGIN')
      for (const job of this.#jobs) job.peek(verbs, now)
      if (peekable > 1) db.exec('COMMIT')
    } catch {
      // Whatever it is, the write that follows meets it too and names it.
      if (!rollBack(db)) this.#host.discard(connection)
    }
    const left: Job[] = []
    for (const job of this.#jobs) {
      if (job.left > 0) left.push(job)
      else job.resolve(now)
    }
    // A look that found nothing was in vain.
    if (left.length > 0) this.#expectsDuplicate = false
    this.#jobs = left
  }

  #commit(connection: Connection): 'done' | 'busy' {
    const group = this.#take()
    const now = this.#host.now()
    const alone = group.length === 1 && group[0]?.left === 1 && !group[0].shape.writesOften
    let at: 'statement' | 'commit' = alone ? 'commit' : 'statement'
    let began = false
    try {
      // A single statement commits by itself; BEGIN and COMMIT around it would be two more.
      if (!alone) connection.db.exec('BEGIN IMMEDIATE')
      began = !alone
      for (const job of group) job.apply(connection.verbs, now)
      if (!alone) {
        at = 'commit'
        connection.db.exec('COMMIT')
      }
    } catch (error) {
      const usable = !began || rollBack(connection.db)
      if (usable && isBusy(error)) {
        this.#jobs = [...group, ...this.#jobs]
        return 'busy'
      }
      this.#host.discard(connection)
      const failure = asStoreError(error, at)
      for (const job of group) job.reject(failure)
      return 'done'
    }
    this.#noteDuplicates(group)
    for (const job of group) job.resolve(now)
    return 'done'
  }

  #noteDuplicates(group: readonly Job[]): void {
    if (group.length === 1 && group[0]?.onlyFound === true) this.#expectsDuplicate = true
  }

  #take(): readonly Job[] {
    let items = 0
    let count = 0
    for (const job of this.#jobs) {
      if (count > 0 && items + job.left > groupItemsMax) break
      items += job.left
      count += 1
    }
    return this.#jobs.splice(0, count)
  }
}

/** One call of a verb. */
class Job<Item = unknown, Reply = unknown> {
  /** Items that have no reply yet. */
  left: number
  /** By the monotonic clock. */
  readonly until: number
  readonly shape: VerbShape<Item, Reply>
  readonly reject: (error: Error) => void
  readonly #items: readonly Item[]
  readonly #resolve: (replies: Replies<Reply | FailedItem>) => void
  /** Replies that were only seen; they stand, while one that was written counts once its commit did. */
  #seen: (Reply | undefined)[] | undefined
  #replies: readonly (Reply | FailedItem)[] = []

  constructor(
    items: readonly Item[],
    shape: VerbShape<Item, Reply>,
    until: number,
    resolve: (replies: Replies<Reply | FailedItem>) => void,
    reject: (error: Error) => void,
  ) {
    this.#items = items
    this.shape = shape
    this.until = until
    this.left = items.length
    this.#resolve = resolve
    this.reject = reject
  }

  /** Items of which `peek` may answer some. */
  get peekable(): number {
    return this.shape.peek === undefined ? 0 : this.left
  }

  /** Answers what needs no write. Throws what the driver throws. */
  peek(verbs: ConnectionVerbs, now: number): void {
    const { peek } = this.shape
    if (peek === undefined) return
    this.#seen ??= []
    for (const [at, item] of this.#items.entries()) {
      if (this.#seen[at] !== undefined) continue
      const reply = peek(verbs, item, now)
      if (reply === undefined) continue
      this.#seen[at] = reply
      this.left -= 1
    }
    if (this.left === 0) this.#replies = this.#seen as Reply[]
  }

  /** Computes the other replies, which go out once they are committed. Throws what the driver throws. */
  apply(verbs: ConnectionVerbs, now: number): void {
    const { one } = this.shape
    this.#replies = answerEach(this.#items, (item, at) => this.#seen?.[at] ?? one(verbs, item, now))
  }

  resolve(now: number): void {
    this.#resolve({ now, replies: this.#replies })
  }

  /** Whether the only item found what was there, so that nothing was written. */
  get onlyFound(): boolean {
    const reply = this.#replies[0] as { readonly kind?: unknown } | undefined
    return this.#replies.length === 1 && reply?.kind === 'found'
  }
}
