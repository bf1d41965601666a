/**
 * A page with a form that pays, for tests in a browser. `?keeper=session|local|indexed-db` names where calls are kept,
 * `?keepAfterDone=` for how long after their end, `?retries=` how often one is sent again. It also lends its keepers to
 * tests.
 */
import { createIdempotentFetch, type IdempotentFetch } from '../../../src/client/browser.ts'
import {
  indexedDbKeeper,
  type KeeperOptions,
  keptFetch,
  type KeptCall,
  type KeyKeeper,
  localStorageKeeper,
  resumeKept,
  sessionStorageKeeper,
} from '../../../src/client/keepers/index.ts'

export type BrowserKeeper = 'session' | 'local' | 'indexed-db'

const keepers: Readonly<Record<BrowserKeeper, (options: KeeperOptions) => KeyKeeper>> = {
  session: sessionStorageKeeper,
  local: localStorageKeeper,
  'indexed-db': indexedDbKeeper,
}

/** What of the page is used. */
interface Field {
  value: string
  textContent: string
  addEventListener(type: 'submit', listener: (event: { preventDefault(): void }) => void): void
}
interface Page {
  readonly document: { querySelector(selector: string): Field }
  readonly location: { readonly search: string }
  lent: typeof lent
}
const { document, location } = globalThis as unknown as Page

/** A verb of a keeper that tests lend; what it told is given back beside its answer. */
export interface Lent {
  readonly kind: BrowserKeeper
  readonly id: string
  readonly options: KeeperOptions & { readonly name: string }
  readonly time: number | undefined
  readonly verb: Exclude<keyof KeyKeeper, 'hold'>
  readonly call: KeptCall | undefined
}

export type LentAnswer =
  | { readonly answer: unknown; readonly dropped: readonly KeptCall[]; readonly damaged: number }
  | { readonly failure: string }

const instances = new Map<string, KeyKeeper>()
let dropped: KeptCall[] = []
let damaged = 0
let time: number | undefined

async function lent({ kind, id, options, time: now, verb, call }: Lent): Promise<LentAnswer> {
  time = now
  dropped = []
  damaged = 0
  const keeper =
    instances.get(id) ??
    keepers[kind]({
      ...options,
      onDropped: (lost) => void dropped.push(lost),
      onDamaged: () => void (damaged += 1),
      clock: { now: () => time ?? Date.now() },
    })
  instances.set(id, keeper)
  try {
    const answer = await (verb === 'find' ? keeper.find(call?.intent ?? '') : keeper[verb](call as KeptCall))
    return { answer, dropped, damaged }
  } catch (error) {
    return { failure: (error as { reason?: string }).reason ?? String(error) }
  }
}
;(globalThis as unknown as Page).lent = lent

const query = new URLSearchParams(location.search)
const keeper = keepers[(query.get('keeper') ?? 'session') as BrowserKeeper]({
  keepAfterDone: (query.get('keepAfterDone') ?? '0ms') as '1m',
})
const fetch: IdempotentFetch = createIdempotentFetch({
  retries: Number(query.get('retries') ?? 20),
  backoffMax: '1s',
})
const pay = keptFetch({ fetch, keeper })
const output = document.querySelector('output')

document.querySelector('form').addEventListener('submit', (event) => {
  event.preventDefault()
  const amount = Number(document.querySelector('input').value)
  output.textContent = 'paying'
  void pay('/charges', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ amount, note: 'Grüße 🧾' }),
    idempotency: { intent: ['pay', 'cart-7'] },
  })
    .then(async (response) => {
      output.textContent = `paid ${((await response.json()) as { id: number }).id}`
    })
    .catch((error: unknown) => {
      output.textContent = String(error)
    })
})

if (!query.has('waits')) {
  output.textContent = 'resuming'
  const resumed = await resumeKept({ fetch, keeper })
  const ends = resumed.map(async (each) =>
    each.end === 'answered' ? `paid ${((await each.response.json()) as { id: number }).id}` : each.end,
  )
  output.textContent = `resumed: ${(await Promise.all(ends)).join(', ')}`
}
