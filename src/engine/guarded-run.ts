/** What the handler behind an adapter sees of its attempt, and its own word on what becomes of the answer. */
import type { ResultVerdict } from '../core/result-rule.ts'
import type { Attempt } from './attempt.ts'

/** What a handler sees of its attempt. */
export interface IdempotencyContext {
  readonly key: string
  /** Integer, +1 at every change of holder. */
  readonly fence: number
  /** Aborted when the lease is lost, or the transaction broke: the answer would be thrown away. */
  readonly signal: AbortSignal
  /** A stable key for a call to another system, equal for every attempt of this key. */
  downstreamKey(name: string): string
  /** The answer is the outcome, whatever its status. */
  keep(): void
  /** Nothing took effect: the next attempt runs, whatever the status. In transaction mode all is rolled back. */
  release(): void
  /** The effect may have happened: `onUnknown` decides what comes next. In transaction mode all is rolled back. */
  unknown(): void
}

/** A running handler, until its answer is settled. */
export class GuardedRun implements IdempotencyContext {
  readonly key: string
  readonly attempt: Attempt
  #verdict: ResultVerdict | undefined

  constructor(key: string, attempt: Attempt) {
    this.key = key
    this.attempt = attempt
  }

  get fence(): number {
    return this.attempt.fence
  }

  get signal(): AbortSignal {
    return this.attempt.signal
  }

  /** The handler's own word, if it gave one. */
  get verdict(): ResultVerdict | undefined {
    return this.#verdict
  }

  downstreamKey(name: string): string {
    return this.attempt.downstreamKey(name)
  }

  keep(): void {
    this.#verdict = 'keep'
  }

  release(): void {
    this.#verdict = 'release'
  }

  unknown(): void {
    this.#verdict = 'unknown'
  }
}
