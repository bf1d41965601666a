/** One sentence on what happened to an order on one side, told from what happened and from the ledger. */
import type { Entry } from '../happenings.ts'
import { euros } from './money.ts'
import type { Story } from './state.ts'

export function explain(story: Story): string {
  const { order, charges, entries } = story
  if (!order.isOver && entries.every(({ kind }) => kind !== 'outcome')) return 'The order is on its way.'
  const cause = causeOf(story)
  if (charges.length === 0) return `${cause}, and nothing was charged.`
  return `${cause}${story.side === 'with' ? protectedEnd(story) : plainEnd(story)}`
}

type Kind = Entry['kind']

function has({ entries }: Story, kind: Kind): boolean {
  return entries.some((entry) => entry.kind === kind)
}

function causeOf(story: Story): string {
  if (has(story, 'reply-lost')) return 'The shop charged, but its reply was lost'
  if (has(story, 'refused')) return 'The first request never reached the shop'
  if (has(story, 'killed')) return 'The server was killed in mid-charge'
  if (has(story, 'frozen')) return 'The server froze before it charged'
  if (has(story, 'slow')) return 'The server was too slow for the browser'
  if (story.order.clicks === 2) return 'The customer clicked twice'
  if (has(story, 'gave-up') || has(story, 'cut')) return 'The first attempt got no answer'
  return 'Nothing went wrong'
}

function plainEnd(story: Story): string {
  const { charges, order } = story
  const sum = euros(charges.length * order.cents)
  if (charges.length < 2) {
    if (has(story, 'refused'))
      return ', so sending it again did no harm, but the browser could not know that.'
    if (has(story, 'killed')) return ' and had not charged yet, which the browser could not know.'
    return order.clicks === 2 || story.entries.some(({ kind }) => kind === 'gave-up' || kind === 'cut')
      ? `, and by luck it was charged once.`
      : ': one request, one charge.'
  }
  const times = charges.length === 2 ? 'twice' : `${charges.length} times`
  if (order.clicks === 2) return `, and to the shop two requests are two orders: it charged ${times}, ${sum}.`
  if (has(story, 'frozen')) {
    return `; another server charged for the retry, and the frozen one charged as well when it woke: ${sum}.`
  }
  return `; to the shop the retry was a new order, so it charged ${times}, ${sum}.`
}

function protectedEnd(story: Story): string {
  const { order } = story
  if (has(story, 'rolled-back')) {
    return '; charge and key commit together, so both were undone, and the retry ran afresh: charged once.'
  }
  if (has(story, 'fenced-off')) {
    return '; its lease ran out, another server took over and charged, and when the first one woke, its fence was too low to charge.'
  }
  if (story.entries.some((entry) => entry.kind === 'claimed' && entry.fence > 1)) {
    return '; its lease ran out, and another server took over with the same key.'
  }
  if (has(story, 'refused'))
    return '; the retry carried the same key and was the first to arrive: charged once.'
  if (has(story, 'replayed')) {
    const who = order.clicks === 2 ? 'both clicks carried' : 'the retry carried'
    return `; ${who} the same key, so the shop gave the stored answer instead of charging again.`
  }
  if (has(story, 'slow')) return '; the same key kept a second charge from starting.'
  return ': one key, one charge.'
}

/** What the customer sees in the end, the worst news first. */
export function seenByCustomer({ entries, order }: Story): { text: string; tone: 'good' | 'bad' | 'none' } {
  const outcomes = entries.filter((entry) => entry.kind === 'outcome')
  if (outcomes.length < order.clicks) return { text: 'Paying ..', tone: 'none' }
  const bad = outcomes.find(({ result }) => result !== 'paid')
  if (bad !== undefined) return { text: bad.text, tone: 'bad' }
  return { text: `${outcomes[0]?.text ?? ''} Thank you!`, tone: 'good' }
}
