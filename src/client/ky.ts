/** ky: options under which its calls go through `createIdempotentFetch`. */
import type { FetchInput } from './exchange.ts'
import type { IdempotentInit } from './fetch.ts'
import { createIdempotentFetch } from './index.ts'
import { carriedCall, keyOf, readKeyed } from './keyed-call.ts'
import type { IdempotentFetchOptions } from './options.ts'

export { callOf } from './fetch.ts'
export { idempotency } from './keyed-call.ts'

/** The options of ky that are set. */
export interface KyOptions {
  /** ky's own retries are off: two loops would multiply. */
  retry: number
  /** Of the whole call, if it is set again; the option `timeout` of `idempotentKy` is each attempt's. */
  timeout: false
  fetch: (input: FetchInput, init?: RequestInit) => Promise<Response>
  hooks: {
    beforeRequest: ((state: { readonly request: Request; readonly options: object }) => void)[]
  }
}

/**
 * Options for `ky.create()` or `ky.extend()` that make calls safe to retry. ky throws its `HTTPError` for the last
 * answer; errors of the client are thrown as they are.
 *
 * @throws InvalidOptionError for an option or a key that breaks a rule
 * @throws UnknownOutcomeError, NotAppliedError, KeyRefusedError (from the calls)
 * @example
 * const api = ky.extend(idempotentKy())
 * const charge = await api.post('https://api.example/charges', { json: { amount: 100 } }).json()
 */
export function idempotentKy(options: IdempotentFetchOptions = {}): KyOptions {
  const { fetch: _, ...keyed } = options
  const settings = readKeyed('idempotentKy', keyed)
  // ky asks its hooks once for a call, and may ask its `fetch` again: the key is made here and nowhere else.
  const send = createIdempotentFetch({ ...options, methods: [] })
  return {
    retry: 0,
    timeout: false,
    fetch: (input, init) => send(input, init as IdempotentInit),
    hooks: {
      beforeRequest: [
        ({ request: { method, headers }, options: given }) => {
          const call = carriedCall(given)
          if (call === false) return
          const named = headers.get(settings.keyHeader) ?? undefined
          const { field } = keyOf(settings, method, named, call.key)
          if (field !== undefined) headers.set(settings.keyHeader, field)
        },
      ],
    },
  }
}
