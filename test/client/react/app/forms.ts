/** Forms with a hidden key, and a component that sends its key by means of its own. */
import { createElement as h, type ReactElement, useActionState, useState } from 'react'
import { useFormStatus } from 'react-dom'
import { IdempotencyKeyField, useIdempotencyKey } from '../../../../src/client/react.ts'

/** A form that the browser sends by itself. */
export function PlainForm({ initialKey }: { readonly initialKey?: string }): ReactElement {
  return h(
    'form',
    { method: 'post', action: '/form' },
    h(IdempotencyKeyField, { parts: ['pay', 'cart-1'], ...(initialKey !== undefined && { initialKey }) }),
    h('input', { name: 'amount', defaultValue: '100' }),
    h('button', { id: 'pay' }, 'Pay'),
  )
}

interface ActionState {
  readonly id?: number
  readonly failed?: string
}

/** Stands where a framework has its call of a server action. */
async function payAction(_before: ActionState | null, form: FormData): Promise<ActionState> {
  const response = await fetch('/action', { method: 'POST', body: form })
  return (await response.json()) as ActionState
}

function Submit(): ReactElement {
  const { pending } = useFormStatus()
  return h('button', { id: 'pay' }, pending ? 'Paying' : 'Pay')
}

export function ActionForm(): ReactElement {
  const [state, act] = useActionState(payAction, null)
  return h(
    'form',
    { action: act },
    h(IdempotencyKeyField, { parts: ['comment', 'post-1'], ended: state }),
    h('input', { name: 'amount', id: 'amount', defaultValue: '100' }),
    h(Submit),
    h('output', { id: 'status' }, state === null ? 'idle' : (state.failed ?? 'success')),
    h('output', { id: 'charge' }, String(state?.id ?? '')),
  )
}

export function KeyPage({ keepAfterDone }: { readonly keepAfterDone?: number }): ReactElement {
  const { key, done, renew } = useIdempotencyKey(
    ['pay', 'cart-1', 100],
    keepAfterDone === undefined ? {} : { keepAfterDone },
  )
  const [status, setStatus] = useState('idle')
  const pay = async (): Promise<void> => {
    setStatus('pending')
    const headers = { 'content-type': 'application/json', 'idempotency-key': `"${key}"` }
    const response = await fetch('/charges', { method: 'POST', headers, body: '{"amount":100}' })
    if (response.status === 201) done(key)
    setStatus(response.status === 201 ? 'success' : 'error')
  }
  return h(
    'main',
    null,
    h('button', { id: 'pay', onClick: () => void pay() }, 'Pay'),
    h('button', { id: 'renew', onClick: () => renew() }, 'New order'),
    h('output', { id: 'status' }, status),
    h('output', { id: 'key' }, key ?? ''),
  )
}

export function KeysPage(): ReactElement {
  const first = useIdempotencyKey(['pay', 'cart-1', 100])
  const second = useIdempotencyKey(['pay', 'cart-1', 100])
  const other = useIdempotencyKey(['pay', 'cart-1', 101])
  const memory = useIdempotencyKey(['pay', 'cart-1', 100], { storage: 'memory' })
  return h('output', { id: 'keys' }, JSON.stringify([first.key, second.key, other.key, memory.key]))
}

function Row({ at, storage }: { readonly at: number; readonly storage: 'session' | 'memory' }): ReactElement {
  return h('li', null, useIdempotencyKey(['row', at], { storage }).key)
}

/** More rows than a storage keeps keys; a button renders them all again. */
export function RowsPage({ storage }: { readonly storage: 'session' | 'memory' }): ReactElement {
  const [renders, setRenders] = useState(1)
  const rows = Array.from({ length: 120 }, (_, at) => h(Row, { key: at, at, storage }))
  return h(
    'main',
    null,
    h('button', { id: 'again', onClick: () => setRenders(renders + 1) }, 'Again'),
    h('output', { id: 'renders' }, renders),
    h('ul', { id: 'rows' }, rows),
  )
}

/** Two orders on one page, whose server has made a key for the first one. */
export function GivenKeyPage(): ReactElement {
  const { key, done, renew } = useIdempotencyKey(['pay', 'cart-1'], {
    initialKey: 'key-1',
    keepAfterDone: 300,
  })
  return h(
    'main',
    null,
    h('button', { id: 'done', onClick: () => done(key) }, 'Done'),
    // What ends late, with the key that it was sent with.
    h('button', { id: 'late', onClick: () => done('key-1') }, 'Late'),
    h('button', { id: 'renew', onClick: () => renew(key) }, 'New order'),
    h('output', { id: 'key' }, key),
  )
}
