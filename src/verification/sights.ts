/**
 * States that a set of runs must have reached: where none of them had a takeover, a fenced writer or an unknown
 * commit, it shows nothing about them, however green it is.
 */
import type { EffectPromise, History } from './history.ts'
import type { SimMode } from './simulator/modes.ts'
import type { KeyStory, Stories } from './stories.ts'

export type Sight =
  /** A holder was replaced by another one. */
  | 'takeover'
  /** A handler ran to its end and its caller got somebody else's answer. */
  | 'fenced writer'
  /** The process that executed a call had crashed when its outcome was replayed. */
  | 'replay after a crash'
  | 'unknown commit, applied'
  | 'unknown commit, not applied'
  | 'mismatch'
  /** A key was asked for again when its answer had been known for longer than a lease. */
  | 'late duplicate'
  | 'in progress'
  /** An unknown outcome was held. */
  | 'held'
  /** The operation was asked and knew of the effect. */
  | 'adopted'
  /** A key took effect anew after its retention. */
  | 'after retention'
  | 'tombstone'
  /** The store came back without what it had acknowledged. */
  | 'loss'
  /** The store dropped a record that it should have kept. */
  | 'eviction'
  /** A handler ran to its end, its record was gone, and its caller got no answer of its own. */
  | 'settle refused after an eviction'
  /** A key that was evicted ran again. */
  | 'rerun after an eviction'
  /** Two handlers of one key ran at the same time. */
  | 'side by side'
  /** A commit was refused because another attempt was first, whose answer was replayed. */
  | 'refused commit, replayed'
  | 'resent commit, known by its token'
  | 'resent commit, known by its record'

const of: Readonly<Record<EffectPromise, readonly Sight[]>> = {
  once: [
    'replay after a crash',
    'unknown commit, applied',
    'unknown commit, not applied',
    'mismatch',
    'late duplicate',
    'in progress',
    'after retention',
    'tombstone',
  ],
  held: [
    'takeover',
    'replay after a crash',
    'mismatch',
    'late duplicate',
    'in progress',
    'held',
    'after retention',
    'tombstone',
  ],
  rerun: [
    'takeover',
    'fenced writer',
    'replay after a crash',
    'mismatch',
    'late duplicate',
    'in progress',
    'after retention',
    'tombstone',
  ],
  reconciled: [
    'takeover',
    'replay after a crash',
    'mismatch',
    'late duplicate',
    'in progress',
    'adopted',
    'after retention',
    'tombstone',
  ],
}

const ofEvicting: readonly Sight[] = [
  'fenced writer',
  'eviction',
  'settle refused after an eviction',
  'rerun after an eviction',
]

const ofOptimistic: readonly Sight[] = [
  'side by side',
  'refused commit, replayed',
  'resent commit, known by its token',
  'resent commit, known by its record',
]

/** What the runs of a mode must have reached together. */
export function requiredSights({ promise, forgets, store }: SimMode): readonly Sight[] {
  return [
    ...of[promise],
    ...(forgets ? (['loss'] as const) : []),
    ...(store === 'evicts' ? ofEvicting : []),
    ...(store === 'optimistic' ? ofOptimistic : []),
  ]
}

