/** A history, put together by call, by key and by record, as the checks need it. */
import type {
  AckEvent,
  EffectEvent,
  FailEvent,
  History,
  HistoryEvent,
  InfoEvent,
  InvokeEvent,
  LeakEvent,
  LossEvent,
  OkEvent,
  OwnClaimEvent,
  ReconcileEvent,
  RecordEvent,
  StartEvent,
} from './history.ts'

export type Timed<Event> = Event & { readonly at: number }

export interface CallStory {
  readonly call: number
  readonly invoke: Timed<InvokeEvent>
  end: Timed<OkEvent | FailEvent | InfoEvent> | undefined
  /** Whether it was asked when the faults were over. */
  readonly isProbe: boolean
}

export interface KeyStory {
  readonly principal: string
  readonly key: string
  readonly calls: CallStory[]
  readonly starts: Timed<StartEvent>[]
  readonly effects: Timed<EffectEvent>[]
  readonly reconciles: Timed<ReconcileEvent>[]
  readonly acks: Timed<AckEvent>[]
}

/** What one attempt did to its record. */
export interface AttemptStory {
  readonly token: string
  readonly record: string
  /** The store's clock when the claim was applied, or committed. */
  readonly claimedAt: number
  /** What the claim replaced. */
  readonly before: RecordEvent['before']
  /** How often its record had been evicted when it claimed. */
  readonly evictionsBefore: number
  /** Whether its outcome was ever kept. */
  wasCompleted: boolean
  /** Whether its record was evicted before it was settled. */
  wasEvicted: boolean
  /** The store's clock at its settlement. */
  settledAt: number | undefined
  settledTo: 'completed' | 'released' | 'unknown' | undefined
  /** When that was seen, by the clock of the history. */
  endedAt: number | undefined
  leaseUntil: number | undefined
}

export interface Stories {
  readonly calls: ReadonlyMap<number, CallStory>
  readonly keys: readonly KeyStory[]
  /** By name of the effect. */
  readonly effects: ReadonlyMap<string, Timed<EffectEvent>>
  readonly records: ReadonlyMap<string, readonly Timed<RecordEvent>[]>
  readonly attempts: ReadonlyMap<string, AttemptStory>
  readonly losses: readonly Timed<LossEvent>[]
  /** How often each record was evicted. */
  readonly evictions: ReadonlyMap<string, number>
  readonly leaks: readonly Timed<LeakEvent>[]
  readonly ownClaims: readonly Timed<OwnClaimEvent>[]
  /** When each process was crashed or paused. */
  readonly disturbed: ReadonlyMap<string, readonly number[]>
  readonly storeClockJumped: boolean
  /** How far the store's clock is ahead of the history's, at least; `undefined` where that is not told. */
  readonly storeAheadMs: number | undefined
  readonly quietAt: number
  readonly leftOver: readonly string[]
  readonly exceeded: readonly string[]
  readonly inOrder: readonly HistoryEvent[]
}

