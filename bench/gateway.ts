/** What the gateway costs a request, against the smallest proxy that one can write. */
import { randomUUID } from 'node:crypto'
import { type startChild, withChildren } from './child.ts'
import { load, settleKeys } from './load.ts'
import { type Case, inRounds, type Pace, type Question, type Row } from './rounds.ts'
import { withScratch } from './scratch.ts'

const settledKeys = 50

async function measureWith(start: typeof startChild, file: string, pace: Pace): Promise<readonly Row[]> {
  const upstream = await start('upstream-server.ts', [])
  const proxy = await start('proxy-server.ts', [String(upstream.port)])
  const memory = await start('gateway-server.ts', [String(upstream.port)])
  const sqlite = await start('gateway-server.ts', [String(upstream.port), file])
  const keys = Array.from({ length: settledKeys }, () => randomUUID())
  await settleKeys(sqlite, keys)
  let at = 0
  const nextKey = (): string => keys[at++ % keys.length] as string
  const noKey = (): undefined => undefined
  const floor = 'bare proxy'
  const cases: Case[] = [
    { name: floor, floor, measure: (concurrency, ms) => load(proxy, concurrency, ms, noKey) },
    {
      name: 'gateway, no key',
      floor,
      bars: { 1: 0.9, 64: 0.9 },
      measure: (concurrency, ms) => load(sqlite, concurrency, ms, noKey),
    },
    {
      name: 'gateway, fresh key, memory',
      floor,
      measure: (concurrency, ms) => load(memory, concurrency, ms, randomUUID),
    },
    {
      name: 'gateway, fresh key, SQLite',
      floor,
      bars: { 1: 0.35, 64: 0.35 },
      measure: (concurrency, ms) => load(sqlite, concurrency, ms, randomUUID),
    },
    {
      name: 'gateway, replay, SQLite',
      floor,
      measure: (concurrency, ms) => load(sqlite, concurrency, ms, nextKey),
    },
  ]
  return inRounds(cases, pace)
}

export const question: Question = {
  asks: 'the gateway without a key, with fresh keys and replaying, against a bare proxy',
  measure: (pace) =>
    withScratch((path) => withChildren((start) => measureWith(start, path('gateway.db'), pace))),
}
