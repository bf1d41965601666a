import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { check, type CheckReport, storyOf } from '../../src/verification/checker.ts'
import {
  type EffectPromise,
  type History,
  type HistoryEvent,
  type HistoryHeader,
  historyLines,
  parseHistories,
  type RecordState,
} from '../../src/verification/history.ts'

const header: HistoryHeader = {
  seed: 1,
  store: 'by hand',
  mode: 'by hand',
  promise: 'held',
  leaseMs: 1_000,
  retentionMs: 10_000,
  tombstoneMs: 0,
  recoveryMs: 2_000,
}
const who = { principal: 'alice', key: 'k1' }
const other = { principal: 'bob', key: 'k1' }

function state(phase: RecordState['phase'], changes: Partial<RecordState> = {}): RecordState {
  return {
    phase,
    token: 'a',
    fence: 1,
    fingerprint: 'f1',
    leaseUntil: phase === 'running' ? 1_010 : undefined,
    settledAt: phase === 'running' ? undefined : 60,
    ...changes,
  }
}

/** One call that ran and completed, a replay of it, and a probe. */
const sound: readonly HistoryEvent[] = [
  { at: 0, type: 'invoke', call: 1, process: 'p1', ...who, request: 'r' },
  { at: 10, type: 'record', record: 'id', now: 10, before: undefined, after: state('running') },
  { at: 20, type: 'start', call: 1, process: 'p1', ...who, request: 'r', token: 'a', fence: 1, now: 20 },
  { at: 30, type: 'effect', effect: 'e1', call: 1, ...who, request: 'r', token: 'a' },
  { at: 40, type: 'stop', call: 1, token: 'a' },
  { at: 60, type: 'record', record: 'id', now: 60, before: state('running'), after: state('completed') },
  { at: 70, type: 'ok', call: 1, value: 'alice|k1|r|e1', replayed: false },
  { at: 80, type: 'invoke', call: 2, process: 'p2', ...who, request: 'r' },
  { at: 90, type: 'ok', call: 2, value: 'alice|k1|r|e1', replayed: true },
  { at: 95, type: 'ack', ...who },
  { at: 100, type: 'quiet' },
  { at: 110, type: 'invoke', call: 3, process: 'p2', ...who, request: 'r' },
  { at: 120, type: 'ok', call: 3, value: 'alice|k1|r|e1', replayed: true },
  { at: 200, type: 'end', leftOver: [], exceeded: [] },
]

function checked(events: readonly HistoryEvent[], changes: Partial<HistoryHeader> = {}): CheckReport {
  return check({ header: { ...header, ...changes }, events: events.toSorted((a, b) => a.at - b.at) })
}

const broken = (report: CheckReport): string[] => [
  ...new Set(report.violations.map(({ invariant }) => invariant)),
]

/** The sound history with some events more, and those left out that `drop` names. */
function withMore(
  more: readonly HistoryEvent[],
  drop: (event: HistoryEvent) => boolean = () => false,
): readonly HistoryEvent[] {
  return [...sound.filter((event) => !drop(event)), ...more]
}

const secondEffect: readonly HistoryEvent[] = [
  { at: 72, type: 'invoke', call: 7, process: 'p2', ...who, request: 'r' },
  { at: 75, type: 'effect', effect: 'e7', call: 7, ...who, request: 'r', token: 'b' },
  { at: 76, type: 'info', call: 7, code: 'gone' },
]

test('a sound history breaks nothing, and says what was checked', () => {
  const report = checked(sound)
  expect(report.violations).toEqual([])
  expect(report.counts).toMatchObject({ calls: 3, ok: 3, replayed: 2, effects: 1, keys: 1 })
  expect(report.checked).toContain('I12')
  expect(check({ header, events: sound.filter(({ type }) => type !== 'record') }).checked).not.toContain(
    'I12',
  )
})

