/** The story of a key as people read it: when, who, what. */
import { storyOf } from '../checker.ts'
import type { History, HistoryEvent, KeyOfPrincipal, RecordEvent, RecordState } from '../history.ts'
import { counted, numeral, short } from './text.ts'

export interface StoryLine {
  readonly event: HistoryEvent
  /** Milliseconds since the first event of the run. */
  readonly atMs: number
  /** Whether the time was told by the store's clock, and is only nearly right by the driver's. */
  readonly isNearly: boolean
  readonly who: string
  readonly what: string
}

export interface KeyStoryShown {
  readonly lines: readonly StoryLine[]
  /** How many lines stand before those that were left out of the middle. */
  readonly gapAt: number
  readonly leftOut: number
  /** Faults before and after all that concerns the key itself, where there was no room for them. */
  readonly faultsLeftOut: number
}

const linesMost = 400
const textMost = 160
const nameMost = 40

/** The story of a key, cut to 400 lines: faults that lie outside it go first, then its middle. */
export function shownStory(history: History, key: KeyOfPrincipal, clock: RunClock): KeyStoryShown {
  const all = linesOf(history, key, clock)
  const within = all.length <= linesMost ? all : ownPart(all)
  const faultsLeftOut = all.length - within.length
  if (within.length <= linesMost) return { lines: within, gapAt: 0, leftOut: 0, faultsLeftOut }
  const gapAt = linesMost / 2
  const lines = [...within.slice(0, gapAt), ...within.slice(-gapAt)]
  return { lines, gapAt, leftOut: within.length - lines.length, faultsLeftOut }
}

/** From the first to the last line that concerns the key itself. */
export function ownPart(lines: readonly StoryLine[]): readonly StoryLine[] {
  const isOwn = ({ event }: StoryLine): boolean =>
    event.type !== 'fault' && event.type !== 'quiet' && event.type !== 'loss'
  return lines.slice(lines.findIndex(isOwn), lines.findLastIndex(isOwn) + 1)
}

function linesOf(
  history: History,
  key: KeyOfPrincipal,
  { timeOf, isNearly }: RunClock,
): readonly StoryLine[] {
  const events = storyOf(history, key)
  const processes = new Map(
    events.flatMap((event) => (event.type === 'invoke' ? [[event.call, event.process] as const] : [])),
  )
  return events
    .map((event) => ({
      event,
      atMs: timeOf(event),
      isNearly: isNearly && event.type === 'record',
      who: short(whoOf(event, processes), nameMost),
      what: whatOf(event),
    }))
    .toSorted((a, b) => a.atMs - b.atMs)
}

/** Tells the time of each event of a run. */
export interface RunClock {
  timeOf(event: HistoryEvent): number
  /** Whether the time of record changes is worked out from the store's clock. */
  readonly isNearly: boolean
}

/**
 * A log that triggers wrote knows only the store's clock, and all its changes stand at one time. A claim comes
 * before its handler: how close the closest two are is how far the clocks are apart.
 */
export function runClockOf({ events }: History): RunClock {
  const startedAt = events.reduce((first, { at }) => Math.min(first, at), events[0]?.at ?? 0)
  const changes = events.filter((event) => event.type === 'record')
  const usual: RunClock = { timeOf: ({ at }) => at - startedAt, isNearly: false }
  const [first] = changes
  const isLog = changes.every(({ at }) => at === first?.at) && changes.some(({ now }) => now !== first?.now)
  if (!isLog) return usual
  const claimedAt = new Map<string, number>()
  for (const { after, now } of changes) {
    if (after !== undefined && !claimedAt.has(after.token)) claimedAt.set(after.token, now)
  }
  const apartMs = events.reduce((least, event) => {
    if (event.type !== 'start' && event.type !== 'effect') return least
    return Math.min(least, event.at - (claimedAt.get(event.token) ?? Number.NEGATIVE_INFINITY))
  }, Number.POSITIVE_INFINITY)
  if (!Number.isFinite(apartMs)) return usual
  return {
    timeOf: (event) => (event.type === 'record' ? event.now + apartMs : event.at) - startedAt,
    isNearly: true,
  }
}