export function storiesOf({ events }: History): Stories {
  const calls = new Map<number, CallStory>()
  const keys = new Map<string, KeyStory>()
  const effects = new Map<string, Timed<EffectEvent>>()
  const records = new Map<string, Timed<RecordEvent>[]>()
  const attempts = new Map<string, AttemptStory>()
  const losses: Timed<LossEvent>[] = []
  const evictions = new Map<string, number>()
  /** Who holds, or held, each record that is there. */
  const holders = new Map<string, string>()
  const leaks: Timed<LeakEvent>[] = []
  const ownClaims: Timed<OwnClaimEvent>[] = []
  const disturbed = new Map<string, number[]>()
  let storeClockJumped = false
  let storeAheadMs = Number.POSITIVE_INFINITY
  let quietAt = Number.POSITIVE_INFINITY
  let leftOver: readonly string[] = []
  let exceeded: readonly string[] = []

  const keyOf = (principal: string, key: string): KeyStory => {
    const name = `${principal.length} ${principal} ${key}`
    let story = keys.get(name)
    if (story === undefined) {
      story = { principal, key, calls: [], starts: [], effects: [], reconciles: [], acks: [] }
      keys.set(name, story)
    }
    return story
  }

  for (const event of events) {
    switch (event.type) {
      case 'invoke': {
        const isProbe = event.at >= quietAt
        const story: CallStory = { call: event.call, invoke: event, end: undefined, isProbe }
        calls.set(event.call, story)
        keyOf(event.principal, event.key).calls.push(story)
        break
      }
      case 'ok':
      case 'fail':
      case 'info': {
        const call = calls.get(event.call)
        if (call !== undefined) call.end = event
        break
      }
      case 'start':
        if (event.now !== undefined) storeAheadMs = Math.min(storeAheadMs, event.now - event.at)
        keyOf(event.principal, event.key).starts.push(event)
        break
      case 'effect':
        effects.set(event.effect, event)
        keyOf(event.principal, event.key).effects.push(event)
        break
      case 'reconcile':
        keyOf(event.principal, event.key).reconciles.push(event)
        break
      case 'ack':
        keyOf(event.principal, event.key).acks.push(event)
        break
      case 'record': {
        note(records, event.record, event)
        noteAttempt(attempts, event, evictions.get(event.record) ?? 0)
        if (event.after !== undefined) holders.set(event.record, event.after.token)
        break
      }
      case 'eviction': {
        const { record } = event
        evictions.set(record, (evictions.get(record) ?? 0) + 1)
        const attempt = attempts.get(holders.get(record) ?? '')
        if (attempt !== undefined && attempt.settledTo === undefined) attempt.wasEvicted = true
        break
      }
      case 'own-claim':
        ownClaims.push(event)
        break
      case 'leak':
        leaks.push(event)
        break
      case 'loss':
        losses.push(event)
        break
      case 'fault':
        note(disturbed, event.target, event.at)
        storeClockJumped ||= event.fault.startsWith('store clock')
        break
      case 'quiet':
        quietAt = event.at
        break
      case 'end':
        leftOver = event.leftOver
        exceeded = event.exceeded ?? []
        break
      case 'stop':
      case 'unknown-commit':
      case 'resent-commit':
        break
      default:
        event satisfies never
    }
  }
  return {
    calls,
    keys: [...keys.values()],
    effects,
    records,
    attempts,
    losses,
    evictions,
    leaks,
    ownClaims,
    disturbed,
    storeClockJumped,
    storeAheadMs: storeClockJumped || storeAheadMs === Number.POSITIVE_INFINITY ? undefined : storeAheadMs,
    quietAt,
    leftOver,
    exceeded,
    inOrder: events,
  }
}

function note<Value>(lists: Map<string, Value[]>, name: string, value: Value): void {
  const list = lists.get(name)
  if (list === undefined) lists.set(name, [value])
  else list.push(value)
}

function noteAttempt(
  attempts: Map<string, AttemptStory>,
  { at, record, now, before, after }: Timed<RecordEvent>,
  evictionsBefore: number,
): void {
  if (after === undefined || after.phase === 'tombstone') return
  let attempt = attempts.get(after.token)
  if (attempt === undefined) {
    attempt = {
      token: after.token,
      record,
      claimedAt: now,
      before,
      evictionsBefore,
      wasCompleted: false,
      wasEvicted: false,
      settledAt: undefined,
      settledTo: undefined,
      endedAt: undefined,
      leaseUntil: undefined,
    }
    attempts.set(after.token, attempt)
  } else if (before === undefined) {
    // Its claim arrived once more, after its record was lost: it may settle again.
    attempt.settledAt = undefined
    attempt.settledTo = undefined
    attempt.endedAt = undefined
  }
  attempt.wasCompleted ||= after.phase === 'completed'
  if (after.phase === 'running') attempt.leaseUntil = after.leaseUntil
  else if (attempt.settledAt === undefined) {
    attempt.settledAt = after.settledAt
    attempt.settledTo = after.phase
    attempt.endedAt = at
  }
}
