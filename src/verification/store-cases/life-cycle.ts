/** Clock, capabilities and the end of a store. */
import assert from 'node:assert/strict'
import { completion, newClaim, type StoreCase, takeover } from './context.ts'

export const lifeCycleCases: readonly StoreCase[] = [
  {
    name: 'capabilities are numbers one can work with',
    async run({ store }) {
      const { batchMax, flightsMax, outcomeBytesMax, expiryGranularityMs } = store.capabilities
      for (const number of [batchMax, flightsMax, outcomeBytesMax, expiryGranularityMs])
        assert.ok(number >= 1)
      assert.match(store.name, /^[a-z0-9-]+$/)
    },
  },
  {
    name: 'the store’s clock goes on and not back',
    async run({ store, claim, pass }) {
      const asked = newClaim()
      await claim(asked)
      let last = 0
      for (let round = 0; round < 20; round++) {
        const calls = [
          await store.read([asked.id]),
          await store.claim([asked]),
          await store.list({ limit: 1 }),
          await store.renew([{ ...asked, leaseMs: 1_000 }]),
        ]
        for (const { now } of calls) {
          assert.ok(Number.isFinite(now) && now >= last)
          last = now
        }
        await pass(1)
      }
    },
  },
  {
    name: 'after close every verb rejects as closed, and closing again is no error',
    async run({ store, bring }) {
      const held = await bring('running, lease live')
      await store.close()
      await store.close()
      const late: readonly (() => Promise<unknown>)[] = [
        () => store.claim([newClaim()]),
        () => store.supersede([takeover(held, newClaim())]),
        () => store.settle([completion(held)]),
        () => store.renew([{ ...held, leaseMs: 1_000 }]),
        () => store.read([held.id]),
        () => store.sweep(1),
        () => store.list({ limit: 1 }),
      ]
      for (const call of late) await assert.rejects(call, { code: 'closed' })
    },
  },
  {
    name: 'verbs that are under way when the store is closed are answered',
    async run({ store }) {
      const verbs = Array.from({ length: 8 }, () => store.claim([newClaim()]))
      const closing = store.close()
      for (const { replies } of await Promise.all(verbs)) assert.equal(replies[0]?.kind, 'claimed')
      await closing
    },
  },
]
