/** What the sweep removes, turns into tombstones, and leaves. */
import assert from 'node:assert/strict'
import { completion, longMs, newClaim, plain, type State, type StoreCase } from './context.ts'

const kept: readonly State[] = [
  'running, lease live',
  'running, lease over',
  'completed, retained',
  'released, marker live',
  'unknown, retained',
  'tombstone',
]
const removed: readonly State[] = ['running, past', 'completed, past', 'released, past', 'unknown, past']

export const sweepCases: readonly StoreCase[] = [
  {
    name: 'the sweep removes what is past and alters nothing that is still kept',
    async run({ store, bring, read }) {
      const stay = await Promise.all(kept.map(bring))
      const go = await Promise.all(removed.map(bring))
      const before = await Promise.all(stay.map(async ({ id }) => plain(await read(id))))
      await store.sweep(1_000)
      assert.deepEqual(await Promise.all(stay.map(async ({ id }) => plain(await read(id)))), before)
      for (const [at, { id }] of go.entries()) assert.equal(await read(id), undefined, removed[at])
      assert.deepEqual(await store.sweep(1_000), { removed: 0, entombed: 0, more: false })
    },
  },
  {
    name: 'a completed record past its retention becomes a tombstone without its outcome, then goes',
    async run({ store, claim, settle, read, shortMs, passShort, pass }) {
      const asked = newClaim()
      await claim(asked)
      await settle(completion(asked, { retentionMs: shortMs, tombstoneMs: longMs }))
      const record = await read(asked.id)
      assert.ok(record?.phase === 'completed')
      await passShort()
      assert.deepEqual(await store.sweep(10), { removed: 0, entombed: 1, more: false })
      const { phase: _phase, outcome: _outcome, retainUntil: _until, ...rest } = record
      assert.deepEqual(await read(asked.id), { ...rest, phase: 'tombstone' })
      if (store.capabilities.clock === 'process') {
        await pass(longMs)
        assert.deepEqual(await store.sweep(10), { removed: 1, entombed: 0, more: false })
        assert.equal(await read(asked.id), undefined)
      }
    },
  },
  {
    name: 'a sweep handles at most its limit and says when more may be waiting',
    async run({ store, claim, settle, read, shortMs, passShort }) {
      const claims = Array.from({ length: 25 }, () => newClaim())
      for (const asked of claims) {
        await claim(asked)
        await settle({ ...asked, to: 'released', markerMs: shortMs })
      }
      await passShort()
      const present = async (): Promise<number> =>
        (await Promise.all(claims.map(({ id }) => read(id)))).filter((record) => record !== undefined).length
      let left = await present()
      for (let sweeps = 0; left > 0; sweeps++) {
        assert.ok(sweeps < 10, 'the sweep does not come to an end')
        const swept = await store.sweep(10)
        assert.ok(swept.removed <= 10)
        const now = await present()
        assert.equal(left - now, swept.removed)
        left = now
        if (left > 0) assert.equal(swept.more, true)
      }
    },
  },
  {
    name: 'a removed id is claimed anew, with fence 1',
    async run({ store, bring, claim, read }) {
      const { id } = await bring('completed, past')
      await store.sweep(10)
      assert.equal((await claim(newClaim({ id }))).kind, 'claimed')
      assert.equal((await read(id))?.fence, 1)
    },
  },
  {
    name: 'a renewed or superseded record is not removed at its old time',
    async run({ store, claim, renew, supersede, read, shortMs, passShort }) {
      const renewed = newClaim({ leaseMs: shortMs, retentionMs: 0 })
      const seen = newClaim({ leaseMs: shortMs, retentionMs: 0 })
      await claim(renewed)
      await claim(seen)
      await renew(renewed, longMs)
      await passShort()
      const taken =
        (await supersede({ ...seen, phase: 'running' }, newClaim({ id: seen.id }))).kind === 'superseded'
      await store.sweep(100)
      assert.equal((await read(renewed.id))?.phase, 'running')
      if (taken) assert.equal((await read(seen.id))?.phase, 'running')
    },
  },
]
