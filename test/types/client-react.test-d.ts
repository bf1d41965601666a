/** What is inferred of mutations. */
import { useMutation, type UseMutationResult } from '@tanstack/react-query'
import { useActionState } from 'react'
import { expectTypeOf, test } from 'vitest'
import { IdempotencyKeyField, useIdempotencyKey, useIdempotentMutation } from '../../src/client/react.ts'
import { idempotentMutationOptions, type Keyed, withKey } from '../../src/client/tanstack-query.ts'

interface Charge {
  readonly id: number
}

declare const charge: () => Promise<Charge>

test('a mutation takes its data and variables from its function', () => {
  const pay = useIdempotentMutation((_variables: { amount: number }) => charge(), { parts: ['pay'] })
  expectTypeOf(pay.mutateAsync).returns.resolves.toEqualTypeOf<Charge>()
  expectTypeOf(pay.mutate).parameter(0).toEqualTypeOf<{ amount: number }>()
  if (pay.status === 'success') expectTypeOf(pay.data).toEqualTypeOf<Charge>()
  if (pay.status === 'unknown') expectTypeOf(pay.variables).toEqualTypeOf<{ amount: number }>()
  if (pay.status === 'idle') expectTypeOf(pay.data).toEqualTypeOf<undefined>()
  expectTypeOf(pay.data).toEqualTypeOf<Charge | undefined>()
})

test('a mutation may have no variables', () => {
  const pay = useIdempotentMutation(
    (_variables, { fetch, key }) => {
      expectTypeOf(fetch).returns.resolves.toEqualTypeOf<Response>()
      expectTypeOf(key).toEqualTypeOf<string>()
      return charge()
    },
    { parts: ['pay', 1] },
  )
  pay.mutate()
  // @ts-expect-error -- It takes none.
  pay.mutate(1)
})

test('its parts may be made of the variables', () => {
  useIdempotentMutation((_variables: { cart: string }) => charge(), { parts: ({ cart }) => ['pay', cart] })
  // @ts-expect-error -- Without parts it has no name.
  useIdempotentMutation((_variables: { cart: string }) => charge(), {})
})

test('it is an action of React 19', () => {
  const pay = useIdempotentMutation((_form: FormData) => charge(), { parts: ['pay'] })
  const [state, act] = useActionState(
    (_before: Charge | undefined, form: FormData) => pay.mutateAsync(form),
    undefined,
  )
  expectTypeOf(state).toEqualTypeOf<Charge | undefined>()
  expectTypeOf(act).parameter(0).toEqualTypeOf<FormData>()
})

test('a key may be absent, as on a server', () => {
  expectTypeOf(useIdempotencyKey(['pay', 1, { a: 1 }, undefined]).key).toEqualTypeOf<string | undefined>()
  const { done, renew } = useIdempotencyKey(['pay'])
  // The key that was sent may be told, an event is none.
  expectTypeOf(done).parameter(0).toEqualTypeOf<string | undefined>()
  expectTypeOf(renew).parameter(0).toEqualTypeOf<string | undefined>()
  expectTypeOf(IdempotencyKeyField).returns.toHaveProperty('props')
})

test("TanStack's mutations take variables with a key, and infer the rest", () => {
  const options = idempotentMutationOptions({
    mutationFn: (variables: { amount: number }, context) => {
      expectTypeOf(context.key).toEqualTypeOf<string>()
      expectTypeOf(context.client).toHaveProperty('invalidateQueries')
      expectTypeOf(variables.amount).toEqualTypeOf<number>()
      return charge()
    },
    onSuccess: (data) => expectTypeOf(data).toEqualTypeOf<Charge>(),
  })
  const pay = useMutation(options)
  expectTypeOf(pay).toEqualTypeOf<UseMutationResult<Charge, Error, Keyed<{ amount: number }>>>()
  pay.mutate(withKey({ amount: 1 }))
  pay.mutate(withKey({ amount: 1 }, 'key-1', Date.now()))
  // @ts-expect-error -- Without a key.
  pay.mutate({ amount: 1 })
  // @ts-expect-error -- Retries are the client's.
  idempotentMutationOptions({ mutationFn: charge, retry: 3 })
})
