/** The lanes of a story: each process with its calls and its faults, each record with its phases, the ledger. */
import type { HistoryEvent } from '../history.ts'
import { barHeight, type Item, lineHeight, type Mark, type MarkShape, packed, type Row } from './items.ts'
import type { Scale } from './scale.ts'
import { isRenewal, recordName, type StoryLine } from './story.ts'
import { numeral, short } from './text.ts'

export interface Lane {
  readonly name: string
  readonly rows: readonly Row[]
}

const lanesMost = 24
const labelMost = 32
const effectMost = 16

export function lanesOf(drawn: readonly StoryLine[], scale: Scale): readonly Lane[] {
  const calls = callsOf(drawn)
  const laneOf = lanesByProcess(calls.map(({ process }) => process))
  const isElsewhere = ({ event, who }: StoryLine): boolean => event.type !== 'fault' || !laneOf.has(who)
  const hits = drawn.filter((line) => !isElsewhere(line))
  const processes = [...new Set(laneOf.values())].map((name): Lane => {
    const hitItems = hits
      .filter(({ who }) => laneOf.get(who) === name)
      .map((line) => labelled('fault', line, faultOf(line), scale))
    const callItems = calls
      .filter(({ process }) => laneOf.get(process) === name)
      .map((call) => callItem(call, scale))
    return { name, rows: [...packed(hitItems, lineHeight), ...packed(callItems, barHeight)] }
  })
  const notes = drawn.filter(isElsewhere).flatMap((line) => noteItem(line, scale))
  const effects = drawn.flatMap((line) => effectItem(line, scale))
  return [
    ...processes,
    ...(notes.length > 0 ? [{ name: 'elsewhere', rows: packed(notes, lineHeight) }] : []),
    ...recordLanes(drawn, scale),
    { name: 'ledger', rows: packed(effects, lineHeight) },
  ]
}

/** Processes share the last lane when there are too many. */
function lanesByProcess(processes: readonly string[]): ReadonlyMap<string, string> {
  const names = [...new Set(processes)]
  const others = names.length > lanesMost ? `${names.length - lanesMost + 1} others` : undefined
  return new Map(names.map((name, at) => [name, at >= lanesMost - 1 ? (others ?? name) : name]))
}

interface DrawnCall {
  readonly call: number
  readonly process: string
  readonly lines: readonly StoryLine[]
  readonly end: Extract<HistoryEvent, { readonly type: 'ok' | 'fail' | 'info' }> | undefined
}

/** Calls with what happened in them; who claims is known by the token of the handler. */
function callsOf(drawn: readonly StoryLine[]): readonly DrawnCall[] {
  const callOfToken = new Map(
    drawn.flatMap(({ event }) =>
      event.type === 'start' && event.token !== '' ? [[event.token, event.call] as const] : [],
    ),
  )
  const callOf = (event: HistoryEvent): number | undefined => {
    if (event.type === 'own-claim') return callOfToken.get(event.token)
    return 'call' in event && event.type !== 'effect' ? event.call : undefined
  }
  const byCall = Map.groupBy(drawn, ({ event }) => callOf(event))
  return [...byCall].flatMap(([call, lines]) => {
    if (call === undefined) return []
    const end = lines.map(({ event }) => event).find(isEnd)
    return [{ call, process: lines[0]?.who ?? '', lines, end }]
  })
}

function isEnd(event: HistoryEvent): event is NonNullable<DrawnCall['end']> {
  return event.type === 'ok' || event.type === 'fail' || event.type === 'info'
}

/** What was left out is in the gap: a call whose begin or end is not here reaches as far as that. */
function callItem({ call, lines, end }: DrawnCall, scale: Scale): Item {
  const { gapX, width } = scale
  const [first] = lines
  const begin = first?.event.type === 'invoke' ? scale.xOf(first.event) : gapX
  const x = begin ?? scale.xOf(first?.event) ?? 0
  const until = scale.xOf(end) ?? (gapX !== undefined && x < gapX ? gapX : width)
  return {
    look: `call ${end?.type ?? 'open'}`,
    x,
    width: Math.max(4, until - x),
    label: `call ${call}: ${endLabel(end)}`,
    title: lines.map(titleOf).join('; '),
    marks: lines.flatMap((line) => markOf(line, scale)),
  }
}

