import { afterEach, beforeEach, expect, test } from 'vitest'
import { type EngineEventName, onEvent } from '../../src/engine/events.ts'
import { createIdempotency, type Idempotency } from '../../src/engine/idempotency.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { type FaultyStore, faultyStore } from './faulty-store.ts'
import { type ManualRuntime, manualRuntime } from './manual-runtime.ts'

let runtime: ManualRuntime
let store: FaultyStore
let idem: Idempotency
let seen: [EngineEventName, object][]
let stops: (() => void)[]

const names: EngineEventName[] = [
  'claimed',
  'replayed',
  'mismatch',
  'in-progress',
  'expired',
  'unknown-held',
  'completed',
  'released',
  'unknown',
  'lease-lost',
  'store-error',
  'swept',
]

beforeEach(() => {
  runtime = manualRuntime()
  store = faultyStore(memoryStore({ clock: runtime.clock }))
  idem = createIdempotency({ store, sweep: false, wait: 0 }, runtime)
  seen = []
  stops = names.map((name) => onEvent(name, (event) => seen.push([name, event])))
})

afterEach(() => {
  for (const stop of stops) stop()
})

const call = { key: 'canary-key', principal: 'canary-principal', input: 'canary-input' }
const seenNames = () => seen.map(([name]) => name)

test('a run, a replay and a mismatch are reported once each, without key, principal, input or outcome', async () => {
  const charge = idem.operation('charge', () => 'canary-outcome')
  await charge.run(call)
  await charge.run(call)
  await charge.attempt({ ...call, input: 'other' })
  expect(seenNames()).toEqual(['claimed', 'completed', 'replayed', 'mismatch'])
  expect(seen[0]?.[1]).toMatchObject({ operation: 'charge', fence: 1 })
  expect(JSON.stringify(seen)).not.toContain('canary')
})

test('a replay tells how old its outcome is, and how long it is still kept', async () => {
  const charge = idem.operation('charge', { retention: '1h' }, () => 'paid')
  await charge.run(call)
  await runtime.advance(600_000)
  await charge.run(call)
  expect(seen.at(-1)).toEqual(['replayed', expect.objectContaining({ ageMs: 600_000, leftMs: 3_000_000 })])
})

test('a release, an unknown end and the refusal that follows are reported', async () => {
  const verdicts = ['release', 'unknown'] as const
  let at = 0
  const charge = idem.operation('charge', { onError: () => verdicts[at++] ?? 'release' }, () => {
    throw new Error('declined')
  })
  await charge.run(call).catch(() => {})
  await charge.run(call).catch(() => {})
  await charge.attempt(call)
  expect(seenNames()).toEqual(['claimed', 'released', 'claimed', 'unknown', 'unknown-held'])
})

test('a joined duplicate is reported as in progress or replayed', async () => {
  const { promise, resolve } = Promise.withResolvers<number>()
  const charge = idem.operation('charge', () => promise)
  const waiting = idem.operation('charge', { wait: '1s' }, () => promise)
  const first = charge.run(call)
  await runtime.settle()
  await charge.attempt(call)
  const joined = waiting.run(call)
  resolve(1)
  await Promise.all([first, joined])
  expect(seenNames()).toEqual(['claimed', 'in-progress', 'completed', 'replayed'])
})

test('a failed verb is reported even when its retry works', async () => {
  store.fail('claim', 'reply-lost')
  const run = idem.operation('charge', () => 1).run(call)
  await runtime.advance(100)
  await run
  expect(seenNames()).toEqual(['store-error', 'claimed', 'completed'])
})

test('a handler past its timeout loses its lease', async () => {
  const { promise, resolve } = Promise.withResolvers<number>()
  const run = idem.operation('charge', { timeout: '1m' }, () => promise).run(call)
  await runtime.advance(80_000)
  expect(seenNames()).toEqual(['claimed', 'lease-lost'])
  resolve(1)
  await run
})

test('a subscription that was ended hears nothing', async () => {
  for (const stop of stops) stop()
  await idem.operation('charge', () => 1).run(call)
  expect(seen).toEqual([])
})
