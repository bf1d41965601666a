/** How late retries come, seen while a service runs: a retention must outlast the last of them. */
import { type EngineEvents, onEvent } from '../engine/events.ts'
import type { Finding } from './findings.ts'

/** The replay of an operation that left the least of its retention. */
export interface LateReplay {
  readonly operation: string
  /** Since the outcome was settled, in milliseconds. */
  readonly ageMs: number
  /** Until its retention was over, in milliseconds. */
  readonly leftMs: number
}

/** A watch on the replays of every instance in this process. */
export interface ReplayWatch extends Disposable {
  /** The latest replay of each operation. */
  latest(): LateReplay[]
  /** What they say about retention. */
  findings(): Finding[]
  stop(): void
}

/** Past this part of its retention a replay is late: clients should stop retrying at half of it. */
const lateFrom = 0.5
const operationsMax = 1_000

const partOf = ({ ageMs, leftMs }: Omit<LateReplay, 'operation'>): number => ageMs / (ageMs + leftMs)

/**
 * Watches replays until it is stopped, with bounded memory: the latest one of at most 1,000 operations.
 *
 * @example
 * const watch = watchReplays()
 * setInterval(() => watch.findings().forEach((finding) => log.warn(finding)), 3_600_000).unref()
 */
export function watchReplays(): ReplayWatch {
  const latest = new Map<string, LateReplay>()
  const stop = onEvent('replayed', (event) => keepLatest(latest, event))
  return {
    latest: () => [...latest.values()],
    findings: () => lateReplays(latest.values()),
    stop,
    [Symbol.dispose]: stop,
  }
}

function keepLatest(latest: Map<string, LateReplay>, event: EngineEvents['replayed']): void {
  const { operation, ageMs, leftMs } = event
  if (ageMs === undefined || leftMs === undefined) return
  const known = latest.get(operation)
  if (known === undefined ? latest.size >= operationsMax : partOf(known) >= partOf({ ageMs, leftMs })) return
  latest.set(operation, { operation, ageMs, leftMs })
}

/** Replays that came in the second half of their retention, one finding for each operation. */
export function lateReplays(replays: Iterable<LateReplay>): Finding[] {
  const latest = new Map<string, LateReplay>()
  for (const replay of replays) {
    const known = latest.get(replay.operation)
    if (known === undefined || partOf(known) < partOf(replay)) latest.set(replay.operation, replay)
  }
  return [...latest.values()]
    .filter((replay) => partOf(replay) > lateFrom)
    .map(({ operation, ageMs, leftMs }) => ({
      code: 'retention-short',
      level: 'problem',
      operation,
      message: `was retried ${inWords(ageMs)} after its outcome, of a retention of ${inWords(ageMs + leftMs)}: a later retry takes effect again`,
      advice: `keep outcomes for ${inWords(2 * ageMs)} or longer, or end the retries of its clients sooner`,
    }))
}

function inWords(ms: number): string {
  if (ms < 120_000) return `${Math.ceil(ms / 1_000)} s`
  return ms < 7_200_000 ? `${Math.ceil(ms / 60_000)} min` : `${Math.ceil(ms / 3_600_000)} h`
}
