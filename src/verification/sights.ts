/**
 * States that a set of runs must have reached: where none of them had a takeover, a fenced writer or an unknown
 * commit, it shows nothing about them, however green it is.
 */
import type { EffectPromise, History } from './history.ts'
import type { Stories } from './stories.ts'

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

/** What the runs of a mode must have reached together. */
export function requiredSights(promise: EffectPromise, forgets = false): readonly Sight[] {
  return forgets ? [...of[promise], 'loss'] : of[promise]
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
      case 'stop':
        stopped.add(event.call)
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
    if (executed !== end.call && stopped.has(end.call)) seen['fenced writer'] += 1
    if (first !== undefined && invoke.at > first + header.leaseMs) seen['late duplicate'] += 1
  }
  return seen
}
