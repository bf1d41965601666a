/** The story of a key as a picture. */
import type { KeyOfPrincipal } from '../history.ts'
import { isLabelInside, type Item, labelX, type Mark, type MarkShape, type Row } from './items.ts'
import type { Lane } from './lanes.ts'
import { type Chart, chartOf } from './layout.ts'
import { html, type Markup } from './markup.ts'
import type { KeyStoryShown } from './story.ts'
import { counted, fitted, short } from './text.ts'

const axisHeight = 26
const lanePadding = 5
const nameWidth = 104
const nameColumns = 14
const markBelow = 21
const edge = 100_000

interface PlacedLane extends Lane {
  readonly y: number
  readonly height: number
}

/**
 * A figure with the story of a key: lanes from top to bottom, time from left to right, names of lanes that stay when
 * the rest is scrolled.
 *
 * @param id unique in the page, and nothing that came from data
 */
export function timeline(id: string, { principal, key }: KeyOfPrincipal, story: KeyStoryShown): Markup {
  const chart = chartOf(story)
  const lanes = placed(chart.lanes)
  const last = lanes.at(-1)
  const height = last === undefined ? axisHeight : last.y + last.height
  const title = `Timeline of key ${short(key, 80)} of ${short(principal, 80)}`
  return html`<figure>
<div class="scroll" tabindex="0" role="region" aria-label="${title}, scrolls sideways">
<div class="chart">
<svg class="names" width="${nameWidth}" height="${height}" aria-hidden="true">${axisName()}${lanes.map(laneName)}</svg>
<svg width="${chart.width}" height="${height}" role="img" aria-labelledby="${id}-title ${id}-desc">
<title id="${id}-title">${title}</title>
<desc id="${id}-desc">${described(chart, story)} The table below tells the same in words.</desc>
${lanes.map(band)}${axis(chart, height)}${lanes.map(laneContent)}
</svg>
</div>
</div>
<figcaption>${described(chart, story)}</figcaption>
</figure>`
}

function described(chart: Chart, { lines }: KeyStoryShown): string {
  const count = (type: string): number => lines.filter(({ event }) => event.type === type).length
  const parts = [
    counted(count('invoke'), 'call'),
    counted(count('start'), 'handler start'),
    counted(count('effect'), 'effect'),
    counted(count('record'), 'record change'),
    counted(count('fault'), 'fault'),
  ]
  const outside =
    chart.outside > 0 ? ` ${counted(chart.outside, 'event')} before or after it only in the table.` : ''
  const nearly = lines.some(({ isNearly }) => isNearly)
    ? ' The times of record changes are worked out from the clock of the store.'
    : ''
  return `${parts.join(', ')}.${outside}${nearly}`
}

function placed(lanes: readonly Lane[]): readonly PlacedLane[] {
  let y = axisHeight
  return lanes.map((lane) => {
    const rows = lane.rows.reduce((sum, row) => sum + row.height, 0)
    const height = Math.max(lanePadding * 2 + rows, 24)
    const at = y
    y += height
    return { ...lane, y: at, height }
  })
}

function axisName(): Markup {
  return html`<text class="tick" x="8" y="17">ms</text>`
}

function laneName({ name, y, height }: PlacedLane): Markup {
  return html`<g><title>${name}</title><text class="lane-name" x="8" y="${y + 19}">${fitted(name, nameColumns)}</text><path class="border" d="M0 ${y + height}H${nameWidth}"/></g>`
}

/** To the edge of the picture, however wide it is shown. */
function band({ y, height }: PlacedLane): Markup {
  return html`<path class="border" d="M0 ${y + height}H${edge}"/>`
}

function axis({ ticks, quietX, gapX }: Chart, height: number): Markup {
  return html`${ticks.map(
    ({ x, label }) =>
      html`<path class="grid" d="M${x} ${axisHeight - 4}V${height}"/><text class="tick" x="${x}" y="17">${label}</text>`,
  )}${quietX === undefined ? undefined : html`<path class="quiet" d="M${quietX} ${axisHeight}V${height}"/>`}${
    gapX === undefined
      ? undefined
      : html`<path class="gap" d="M${gapX + 6} ${axisHeight}V${height}"><title>left out here</title></path>`
  }`
}

function laneContent({ rows, y }: PlacedLane): Markup {
  let at = y + lanePadding
  return html`${rows.map((row) => {
    const top = at
    at += row.height
    return rowContent(row, top)
  })}`
}

function rowContent({ items, height }: Row, top: number): Markup {
  return html`${items.map((item) => (item.width > 0 ? bar(item, top, height) : line(item, top)))}
`
}

function bar(item: Item, top: number, height: number): Markup {
  const { look, x, width, label, title, marks } = item
  return html`<g class="${look}"><title>${title}</title><rect x="${x}" y="${top + 1}" width="${width}" height="${height - 4}" rx="3"/><text class="${isLabelInside(item) ? 'inside' : 'beside'}" x="${labelX(item)}" y="${top + 13}">${label}</text>${marks.map((one) => mark(one, top + markBelow))}</g>`
}

function line(item: Item, top: number): Markup {
  const { look, label, title, marks } = item
  return html`<g class="${look}"><title>${title}</title>${marks.map(({ shape, x }) => mark({ shape, x }, top + 10))}<text class="beside" x="${labelX(item)}" y="${top + 14}">${label}</text></g>`
}

/** Around its middle. */
const paths: Readonly<Record<MarkShape, string>> = {
  start: 'M-4 -4L4 0L-4 4Z',
  stop: 'M-3.5 -3.5H3.5V3.5H-3.5Z',
  asked: 'M0 -4.5A4.5 4.5 0 1 1 0 4.5A4.5 4.5 0 1 1 0 -4.5Z',
  claim: 'M0 -2.5A2.5 2.5 0 1 1 0 2.5A2.5 2.5 0 1 1 0 -2.5Z',
  renewed: 'M-4 3L0 -4L4 3',
  effect: 'M0 -5.5L5.5 0L0 5.5L-5.5 0Z',
  fault: 'M-4 -4L4 4M4 -4L-4 4',
  note: 'M0 -5V5',
}

function mark({ shape, x, title }: Omit<Mark, 'title'> & Partial<Mark>, y: number): Markup {
  const words = title === undefined ? undefined : html`<title>${title}</title>`
  return html`<path class="mark ${shape}" transform="translate(${x} ${y})" d="${paths[shape]}">${words}</path>`
}

/** A mark on its own, for a legend. */
export function legendMark(shape: MarkShape): Markup {
  return html`<svg width="16" height="16" aria-hidden="true">${mark({ shape, x: 8 }, 8)}</svg>`
}

/** A bar on its own, for a legend. */
export function legendBar(look: string): Markup {
  return html`<svg width="28" height="16" aria-hidden="true"><g class="${look}"><rect x="1" y="1" width="26" height="14" rx="3"/></g></svg>`
}
