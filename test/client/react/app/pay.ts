/** A checkout whose button pays by `useIdempotentMutation`. */
import { createElement as h, type ReactElement, startTransition, useActionState, useState } from 'react'
import { createIdempotentFetch } from '../../../../src/client/browser.ts'
import { useIdempotentMutation } from '../../../../src/client/react.ts'

interface Charge {
  readonly id: number
  readonly amount: number
}

/** Gives up at the first lost answer, so that the page has to ask. */
const once = createIdempotentFetch({ retries: 0 })

interface PayProps {
  readonly id: string
  readonly cart: string
  readonly givesUp: boolean
  readonly keepAfterDone?: number
}

export function Pay({ id, cart, givesUp, keepAfterDone }: PayProps): ReactElement {
  const [amount, setAmount] = useState('100')
  const pay = useIdempotentMutation(
    async (variables: { amount: number }, { fetch }): Promise<Charge> => {
      const response = await fetch('/charges', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(variables),
      })
      if (!response.ok) throw new Error(`status ${response.status}`)
      return (await response.json()) as Charge
    },
    {
      parts: ['pay', cart],
      ...(givesUp && { fetch: once }),
      ...(keepAfterDone !== undefined && { keepAfterDone }),
    },
  )
  // An action: React holds back what it sets until it is over.
  const [, act, isActing] = useActionState(async () => {
    await pay.mutateAsync({ amount: Number(amount) }).catch(() => {})
    return undefined
  }, undefined)
  const { status, data, replayed, error } = pay
  const name = (part: string): string => `${id}-${part}`
  return h(
    'section',
    null,
    h('input', {
      id: name('amount'),
      value: amount,
      onChange: (event) => setAmount((event.target as unknown as { value: string }).value),
    }),
    h('button', { id: name('pay'), onClick: () => pay.mutate({ amount: Number(amount) }) }, 'Pay'),
    h('button', { id: name('act'), onClick: () => startTransition(() => act()) }, 'Pay by an action'),
    h('button', { id: name('retry'), onClick: pay.retry }, 'Ask again'),
    h('button', { id: name('renew'), onClick: pay.renew }, 'New order'),
    h('output', { id: name('status') }, status),
    h('output', { id: name('acting') }, String(isActing)),
    h('output', { id: name('replayed') }, String(replayed)),
    h('output', { id: name('charge') }, data === undefined ? '' : String(data.id)),
    h('output', { id: name('error') }, error instanceof Error ? error.message : ''),
  )
}

export function PayPage({
  cart,
  givesUp,
  isTwice,
  keepAfterDone,
}: {
  readonly cart: string
  readonly givesUp: boolean
  readonly isTwice: boolean
  readonly keepAfterDone?: number
}): ReactElement {
  const [isShown, setShown] = useState(true)
  const props = { cart, givesUp, ...(keepAfterDone !== undefined && { keepAfterDone }) }
  return h(
    'main',
    null,
    h('button', { id: 'toggle', onClick: () => setShown(!isShown) }, 'Show'),
    isShown && h(Pay, { ...props, id: 'a' }),
    isTwice && h(Pay, { ...props, id: 'b' }),
  )
}
