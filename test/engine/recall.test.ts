import { expect, test } from 'vitest'
import type { CompletedRecord } from '../../src/core/record.ts'
import type { IdempotencyStore, Recalled } from '../../src/core/store.ts'
import { onEvent } from '../../src/engine/events.ts'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { memoryStore } from '../../src/stores/memory.ts'

/** A store that recalls what it completed, as `change` has it. */
function recalling(change: (found: Recalled) => Recalled | undefined): IdempotencyStore & { claims: number } {
  const kept = new Map<string, CompletedRecord>()
  const store = memoryStore()
  const recallingStore = {
    name: store.name,
    capabilities: store.capabilities,
    claims: 0,
    claim(claims: Parameters<typeof store.claim>[0]) {
      recallingStore.claims++
      return store.claim(claims)
    },
    supersede: (takeovers: Parameters<typeof store.supersede>[0]) => store.supersede(takeovers),
    async settle(settlements: Parameters<typeof store.settle>[0]) {
      const answer = await store.settle(settlements)
      const { replies } = await store.read(settlements.map(({ id }) => id))
      for (const record of replies) if (record?.phase === 'completed') kept.set(record.id, record)
      return answer
    },
    read: (ids: Parameters<typeof store.read>[0]) => store.read(ids),
    renew: (renewals: Parameters<typeof store.renew>[0]) => store.renew(renewals),
    sweep: (limit: number) => store.sweep(limit),
    list: (query: Parameters<typeof store.list>[0]) => store.list(query),
    recall(id: string): Recalled | undefined {
      const record = kept.get(id)
      return record === undefined ? undefined : change({ now: record.settledAt, record })
    },
    close: () => store.close(),
    [Symbol.asyncDispose]: () => store.close(),
  }
  return recallingStore
}

const call = { key: 'k1', principal: 'alice', input: 1 }

test('a replay and a mismatch are taken from what the store recalls, and told as events', async () => {
  const store = recalling((found) => found)
  const idem = createIdempotency({ store, sweep: false })
  const told: string[] = []
  const stops = (['replayed', 'mismatch'] as const).map((name) => onEvent(name, () => void told.push(name)))
  const double = idem.operation('double', (input: number) => input * 2)
  expect(await double.attempt(call)).toEqual({ kind: 'executed', value: 2 })
  expect(await double.attempt(call)).toEqual({ kind: 'replayed', value: 2 })
  expect(await double.attempt({ ...call, input: 2 })).toEqual({ kind: 'mismatch' })
  expect(store.claims).toBe(1)
  expect(told).toEqual(['replayed', 'mismatch'])
  for (const stop of stops) stop()
  await idem.close()
})

test('what the table would not replay is asked of the store', async () => {
  const store = recalling(({ record }) => ({ record, now: record.retainUntil }))
  const idem = createIdempotency({ store, sweep: false, tombstone: '1h' })
  const double = idem.operation('double', (input: number) => input * 2)
  await double.attempt(call)
  expect(await double.attempt(call)).toEqual({ kind: 'replayed', value: 2 })
  expect(store.claims).toBe(2)
  await idem.close()
})

test('a closed instance and an aborted call are answered as ever', async () => {
  const idem = createIdempotency({ store: recalling((found) => found), sweep: false })
  const double = idem.operation('double', (input: number) => input * 2)
  await double.attempt(call)
  await expect(double.attempt({ ...call, signal: AbortSignal.abort() })).rejects.toThrow('aborted')
  await idem.close()
  await expect(double.attempt(call)).rejects.toThrow('closed')
})
