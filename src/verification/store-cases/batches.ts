/** Plural verbs: order of replies, one id twice, one bad item among good ones, verbs sent again. */
import assert from 'node:assert/strict'
import { completion, longMs, newClaim, newId, plain, type StoreCase, takeover } from './context.ts'

export const batchCases: readonly StoreCase[] = [
  {
    name: 'no items have no replies',
    async run({ store }) {
      const calls = [store.claim([]), store.supersede([]), store.settle([]), store.renew([]), store.read([])]
      for (const { replies, now } of await Promise.all<{ replies: readonly unknown[]; now: number }>(calls)) {
        assert.deepEqual(replies, [])
        assert.ok(Number.isFinite(now))
      }
    },
  },
  {
    name: 'replies come in the order of their items, in a batch of batchMax',
    async run({ store }) {
      const count = Math.min(store.capabilities.batchMax, 1_000)
      const claims = Array.from({ length: count }, () => newClaim())
      const odd = claims.filter((_, at) => at % 2 === 1)
      await store.claim(odd)
      const { replies } = await store.claim(claims)
      for (const [at, reply] of replies.entries()) {
        assert.equal(reply.kind, at % 2 === 1 ? 'found' : 'claimed')
        if (reply.kind === 'found') assert.equal(reply.record.token, claims[at]?.token)
      }
      const settled = await store.settle(
        claims.map((claim, at) => completion(claim, { outcome: Buffer.of(at % 256) })),
      )
      assert.ok(settled.replies.every(({ kind }) => kind === 'settled'))
      const read = await store.read(claims.map(({ id }) => id).toReversed())
      for (const [at, record] of read.replies.toReversed().entries()) {
        assert.ok(record?.phase === 'completed')
        assert.deepEqual([...record.outcome], [at % 256])
        assert.equal(record.id, claims[at]?.id)
      }
    },
  },
  {
    name: 'one id twice in a batch is claimed once, by the first',
    async run({ store, read }) {
      const first = newClaim()
      const second = newClaim({ id: first.id })
      const { replies } = await store.claim([newClaim(), first, second, first])
      assert.deepEqual(
        replies.map(({ kind }) => kind),
        ['claimed', 'claimed', 'found', 'found'],
      )
      for (const reply of replies.slice(2)) {
        assert.ok(reply.kind === 'found')
        assert.equal(reply.record.token, first.token)
      }
      assert.equal((await read(first.id))?.token, first.token)
    },
  },
  {
    name: 'one id twice in a batch is superseded, settled and read as if one after the other',
    async run({ store, bring, read }) {
      const seen = await bring('released, marker live')
      const { id } = seen
      const winner = newClaim({ id })
      const takeovers = [winner, newClaim({ id })].map((claim) => takeover(seen, claim))
      const superseded = await store.supersede(takeovers)
      assert.deepEqual(superseded.replies[0], { kind: 'superseded', fence: 2 })
      const refused = superseded.replies[1]
      assert.ok(refused?.kind === 'refused')
      assert.equal(refused.record?.token, winner.token)

      const settled = await store.settle([
        completion(winner),
        { ...winner, to: 'unknown', retentionMs: longMs },
      ])
      assert.deepEqual(
        settled.replies.map(({ kind }) => kind),
        ['settled', 'refused'],
      )
      const { replies } = await store.read([id, newId(), id])
      assert.deepEqual(plain(replies[0]), plain(replies[2]))
      assert.equal(replies[1], undefined)
      assert.equal((await read(id))?.phase, 'completed')
    },
  },
  {
    name: 'an item that fails does not fail its neighbours',
    async run({ store, bring, read }) {
      const { outcomeBytesMax } = store.capabilities
      if (outcomeBytesMax > 64 * 1024 * 1024) return
      const [one, two, three] = [
        await bring('running, lease live'),
        await bring('running, lease live'),
        await bring('running, lease live'),
      ]
      const tooLarge = completion(two, { outcome: Buffer.alloc(outcomeBytesMax + 1) })
      const { replies } = await store.settle([completion(one), tooLarge, completion(three)])
      assert.deepEqual(
        replies.map(({ kind }) => kind),
        ['settled', 'failed', 'settled'],
      )
      assert.equal((await read(two.id))?.phase, 'running')
      assert.equal((await read(three.id))?.phase, 'completed')
    },
  },
  {
    name: 'a verb sent again shows the caller its own token',
    async run({ claim, supersede, settle, bring }) {
      const asked = newClaim()
      await claim(asked)
      const again = await claim(asked)
      assert.ok(again.kind === 'found')
      assert.deepEqual([again.record.phase, again.record.token], ['running', asked.token])

      const seen = await bring('unknown, retained')
      const taker = newClaim({ id: seen.id })
      await supersede(seen, taker)
      const refused = await supersede(seen, taker)
      assert.ok(refused.kind === 'refused')
      assert.deepEqual([refused.record?.phase, refused.record?.token], ['running', taker.token])

      await settle(completion(taker))
      const settled = await settle(completion(taker))
      assert.ok(settled.kind === 'refused')
      assert.deepEqual([settled.record?.phase, settled.record?.token], ['completed', taker.token])
    },
  },
]