function endLabel(end: DrawnCall['end']): string {
  if (end === undefined) return 'has no end here'
  if (end.type !== 'ok') return short(`${end.type} ${end.code}`, labelMost)
  // An answer names the principal, the key, the request and the effect.
  const effect = end.value.split('|')[3] ?? end.value
  return short(`ok ${effect}${end.replayed ? ' replayed' : ''}`, labelMost)
}

const shapes: Partial<Record<HistoryEvent['type'], MarkShape>> = {
  start: 'start',
  stop: 'stop',
  reconcile: 'asked',
  'own-claim': 'claim',
}

function markOf(line: StoryLine, scale: Scale): readonly Mark[] {
  const shape = shapes[line.event.type]
  const x = scale.xOf(line.event)
  return shape === undefined || x === undefined ? [] : [{ shape, x, title: titleOf(line) }]
}

function faultOf({ event, what }: StoryLine): string {
  return event.type === 'fault' ? event.fault : what
}

function noteItem(line: StoryLine, scale: Scale): readonly Item[] {
  switch (line.event.type) {
    case 'fault':
      return [labelled('fault', line, `${line.who}: ${faultOf(line)}`, scale)]
    case 'quiet':
    case 'loss':
    case 'eviction':
    case 'ack':
      return [labelled('note', line, line.what, scale)]
    default:
      return []
  }
}

function effectItem(line: StoryLine, scale: Scale): readonly Item[] {
  const { event } = line
  return event.type === 'effect'
    ? [labelled('effect', line, `${short(event.effect, effectMost)} of call ${event.call}`, scale)]
    : []
}

function labelled(shape: MarkShape, line: StoryLine, label: string, scale: Scale): Item {
  const x = scale.xOf(line.event) ?? 0
  const title = titleOf(line)
  return {
    look: `line ${shape}`,
    x,
    width: 0,
    label: short(label, labelMost),
    title,
    marks: [{ shape, x, title }],
  }
}

interface Change {
  readonly line: StoryLine
  readonly event: Extract<HistoryEvent, { readonly type: 'record' }>
}

function recordLanes(drawn: readonly StoryLine[], scale: Scale): readonly Lane[] {
  const changes = drawn.flatMap((line): readonly Change[] =>
    line.event.type === 'record' ? [{ line, event: line.event }] : [],
  )
  const byRecord = [...Map.groupBy(changes, ({ event }) => event.record)].slice(0, lanesMost)
  return byRecord.map(([record, ofRecord]) => ({
    name: recordName(record),
    rows: packed(phaseItems(ofRecord, scale), barHeight),
  }))
}

/** A bar for each phase of each holder, marked where its lease is renewed. */
function phaseItems(changes: readonly Change[], scale: Scale): readonly Item[] {
  const phases: Change[][] = []
  for (const change of changes) {
    const { before, after } = change.event
    const phase = phases.at(-1)
    if (phase !== undefined && after !== undefined && isRenewal(before, after)) phase.push(change)
    else phases.push([change])
  }
  return phases.flatMap(([first, ...renewals], at) => {
    if (first === undefined) return []
    const { after } = first.event
    const x = scale.xOf(first.event) ?? 0
    const until = scale.xOf(phases[at + 1]?.[0]?.event) ?? scale.width
    return {
      look: `phase ${after?.phase ?? 'absent'}`,
      x,
      width: Math.max(4, until - x),
      label: short(after === undefined ? 'absent' : `${after.phase}, fence ${after.fence}`, labelMost),
      title: titleOf(first.line),
      marks: renewals.map(({ line, event }): Mark => {
        return { shape: 'renewed', x: scale.xOf(event) ?? x, title: titleOf(line) }
      }),
    }
  })
}

function titleOf({ atMs, who, what }: StoryLine): string {
  return `${numeral(atMs)} ms, ${who}: ${what}`
}
