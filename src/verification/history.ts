/**
 * What was seen in a run, as data: what callers asked and were told, which handlers started, which effects are
 * in the ledger, how records changed, which faults were caused. The simulator and the runs on real servers write
 * it; the checker reads nothing else. As lines of JSON it is a file that anybody can read later.
 *
 * A call ends in one of three ways, and when unsure it is `info`: a wrong `fail` accuses good code, a wrong `ok`
 * hides a bug.
 *
 *   ok    an answer was received
 *   fail  it is known that nothing took effect through this call
 *   info  anything else; it may have taken effect, or still will
 */
import type { Phase } from '../core/record.ts'

/** What a mode promises about the effects of one key. */
export type EffectPromise =
  /** Effect and record commit together: at most one effect, and one as soon as anybody was told a value. */
  | 'once'
  /** Effect elsewhere, `onUnknown: 'hold'`: at most one effect; an attempt that ended without settling holds the key. */
  | 'held'
  /** `onUnknown: 'rerun'`: another effect only after the lease of the attempt before it had run out unsettled. */
  | 'rerun'
  /** `onUnknown: 'reconcile'`: as `rerun`, and only where the operation was asked and did not know of the effect. */
  | 'reconciled'

/** The first line of a history. */
export interface HistoryHeader {
  /** Determines the run, together with the version of the code. */
  readonly seed: number
  /** For people, such as `simulated` or `postgres`. */
  readonly store: string
  /** For people, such as `lease, onUnknown hold`. */
  readonly mode: string
  readonly promise: EffectPromise
  readonly leaseMs: number
  /** Counted from completion. */
  readonly retentionMs: number
  readonly tombstoneMs: number
  /** How long after `quiet` a probe may take: a lease, and what the run allows beyond it. */
  readonly recoveryMs: number
}

/** Whose key: keys of two principals are two keys. */
export interface KeyOfPrincipal {
  readonly principal: string
  readonly key: string
}

/** A caller asks. `request` stands for what is fingerprinted. */
export interface InvokeEvent extends KeyOfPrincipal {
  readonly type: 'invoke'
  /** Names this call among all of the run. */
  readonly call: number
  readonly process: string
  readonly request: string
}

export interface OkEvent {
  readonly type: 'ok'
  readonly call: number
  readonly value: string
  readonly replayed: boolean
}

export interface FailEvent {
  readonly type: 'fail'
  readonly call: number
  /** Of an error of Retrysafe, or `handler` for what the handler threw. */
  readonly code: string
}

export interface InfoEvent {
  readonly type: 'info'
  readonly call: number
  /** As of `fail`, or `gone` where the process ended. */
  readonly code: string
}

/** A handler starts. */
export interface StartEvent extends KeyOfPrincipal {
  readonly type: 'start'
  readonly call: number
  readonly process: string
  readonly request: string
  /** The holder's token; empty where the handler cannot know it. */
  readonly token: string
  readonly fence: number
  /** The store's clock, where it is known. */
  readonly now?: number
}

/** A handler ends; a process that was killed writes none. */
export interface StopEvent {
  readonly type: 'stop'
  readonly call: number
  readonly token: string
}

/** A row of the ledger, at the time at which it can be seen. */
export interface EffectEvent extends KeyOfPrincipal {
  readonly type: 'effect'
  /** Names this effect among all of the run; answers carry it. */
  readonly effect: string
  readonly call: number
  readonly request: string
  readonly token: string
}

/** The operation was asked what became of an earlier attempt. */
export interface ReconcileEvent extends KeyOfPrincipal {
  readonly type: 'reconcile'
  readonly call: number
  readonly adopted: boolean
}

/** A record changed. Only where the store can be watched. */
export interface RecordEvent {
  readonly type: 'record'
  readonly record: string
  /** The store's clock. */
  readonly now: number
  readonly before: RecordState | undefined
  readonly after: RecordState | undefined
  /** By which verb, where that can be told; it is of no transaction then. */
  readonly verb?: RecordVerb
}

export type RecordVerb = 'claim' | 'supersede' | 'renew' | 'settle' | 'sweep'

export interface RecordState {
  readonly phase: Phase
  readonly token: string
  readonly fence: number
  readonly fingerprint: string
  /** End of the lease of a running record, by the store's clock. */
  readonly leaseUntil: number | undefined
  /** When it was settled, by the store's clock, as the record says. */
  readonly settledAt: number | undefined
}