describe('each invariant can be broken', () => {
  const cases: Readonly<Record<string, readonly [string, readonly HistoryEvent[]]>> = {
    'I1: two effects': ['I1', withMore(secondEffect)],
    'I1: two effects of one attempt': [
      'I1',
      withMore([{ at: 35, type: 'effect', effect: 'e1b', call: 1, ...who, request: 'r', token: 'a' }]),
    ],
    'I2: an answer without its effect': [
      'I2',
      withMore([], ({ type }) => type === 'effect' || type === 'ack'),
    ],
    'I2: acknowledged before it was applied': ['I2', withMore([{ at: 5, type: 'ack', ...who }])],
    'I3: two answers': [
      'I3',
      withMore([
        ...secondEffect,
        { at: 77, type: 'invoke', call: 8, process: 'p2', ...who, request: 'r' },
        { at: 78, type: 'ok', call: 8, value: 'alice|k1|r|e7', replayed: true },
      ]),
    ],
    'I4: the answer of another principal': [
      'I4',
      withMore([
        { at: 85, type: 'invoke', call: 8, process: 'p2', ...other, request: 'r' },
        { at: 86, type: 'ok', call: 8, value: 'alice|k1|r|e1', replayed: true },
      ]),
    ],
    'I5: the answer of another request': [
      'I5',
      withMore([
        { at: 85, type: 'invoke', call: 8, process: 'p2', ...who, request: 'r2' },
        { at: 86, type: 'ok', call: 8, value: 'alice|k1|r|e1', replayed: true },
      ]),
    ],
    'I5: a mismatch with nothing': [
      'I5',
      withMore([
        { at: 85, type: 'invoke', call: 8, process: 'p2', ...other, request: 'r' },
        { at: 86, type: 'fail', call: 8, code: 'key-reused' },
      ]),
    ],
    'I6: no answer when all is quiet': [
      'I6',
      withMore([{ at: 120, type: 'fail', call: 3, code: 'in-progress' }], (event) => event.at === 120),
    ],
    'I6: an answer that took too long': [
      'I6',
      withMore(
        [{ at: 9_000, type: 'ok', call: 3, value: 'alice|k1|r|e1', replayed: true }],
        (event) => event.at === 120,
      ),
    ],
    'I6: held without reason': [
      'I6',
      withMore([{ at: 120, type: 'fail', call: 3, code: 'outcome-unknown' }], (event) => event.at === 120),
    ],
    'I7: an outcome that goes before its time': [
      'I7',
      withMore([
        { at: 130, type: 'record', record: 'id', now: 9_000, before: state('completed'), after: undefined },
      ]),
    ],
    'I7: an outcome that is run over': [
      'I7',
      withMore([
        {
          at: 130,
          type: 'record',
          record: 'id',
          now: 130,
          before: state('completed'),
          after: state('running', { token: 'b', fence: 2, leaseUntil: 1_130 }),
        },
      ]),
    ],
    'I7: an unknown outcome that is not held': [
      'I7',
      withMore([
        {
          at: 130,
          type: 'record',
          record: 'id2',
          now: 130,
          before: state('unknown'),
          after: state('running', { token: 'b', fence: 2, leaseUntil: 1_130 }),
        },
      ]),
    ],
    'I8: an effect that nobody asked for': [
      'I8',
      withMore([{ at: 35, type: 'effect', effect: 'e9', call: 99, ...other, request: 'r', token: 'x' }]),
    ],
    'I9: a claim while a lease is live': [
      'I9',
      withMore([
        {
          at: 50,
          type: 'record',
          record: 'id2',
          now: 50,
          before: state('running'),
          after: state('running', { token: 'b', fence: 2, leaseUntil: 1_050 }),
        },
      ]),
    ],
    'I9: a handler that starts after its lease': [
      'I9',
      withMore(
        [
          {
            at: 20,
            type: 'start',
            call: 1,
            process: 'p1',
            ...who,
            request: 'r',
            token: 'a',
            fence: 1,
            now: 1_010,
          },
        ],
        ({ type }) => type === 'start',
      ),
    ],
    'I9: a handler without a claim': [
      'I9',
      withMore([
        {
          at: 22,
          type: 'start',
          call: 1,
          process: 'p1',
          ...who,
          request: 'r',
          token: 'z',
          fence: 1,
          now: 22,
        },
      ]),
    ],
    'I10: another fingerprint': [
      'I10',
      withMore([
        {
          at: 50,
          type: 'record',
          record: 'id2',
          now: 50,
          before: state('running'),
          after: state('running', { fingerprint: 'f2' }),
        },
      ]),
    ],
    'I11: an own claim that is left alone': [
      'I11',
      withMore([{ at: 50, type: 'own-claim', process: 'p1', token: 'mine', what: 'seen' }]),
    ],
    'I12: a holder with the same fence': [
      'I12',
      withMore([
        {
          at: 50,
          type: 'record',
          record: 'id2',
          now: 5_000,
          before: state('released'),
          after: state('running', { token: 'b', leaseUntil: 6_000 }),
        },
      ]),
    ],
    'I13: a call without an end': [
      'I13',
      withMore([{ at: 85, type: 'invoke', call: 8, process: 'p2', ...who, request: 'r' }]),
    ],
    'I13: something left over': [
      'I13',
      withMore([{ at: 201, type: 'end', leftOver: ['a timer'], exceeded: [] }]),
    ],
    'I14: an effect of what failed for certain': [
      'I14',
      withMore([{ at: 70, type: 'fail', call: 1, code: 'store-unavailable' }], ({ at }) => at === 70),
    ],
    'I15: a bound that was passed': [
      'I15',
      withMore([{ at: 201, type: 'end', leftOver: [], exceeded: ['too many rows'] }]),
    ],
    'I16: a secret': ['I16', withMore([{ at: 50, type: 'leak', where: 'a message' }])],
  }

  test.each(Object.entries(cases))('%s', (_, [invariant, events]) => {
    expect(broken(checked(events))).toContain(invariant)
  })
})

