/** One call under a key that is kept, and what its end says of the operation. */
import type { FetchInput } from './exchange.ts'
import { isSafe } from './attempts.ts'
import { isClientError } from './errors.ts'
import { callOf, type CallOptions, type IdempotentFetch } from './fetch.ts'

/** What a mutation function gets besides its variables. */
export interface KeyedContext {
  /** For clients other than `fetch`. */
  readonly key: string
  /** Aborted when the caller's signal is. */
  readonly signal: AbortSignal
  /** Sends the key with every request that may change something, and stops when `signal` is aborted. */
  readonly fetch: (input: FetchInput, init?: RequestInit) => Promise<Response>
}

export interface KeyedCallOptions {
  readonly key: string
  /** When it was first sent, in milliseconds since 1970; absent where it was not. */
  readonly sentAt?: number | undefined
  readonly signal?: AbortSignal | undefined
  readonly fetch: IdempotentFetch
  /** Told before anything is sent. */
  readonly onSend: () => void
  readonly isFailure?: ((error: unknown) => boolean) | undefined
}

/**
 * What is known when a call is over:
 *   done       the operation took effect
 *   failed     the operation said no: another try is another intent
 *   unapplied  this call changed nothing: its key is as good as before
 *   unknown    it may have taken effect
 */
export type CallEnd = 'done' | 'failed' | 'unapplied' | 'unknown'

/** What is shown of an end. */
export type Ended<Data> =
  | { readonly status: 'success'; readonly data: Data; readonly replayed: boolean }
  | { readonly status: 'error' | 'unknown'; readonly error: unknown }

/** Runs a mutation function. Never rejects. */
export async function keyedCall<Data>(
  { key, sentAt, signal = new AbortController().signal, fetch, onSend, isFailure }: KeyedCallOptions,
  run: (context: KeyedContext) => Promise<Data> | Data,
): Promise<Ended<Data> & { readonly end: CallEnd }> {
  /** The last one to a request with the key. `null`: it was sent, and there is none. */
  let answer: Response | null | undefined
  /** How often. */
  let handedOut = 0

  const handOut = (): void => {
    if (!handedOut) onSend()
    handedOut += 1
  }
  const endOr = (end: CallEnd): CallEnd => (answer ? (answer.status < 400 ? 'done' : 'failed') : end)
  try {
    const data = await run({
      // Whoever reads it may send it by other means.
      get key() {
        handOut()
        return key
      },
      signal,
      async fetch(input, init) {
        const sent = { ...init, signal: init?.signal ?? signal }
        if (isSafe((init?.method ?? (input as Request).method ?? 'GET').toUpperCase())) {
          return await fetch(input, sent)
        }
        handOut()
        answer = null
        return (answer = await fetch(input, {
          ...sent,
          idempotency: { key, sentSince: sentAt } as CallOptions,
        }))
      },
    })
    return {
      end: endOr(answer === null ? 'unknown' : 'done'),
      ...{ status: 'success', data, replayed: !!callOf(answer ?? ({} as Response))?.replayed },
    }
  } catch (error) {
    // What is aborted may have been sent by means of its own.
    let end = endOr(handedOut || signal.aborted ? 'unknown' : 'unapplied')
    if (isClientError(error)) {
      // What is refused may have arrived before, by an attempt or a call whose answer was lost.
      const isFirst = !sentAt && handedOut < 2
      end = isFirst && /^not|refused1$/.test(error.code + error.attempts) ? 'unapplied' : 'unknown'
    } else {
      try {
        if (isFailure?.(error)) end = 'failed'
      } catch {
        // It does not know.
      }
    }
    return { end, status: end === 'unknown' ? end : 'error', error }
  }
}
