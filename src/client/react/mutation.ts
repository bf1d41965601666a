/**
 * What `useIdempotentMutation` runs on. One mutation is
 *
 *   idle     nothing was sent, or the page has moved on
 *   pending  a call is under way; another press of the same button joins it
 *   success  the operation took effect
 *   error    it did not, and the next try is free to succeed
 *   unknown  it may have taken effect: `retry()` asks again with the same key
 *
 * The call itself belongs to the page and not to the component: it goes on, and ends its key, when that is unmounted.
 */
import { callOf, type IdempotentFetch } from '../fetch.ts'
import { type CallEnd, keyedCall, type KeyedContext } from '../form-key-call.ts'
import type { FormKeys } from '../form-keys.ts'

/** A closed union over `status`. */
export type MutationState<Data, Variables> =
  | (Absent<'data' | 'error' | 'variables'> & { readonly status: 'idle' })
  | (Absent<'data' | 'error'> & Called<Variables> & { readonly status: 'pending' })
  | (Absent<'error'> & Called<Variables> & { readonly status: 'success'; readonly data: Data })
  /** `unknown`: nobody knows whether it took effect. Not a failure. */
  | (Absent<'data'> & Called<Variables> & { readonly status: 'error' | 'unknown'; readonly error: unknown })

type Absent<Names extends string> = { readonly [Name in Names]?: undefined } & {
  /** `data` is the stored answer of an earlier call: a snapshot of when that ended, not the state of now. */
  readonly replayed: boolean
}

interface Called<Variables> {
  /** What it was last called with. */
  readonly variables: Variables
}

export interface MutationSettings<Data, Variables> {
  readonly mutationFn: (variables: Variables, context: KeyedContext) => Promise<Data> | Data
  readonly nameOf: (variables: Variables) => string
  readonly keys: FormKeys
  readonly keepMs: number
  readonly fetch: IdempotentFetch
  readonly isFailure: ((error: unknown) => boolean) | undefined
}

/** How one call ended. */
type Ended<Data> =
  | { readonly status: 'success'; readonly data: Data; readonly replayed: boolean }
  | { readonly status: 'error' | 'unknown'; readonly error: unknown }

type Flight<Data> = Promise<Ended<Data>>

export const idle: MutationState<never, never> = { status: 'idle', replayed: false }

export interface MutateOptions {
  /** Gives up: the key is kept, because the operation may take effect all the same. */
  readonly signal?: AbortSignal
}

export interface MutationActions<Data, Variables> {
  /** Sends it. A call for the same intent that is under way is joined. How it ends is in the state. */
  readonly mutate: (variables: Variables, options?: MutateOptions) => void
  /** As `mutate`, and resolves or rejects as the call ends. */
  readonly mutateAsync: (variables: Variables, options?: MutateOptions) => Promise<Data>
  /** Sends the last variables again; after an unknown outcome with the same key. */
  readonly retry: () => void
  /** The last variables are meant once more: a new order. Not while a call is under way. */
  readonly renew: () => void
  /** Back to `idle`. Cancels nothing and forgets no key. */
  readonly reset: () => void
}

export interface Mutation<Data, Variables> {
  readonly actions: MutationActions<Data, Variables>
  use(settings: MutationSettings<Data, Variables>): void
  subscribe(listener: () => void): () => void
  state(): MutationState<Data, Variables>
}

export function createMutation<Data, Variables>(
  settings: MutationSettings<Data, Variables>,
): Mutation<Data, Variables> {
  let state: MutationState<Data, Variables> = idle
  let current: Flight<Data> | undefined
  const listeners = new Set<() => void>()

  const become = (next: MutationState<Data, Variables>): void => {
    state = next
    for (const listener of listeners) listener()
  }
  /** Throws where the variables have no name; all else is in the end. */
  const start = (variables: Variables, options?: MutateOptions): Flight<Data> => {
    const { flights } = settings.keys
    const name = settings.nameOf(variables)
    let flight = flights.get(name) as Flight<Data> | undefined
    if (flight === undefined) {
      flight = send(settings, name, variables, options?.signal)
      flights.set(name, flight)
      void flight.then(() => flights.delete(name))
    }
    if (current !== flight) {
      current = flight
      become({ status: 'pending', variables, replayed: false })
      void flight.then((ended) => {
        // A later call has the word, or `reset`.
        if (current !== flight) return
        current = undefined
        become({ replayed: false, ...ended, variables })
      })
    }
    return flight
  }
  const mutate = (variables: Variables, options?: MutateOptions): void => void start(variables, options)
  const reset = (): void => {
    current = undefined
    become(idle)
  }
  return {
    actions: {
      mutate,
      async mutateAsync(variables, options) {
        const ended = await start(variables, options)
        if (ended.status !== 'success') throw ended.error
        return ended.data
      },
      retry() {
        if (state.status !== 'idle') mutate(state.variables)
      },
      renew() {
        if (state.status === 'idle' || state.status === 'pending') return
        settings.keys.forget(settings.nameOf(state.variables))
        reset()
      },
      reset,
    },
    use(latest) {
      settings = latest
    },
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    state: () => state,
  }
}

/** Sends it once, and keeps or forgets its key by how that ended. */
async function send<Data, Variables>(
  { mutationFn, keys, keepMs, fetch, isFailure }: MutationSettings<Data, Variables>,
  name: string,
  variables: Variables,
  signal: AbortSignal | undefined,
): Flight<Data> {
  const kept = keys.current(name)
  const { key, sentAt } = kept
  const call = keyedCall({
    ...{ key, sentSince: sentAt, signal, fetch },
    onSend: () => keys.put(name, { ...kept, sentAt: sentAt ?? Date.now() }),
  })
  const settle = (end: CallEnd): void => {
    if (end === 'done') keys.done(name, keepMs, key)
    if (end === 'failed') keys.forget(name, key)
    // So that the next call can tell, too.
    if (end === 'unapplied') keys.put(name, kept)
  }
  try {
    const data = await mutationFn(variables, call.context)
    settle(call.returned())
    const answer = call.answer()
    return { status: 'success', data, replayed: !!(answer && callOf(answer)?.replayed) }
  } catch (error) {
    const end = call.threw(error, isFailure)
    settle(end)
    return { status: end === 'unknown' ? end : 'error', error }
  }
}