describe('what the promise allows', () => {
  const takeover: readonly HistoryEvent[] = [
    { at: 0, type: 'invoke', call: 1, process: 'p1', ...who, request: 'r' },
    { at: 10, type: 'record', record: 'id', now: 10, before: undefined, after: state('running') },
    { at: 30, type: 'effect', effect: 'e1', call: 1, ...who, request: 'r', token: 'a' },
    { at: 35, type: 'info', call: 1, code: 'gone' },
    { at: 2_000, type: 'invoke', call: 2, process: 'p2', ...who, request: 'r' },
    {
      at: 2_010,
      type: 'record',
      record: 'id',
      now: 2_010,
      before: state('running'),
      after: state('running', { token: 'b', fence: 2, leaseUntil: 3_010 }),
    },
    { at: 2_020, type: 'effect', effect: 'e2', call: 2, ...who, request: 'r', token: 'b' },
    {
      ...{ at: 2_025, type: 'record', record: 'id', now: 2_025 },
      before: state('running', { token: 'b', fence: 2, leaseUntil: 3_010 }),
      after: state('completed', { token: 'b', fence: 2, settledAt: 2_025 }),
    },
    { at: 2_030, type: 'ok', call: 2, value: 'alice|k1|r|e2', replayed: false },
  ]
  const verdicts: Readonly<Record<EffectPromise, string[]>> = {
    once: ['I1'],
    held: ['I1', 'I7'],
    rerun: [],
    reconciled: ['I1'],
  }

  test.each(Object.entries(verdicts))('%s, of a key that ran again after its lease', (promise, expected) => {
    expect(broken(checked(takeover, { promise: promise as EffectPromise })).toSorted()).toEqual(expected)
  })

  test('reconciled, when the operation was asked', () => {
    const asked: HistoryEvent = { at: 2_015, type: 'reconcile', ...who, call: 2, adopted: false }
    expect(broken(checked([...takeover, asked], { promise: 'reconciled' }))).toEqual([])
  })

  test('a store that forgot is held to what remains', () => {
    const loss: HistoryEvent = { at: 71, type: 'loss', since: 0, records: ['id'], effects: [] }
    expect(broken(checked(withMore([...secondEffect, loss])))).not.toContain('I1')
    const foreign: readonly HistoryEvent[] = [
      { at: 85, type: 'invoke', call: 8, process: 'p2', ...other, request: 'r' },
      { at: 86, type: 'ok', call: 8, value: 'alice|k1|r|e1', replayed: true },
    ]
    expect(broken(checked(withMore([...foreign, loss])))).toContain('I4')
  })
})