function whoOf(event: HistoryEvent, processes: ReadonlyMap<number, string>): string {
  switch (event.type) {
    case 'invoke':
    case 'start':
    case 'own-claim':
      return event.process
    case 'ok':
    case 'fail':
    case 'info':
    case 'stop':
    case 'reconcile':
      return processes.get(event.call) ?? `call ${event.call}`
    case 'effect':
      return 'ledger'
    case 'record':
    case 'eviction':
      return recordName(event.record)
    case 'fault':
      return event.target
    case 'ack':
      return 'consumer'
    case 'loss':
    case 'unknown-commit':
    case 'resent-commit':
      return 'store'
    case 'leak':
      return event.where
    case 'quiet':
    case 'end':
      return 'run'
    default:
      return event satisfies never
  }
}

/** As violations name it. */
export function recordName(record: string): string {
  return `record ${record.slice(0, 6)}`
}

function whatOf(event: HistoryEvent): string {
  const told = (text: string): string => short(text, textMost)
  const by = (token: string): string => (token === '' ? '' : `, token ${short(token, nameMost)}`)
  switch (event.type) {
    case 'invoke':
      return `call ${event.call} asks: request ${told(event.request)}`
    case 'ok':
      return `call ${event.call} ends ok: ${event.replayed ? 'replayed' : 'executed'} ${told(event.value)}`
    case 'fail':
    case 'info':
      return `call ${event.call} ends ${event.type}: ${told(event.code)}`
    case 'start':
      return `handler starts for call ${event.call}: fence ${event.fence}${by(event.token)}, request ${told(event.request)}`
    case 'stop':
      return `handler stops for call ${event.call}${by(event.token)}`
    case 'effect':
      return `effect ${told(event.effect)} of call ${event.call}${by(event.token)}, request ${told(event.request)}`
    case 'reconcile':
      return `call ${event.call} asks the operation, which ${event.adopted ? 'knows' : 'does not know'} of the effect`
    case 'record':
      return changeOf(event)
    case 'own-claim':
      return event.what === 'seen'
        ? `sees its own live claim${by(event.token)}`
        : `gives its claim back${by(event.token)}`
    case 'fault':
      return `fault: ${told(event.fault)}`
    case 'ack':
      return 'acknowledges the message'
    case 'loss':
      return `comes back without ${counted(event.records.length, 'record')} and ${counted(event.effects.length, 'effect')}`
    case 'eviction':
      return 'is evicted: gone, although it should be kept'
    case 'resent-commit':
      return `a commit arrives again, known by its ${event.knownBy}`
    case 'unknown-commit':
      return `an unanswered COMMIT: ${event.applied === 'undecided' ? 'undecided' : event.applied ? 'applied' : 'not applied'}`
    case 'quiet':
      return 'the faults are over'
    case 'leak':
      return 'a secret is here'
    case 'end':
      return 'the run is over'
    default:
      return event satisfies never
  }
}

function changeOf({ before, after, now }: RecordEvent): string {
  const clock = `store clock ${numeral(now)}`
  const was = before === undefined ? 'absent' : `${before.phase}, fence ${before.fence}`
  if (after === undefined) return `${was} -> absent; ${clock}`
  if (isRenewal(before, after)) return `lease renewed, fence ${after.fence}${leaseOf(after, now)}; ${clock}`
  const token = short(after.token, nameMost)
  return `${was} -> ${after.phase}, fence ${after.fence}, token ${token}${leaseOf(after, now)}; ${clock}`
}

export function isRenewal(before: RecordState | undefined, after: RecordState): boolean {
  return before?.phase === after.phase && before.token === after.token && before.fence === after.fence
}

function leaseOf({ leaseUntil }: RecordState, now: number): string {
  return leaseUntil === undefined ? '' : `, leased for ${numeral(leaseUntil - now)} ms`
}
