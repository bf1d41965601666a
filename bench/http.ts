/** What an adapter costs a request: the same handler bare, with a fresh key each, and replayed. */
import { randomUUID } from 'node:crypto'
import { type Child, type startChild, withChildren } from './child.ts'
import { load, settleKeys } from './load.ts'
import { type Case, inRounds, type Pace, type Question, type Row } from './rounds.ts'

const settledKeys = 50
const warmUpMs = 2_000
const warmUpAtOnce = 8

/** Ratios to the bare handler that the keyed one shall reach, by concurrency. */
export interface Bars {
  readonly fresh?: Readonly<Record<number, number>>
  readonly replay?: Readonly<Record<number, number>>
}

function casesOf(
  framework: string,
  bars: Bars,
  bare: Child,
  keyed: Child,
  replays: Child,
  keys: readonly string[],
): Case[] {
  const floor = `${framework}, bare`
  let at = 0
  const nextKey = (): string => keys[at++ % keys.length] as string
  return [
    // The bare server gets keys too, so that the load does the same work.
    { name: floor, floor, measure: (concurrency, ms) => load(bare, concurrency, ms, randomUUID) },
    {
      name: `${framework}, fresh key`,
      floor,
      ...(bars.fresh && { bars: bars.fresh }),
      measure: (concurrency, ms) => load(keyed, concurrency, ms, randomUUID),
    },
    {
      name: `${framework}, replay`,
      floor,
      ...(bars.replay && { bars: bars.replay }),
      measure: (concurrency, ms) => load(replays, concurrency, ms, nextKey),
    },
  ]
}

/** Each framework bare and keyed, its handler working for so long. */
export async function measureFrameworks(
  start: typeof startChild,
  pace: Pace,
  frameworks: readonly string[],
  workMs: number,
  barsOf: (framework: string) => Bars,
): Promise<readonly Row[]> {
  const cases: Case[] = []
  const work = String(workMs)
  for (const framework of frameworks) {
    const [bare, keyed, replays] = await Promise.all([
      start('http-server.ts', [framework, 'bare', work]),
      start('http-server.ts', [framework, 'keyed', work]),
      start('http-server.ts', [framework, 'keyed', work]),
    ])
    const keys = Array.from({ length: settledKeys }, () => randomUUID())
    await settleKeys(replays, keys)
    // A handler that works for long is called too seldom to be compiled while it is measured.
    if (workMs > 0 && !pace.quick) {
      for (const server of [bare, keyed, replays]) await load(server, warmUpAtOnce, warmUpMs, randomUUID)
    }
    cases.push(...casesOf(framework, barsOf(framework), bare, keyed, replays, keys))
  }
  return inRounds(cases, pace)
}

export const question: Question = {
  asks: 'a keyed POST on the memory store against the bare handler, by framework',
  measure: (pace) =>
    withChildren((start) =>
      measureFrameworks(start, pace, ['express', 'fastify', 'hono', 'node'], 0, (framework) =>
        framework === 'express' ? { fresh: { 1: 0.75, 64: 0.75 } } : {},
      ),
    ),
}
