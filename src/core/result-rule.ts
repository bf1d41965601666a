/** What an answer leaves behind, by its status: one rule for HTTP and for calls whose errors have statuses. */

/** What an answer leaves behind: its outcome, nothing (the next attempt runs), or an unknown outcome. */
export type ResultVerdict = 'keep' | 'release' | 'unknown'

/** Statuses that invite another try, or speak of this sending and not of the operation: never an outcome. */
const releasedStatuses: ReadonlySet<number> = new Set([401, 403, 407, 408, 421, 423, 425, 428, 429])

/**
 * The result rule: 2xx, 3xx and the handler's own 4xx are outcomes; statuses that invite another try release the
 * key; 5xx as given.
 *
 * @example
 * resultRule('release')(404) // 'keep'
 */
export function resultRule(serverErrors: ResultVerdict): (status: number) => ResultVerdict {
  return (status) => {
    if (status >= 500) return serverErrors
    return releasedStatuses.has(status) ? 'release' : 'keep'
  }
}
