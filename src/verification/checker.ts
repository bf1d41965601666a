/**
 * Reads the history of a run and says what in it must not be. It knows nothing of how the run was made, and nothing
 * of the engine: only what each mode promises.
 *
 * I1   an effect takes place once, or as often as the promise allows
 * I2   nothing that anybody was told is lost
 * I3   all answers of a key are equal, within its retention, and none is given after it
 * I4   nobody gets the answer of another principal
 * I5   an answer belongs to the request that was sent, and a mismatch is only told where there was another request
 * I6   after the faults every key comes to an end
 * I7   a record goes the ways that its phases allow, and an outcome stays for its retention
 * I8   no effect without a call that asked for it
 * I9   nobody claims while the lease of another is live, and no handler starts when its own is over
 * I10  the fingerprint of a record does not change
 * I11  a holder is never told that its own live claim is somebody else's
 * I12  a new holder has a greater fence
 * I13  every call ends, and nothing is left over
 * I14  where a call is known to have failed, it had no effect
 * I15  a run stays within its bounds
 * I16  no secret is where it must not be
 *
 * What a history does not tell (records of a store that cannot be watched) is not checked, and the report says
 * which invariants were.
 */
import { callViolations } from './checks-of-calls.ts'
import { recordViolations } from './checks-of-records.ts'
import { type CallStory, type Stories, storiesOf } from './stories.ts'
import type { History, HistoryEvent } from './history.ts'
import { type Sight, sightsOf } from './sights.ts'
import type { Invariant, Violation } from './violations.ts'

export interface CheckReport {
  readonly violations: readonly Violation[]
  /** How often each state was reached without which a run shows little. */
  readonly sights: Readonly<Record<Sight, number>>
  readonly counts: CheckCounts
  readonly checked: readonly Invariant[]
}

export interface CheckCounts {
  readonly calls: number
  readonly ok: number
  readonly fail: number
  readonly info: number
  readonly replayed: number
  readonly effects: number
  readonly keys: number
  readonly faults: Readonly<Record<string, number>>
}

const always: readonly Invariant[] = ['I1', 'I2', 'I3', 'I4', 'I5', 'I6', 'I8', 'I13', 'I14', 'I15', 'I16']
const withRecords: readonly Invariant[] = ['I7', 'I9', 'I10', 'I12']

/**
 * Checks a history.
 *
 * @example
 * const reports = parseHistories(readFileSync('run.jsonl', 'utf8')).map((history) => check(history))
 */
export function check(history: History): CheckReport {
  const stories = storiesOf(history)
  const violations = [
    ...recordViolations(history.header, stories),
    ...callViolations(history.header, stories),
  ]
  const has = (type: HistoryEvent['type']): boolean => history.events.some((event) => event.type === type)
  return {
    violations,
    sights: sightsOf(history, stories),
    counts: countsOf(history.events, stories),
    checked: [
      ...always,
      ...(has('record') ? withRecords : []),
      ...(has('own-claim') ? (['I11'] as const) : []),
    ],
  }
}

/**
 * Everything that is known about one key, in the order of time, for the report of a violation.
 *
 * @example
 * for (const event of storyOf(history, { principal: 'alice', key: 'k1' })) console.log(event)
 */
export function storyOf(
  history: History,
  { principal, key }: { readonly principal: string; readonly key: string },
): readonly HistoryEvent[] {
  const { keys } = storiesOf(history)
  const story = keys.find((one) => one.principal === principal && one.key === key)
  if (story === undefined) return []
  const calls = new Set(story.calls.map(({ call }) => call))
  // Empty where a handler cannot know it: then it stands for nobody.
  const tokens = new Set(
    [...story.starts, ...story.effects].map(({ token }) => token).filter((token) => token !== ''),
  )
  const records = new Set(
    history.events.flatMap((event) =>
      event.type === 'record' && event.after !== undefined && tokens.has(event.after.token)
        ? [event.record]
        : [],
    ),
  )
  return history.events.filter((event) => {
    if (event.type === 'record' || event.type === 'eviction') return records.has(event.record)
    if (event.type === 'own-claim') return tokens.has(event.token)
    if ('key' in event) return event.key === key && event.principal === principal
    if ('call' in event) return calls.has(event.call)
    return event.type === 'fault' || event.type === 'quiet' || event.type === 'loss'
  })
}

function countsOf(events: readonly HistoryEvent[], { calls, keys, effects }: Stories): CheckCounts {
  const faults: Record<string, number> = {}
  for (const event of events) if (event.type === 'fault') faults[event.fault] = (faults[event.fault] ?? 0) + 1
  const ended = (type: string): readonly CallStory[] =>
    [...calls.values()].filter(({ end }) => end?.type === type)
  const ok = ended('ok')
  return {
    calls: calls.size,
    ok: ok.length,
    fail: ended('fail').length,
    info: ended('info').length,
    replayed: ok.filter(({ end }) => end?.type === 'ok' && end.replayed).length,
    effects: effects.size,
    keys: keys.length,
    faults,
  }
}
