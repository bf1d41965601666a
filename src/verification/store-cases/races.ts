/** Concurrent verbs on one id, and many verbs at once. */
import assert from 'node:assert/strict'
import { completion, newClaim, only, type StoreCase, takeover } from './context.ts'

const claimersCount = 64

export const raceCases: readonly StoreCase[] = [
  {
    name: 'of many concurrent claims of one id exactly one wins, and all others find it',
    async run({ store, read }) {
      const { id } = newClaim()
      const claims = Array.from({ length: claimersCount }, () => newClaim({ id }))
      const replies = await Promise.all(claims.map((claim) => only(store.claim([claim]))))
      const winners = claims.filter((_, at) => replies[at]?.kind === 'claimed')
      assert.equal(winners.length, 1)
      assert.equal((await read(id))?.token, winners[0]?.token)
      for (const reply of replies) {
        if (reply.kind === 'found') assert.equal(reply.record.token, winners[0]?.token)
      }
    },
  },
  {
    name: 'of many concurrent takeovers of one record exactly one wins',
    async run({ store, bring, read }) {
      const seen = await bring('running, lease over')
      const { id } = seen
      const claims = Array.from({ length: claimersCount }, () => newClaim({ id }))
      const replies = await Promise.all(claims.map((claim) => only(store.supersede([takeover(seen, claim)]))))
      const winners = claims.filter((_, at) => replies[at]?.kind === 'superseded')
      assert.equal(winners.length, 1)
      const record = await read(id)
      assert.deepEqual([record?.token, record?.fence], [winners[0]?.token, 2])
    },
  },
  {
    name: 'of a takeover and a late settlement of the same record exactly one wins',
    async run({ store, bring, read }) {
      for (let round = 0; round < 20; round++) {
        const held = await bring('running, lease over')
        const taker = newClaim({ id: held.id })
        const settle = (): Promise<{ kind: string }> => only(store.settle([completion(held)]))
        const supersede = (): Promise<{ kind: string }> => only(store.supersede([takeover(held, taker)]))
        const both = round % 2 === 0 ? [settle(), supersede()] : [supersede(), settle()]
        const replies = await Promise.all(both)
        // The holder settles under the token that the taker saw: its outcome must not be taken over.
        assert.equal(replies.filter(({ kind }) => kind === 'refused').length, 1)
        const record = await read(held.id)
        assert.equal(record?.phase, record?.token === taker.token ? 'running' : 'completed')
      }
    },
  },
  {
    name: 'many verbs of all kinds at once are each answered for themselves',
    async run({ store, bring }) {
      const running = await Promise.all(Array.from({ length: 20 }, () => bring('running, lease live')))
      const fresh = Array.from({ length: 20 }, () => newClaim())
      const [settled, claimed, renewed, read] = await Promise.all([
        Promise.all(running.slice(0, 10).map((held) => only(store.settle([completion(held)])))),
        Promise.all(fresh.map((claim) => only(store.claim([claim])))),
        Promise.all(running.slice(10).map((held) => only(store.renew([{ ...held, leaseMs: 50_000 }])))),
        Promise.all(running.map(({ id }) => store.read([id]))),
      ])
      assert.ok(settled.every(({ kind }) => kind === 'settled'))
      assert.ok(claimed.every(({ kind }) => kind === 'claimed'))
      assert.ok(renewed.every(({ kind }) => kind === 'renewed'))
      for (const [at, { replies }] of read.entries()) assert.equal(replies[0]?.id, running[at]?.id)
    },
  },
]