export function sightsOf({ header, events }: History, stories: Stories): Record<Sight, number> {
  const seen: Record<Sight, number> = {
    takeover: 0,
    'fenced writer': 0,
    'replay after a crash': 0,
    'unknown commit, applied': 0,
    'unknown commit, not applied': 0,
    mismatch: 0,
    'late duplicate': 0,
    'in progress': 0,
    held: 0,
    adopted: 0,
    'after retention': 0,
    tombstone: 0,
    loss: stories.losses.length,
    eviction: 0,
    'settle refused after an eviction': 0,
    'rerun after an eviction': stories.keys.reduce((sum, key) => sum + rerunsAfterEviction(key, stories), 0),
    'side by side': 0,
    'refused commit, replayed': 0,
    'resent commit, known by its token': 0,
    'resent commit, known by its record': 0,
  }
  /** Calls whose handlers are at work, by key. */
  const running = new Map<string, Set<number>>()
  const keyOf = (call: number): string => {
    const invoke = stories.calls.get(call)?.invoke
    return `${invoke?.principal} ${invoke?.key}`
  }
  const stopped = new Set<number>()
  for (const event of events) {
    switch (event.type) {
      case 'record':
        if (
          event.before !== undefined &&
          event.after !== undefined &&
          event.before.token !== event.after.token
        ) {
          seen.takeover += 1
          if (event.before.phase === 'completed' || event.before.phase === 'tombstone')
            seen['after retention'] += 1
        }
        break
      case 'start': {
        const others = running.get(keyOf(event.call)) ?? new Set()
        if (others.size > 0) seen['side by side'] += 1
        running.set(keyOf(event.call), others.add(event.call))
        break
      }
      case 'stop':
        stopped.add(event.call)
        running.get(keyOf(event.call))?.delete(event.call)
        if (
          stories.attempts.get(event.token)?.wasEvicted === true &&
          isRefused(event.token, event.call, stories)
        ) {
          seen['settle refused after an eviction'] += 1
        }
        break
      case 'ok':
      case 'fail':
      case 'info':
        running.get(keyOf(event.call))?.delete(event.call)
        break
      case 'eviction':
        seen.eviction += 1
        break
      case 'resent-commit':
        seen[`resent commit, known by its ${event.knownBy}`] += 1
        break
      case 'unknown-commit':
        if (event.applied === true) seen['unknown commit, applied'] += 1
        if (event.applied === false) seen['unknown commit, not applied'] += 1
        break
      case 'reconcile':
        if (event.adopted) seen.adopted += 1
        break
      default:
    }
  }
  const firstOk = new Map<string, number>()
  for (const { invoke, end } of stories.calls.values()) {
    if (end === undefined) continue
    if (end.type !== 'ok') {
      if (end.code === 'key-reused') seen.mismatch += 1
      if (end.code === 'in-progress') seen['in progress'] += 1
      if (end.code === 'key-expired') seen.tombstone += 1
      // The user's own COMMIT, in a transaction of the user's.
      if (end.code === 'commit-unknown') {
        const applied = [...stories.effects.values()].some(({ call }) => call === end.call)
        seen[applied ? 'unknown commit, applied' : 'unknown commit, not applied'] += 1
      }
      if (end.code === 'outcome-unknown' && header.promise === 'held') seen.held += 1
      continue
    }
    const name = `${invoke.principal} ${invoke.key}`
    const first = firstOk.get(name)
    if (first === undefined) firstOk.set(name, end.at)
    if (!end.replayed) continue
    const executed = stories.effects.get(end.value.split('|')[3] ?? '')?.call
    if (executed === undefined) continue
    const ended = stories.calls.get(executed)?.end
    if (ended?.type === 'info' && ended.code === 'gone') seen['replay after a crash'] += 1
    if (executed !== end.call && stopped.has(end.call)) {
      seen['fenced writer'] += 1
      if (header.promise === 'once') seen['refused commit, replayed'] += 1
    }
    if (first !== undefined && invoke.at > first + header.leaseMs) seen['late duplicate'] += 1
  }
  return seen
}

/** Whether an attempt whose record was evicted ended without its own answer, and was not cut off by a crash. */
function isRefused(token: string, call: number, { attempts, calls }: Stories): boolean {
  const end = calls.get(call)?.end
  if (attempts.get(token)?.settledTo !== undefined || end === undefined) return false
  return end.type === 'ok' ? end.replayed : end.code === 'in-progress'
}

/** Handlers of a key that started when an attempt before them had run, and its record was evicted since. */
function rerunsAfterEviction({ starts }: KeyStory, { attempts }: Stories): number {
  let fewest = Number.POSITIVE_INFINITY
  let reruns = 0
  for (const { token } of starts) {
    const evictions = attempts.get(token)?.evictionsBefore ?? 0
    if (evictions > fewest) reruns += 1
    fewest = Math.min(fewest, evictions)
  }
  return reruns
}
