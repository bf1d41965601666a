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
import type { IdempotentFetch } from '../fetch.ts'
import { type Ended, keyedCall, type KeyedContext } from '../form-key-call.ts'
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

type Flight<Data> = Promise<Ended<Data>> & {
  /** Of the caller that began it. */
  readonly signal?: AbortSignal | undefined
}

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
  /** There is one: a mutation is of one component. */
  let changed: (() => void) | undefined

  const become = (next: MutationState<Data, Variables>): void => {
    state = next
    changed?.()
  }
  /** Throws where the variables have no name; all else is in the end. */
  const start = (variables: Variables, options?: MutateOptions): Flight<Data> => {
    const { flights } = settings.keys
    const name = settings.nameOf(variables)
    let flight = flights.get(name) as Flight<Data> | undefined
    // Nobody waits for what was aborted: this is a call of its own, with the same key.
    if (!flight || flight.signal?.aborted) {
      const ended = send(settings, name, variables, options?.signal)
      // Where no key could be made.
      const sent = Object.assign(
        ended.catch((error): Ended<Data> => ({ status: 'error', error })),
        options,
      )
      flights.set(name, (flight = sent))
      void sent.then(() => flights.get(name) === sent && flights.delete(name))
    }
    current = flight
    become({ status: 'pending', variables, replayed: false })
    void flight.then((ended) => {
      // A later call has the word, or `reset`.
      if (current === flight) become({ replayed: false, ...ended, variables })
    })
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
        const { keys, nameOf } = settings
        if (state.status === 'idle') return
        const name = nameOf(state.variables)
        // A call of another component may need it again.
        if (keys.flights.has(name)) return
        keys.done(name, 0)
        reset()
      },
      reset,
    },
    use(latest) {
      settings = latest
    },
    subscribe(listener) {
      changed = listener
      return () => (changed = undefined)
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
): Promise<Ended<Data>> {
  const kept = keys.current(name)
  // A key that is sent again is needed until that end is known, too.
  const { until, ...open } = kept
  keys.put(name, open)
  const { end, ...ended } = await keyedCall(
    {
      ...{ ...open, signal, fetch, isFailure },
      onSend: () => keys.put(name, { sentAt: Date.now(), ...open }),
    },
    (context) => mutationFn(variables, context),
  )
  if (end === 'done') keys.done(name, until ? until - Date.now() : keepMs, kept.key)
  if (end === 'failed') keys.done(name, 0, kept.key)
  // So that the next call can tell, too.
  if (end === 'unapplied') keys.put(name, kept)
  return ended
}
