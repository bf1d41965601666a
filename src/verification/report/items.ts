/** What stands in a lane, and rows in which nothing covers anything else. */
import { columnsOf } from './text.ts'

export type MarkShape = 'start' | 'stop' | 'asked' | 'claim' | 'renewed' | 'effect' | 'fault' | 'note'

export interface Mark {
  readonly shape: MarkShape
  readonly x: number
  readonly title: string
}

/** A bar, or with no width a mark of its own; its label may reach beyond it. */
export interface Item {
  readonly look: string
  readonly x: number
  readonly width: number
  readonly label: string
  readonly title: string
  readonly marks: readonly Mark[]
}

export interface Row {
  readonly items: readonly Item[]
  readonly height: number
}

export const barHeight = 30
export const lineHeight = 20
export const markSpace = 16
const characterWidth = 6.7
const labelSpace = 8

/** Where the label of an item begins: in its bar if there is room, else beside it. */
export function labelX(item: Item): number {
  const { x, width } = item
  if (width === 0) return x + markSpace / 2
  return isLabelInside(item) ? x + 5 : x + width + 5
}

export function isLabelInside({ width, label }: Item): boolean {
  return columnsOf(label) * characterWidth + 10 <= width
}

export function endOf(item: Item): number {
  const textEnd = labelX(item) + columnsOf(item.label) * characterWidth
  return Math.max(item.x + item.width, textEnd, ...item.marks.map(({ x }) => x + markSpace / 2))
}

/** Puts items into as few rows as it takes for none to cover another. */
export function packed(items: readonly Item[], height: number): readonly Row[] {
  const rows: { items: Item[]; until: number }[] = []
  for (const item of items.toSorted((a, b) => a.x - b.x)) {
    const row = rows.find(({ until }) => until <= item.x)
    const until = endOf(item) + labelSpace
    if (row === undefined) rows.push({ items: [item], until })
    else {
      row.items.push(item)
      row.until = until
    }
  }
  return rows.map((row) => ({ items: row.items, height }))
}
