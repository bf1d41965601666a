/**
 * Who may write to the file, among the groups and transactions of this process: one at a time, first come first
 * served. A transaction keeps its turn while its handler runs, and others wait here without blocking the event
 * loop. Other processes are kept apart by SQLite's own lock.
 */
import { StoreError } from '../../core/errors.ts'

const waitingMax = 10_000

interface Waiting {
  readonly proceed: () => void
  gone: boolean
}

export class WriteTurns {
  #taken = false
  #waiting: Waiting[] = []
  #waitingCount = 0

  /** Takes the turn when it is free. */
  tryTake(): boolean {
    if (this.#taken) return false
    this.#taken = true
    return true
  }

  /**
   * Resolves when the turn is the caller's.
   *
   * @throws StoreError `transient` when that takes longer than `waitMs`
   */
  take(waitMs: number): Promise<void> {
    if (this.tryTake()) return Promise.resolve()
    if (this.#waitingCount >= waitingMax) return Promise.reject(tooLong())
    return new Promise((resolve, reject) => {
      const timer =
        waitMs === Number.POSITIVE_INFINITY
          ? undefined
          : setTimeout(() => {
              waiting.gone = true
              this.#waitingCount -= 1
              reject(tooLong())
            }, waitMs)
      const waiting: Waiting = {
        gone: false,
        proceed: () => {
          clearTimeout(timer)
          resolve()
        },
      }
      this.#waiting.push(waiting)
      this.#waitingCount += 1
    })
  }

  /** Hands the turn to the one who has waited longest. */
  give(): void {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      if (next.gone) continue
      this.#waitingCount -= 1
      next.proceed()
      return
    }
    this.#taken = false
  }
}

export function tooLong(): StoreError {
  return new StoreError('transient', 'The SQLite file was locked by other writers for too long.')
}
