/**
 * TanStack Query 5: mutations with one key for each intent.
 *
 * The key travels in the variables, which TanStack keeps with the mutation: over its own attempts, while it is paused
 * without a network, and through `dehydrate` and `resumePausedMutations` on a page that was loaded again.
 */
import { type MutationFunctionContext, onlineManager, type UseMutationOptions } from '@tanstack/react-query'
import { createIdempotentFetch } from './browser.ts'
import { isClientError, type StopReason } from './errors.ts'
import type { IdempotentFetch } from './fetch.ts'
import { keyedCall, type KeyedContext } from './form-key-call.ts'
import { newKey } from './key.ts'

export type { KeyedContext } from './form-key-call.ts'

/** Variables with the key of what is meant by them. Plain data, so that it can be kept with a paused mutation. */
export interface Keyed<Variables> {
  readonly key: string
  /** When the key was made, in milliseconds since 1970. */
  readonly createdAt: number
  readonly variables: Variables
}

/** Made here and not sent yet. What comes out of a storage may have been sent by the page before. */
const unsent = new WeakSet<object>()

/**
 * Gives variables a key. Once for each intent: the variables that it returns are what is sent again after an unknown
 * outcome (`mutation.mutate(mutation.variables)`).
 *
 * @param key a key that is kept elsewhere, such as by `useIdempotencyKey`. It counts as one that may have been sent
 *   before. Default: a new one
 * @param sentSince when that key was made, in milliseconds since 1970: past half of the server's `lifetime` it is not
 *   sent. Keep it with the key. Default: now, so that each press begins anew
 * @example
 * pay.mutate(withKey({ amount: 100 }))
 */
export function withKey<Variables>(variables: Variables, key?: string, sentSince?: number): Keyed<Variables> {
  const keyed = { key: key ?? newKey(), createdAt: sentSince ?? Date.now(), variables }
  if (key === undefined) unsent.add(keyed)
  return keyed
}

type Overridden = 'mutationFn' | 'retry' | 'retryDelay'

export interface IdempotentMutationOptions<Data, Variables, Thrown = Error, OnMutateResult = unknown>
  extends Omit<UseMutationOptions<Data, Thrown, Keyed<Variables>, OnMutateResult>, Overridden> {
  /** Gets the variables without their key, and a `fetch` that sends it. */
  readonly mutationFn: (
    variables: Variables,
    context: KeyedContext & MutationFunctionContext,
  ) => Promise<Data>
  /** Made by `createIdempotentFetch`. Default: one with the defaults. */
  readonly fetch?: IdempotentFetch
}

/**
 * Options for `useMutation`, `setMutationDefaults` and `MutationObserver`. Retries are the client's own; TanStack's are
 * turned off, except that a call whose attempts ended because there is no network is paused, and goes on with the same
 * key when there is one.
 *
 * @example
 * const options = idempotentMutationOptions({
 *   mutationKey: ['pay'],
 *   mutationFn: async ({ amount }: { amount: number }, { fetch }) =>
 *     (await fetch('/charges', { method: 'POST', body: JSON.stringify({ amount }) })).json(),
 * })
 * const pay = useMutation(options)
 * pay.mutate(withKey({ amount: 100 }))
 */
export function idempotentMutationOptions<Data, Variables, Thrown = Error, OnMutateResult = unknown>({
  mutationFn,
  fetch = createIdempotentFetch(),
  ...options
}: IdempotentMutationOptions<Data, Variables, Thrown, OnMutateResult>): UseMutationOptions<
  Data,
  Thrown,
  Keyed<Variables>,
  OnMutateResult
> {
  return {
    ...options,
    async mutationFn(keyed, given) {
      const { key, createdAt, variables } = keyed
      const isFirst = unsent.has(keyed)
      const ended = await keyedCall(
        {
          ...{ key, fetch },
          sentAt: isFirst ? undefined : createdAt,
          onSend: () => unsent.delete(keyed),
        },
        (context) => mutationFn(variables, withGiven(context, given)),
      )
      if (ended.status === 'success') return ended.data
      if (isFirst && ended.end === 'unapplied') unsent.add(keyed)
      throw ended.error
    },
    retry: (failures, error) =>
      failures < pausesMax &&
      options.networkMode !== 'always' &&
      !onlineManager.isOnline() &&
      isCutOff(error),
    // Paused at once: only what is paused is dehydrated.
    retryDelay: 0,
  }
}

/** How often one call is resumed. */
const pausesMax = 100

const cutOff: readonly StopReason[] = ['retries', 'deadline', 'budget', 'circuit-open']

/** Whether it ended for want of answers, and not by an answer. */
function isCutOff(error: unknown): boolean {
  return isClientError(error) && error.code !== 'horizon-passed' && cutOff.includes(error.reason)
}

/** By inheritance: a spread would read the key, which counts as handing it out. */
function withGiven<Given extends object>(context: KeyedContext, given: Given): KeyedContext & Given {
  return Object.assign(Object.create(context) as KeyedContext, given)
}
