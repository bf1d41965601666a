/** What an adapter costs a request: the same handler bare, with a fresh key each, and replayed. */
import { randomUUID } from 'node:crypto'
import { type Child, type startChild, withChildren } from './child.ts'
import { load, settleKeys } from './load.ts'
import { type Case, inRounds, type Pace, type Question, type Row } from './rounds.ts'

const frameworks = ['express', 'fastify', 'hono', 'node'] as const
const settledKeys = 50

function casesOf(
  framework: string,
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
      ...(framework === 'express' && { bars: { 1: 0.75, 64: 0.75 } }),
      measure: (concurrency, ms) => load(keyed, concurrency, ms, randomUUID),
    },
    {
      name: `${framework}, replay`,
      floor,
      measure: (concurrency, ms) => load(replays, concurrency, ms, nextKey),
    },
  ]
}

async function measureWith(start: typeof startChild, pace: Pace): Promise<readonly Row[]> {
  const cases: Case[] = []
  for (const framework of frameworks) {
    const [bare, keyed, replays] = await Promise.all([
      start('http-server.ts', [framework, 'bare']),
      start('http-server.ts', [framework, 'keyed']),
      start('http-server.ts', [framework, 'keyed']),
    ])
    const keys = Array.from({ length: settledKeys }, () => randomUUID())
    await settleKeys(replays, keys)
    cases.push(...casesOf(framework, bare, keyed, replays, keys))
  }
  return inRounds(cases, pace)
}

export const question: Question = {
  asks: 'a keyed POST on the memory store against the bare handler, by framework',
  measure: (pace) => withChildren((start) => measureWith(start, pace)),
}
