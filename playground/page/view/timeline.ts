/** What happened, one line each, between the lane of the browser and the lane of the shop. */
import type { Entry, Side } from '../../happenings.ts'
import { euros } from '../money.ts'
import { element } from './element.ts'

type Lane = 'browser' | 'shop'
type Tone = 'plain' | 'good' | 'bad' | 'wait' | 'money'
type Wire = 'request' | 'reply' | 'request-lost' | 'reply-lost'

interface Line {
  readonly lane: Lane
  readonly text: string
  readonly tone: Tone
  readonly wire?: Wire
  /** Smaller, beside the text. */
  readonly detail?: string
}

const icons: Readonly<Record<Wire, string>> = {
  request: '<path d="M2 8h42m-6-5 6 5-6 5"/>',
  reply: '<path d="M46 8H4m6-5L4 8l6 5"/>',
  'request-lost': '<path d="M2 8h20m6-5 10 10m0-10-10 10"/>',
  'reply-lost': '<path d="M46 8H26m-6-5L10 13m0-10 10 10"/>',
}

/** The first eight characters tell keys apart. */
export function shortKey(key: string): string {
  return key.slice(0, 8)
}

function lineOf(entry: Entry, earlier: readonly Entry[], cents: number): Line | undefined {
  switch (entry.kind) {
    case 'sent': {
      const { key, isRetry, side } = entry
      const text = isRetry
        ? side === 'with'
          ? 'Retried with the same key'
          : 'Sent again as a new request'
        : 'Sent'
      const detail = key === null ? 'no key' : `${isRetry ? '' : 'key '}${shortKey(key)}`
      return { lane: 'browser', text, detail, tone: 'plain', wire: 'request' }
    }
    case 'refused':
      return { lane: 'browser', text: 'Refused', tone: 'bad', wire: 'request-lost' }
    case 'claimed': {
      const isTakeover = entry.fence > 1
      const text = isTakeover ? 'Lease over: taken over' : 'Key claimed'
      return { lane: 'shop', text, detail: `fence ${entry.fence}`, tone: isTakeover ? 'wait' : 'plain' }
    }
    case 'in-progress':
      return { lane: 'shop', text: 'Still in progress', tone: 'wait' }
    case 'charged': {
      const isAgain = isPlain(entry.side) && earlier.some(({ kind }) => kind === 'charged')
      const text = `${isAgain ? 'Charged again' : 'Charged'} ${euros(cents)}`
      if (!entry.isCommitted) return { lane: 'shop', text, detail: 'not committed yet', tone: 'money' }
      return { lane: 'shop', text, tone: isAgain ? 'bad' : 'money' }
    }
    case 'stored':
      return {
        lane: 'shop',
        text: isTogether(earlier) ? 'Committed with its answer' : 'Answer stored',
        tone: 'good',
      }
    case 'replayed':
      return { lane: 'shop', text: 'Stored answer replayed', tone: 'good' }
    case 'slow':
      return { lane: 'shop', text: 'Takes its time', tone: 'wait' }
    case 'frozen':
      return { lane: 'shop', text: 'Server freezes', detail: `process ${entry.pid}`, tone: 'bad' }
    case 'woke':
      return { lane: 'shop', text: 'Frozen server wakes', detail: `process ${entry.pid}`, tone: 'wait' }
    case 'fenced-off':
      return { lane: 'shop', text: 'Late charge refused', detail: 'its fence is too low', tone: 'good' }
    case 'killed':
      return { lane: 'shop', text: 'Server killed', detail: `process ${entry.pid}`, tone: 'bad' }
    case 'rolled-back':
      return { lane: 'shop', text: 'Charge and key undone', tone: 'good' }
    case 'reply-lost':
      return { lane: 'browser', text: 'Reply lost', tone: 'bad', wire: 'reply-lost' }
    case 'gave-up':
      return { lane: 'browser', text: 'Stopped waiting', tone: 'bad' }
    case 'unheard':
      return { lane: 'browser', text: 'Late reply, nobody waits', tone: 'plain', wire: 'reply-lost' }
    case 'cut':
      return { lane: 'browser', text: 'Connection broke', tone: 'bad', wire: 'reply-lost' }
    case 'answered':
      return answerLine(entry.status, entry.replayed)
    case 'outcome':
      return undefined
    default:
      return entry satisfies never
  }
}

/** Whether charge and record are one commit. */
function isTogether(earlier: readonly Entry[]): boolean {
  return earlier.findLast((entry) => entry.kind === 'charged')?.isCommitted === false
}

function isPlain(side: Side): boolean {
  return side === 'without'
}

function answerLine(status: number, replayed: boolean): Line {
  const head = { lane: 'browser', wire: 'reply' } as const
  if (status === 409) return { ...head, text: 'Told to wait', detail: '409', tone: 'wait' }
  if (status >= 400) return { ...head, text: 'Not answered yet', detail: `${status}`, tone: 'wait' }
  return { ...head, text: 'Answered', detail: replayed ? `${status}, replayed` : `${status}`, tone: 'good' }
}

const laneNames: Readonly<Record<Lane, string>> = { browser: 'Browser', shop: 'Shop' }

function lineElement(entry: Entry, { lane, text, tone, wire, detail }: Line): HTMLLIElement {
  const words = element(
    'div',
    { class: 'words' },
    element('span', { class: 'hidden' }, `${laneNames[lane]}: `),
    text,
  )
  if (detail !== undefined) words.append(' ', element('small', {}, detail))
  const row = element(
    'li',
    { class: `line ${lane} ${tone}`, 'data-kind': entry.kind, 'data-attempt': `${entry.attempt}` },
    element('time', {}, `${(entry.atMs / 1_000).toFixed(1)} s`),
    words,
  )
  if (wire !== undefined) {
    const arrow = element('span', { class: 'wire', 'aria-hidden': 'true' })
    arrow.innerHTML = `<svg viewBox="0 0 48 16">${icons[wire]}</svg>`
    row.append(arrow)
  }
  return row
}

/** A list that follows the log: lines are added as they happen, and all go when another order begins. */
export class Timeline {
  readonly list: HTMLOListElement = element('ol', { class: 'timeline' })
  #order = ''
  #shown = 0

  show(order: string, entries: readonly Entry[], cents: number): void {
    if (order !== this.#order) {
      this.#order = order
      this.#shown = 0
      this.list.replaceChildren()
    }
    for (const [at, entry] of entries.entries()) {
      if (at < this.#shown) continue
      const line = lineOf(entry, entries.slice(0, at), cents)
      if (line !== undefined) this.list.append(lineElement(entry, line))
    }
    this.#shown = entries.length
  }
}
