/**
 * Makes a history of what was seen. A foreign service does not name the effect that an answer is of, so answers are
 * compared: the first one of a key is that of its first effect, equal answers are too, and any other has a name
 * that no effect has.
 */
import type { History, HistoryEvent } from '../history.ts'
import type { Answer } from './client.ts'
import { meaningOf } from './answers.ts'
import type { Call, ChaosKey, RunLog } from './log.ts'
import type { Settings } from './settings.ts'

const principal = 'service'
/** How long a service keeps its answers is not known; a run is shorter. */
const retentionMs = 24 * 3_600_000

/** @param ledger the effects of each key, by their names in the ledger */
export function historyOf(
  log: RunLog,
  settings: Settings,
  ledger: ReadonlyMap<string, readonly string[]>,
): History {
  const { seed, promise, leaseMs, recoveryMs, method, url } = settings
  const marks = log.calls.some(({ seen }) => seen.kind === 'answer' && seen.replayed)
  const callsOf = Map.groupBy(log.calls, ({ key }) => key)
  const readAt = performance.now()
  const events: HistoryEvent[] = [
    ...log.faults.map((fault) => ({ type: 'fault' as const, ...fault })),
    { type: 'quiet', at: log.quietAt },
    ...log.keys.flatMap((key) => {
      const calls = callsOf.get(key.key) ?? []
      return eventsOf(key, calls, ledger.get(key.key) ?? [], { marks, quietAt: log.quietAt, readAt })
    }),
  ]
  events.sort((a, b) => a.at - b.at)
  const leftOver = log.open === 0 ? [] : [`${log.open} requests have no end`]
  return {
    header: {
      seed,
      store: 'service',
      mode: `${method} ${url.origin}${url.pathname}`,
      promise,
      leaseMs,
      retentionMs,
      tombstoneMs: 0,
      recoveryMs,
    },
    events: [...events, { type: 'end', at: readAt, leftOver }],
  }
}

interface Known {
  /** Whether the service marks its replays. */
  readonly marks: boolean
  readonly quietAt: number
  readonly readAt: number
}

type Final = Call & { readonly seen: Answer }

function eventsOf(
  key: ChaosKey,
  calls: readonly Call[],
  rows: readonly string[],
  known: Known,
): HistoryEvent[] {
  const finals = finalsOf(calls, known.quietAt)
  const names = namesOf(key, finals, rows)
  const ends = calls.map((call) => endOf(call, finals, names, known))
  // Which call had an effect is not known; one that may have had it is named.
  const by = finals[0] ?? calls.find((_call, at) => ends[at]?.type !== 'fail') ?? calls[0]
  const effects = by === undefined ? [] : names.effects.map((effect) => effectOf(effect, by, known.readAt))
  return [...calls.map(invokeOf), ...ends, ...effects]
}

/** The calls that have an answer for good, in the order in which they got it. */
function finalsOf(calls: readonly Call[], quietAt: number): readonly Final[] {
  const ended = calls
    .filter((call): call is Final => call.seen.kind === 'answer')
    .filter(({ seen, isOther }) => meaningOf(seen, isOther).kind === 'final')
    .filter(({ seen, endedAt }) => seen.isWhole || endedAt > quietAt)
    .toSorted((a, b) => a.endedAt - b.endedAt)
  // A 422 says that the key was used for another request, unless all that the key ever gets is this refusal.
  const isDone = ended.some(({ seen }) => seen.status < 400)
  return ended.filter(({ seen }) => !(isDone && seen.status === 422))
}

interface Names {
  /** What the ledger shows, by names of the run. */
  readonly effects: readonly string[]
  /** What an answer is called, by its digest. */
  readonly answers: ReadonlyMap<string, string>
}

function namesOf({ key }: ChaosKey, finals: readonly Final[], rows: readonly string[]): Names {
  const effects = rows.map((row, at) => `${key}/${at + 1}/${row.replaceAll('|', '/')}`)
  const [first] = finals
  // What was refused has no row; the refusal is what the key came to, and has to be the same at every time.
  if (effects.length === 0 && first !== undefined && first.seen.status >= 400)
    effects.push(`${key}/refused-${first.seen.status}`)
  const answers = new Map<string, string>()
  for (const { seen } of finals) {
    if (answers.has(seen.digest)) continue
    const name = answers.size === 0 ? (effects[0] ?? 'no-effect') : `other-answer-${answers.size + 1}`
    answers.set(seen.digest, name)
  }
  return { effects, answers }
}

function invokeOf({ call, process, key, request, invokedAt }: Call): HistoryEvent {
  return { type: 'invoke', at: invokedAt, call, process, principal, key, request }
}

function endOf(call: Call, finals: readonly Final[], { answers }: Names, { marks }: Known): HistoryEvent {
  const end = { at: call.endedAt, call: call.call }
  const final = finals.find((one) => one === call)
  if (final !== undefined) {
    const [first = final] = finals
    const isEqual = final.seen.digest === first.seen.digest
    const request = isEqual ? first.request : final.request
    const value = [principal, final.key, request, answers.get(final.seen.digest)].join('|')
    const replayed = marks ? final.seen.replayed : isEqual && final !== first
    return { type: 'ok', ...end, value, replayed }
  }
  const meaning = meaningOf(call.seen, call.isOther)
  switch (meaning.kind) {
    case 'refused':
      return { type: 'fail', ...end, code: meaning.code }
    case 'unsure':
      return { type: 'info', ...end, code: meaning.code }
    case 'final':
      return call.seen.kind === 'answer' && call.seen.status === 422
        ? { type: 'fail', ...end, code: 'key-reused' }
        : { type: 'info', ...end, code: 'no-length' }
    default:
      return meaning satisfies never
  }
}

function effectOf(effect: string, { call, key, request }: Call, at: number): HistoryEvent {
  return { type: 'effect', at, effect, call, principal, key, request, token: '' }
}
