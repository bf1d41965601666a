/** The time axis of a story. */
import type { HistoryEvent } from '../history.ts'
import { markSpace } from './items.ts'
import type { KeyStoryShown, StoryLine } from './story.ts'

export const paddingX = 10

/** Events in their order, and the further apart the more time is between them, by its logarithm. */
export class Scale {
  readonly gapX: number | undefined
  readonly width: number
  readonly #at = new Map<HistoryEvent, number>()

  constructor(drawn: readonly StoryLine[], { lines, gapAt, leftOut }: KeyStoryShown) {
    let x = paddingX
    let gapX: number | undefined
    const afterGap = lines[gapAt]
    let before = drawn[0]?.atMs ?? 0
    for (const line of drawn) {
      if (this.#at.size > 0) x += Math.round(15 + 11 * Math.log10(1 + Math.max(0, line.atMs - before)))
      if (leftOut > 0 && line === afterGap) {
        gapX = x
        x += 2 * markSpace
      }
      this.#at.set(line.event, x)
      before = line.atMs
    }
    this.gapX = gapX
    this.width = x
  }

  /** What was left out is in the gap. */
  xOf(event: HistoryEvent | undefined): number | undefined {
    return event === undefined ? undefined : (this.#at.get(event) ?? this.gapX)
  }
}
