/** The client outside of browsers. */
import { checkOptions } from './check-options.ts'
import { type IdempotentFetch, idempotentFetch } from './fetch.ts'
import type { IdempotentFetchOptions } from './options.ts'
import { platform } from './platform.ts'

export * from './face.ts'

/**
 * A `fetch` that is safe to retry.
 *
 * @throws InvalidOptionError for an option or a key that breaks a rule
 * @throws UnknownOutcomeError, NotAppliedError, KeyRefusedError (from the returned function)
 * @example
 * const pay = createIdempotentFetch()
 * const response = await pay('https://api.example/charges', { method: 'POST', body: JSON.stringify({ amount: 100 }) })
 */
export function createIdempotentFetch(options: IdempotentFetchOptions = {}): IdempotentFetch {
  checkOptions('createIdempotentFetch', options)
  return idempotentFetch(platform, options)
}
