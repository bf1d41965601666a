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

interface Job {
  /** Items that have no reply yet. */
  left(): number
  /** Items of which `peek` may answer some. */
  readonly peekable: number
  readonly writesOften: boolean
  /** By the monotonic clock. */
  readonly until: number
  /** Answers what needs no write. Throws what the driver throws. */
  peek(verbs: ConnectionVerbs, now: number): void
  /** Computes the other replies, which go out once they are committed. Throws what the driver throws. */
  apply(verbs: ConnectionVerbs, now: number): void
  resolve(now: number): void
  reject(error: Error): void
}

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

  constructor(host: GroupHost) {
    this.#host = host
  }

  /** Puts a verb into the next group. */
  add<Item, Reply>(
    items: readonly Item[],
    shape: VerbShape<Item, Reply>,
  ): Promise<Replies<Reply | FailedItem>> {
    return new Promise((resolve, reject) => {
      const until = performance.now() + this.#host.busyMsMax
      this.#jobs.push(jobOf(items, shape, until, resolve, reject))
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
    this.#peek(connection)
    if (this.#jobs.length === 0) {
      this.#left()
    } else if (!turns.tryTake()) {
      void this.#waitAndLeave()
    } else if (this.#commit(connection) === 'busy') {
      void this.#persist()
    } else {
      turns.give()
      this.#left()
    }
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
      if (job.left() === 0) job.resolve(now)
      else left.push(job)
    }
    this.#jobs = left
  }

  #commit(connection: Connection): 'done' | 'busy' {
    const group = this.#take()
    const now = this.#host.now()
    const alone = group.length === 1 && group[0]?.left() === 1 && !group[0].writesOften
    let at: 'statement' | 'commit' = alone ? 'commit' : 'statement'
    try {
      // A single statement commits by itself; BEGIN and COMMIT around it would be two more.
      if (!alone) connection.db.exec('BEGIN IMMEDIATE')
      for (const job of group) job.apply(connection.verbs, now)
      if (!alone) {
        at = 'commit'
        connection.db.exec('COMMIT')
      }
    } catch (error) {
      const usable = rollBack(connection.db)
      if (usable && isBusy(error)) {
        this.#jobs = [...group, ...this.#jobs]
        return 'busy'
      }
      this.#host.discard(connection)
      const failure = asStoreError(error, at)
      for (const job of group) job.reject(failure)
      return 'done'
    }
    for (const job of group) job.resolve(now)
    return 'done'
  }

  #take(): readonly Job[] {
    let items = 0
    let count = 0
    for (const job of this.#jobs) {
      if (count > 0 && items + job.left() > groupItemsMax) break
      items += job.left()
      count += 1
    }
    return this.#jobs.splice(0, count)
  }
}

function jobOf<Item, Reply>(
  items: readonly Item[],
  { one, peek, writesOften = false }: VerbShape<Item, Reply>,
  until: number,
  resolve: (replies: Replies<Reply | FailedItem>) => void,
  reject: (error: Error) => void,
): Job {
  // A reply that was only seen stands; one that was written counts once its commit did.
  const seen: (Reply | undefined)[] = []
  let left = items.length
  let replies: readonly (Reply | FailedItem)[] = []
  return {
    until,
    left: () => left,
    peekable: peek === undefined ? 0 : items.length,
    writesOften,
    peek(verbs, now): void {
      if (peek === undefined) return
      for (const [at, item] of items.entries()) {
        if (seen[at] !== undefined) continue
        const reply = peek(verbs, item, now)
        if (reply === undefined) continue
        seen[at] = reply
        left -= 1
      }
      if (left === 0) replies = seen as Reply[]
    },
    apply(verbs, now): void {
      let at = -1
      replies = answerEach(items, (item) => {
        at += 1
        return seen[at] ?? one(verbs, item, now)
      })
    },
    resolve: (now) => resolve({ now, replies }),
    reject,
  }
}
