'use client'

/** React: one key for what is meant, whatever the page, the reader or React does twice. */
import {
  createElement,
  type ReactElement,
  useEffect,
  useInsertionEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from 'react'
import { type Duration, toMilliseconds } from '../core/duration.ts'
import { createIdempotentFetch } from './browser.ts'
import type { IdempotentFetch } from './fetch.ts'
import type { KeyedContext } from './form-key-call.ts'
import { type IntentPart, intentName } from './form-key-intent.ts'
import { formKeys, type KeyStorageOption } from './form-keys.ts'
import {
  createMutation,
  idle,
  type MutationActions,
  type MutationSettings,
  type MutationState,
} from './react/mutation.ts'

export type { KeyedContext } from './form-key-call.ts'
export type { IntentPart } from './form-key-intent.ts'
export type { KeyStorage, KeyStorageOption } from './form-keys.ts'
export type { MutateOptions, MutationActions, MutationState } from './react/mutation.ts'

export interface KeyOptions {
  /** Where keys are kept. Default `'session'`: this tab, over reloads, until it is closed. */
  readonly storage?: KeyStorageOption
  /**
   * How long a finished intent repeats its key: the back button, a slow second click and a second press of the same
   * button then get the replay and not a second charge. `renew()` ends it at once; 0 for never. Default 5 m.
   */
  readonly keepAfterDone?: Duration
}

export interface IdempotencyKeyOptions extends KeyOptions {
  /**
   * A key that the server made for this visit and handed to the page. It is what the server renders and what a form
   * sends before React has taken over; without it, the key is `undefined` until then.
   */
  readonly initialKey?: string
}

/** What `useIdempotencyKey` returns. */
export interface IntentKey {
  /** `undefined` on the server and while its markup is taken over, unless there is an `initialKey`. */
  readonly key: string | undefined
  /**
   * The operation took effect: the key is repeated for `keepAfterDone`, then forgotten.
   *
   * @param key the one that was sent: it may have been followed by another one until its answer came, which must not
   *   end by it. Default: the current one
   */
  done(key?: string): void
  /**
   * The next one is another intent, from now on: a new order, another try after the operation said no. Not while a
   * mutation with the same parts is under way.
   *
   * @param key the one that was sent. Default: the current one
   */
  renew(key?: string): void
}

/**
 * The key of what is meant: the same for equal parts, over renders, remounts, reloads and the back button and in all
 * components of the page, until its outcome is known.
 *
 * @param parts all that makes it this intent and no other: the operation, the cart, the amount
 * @throws InvalidOptionError
 * @example
 * const { key, done, renew } = useIdempotencyKey(['pay', cartId, amount])
 */
export function useIdempotencyKey(
  parts: readonly IntentPart[],
  { storage, keepAfterDone, initialKey }: IdempotencyKeyOptions = {},
): IntentKey {
  const name = intentName(parts)
  const keepMs = keepMsOf(keepAfterDone)
  const keys = formKeys(storage)
  const { subscribe, ...actions } = useMemo(
    () => ({
      subscribe: (listener: () => void) => keys.subscribe(name, listener),
      done: (of?: string) => keys.done(name, keepMs, of),
      renew: (of?: string) => void (keys.flights.has(name) || keys.done(name, 0, of)),
    }),
    [keys, name, keepMs],
  )
  const key = useSyncExternalStore(
    subscribe,
    () => keys.current(name, initialKey).key,
    () => initialKey,
  )
  // Only what is on the page can be sent.
  useEffect(() => keys.put(name), [keys, name, key])
  return { key, ...actions }
}

export interface IdempotencyKeyFieldProps extends IdempotencyKeyOptions {
  /** All that makes it this intent and no other, apart from what is typed into the form. */
  readonly parts: readonly IntentPart[]
  /** Name of the field. Default `'idempotency-key'`. */
  readonly name?: string
  /**
   * How the form's last sending ended, such as the state of `useActionState`. Each new value that is neither `null`
   * nor `undefined` is a definite outcome: `keepAfterDone` later the form has another key.
   */
  readonly ended?: unknown
  /** As elsewhere, but what is typed into a form is no part of its intent. Default 2 s. */
  readonly keepAfterDone?: Duration
}

/**
 * A hidden field with the key, for server actions and plain forms.
 *
 * @throws InvalidOptionError
 * @example
 * const [state, pay] = useActionState(payAction, undefined)
 * return <form action={pay}><IdempotencyKeyField parts={['pay', cartId]} ended={state} /></form>
 */
export function IdempotencyKeyField({
  parts,
  name = 'idempotency-key',
  ended,
  keepAfterDone = '2s',
  ...options
}: IdempotencyKeyFieldProps): ReactElement {
  const { key, done } = useIdempotencyKey(parts, { ...options, keepAfterDone })
  const last = useRef({ ended, done, key })
  useEffect(() => {
    // What ends is what was on the page, also where the parts are others by now.
    const before = last.current
    last.current = { ended, done, key }
    if (ended !== before.ended && ended !== undefined && ended !== null) before.done(before.key)
  })
  // Without autocomplete="off" browsers bring back the value of before, when they come back to the page.
  return createElement('input', { type: 'hidden', name, value: key ?? '', autoComplete: 'off' })
}

export interface IdempotentMutationOptions<Variables> extends KeyOptions {
  /**
   * What is meant. A list names the operation (`['pay', cartId]`), and the variables are a part of the intent; a
   * function returns all parts.
   */
  readonly parts: readonly IntentPart[] | ((variables: Variables) => readonly IntentPart[])
  /** Made by `createIdempotentFetch`. Default: one with the defaults. */
  readonly fetch?: IdempotentFetch
  /**
   * Whether an error that the mutation function threw says for sure that the operation did not take effect. Only asked
   * about errors that the client does not know; it knows its own, and answers to the `fetch` it hands out.
   */
  readonly isFailure?: (error: unknown) => boolean
}

export type IdempotentMutation<Data, Variables> = MutationActions<Data, Variables> &
  MutationState<Data, Variables>

/**
 * A mutation with one key for each intent: double clicks, reloads and the back button repeat it, edited variables are
 * another one, and it is given up only when the outcome is known.
 *
 * @throws InvalidOptionError
 * @example
 * const pay = useIdempotentMutation(
 *   async ({ amount }: { amount: number }, { fetch }) => {
 *     const response = await fetch('/charges', { method: 'POST', body: JSON.stringify({ amount }) })
 *     if (!response.ok) throw new Error('Declined')
 *     return (await response.json()) as Charge
 *   },
 *   { parts: ['pay', cartId] },
 * )
 */
export function useIdempotentMutation<Data, Variables = void>(
  mutationFn: (variables: Variables, context: KeyedContext) => Promise<Data> | Data,
  options: IdempotentMutationOptions<Variables>,
): IdempotentMutation<Data, Variables> {
  const { parts, storage, keepAfterDone, isFailure, fetch = (made ??= createIdempotentFetch()) } = options
  const settings: MutationSettings<Data, Variables> = {
    ...{ mutationFn, fetch, isFailure },
    nameOf: (variables) => intentName(typeof parts === 'function' ? parts(variables) : [...parts, variables]),
    keys: formKeys(storage),
    keepMs: keepMsOf(keepAfterDone),
  }
  const [{ actions, state, subscribe, use }] = useState(() => createMutation(settings))
  useInsertionEffect(() => use(settings))
  // A store of its own: state of React that is set in a transition shows only when that is over.
  return { ...useSyncExternalStore(subscribe, state, () => idle), ...actions }
}

function keepMsOf(keepAfterDone: Duration = '5m'): number {
  return toMilliseconds('keepAfterDone', keepAfterDone, { max: '24h' })
}

let made: IdempotentFetch | undefined
