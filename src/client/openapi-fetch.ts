/** openapi-fetch: the `fetch` of a client. */
import type { IdempotentInit } from './fetch.ts'
import { createIdempotentFetch } from './index.ts'
import { carriedCall } from './keyed-call.ts'
import type { IdempotentFetchOptions } from './options.ts'

export { callOf } from './fetch.ts'
export { idempotency } from './keyed-call.ts'

/**
 * What `createClient()` takes as its `fetch`. A call takes `idempotency` among its own options; what openapi-fetch
 * does not know it writes onto the request. `callOf(response)` tells of the call.
 *
 * @throws InvalidOptionError for an option or a key that breaks a rule
 * @throws UnknownOutcomeError, NotAppliedError, KeyRefusedError (from the calls)
 * @example
 * const client = createClient<paths>({ baseUrl: 'https://api.example', fetch: idempotentOpenapiFetch() })
 * const { data, error } = await client.POST('/charges', { body: { amount: 100 }, ...idempotency({ key }) })
 */
export function idempotentOpenapiFetch(
  options: IdempotentFetchOptions = {},
): (request: Request, init?: RequestInit) => Promise<Response> {
  const send = createIdempotentFetch(options)
  return (request, init) => send(request, { ...init, idempotency: carriedCall(request) } as IdempotentInit)
}