describe('a store that evicts', () => {
  const evicted = (at: number, record = 'id'): HistoryEvent => ({ at, type: 'eviction', record })

  /** A whole run of `who` by call `call`, from `at` on. */
  function runOf(call: number, token: string, at: number, before?: RecordState): readonly HistoryEvent[] {
    const running = state('running', { token, leaseUntil: at + 1_000 })
    const completed = state('completed', { token, settledAt: at + 4 })
    const id = { type: 'record', record: 'id' } as const
    return [
      { at, type: 'invoke', call, process: 'p2', ...who, request: 'r' },
      { at: at + 1, ...id, now: at + 1, before, after: running },
      { at: at + 2, type: 'start', call, process: 'p2', ...who, request: 'r', token, fence: 1, now: at + 2 },
      { at: at + 3, type: 'effect', effect: `e${call}`, call, ...who, request: 'r', token },
      { at: at + 4, ...id, now: at + 4, before: running, after: completed },
      { at: at + 5, type: 'ok', call, value: `alice|k1|r|e${call}`, replayed: false },
    ]
  }

  const first = sound.filter(({ at }) => at <= 70)

  test('a key may run once more for each time that it was evicted', () => {
    const events = [...first, evicted(200), ...runOf(7, 'b', 210), evicted(300), ...runOf(8, 'c', 310)]
    const { violations, sights } = checked(events)
    expect(violations).toEqual([])
    expect(sights).toMatchObject({ eviction: 2, 'rerun after an eviction': 2 })
  })

  test('and no more than that', () => {
    const again = runOf(8, 'c', 310, state('completed', { token: 'b', settledAt: 214 }))
    const report = checked([...first, evicted(200), ...runOf(7, 'b', 210), ...again])
    expect(broken(report)).toEqual(expect.arrayContaining(['I1', 'I3']))
  })

  test('another key that was evicted excuses nothing', () => {
    const report = checked([...first, evicted(200, 'id2'), ...runOf(7, 'b', 210)])
    expect(broken(report)).toEqual(expect.arrayContaining(['I1', 'I3']))
  })

  test('an answer is never of another request or principal', () => {
    const foreign: HistoryEvent = { at: 76, type: 'ok', call: 9, value: 'alice|k1|r|e1', replayed: true }
    const asks = (given: { principal: string; key: string; request: string }): HistoryEvent => ({
      ...{ at: 75, type: 'invoke', call: 9, process: 'p2' },
      ...given,
    })
    const eviction = evicted(72)
    expect(broken(checked([...first, eviction, asks({ ...other, request: 'r' }), foreign]))).toContain('I4')
    expect(broken(checked([...first, eviction, asks({ ...who, request: 's' }), foreign]))).toContain('I5')
  })

  test.each(['settle', 'renew'] as const)('%s makes no record', (verb) => {
    const phase = verb === 'settle' ? 'completed' : 'running'
    const made: HistoryEvent = {
      ...{ at: 210, type: 'record', record: 'id', now: 210, before: undefined, verb },
      after: state(phase),
    }
    const report = checked([...first, evicted(200), made])
    expect(report.violations).toEqual([
      { invariant: 'I7', says: `record id: ${verb} made a record where nothing was` },
    ])
  })

  test('a record begins running, whoever wrote it', () => {
    const made: HistoryEvent = {
      ...{ at: 210, type: 'record', record: 'id', now: 210, before: undefined },
      after: state('completed'),
    }
    expect(broken(checked([...first, evicted(200), made]))).toEqual(['I7'])
    expect(broken(checked([...first, evicted(200), made], { promise: 'once' }))).toEqual([])
  })

  const start: HistoryEvent = {
    ...{ at: 20, type: 'start', call: 1, process: 'p1', request: 'r', token: 'a', fence: 1, now: 20 },
    ...who,
  }

  test('only who had claimed before the eviction may start without a record', () => {
    const begun = first.filter(({ at }) => at <= 10)
    const ended: HistoryEvent = { at: 400, type: 'info', call: 1, code: 'in-progress' }
    expect(broken(checked([...begun, evicted(15), start, ended]))).toEqual([])
    expect(broken(checked([...begun, evicted(15, 'id2'), start, ended]))).toEqual([])
    const gone: HistoryEvent = {
      ...{ at: 15, type: 'record', record: 'id', now: 15 },
      ...{ before: state('running'), after: undefined },
    }
    expect(broken(checked([...begun, evicted(14, 'id2'), gone, start, ended]))).toContain('I9')
    const unclaimed: HistoryEvent = { ...start, at: 30, call: 1, token: 'b', now: 30 } as HistoryEvent
    expect(broken(checked([...begun, evicted(15), unclaimed, ended]))).toContain('I9')
  })

  test('whose own settle was refused is not told its own answer', () => {
    const unsettled = first.filter((event) => event.type !== 'record' || event.at === 10)
    const report = checked([...unsettled, evicted(50)])
    expect(report.violations).toEqual([
      { invariant: 'I2', says: 'call 1 was told e1, which no record kept', ...who },
    ])
    const refused = unsettled.map((event) =>
      event.type === 'ok'
        ? ({ at: event.at, type: 'info', call: event.call, code: 'in-progress' } as const)
        : event,
    )
    const after = checked([...refused, evicted(50)])
    expect(after.violations).toEqual([])
    expect(after.sights['settle refused after an eviction']).toBe(1)
  })
})

