/** TanStack Query, whose paused mutations are kept over a reload. */
import {
  dehydrate,
  hydrate,
  onlineManager,
  QueryClient,
  QueryClientProvider,
  useMutation,
  useMutationState,
} from '@tanstack/react-query'
import { createElement as h, type ReactElement } from 'react'
import { createIdempotentFetch } from '../../../../src/client/browser.ts'
import { idempotentMutationOptions, withKey } from '../../../../src/client/tanstack-query.ts'
import { page, parameter } from './page.ts'

const payOptions = idempotentMutationOptions({
  mutationKey: ['pay'],
  async mutationFn(variables: { amount: number }, { fetch }): Promise<{ id: number }> {
    const response = await fetch('/charges', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(variables),
    })
    if (!response.ok) throw new Error(`status ${response.status}`)
    return (await response.json()) as { id: number }
  },
  fetch: createIdempotentFetch({ retries: Number(parameterOf('retries') ?? 4) }),
})

function parameterOf(name: string): string | null {
  return page.location === undefined ? null : parameter(name)
}

const kept = 'paused-mutations'

function openClient(): QueryClient {
  const opened = new QueryClient()
  opened.setMutationDefaults(['pay'], payOptions)
  hydrate(opened, JSON.parse(page.localStorage.getItem(kept) ?? '{}'))
  opened.getMutationCache().subscribe(() => {
    page.localStorage.setItem(kept, JSON.stringify(dehydrate(opened)))
  })
  if (onlineManager.isOnline()) void opened.resumePausedMutations()
  return opened
}

function Checkout(): ReactElement {
  const pay = useMutation(payOptions)
  const states = useMutationState({
    select: ({ state }) => `${state.status}${state.isPaused ? ' paused' : ''}`,
  })
  const { variables } = pay
  return h(
    'main',
    null,
    h('button', { id: 'pay', onClick: () => pay.mutate(withKey({ amount: 100 })) }, 'Pay'),
    h(
      'button',
      { id: 'retry', onClick: () => variables !== undefined && pay.mutate(variables) },
      'Ask again',
    ),
    h('output', { id: 'status' }, states.join(', ')),
    h('output', { id: 'error' }, pay.error?.name ?? ''),
  )
}

let client: QueryClient | undefined

export function QueryPage(): ReactElement {
  client ??= openClient()
  return h(QueryClientProvider, { client }, h(Checkout))
}
