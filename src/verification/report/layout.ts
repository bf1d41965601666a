/** Where the events of a story stand: lanes, and a time axis that gives every event room. */
import { endOf } from './items.ts'
import { type Lane, lanesOf } from './lanes.ts'
import { paddingX, Scale } from './scale.ts'
import { type KeyStoryShown, ownPart, type StoryLine } from './story.ts'
import { numeral } from './text.ts'

export interface Chart {
  readonly lanes: readonly Lane[]
  readonly ticks: readonly { readonly x: number; readonly label: string }[]
  readonly quietX: number | undefined
  readonly gapX: number | undefined
  readonly width: number
  /** Faults and the like before and after all that concerns the key itself. */
  readonly outside: number
}

const tickSpace = 66

export function chartOf(story: KeyStoryShown): Chart {
  const drawn = ownPart(story.lines)
  const scale = new Scale(drawn, story)
  const lanes = lanesOf(drawn, scale)
  const items = lanes.flatMap(({ rows }) => rows.flatMap((row) => row.items))
  const quiet = drawn.find(({ event }) => event.type === 'quiet')
  return {
    lanes,
    ticks: ticksOf(drawn, scale),
    quietX: quiet === undefined ? undefined : scale.xOf(quiet.event),
    gapX: scale.gapX,
    width:
      Math.ceil(items.reduce((most, item) => Math.max(most, endOf(item)), scale.width + tickSpace)) +
      paddingX,
    outside: story.lines.length - drawn.length,
  }
}

/** As many as there is room for, and always one for the last event. */
function ticksOf(drawn: readonly StoryLine[], scale: Scale): Chart['ticks'] {
  const ticks: { x: number; label: string }[] = []
  for (const { event, atMs } of drawn) {
    const tick = { x: scale.xOf(event) ?? 0, label: numeral(atMs) }
    const before = ticks.at(-1)
    const isLast = event === drawn.at(-1)?.event
    if (before === undefined || tick.x >= before.x + tickSpace) ticks.push(tick)
    else if (isLast && ticks.length > 1) ticks[ticks.length - 1] = tick
  }
  return ticks
}