test('the story of a key is all that concerns it', () => {
  const history: History = {
    header,
    events: withMore([{ at: 85, type: 'invoke', call: 8, process: 'p2', ...other, request: 'r' }]),
  }
  const story = storyOf(history, who)
  expect(story.map(({ type }) => type)).toContain('record')
  expect(story.filter((event) => 'principal' in event && event.principal === 'bob')).toEqual([])
  expect(storyOf(history, { principal: 'nobody', key: 'k1' })).toEqual([])
})

test('the story of a key has the effect that nobody asked for, and no record of another key', () => {
  const stray: HistoryEvent = {
    at: 36,
    type: 'effect',
    effect: 'e9',
    call: 99,
    ...who,
    request: 'r',
    token: '',
  }
  const foreign: HistoryEvent = {
    ...{ at: 37, type: 'record', record: 'id9', now: 37 },
    ...{ before: state('released', { token: 'z' }), after: undefined },
  }
  const story = storyOf({ header, events: withMore([stray, foreign]) }, who)
  expect(story).toContain(stray)
  expect(story).not.toContain(foreign)
})

test('histories as lines are read again as they were, whatever is in them', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string(), (key, code) => {
      const events: HistoryEvent[] = [
        { at: 1, type: 'invoke', call: 1, process: 'p', principal: 'a', key, request: 'r' },
        { at: 2, type: 'info', call: 1, code },
      ]
      const written = [
        { header, events },
        { header: { ...header, mode: 'other' }, events: [] },
      ]
      expect(parseHistories(written.map(historyLines).join(''))).toEqual(JSON.parse(JSON.stringify(written)))
    }),
  )
})

test('events are read in the order of their times', () => {
  const events: HistoryEvent[] = [
    { at: 2, type: 'info', call: 1, code: 'gone' },
    { at: 1, type: 'quiet' },
  ]
  expect(parseHistories(historyLines({ header, events }))[0]?.events).toEqual(events.toReversed())
})

test.each(['{"at":1,"type":"quiet"}', '{', 'null', '1'])('%s is no history', (text) => {
  expect(() => parseHistories(text)).toThrow(SyntaxError)
})
