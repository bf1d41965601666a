/** What keeps retries from making an outage worse: each origin has a budget of them. */
import { InvalidOptionError } from '../core/errors.ts'

export interface RetryBudgetOptions {
  /** Retries for each first attempt. Default 0.2. */
  readonly ratio?: number
  /** Retries a second that are allowed besides, and at the start. Default 10. */
  readonly perSecond?: number
}

/** Nobody needs more at once, however long nothing failed. */
const tokensMax = 500

/** First attempts earn parts of a retry, each retry and each hedge spends a whole one. */
export interface RetryBudget {
  earn(): unknown
  /** Whether there was one to spend. */
  spend(): boolean
}

/** @throws InvalidOptionError */
export function retryBudget({ ratio = 0.2, perSecond = 10 }: RetryBudgetOptions = {}): RetryBudget {
  if (!(ratio >= 0 && perSecond >= 0)) throw new InvalidOptionError('budget', 'must be of numbers from 0')
  let tokens = perSecond
  let filledAt = performance.now()
  const change = (by: number): boolean => {
    const now = performance.now()
    tokens = Math.min(tokensMax, tokens + ((now - filledAt) * perSecond) / 1_000)
    filledAt = now
    const has = tokens + by >= 0
    if (has) tokens += by
    return has
  }
  return { earn: () => change(ratio), spend: () => change(-1) }
}

const originsMax = 256

/** A value for each origin; the one that was made first goes when there are too many. */
export function eachOrigin<Value>(make: () => Value): (origin: string) => Value {
  const values = new Map<string, Value>()
  return (origin) => {
    let value = values.get(origin)
    if (value === undefined) {
      values.set(origin, (value = make()))
      if (values.size > originsMax) values.delete([...values.keys()][0] as string)
    }
    return value
  }
}

/** Shared by every client of this process that brings no budget of its own. */
export const sharedBudgets: (origin: string) => RetryBudget = eachOrigin(() => retryBudget())
