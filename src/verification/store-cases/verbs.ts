/** What each verb writes when it succeeds. */
import assert from 'node:assert/strict'
import type { IdempotencyRecord, Phase, RunningRecord } from '../../core/record.ts'
import { completion, longMs, newClaim, newId, plain, type StoreCase, takeover } from './context.ts'

async function running(read: Promise<IdempotencyRecord | undefined>): Promise<RunningRecord> {
  const record = await read
  assert.ok(record?.phase === 'running')
  return record
}

export const verbCases: readonly StoreCase[] = [
  {
    name: 'a claim of an absent id inserts its running record',
    async run({ store, read }) {
      const claim = newClaim({ leaseMs: 5_000, retentionMs: 70_000 })
      const { now, replies } = await store.claim([claim])
      assert.deepEqual(replies, [{ kind: 'claimed' }])
      const { id, fingerprint, token, operation, principalTag } = claim
      assert.deepEqual(plain(await read(id)), {
        ...{ phase: 'running', id, fingerprint, token, fence: 1, operation, principalTag },
        ...{ createdAt: now, leaseUntil: now + 5_000, retentionMs: 70_000 },
      })
    },
  },
  {
    name: 'a takeover keeps id and creation, and changes everything else of the holder',
    async run({ store, bring, read, pass }) {
      const seen = await bring('completed, retained')
      const { id } = seen
      const before = await read(id)
      await pass(7)
      const claim = newClaim({ id, leaseMs: 5_000, retentionMs: 70_000, operation: 'again' })
      const { now, replies } = await store.supersede([takeover(seen, claim)])
      assert.deepEqual(replies, [{ kind: 'superseded', fence: 2 }])
      const { fingerprint, token, operation, principalTag } = claim
      assert.deepEqual(plain(await read(id)), {
        ...{ phase: 'running', id, fingerprint, token, fence: 2, operation, principalTag },
        ...{ createdAt: before?.createdAt, leaseUntil: now + 5_000, retentionMs: 70_000 },
      })
    },
  },
  {
    name: 'a renewal moves the lease and nothing else',
    async run({ store, bring, read, pass }) {
      const { id, token } = await bring('running, lease live')
      const before = await read(id)
      await pass(7)
      const { now, replies } = await store.renew([{ id, token, leaseMs: 9_000 }])
      assert.deepEqual(replies, [{ kind: 'renewed' }])
      assert.deepEqual(await read(id), { ...before, leaseUntil: now + 9_000 })
    },
  },
  {
    name: 'a settlement to completed keeps the outcome, its retention and its tombstone',
    async run({ store, bring, read, pass }) {
      const held = await bring('running, lease live')
      const { phase: _phase, leaseUntil: _until, retentionMs: _ms, ...head } = await running(read(held.id))
      await pass(7)
      const outcome = Uint8Array.from({ length: 256 }, (_, octet) => octet)
      const { now, replies } = await store.settle([
        completion(held, { outcome, retentionMs: 1_000, tombstoneMs: 500 }),
      ])
      assert.deepEqual(replies, [{ kind: 'settled' }])
      assert.deepEqual(plain(await read(held.id)), {
        ...{ phase: 'completed', ...head, settledAt: now },
        ...{ retainUntil: now + 1_000, tombstoneUntil: now + 1_500 },
        outcome: Buffer.from(outcome).toString('hex'),
      })
    },
  },
  {
    name: 'a settlement to released keeps the marker, one to unknown its retention',
    async run({ store, bring, read }) {
      for (const to of ['released', 'unknown'] as const) {
        const { id, token } = await bring('running, lease live')
        const { phase: _phase, leaseUntil: _until, retentionMs: _ms, ...head } = await running(read(id))
        const { now } = await store.settle([
          to === 'released' ? { id, token, to, markerMs: 700 } : { id, token, to, retentionMs: 700 },
        ])
        const times = to === 'released' ? { markerUntil: now + 700 } : { retainUntil: now + 700 }
        assert.deepEqual(plain(await read(id)), { phase: to, ...head, settledAt: now, ...times })
      }
    },
  },
  {
    name: 'an outcome may be empty, and its octets are the store’s own copy',
    async run({ bring, settle, read }) {
      const empty = await bring('running, lease live')
      await settle(completion(empty, { outcome: new Uint8Array() }))
      const emptyRecord = await read(empty.id)
      assert.equal(emptyRecord?.phase === 'completed' ? emptyRecord.outcome.length : undefined, 0)

      const held = await bring('running, lease live')
      const outcome = Uint8Array.from([1, 2, 3])
      await settle(completion(held, { outcome }))
      outcome.fill(9)
      const record = await read(held.id)
      assert.ok(record?.phase === 'completed')
      assert.deepEqual([...record.outcome], [1, 2, 3])
    },
  },
  {
    name: 'an outcome of outcomeBytesMax is kept, octet for octet',
    async run({ store, bring, settle, read }) {
      const held = await bring('running, lease live')
      const octets = Math.min(store.capabilities.outcomeBytesMax, 64 * 1024 * 1024)
      const outcome = Buffer.alloc(octets)
      for (let at = 0; at < octets; at += 997) outcome[at] = at % 251
      assert.equal((await settle(completion(held, { outcome }))).kind, 'settled')
      const record = await read(held.id)
      assert.ok(record?.phase === 'completed')
      assert.ok(outcome.equals(record.outcome), 'the outcome came back changed')
    },
  },
  {
    name: 'an outcome over outcomeBytesMax fails its item and leaves the record running',
    async run({ store, bring, read }) {
      const { outcomeBytesMax } = store.capabilities
      if (outcomeBytesMax > 64 * 1024 * 1024) return
      const held = await bring('running, lease live')
      const before = await read(held.id)
      const { replies } = await store.settle([
        completion(held, { outcome: Buffer.alloc(outcomeBytesMax + 1) }),
      ])
      const reply = replies[0]
      assert.ok(reply?.kind === 'failed')
      assert.equal(reply.error.failure, 'permanent')
      assert.deepEqual(await read(held.id), before)
    },
  },
  {
    name: 'unusual ids are different ids',
    async run({ claim, read }) {
      const ids = ['A'.repeat(22), `${'A'.repeat(21)}Q`, `${'_'.repeat(21)}w`, `${'-'.repeat(21)}w`]
      const cased = newId()
      const swapped = cased.replace(/[a-z]/i, (letter) =>
        letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase(),
      )
      // Read as numbers, some of these would be one.
      ids.push(cased, swapped, `1${'0'.repeat(20)}A`, `1e5${'0'.repeat(18)}A`, `0${'0'.repeat(20)}A`)
      for (const id of ids) assert.equal((await claim(newClaim({ id: id as never }))).kind, 'claimed', id)
      for (const id of ids) assert.equal((await read(id as never))?.id, id)
    },
  },
  {
    name: 'texts come back as they were given',
    async run({ claim, read }) {
      const texts = [
        "o'hara; DROP TABLE records --",
        '01',
        '1e3',
        'ключ 🔑 \\ " % _',
        'NULL',
        'é',
        ' é',
        'x'.repeat(255),
      ]
      for (const text of texts) {
        const asked = newClaim({ operation: text, principalTag: text })
        await claim(asked)
        const record = await read(asked.id)
        assert.deepEqual(
          [record?.operation, record?.principalTag, record?.token],
          [asked.operation, asked.principalTag, asked.token],
        )
      }
    },
  },
  {
    name: 'the fence grows by one at every change of holder',
    async run({ claim, supersede, settle, read }) {
      const first = newClaim()
      await claim(first)
      let token = first.token
      const ends: readonly Phase[] = ['released', 'unknown', 'completed']
      for (let fence = 2; fence < 8; fence++) {
        const end = ends[fence % ends.length]
        const held = { id: first.id, token }
        if (end === 'completed') await settle(completion(held))
        else if (end === 'released') await settle({ ...held, to: 'released', markerMs: longMs })
        else await settle({ ...held, to: 'unknown', retentionMs: longMs })
        const next = newClaim({ id: first.id })
        assert.deepEqual(await supersede({ token, phase: end ?? 'running' }, next), {
          kind: 'superseded',
          fence,
        })
        assert.equal((await read(first.id))?.fence, fence)
        token = next.token
      }
    },
  },
]
