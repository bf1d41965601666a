/** What keeps retries from making an outage worse: each origin has a budget of them. */

export interface RetryBudgetOptions {
  /** Retries for each first attempt. Default 0.2. */
  readonly ratio?: number
  /** Retries a second that are allowed besides, and at the start. Default 10. */
  readonly perSecond?: number
}

/** Nobody needs more at once, however long nothing failed. */
const tokensMax = 500

/** First attempts earn parts of a retry, each retry and each hedge spends a whole one. */
export class RetryBudget {
  readonly #ratio: number
  readonly #perSecond: number
  #tokens: number
  #filledAt = performance.now()

  constructor({ ratio = 0.2, perSecond = 10 }: RetryBudgetOptions = {}) {
    this.#ratio = ratio
    this.#perSecond = perSecond
    this.#tokens = perSecond
  }

  earn(): void {
    this.#add(this.#ratio)
  }

  /** Whether there was one to spend. */
  spend(): boolean {
    const now = performance.now()
    this.#add(((now - this.#filledAt) / 1_000) * this.#perSecond)
    this.#filledAt = now
    if (this.#tokens < 1) return false
    this.#tokens -= 1
    return true
  }

  #add(tokens: number): void {
    this.#tokens = Math.min(tokensMax, this.#tokens + tokens)
  }
}

const originsMax = 256

/** A value for each origin; the one that was made first goes when there are too many. */
export function eachOrigin<Value>(make: () => Value): (origin: string) => Value {
  const values = new Map<string, Value>()
  return (origin) => {
    let value = values.get(origin)
    if (value === undefined) {
      values.set(origin, (value = make()))
      if (values.size > originsMax) values.delete(values.keys().next().value as string)
    }
    return value
  }
}

/** Shared by every client of this process that brings no budget of its own. */
export const sharedBudgets: (origin: string) => RetryBudget = eachOrigin(() => new RetryBudget())
