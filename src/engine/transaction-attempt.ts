/**
 * An attempt in transaction mode, for callers that begin and settle in two steps (HTTP). The work of the transaction
 * hands out the attempt and waits for its verdict.
 *
 * open    the handler has the transaction. Left by the first of complete, release, unknown, the end of its time, and
 *         a transaction that breaks.
 * ending  the verdict is given and the transaction ends by it; who settles waits for that.
 * over    the transaction has ended, and `ended` says how.
 */
import { NotAppliedError } from '../core/errors.ts'
import type { Outcome } from '../core/outcome.ts'
import type { RecordId } from '../core/record.ts'
import type { BegunInTransaction, NotRun, Settled, TransactionAttempt } from './attempt.ts'
import type { Call } from './rounds.ts'
import { transact, type Transacted, type Transactions, type Undone } from './transaction-mode.ts'

/**
 * Wins the right to run a key and opens its transaction, or tells why not.
 *
 * @throws StoreUnavailableError when the transaction cannot be opened; the handler must not run
 */
export function beginInTransaction<Tx>(call: Call, store: Transactions<Tx>): Promise<BegunInTransaction<Tx>> {
  const begun = Promise.withResolvers<BegunInTransaction<Tx>>()
  let attempt: OpenAttempt<Tx> | undefined
  const work = async (tx: Tx, fence: number, token: string): Promise<Outcome | Undone> => {
    // After a commit that was refused, and whose winner then let go of the key: no handler runs twice in one call.
    if (attempt !== undefined) throw new NotAppliedError({ cause: new Error('The commit was refused.') })
    attempt = new OpenAttempt({ call, tx, fence, token, ended: () => ended })
    begun.resolve({ kind: 'run', attempt })
    return await attempt.verdict
  }
  const ended = transact(call, store, work, undefined)
  ended.then(
    (end) => (attempt === undefined ? begun.resolve(end as NotRun) : attempt.close()),
    (error: unknown) => (attempt === undefined ? begun.reject(error) : attempt.close(error)),
  )
  return begun.promise
}

/** No timer takes more: it would ring at once. */
const timerMsMax = 2 ** 31 - 1

class OpenAttempt<Tx> implements TransactionAttempt<Tx> {
  readonly id: RecordId
  readonly token: string
  readonly fence: number
  readonly tx: Tx
  readonly #call: Call
  readonly #ended: () => Promise<Transacted | Undone>
  readonly #verdict = Promise.withResolvers<Outcome | Undone>()
  readonly #cancelTimer: () => void
  #abort: AbortController | undefined
  #isSettling = false
  /** Why the transaction ended although nobody had settled it. */
  #broken: NotAppliedError | undefined

  constructor(given: {
    call: Call
    tx: Tx
    fence: number
    token: string
    ended: () => Promise<Transacted | Undone>
  }) {
    const { call } = given
    this.id = call.identity.id
    this.token = given.token
    this.fence = given.fence
    this.tx = given.tx
    this.#call = call
    this.#ended = given.ended
    const { timers } = call.machinery.runtime
    this.#cancelTimer = timers.background(Math.min(call.policy.timeoutMs, timerMsMax), () => this.#expire())
  }

  /** What the transaction waits for. */
  get verdict(): Promise<Outcome | Undone> {
    return this.#verdict.promise
  }

  /** Made on first use: most handlers never look at it. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController()
      if (this.#broken !== undefined) this.#abort.abort(this.#broken)
    }
    return this.#abort.signal
  }

  downstreamKey(name: string): string {
    return this.#call.machinery.downstreamKey(this.id, name)
  }

  async complete(outcome: Outcome): Promise<Settled> {
    this.#takeSettling()
    if (this.#broken !== undefined) throw this.#broken
    this.#verdict.resolve(outcome)
    const end = await this.#ended()
    switch (end.kind) {
      case 'executed':
        return { kind: 'settled', outcome: end.outcome }
      case 'undone':
        throw new NotAppliedError()
      default:
        return { kind: 'lost', instead: end }
    }
  }

  release(): Promise<Settled> {
    return this.#undo(false)
  }

  unknown(): Promise<Settled> {
    return this.#undo(true)
  }

  /** The transaction has ended; `error` where it failed. */
  close(error?: unknown): void {
    this.#cancelTimer()
    if (!this.#isSettling) this.#break(new NotAppliedError({ cause: error }))
  }

  async #undo(inUse: boolean): Promise<Settled> {
    this.#takeSettling()
    this.#verdict.resolve({ kind: 'undone', inUse })
    try {
      await this.#ended()
    } catch (error) {
      if (!(error instanceof NotAppliedError)) throw error
    }
    return { kind: 'settled', outcome: undefined }
  }

  #expire(): void {
    if (this.#isSettling) return
    this.#break(new NotAppliedError({ cause: new Error('The handler took longer than its `timeout`.') }))
    this.#verdict.resolve({ kind: 'undone', inUse: true })
  }

  #break(error: NotAppliedError): void {
    if (this.#broken !== undefined) return
    this.#broken = error
    this.#abort?.abort(error)
  }

  #takeSettling(): void {
    if (this.#isSettling) throw new Error('This attempt was settled before: settle each attempt once.')
    this.#isSettling = true
  }
}