/** What a process learnt and sent about a claim of its own; only where the messages can be watched. */
export interface OwnClaimEvent {
  readonly type: 'own-claim'
  readonly process: string
  readonly token: string
  /** `seen`: an answer showed that the claim is live; `given back`: a settle was sent, or a renewal found it lost. */
  readonly what: 'seen' | 'given back'
}

/** Something secret, such as a key, where it must not be. */
export interface LeakEvent {
  readonly type: 'leak'
  readonly where: string
}

/** Somebody did something bad. */
export interface FaultEvent {
  readonly type: 'fault'
  readonly fault: string
  /** What it was done to, such as a process. */
  readonly target: string
}

/** An unanswered COMMIT was looked into. */
export interface UnknownCommitEvent {
  readonly type: 'unknown-commit'
  readonly applied: boolean | 'undecided'
}

/** A consumer tells its queue that a message needs no redelivery. */
export interface AckEvent extends KeyOfPrincipal {
  readonly type: 'ack'
}

/** The store came back without what it had acknowledged since a time of its clock. */
export interface LossEvent {
  readonly type: 'loss'
  readonly since: number
  /** Records that are older now, or gone. */
  readonly records: readonly string[]
  /** Effects that are gone with them. */
  readonly effects: readonly string[]
}

/** The store dropped a record that it should have kept: evicted, flushed, or expired by a wrong clock. */
export interface EvictionEvent {
  readonly type: 'eviction'
  readonly record: string
}

/** A commit arrived that had been applied before. */
export interface ResentCommitEvent {
  readonly type: 'resent-commit'
  /** By what it was told from a new one: the token of the request, or the record that it had written. */
  readonly knownBy: 'token' | 'record'
}

/** The faults are over; every call that follows is a probe. */
export interface QuietEvent {
  readonly type: 'quiet'
}

/** The run is over. */
export interface EndEvent {
  readonly type: 'end'
  /** Promises, timers and connections of processes that are left over. */
  readonly leftOver: readonly string[]
  /** Bounds that were passed during the run. */
  readonly exceeded?: readonly string[]
}

export type HistoryEvent = {
  /** Milliseconds of one monotonic clock, the driver's. */
  readonly at: number
} & (
  | InvokeEvent
  | OkEvent
  | FailEvent
  | InfoEvent
  | StartEvent
  | StopEvent
  | EffectEvent
  | ReconcileEvent
  | RecordEvent
  | OwnClaimEvent
  | LeakEvent
  | FaultEvent
  | UnknownCommitEvent
  | AckEvent
  | LossEvent
  | EvictionEvent
  | ResentCommitEvent
  | QuietEvent
  | EndEvent
)

/** An event before its time is known. */
export type Unstamped<Event = HistoryEvent> = Event extends unknown ? Omit<Event, 'at'> : never

export interface History {
  readonly header: HistoryHeader
  readonly events: readonly HistoryEvent[]
}

/**
 * A history as lines of JSON, the header first.
 *
 * @example
 * writeFileSync('run.jsonl', historyLines(history))
 */
export function historyLines({ header, events }: History): string {
  return [header, ...events].map((line) => `${JSON.stringify(line)}\n`).join('')
}

/**
 * Reads what `historyLines` wrote, of one run or of several, one after the other, as `retrysafe chaos --history`
 * writes a run of each mode. The events of several processes may be in any order.
 *
 * @throws SyntaxError where a line is no JSON, or the first one is no header
 *
 * @example
 * for (const history of parseHistories(readFileSync('run.jsonl', 'utf8'))) console.log(check(history).violations)
 */
export function parseHistories(text: string): History[] {
  const found: { readonly header: HistoryHeader; readonly events: HistoryEvent[] }[] = []
  for (const line of text.split('\n')) {
    if (line.trim() === '') continue
    const parsed = JSON.parse(line) as HistoryHeader | HistoryEvent | null
    const isObject = typeof parsed === 'object' && parsed !== null
    if (isObject && !('type' in parsed)) found.push({ header: parsed, events: [] })
    else if (isObject && found.length > 0) found.at(-1)?.events.push(parsed)
    else throw new SyntaxError('A history begins with its header, an object without a type.')
  }
  return found.map(({ header, events }) => ({ header, events: events.toSorted((a, b) => a.at - b.at) }))
}
