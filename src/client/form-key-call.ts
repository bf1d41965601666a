/** One call under a key that is kept, and what its end says of the operation. */
import { isClientError } from './errors.ts'
import type { IdempotentFetch } from './fetch.ts'

/** What a mutation function gets besides its variables. */
export interface KeyedContext {
  /** For clients other than `fetch`. */
  readonly key: string
  /** Aborted when the caller's signal is. */
  readonly signal: AbortSignal
  /** Sends the key with every request that may change something, and stops when `signal` is aborted. */
  readonly fetch: (input: RequestInfo | URL, init?: RequestInit) => Promise<Response>
}

export interface KeyedCallOptions {
  readonly key: string
  /** When it was first sent, in milliseconds since 1970; absent where it was not. */
  readonly sentSince: number | undefined
  readonly signal?: AbortSignal | undefined
  readonly fetch: IdempotentFetch
  /** Told before anything is sent. */
  readonly onSend: () => void
}

/**
 * What is known when a call is over:
 *   done       the operation took effect
 *   failed     the operation said no: another try is another intent
 *   unapplied  this call changed nothing: its key is as good as before
 *   unknown    it may have taken effect
 */
export type CallEnd = 'done' | 'failed' | 'unapplied' | 'unknown'

export interface KeyedCall {
  readonly context: KeyedContext
  /** The last answer to a request with the key; `null` where none came. */
  answer(): Response | null | undefined
  /** What it says that the mutation function returned. */
  returned(): CallEnd
  /** What it says that the mutation function threw. */
  threw(error: unknown, isFailure?: (error: unknown) => boolean): CallEnd
}

const safeMethods = /^(GET|HEAD|OPTIONS|TRACE|QUERY)$/

export function keyedCall(options: KeyedCallOptions): KeyedCall {
  const { key, sentSince, signal = new AbortController().signal, fetch, onSend } = options
  /** `null`: it was sent, and there is none. */
  let answer: Response | null | undefined
  let wasHandedOut = false

  const handOut = (): void => {
    if (!wasHandedOut) onSend()
    wasHandedOut = true
  }
  const answered = ({ status }: Response): CallEnd => (status < 400 ? 'done' : 'failed')
  return {
    context: {
      // Whoever reads it may send it by other means.
      get key() {
        handOut()
        return key
      },
      signal,
      async fetch(input, init) {
        const method = init?.method ?? (input instanceof Request ? input.method : 'GET')
        if (safeMethods.test(method.toUpperCase())) return await fetch(input, { signal, ...init })
        handOut()
        answer = null
        const call = sentSince === undefined ? { key } : { key, sentSince }
        return (answer = await fetch(input, { signal, ...init, idempotency: call }))
      },
    },
    answer: () => answer,
    returned: () => (answer ? answered(answer) : answer === null ? 'unknown' : 'done'),
    threw(error, isFailure) {
      if (isClientError(error)) return /^(not-a|key)/.test(error.code) ? 'unapplied' : 'unknown'
      if (isFailure?.(error)) return 'failed'
      if (answer) return answered(answer)
      return wasHandedOut ? 'unknown' : 'unapplied'
    },
  }
}
