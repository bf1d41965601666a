/** One side: what it charged, what the customer sees, why, the timeline, the ledger, and the code that sent it all. */
import type { Charge, Order, Side } from '../../happenings.ts'
// oxlint-disable-next-line import/default -- Vite makes it.
import naiveSource from '../clients/naive.ts?raw'
// oxlint-disable-next-line import/default -- Vite makes it.
import safeSource from '../clients/safe.ts?raw'
import { explain, seenByCustomer } from '../explain.ts'
import { euros } from '../money.ts'
import { countOf, type State, storyOf, type Total, totalOf } from '../state.ts'
import { element, setText } from './element.ts'
import { shortKey, Timeline } from './timeline.ts'

export const titles: Readonly<Record<Side, readonly [title: string, about: string]>> = {
  without: ['Without a key', 'What fails is sent again, as a new request.'],
  with: ['With Retrysafe', 'One key for the order, the same in every retry.'],
}

const sources: Readonly<Record<Side, string>> = { without: naiveSource, with: safeSource }

export class Board {
  readonly card: HTMLElement
  readonly #side: Side
  readonly #count = element('strong', { class: 'count' })
  readonly #sum = element('span', { class: 'sum' })
  readonly #verdict = element('span', { class: 'verdict' })
  readonly #score = element('p', { class: 'score' }, this.#count, this.#sum, this.#verdict)
  readonly #key = element('dd', { class: 'key' })
  readonly #seen = element('dd', { class: 'seen' })
  readonly #why = element('p', { class: 'why' })
  readonly #timeline = new Timeline()
  readonly #rows = element('tbody')
  readonly #ledger: HTMLElement
  readonly #lanes: HTMLElement

  constructor(side: Side) {
    this.#side = side
    const [title, about] = titles[side]
    const headings = ['Order', 'Customer', 'Amount', 'Key', 'Time'].map((name) =>
      element('th', { scope: 'col' }, name),
    )
    this.#ledger = element(
      'table',
      { class: 'ledger' },
      element('caption', {}, 'Ledger'),
      element('thead', {}, element('tr', {}, ...headings)),
      this.#rows,
    )
    this.#lanes = element(
      'div',
      { class: 'lanes', 'aria-hidden': 'true' },
      element('span', {}, 'Browser'),
      element('span', {}, 'Shop'),
    )
    this.card = element(
      'section',
      { class: 'board', 'data-side': side, 'aria-labelledby': `${side}-title` },
      element('header', {}, element('h2', { id: `${side}-title` }, title), element('p', {}, about)),
      this.#score,
      element(
        'dl',
        { class: 'facts' },
        element('div', {}, element('dt', {}, 'Ada sees'), this.#seen),
        element('div', {}, element('dt', {}, 'Key in use'), this.#key),
      ),
      this.#why,
      element('div', { class: 'flow' }, this.#lanes, this.#timeline.list),
      this.#ledger,
      element('details', {}, element('summary', {}, 'The code in this page'), codeOf(sources[side])),
    )
  }

  show(state: State): void {
    const story = storyOf(state, this.#side)
    const total = totalOf(state, this.#side)
    setText(this.#count, countOf(total))
    setText(this.#sum, euros(total.cents))
    setText(this.#verdict, verdictOf(total))
    this.#score.dataset['tone'] = total.isTooMuch ? 'bad' : total.charges > 0 ? 'good' : 'none'
    this.card.dataset['charges'] = `${story?.charges.length ?? 0}`
    this.card.dataset['over'] = `${story?.order.isOver ?? true}`
    const key = story?.entries.find((entry) => entry.kind === 'sent')?.key ?? undefined
    setText(this.#key, this.#side === 'without' ? 'none' : key === undefined ? '-' : `${shortKey(key)}…`)
    const seen = story === undefined ? { text: 'Nothing yet.', tone: 'none' } : seenByCustomer(story)
    setText(this.#seen, seen.text)
    this.#seen.dataset['tone'] = seen.tone
    setText(this.#why, story === undefined ? 'Nothing was sent yet.' : explain(story))
    this.#timeline.show(story?.order.id ?? '', story?.entries ?? [], story?.order.cents ?? 0)
    this.#showLedger(state.orders, state.ledgers[this.#side])
  }

  #showLedger(orders: readonly Order[], charges: readonly Charge[]): void {
    const seen = new Set<string>()
    const rows = charges.map(({ order, customer, cents, key, at }) => {
      const isAgain = seen.has(order)
      seen.add(order)
      const number = orders.find(({ id }) => id === order)?.number ?? 0
      const cells = [
        `${number}`,
        customer,
        euros(cents),
        key === null ? 'none' : shortKey(key),
        new Date(at).toTimeString().slice(0, 8),
      ]
      return element(
        'tr',
        { class: isAgain ? 'again' : undefined },
        ...cells.map((text) => element('td', {}, text)),
      )
    })
    const none = element('tr', {}, element('td', { colspan: '5', class: 'none' }, 'No charges yet.'))
    this.#rows.replaceChildren(...(rows.length === 0 ? [none] : rows))
  }
}

function verdictOf({ orders, isTooMuch }: Total): string {
  if (orders === 0) return ''
  return `${isTooMuch ? 'too much ' : ''}for ${orders} ${orders === 1 ? 'order' : 'orders'}`
}

/** What is shown is what runs. */
function codeOf(source: string): HTMLElement {
  return element('pre', { tabindex: '0' }, element('code', {}, source.trim()))
}
