/** Records that commit together with the user's own writes. */
import assert from 'node:assert/strict'
import { completion, newClaim, newToken, type StoreCase } from './context.ts'

const needs = 'transactions'

export const transactionCases: readonly StoreCase[] = [
  {
    name: 'what the work wrote and its record commit together',
    needs,
    async run({ transactional, business, claim, settle, read }) {
      const asked = newClaim()
      const end = await transactional.transaction(async (tx, records) => {
        assert.equal((await claim(asked, records)).kind, 'claimed')
        await business.write(tx, 'order 1')
        assert.equal((await settle(completion(asked), records)).kind, 'settled')
        return { kind: 'commit', value: 17 }
      })
      assert.deepEqual(end, { kind: 'committed', value: 17 })
      assert.deepEqual(await business.written(), ['order 1'])
      assert.equal((await read(asked.id))?.phase, 'completed')
    },
  },
  {
    name: 'a settlement that comes with the verdict commits with it',
    needs,
    async run({ transactional, business, claim, read }) {
      const asked = newClaim()
      const end = await transactional.transaction(async (tx, records) => {
        await claim(asked, records)
        await business.write(tx, 'order 1')
        return { kind: 'commit', value: 17, settlement: completion(asked) }
      })
      assert.deepEqual(end, { kind: 'committed', value: 17 })
      assert.deepEqual(await business.written(), ['order 1'])
      assert.equal((await read(asked.id))?.phase, 'completed')
    },
  },
  {
    name: 'a verdict whose settlement is refused commits nothing',
    needs,
    async run({ transactional, business, claim, read }) {
      const asked = newClaim()
      const end = await transactional.transaction(async (tx, records) => {
        await claim(asked, records)
        await business.write(tx, 'order 1')
        const settlement = completion({ id: asked.id, token: newToken() })
        return { kind: 'commit', value: 17, settlement }
      })
      assert.deepEqual(end, { kind: 'refused' })
      assert.deepEqual(await business.written(), [])
      assert.equal(await read(asked.id), undefined)
    },
  },
  {
    name: 'a claim does not wait for another open transaction on its id longer than a moment',
    needs,
    async run({ transactional, claim }) {
      const asked = newClaim()
      const inside = Promise.withResolvers<void>()
      const over = Promise.withResolvers<void>()
      const first = transactional.transaction(async (_tx, records) => {
        await claim(asked, records)
        inside.resolve()
        await over.promise
        return { kind: 'commit', value: undefined, settlement: completion(asked) }
      })
      await inside.promise
      const second = transactional
        .transaction(async (_tx, records) => {
          const reply = await claim(newClaim({ id: asked.id }), records)
          return { kind: 'roll-back', value: reply.kind }
        })
        .then(
          (end) => (end.kind === 'rolled-back' ? end.value : end.kind),
          // A store with one writer at a time cannot even open the second transaction.
          (error: { code?: string; failure?: string }) => `${error.code} ${error.failure}`,
        )
      assert.ok(['locked', 'store-failed transient'].includes(await second))
      over.resolve()
      assert.equal((await first).kind, 'committed')
    },
  },
  {
    name: 'a roll-back takes both away and keeps its value',
    needs,
    async run({ transactional, business, claim, read }) {
      const asked = newClaim()
      const end = await transactional.transaction(async (tx, records) => {
        await claim(asked, records)
        await business.write(tx, 'order 1')
        return { kind: 'roll-back', value: 'no stock' }
      })
      assert.deepEqual(end, { kind: 'rolled-back', value: 'no stock' })
      assert.deepEqual(await business.written(), [])
      assert.equal(await read(asked.id), undefined)
    },
  },
  {
    name: 'work that throws is rolled back, and its own error comes out',
    needs,
    async run({ transactional, business, claim, read }) {
      const asked = newClaim()
      const thrown = new Error('no stock')
      const call = transactional.transaction(async (tx, records) => {
        await claim(asked, records)
        await business.write(tx, 'order 1')
        throw thrown
      })
      await assert.rejects(call, (error) => error === thrown)
      assert.deepEqual(await business.written(), [])
      assert.equal(await read(asked.id), undefined)
      // The next transaction is not touched by it.
      await transactional.transaction(async (tx) => {
        await business.write(tx, 'order 2')
        return { kind: 'commit', value: undefined }
      })
      assert.deepEqual(await business.written(), ['order 2'])
    },
  },
  {
    name: 'an uncommitted claim is not visible outside, and visible inside',
    needs,
    async run({ transactional, claim, read, settle }) {
      const asked = newClaim()
      await transactional.transaction(async (_tx, records) => {
        await claim(asked, records)
        assert.equal(await read(asked.id), undefined)
        assert.equal((await records.read([asked.id])).replies[0]?.token, asked.token)
        await settle(completion(asked), records)
        return { kind: 'commit', value: undefined }
      })
      assert.equal((await read(asked.id))?.phase, 'completed')
    },
  },
  {
    name: 'of two concurrent transactions on one id only one claims, and the other finds its outcome',
    needs,
    async run({ transactional, business, claim, settle }) {
      const { id } = newClaim()
      const ends = await Promise.all(
        Array.from({ length: 6 }, (_, at) =>
          transactional
            .transaction<'claimed' | 'found'>(async (tx, records) => {
              const asked = newClaim({ id })
              const reply = await claim(asked, records)
              if (reply.kind !== 'claimed') return { kind: 'roll-back', value: 'found' }
              await new Promise((resolve) => setImmediate(resolve))
              await business.write(tx, `order of ${at}`)
              await settle(completion(asked), records)
              return { kind: 'commit', value: 'claimed' }
            })
            .then(
              (end) => (end.kind === 'refused' ? 'found' : end.value),
              // A store may tell a loser to come again instead of letting it wait.
              (error: { code?: unknown; failure?: unknown }) => {
                assert.deepEqual([error.code, error.failure], ['store-failed', 'transient'])
                return 'found' as const
              },
            ),
        ),
      )
      assert.equal(ends.filter((end) => end === 'claimed').length, 1)
      assert.equal((await business.written()).length, 1)
    },
  },
  {
    name: 'time goes on inside a transaction: deadlines count from the statement that sets them',
    needs,
    async run({ transactional, pass, read }) {
      const asked = newClaim()
      let opened = Number.NaN
      await transactional.transaction(async (_tx, records) => {
        opened = (await records.read([asked.id])).now
        await pass(50)
        await records.claim([asked])
        return { kind: 'commit', value: undefined, settlement: completion(asked) }
      })
      const record = await read(asked.id)
      assert.ok(record?.phase === 'completed')
      assert.ok(record.createdAt > opened, 'the record is older than its claim')
      assert.ok(record.settledAt > opened, 'the outcome is older than its settlement')
    },
  },
  {
    name: 'a takeover inside a transaction is undone with it',
    needs,
    async run({ transactional, bring, supersede, read }) {
      const seen = await bring('unknown, retained')
      const { id } = seen
      const before = await read(id)
      await transactional.transaction(async (_tx, records) => {
        const reply = await supersede(seen, newClaim({ id }), records)
        assert.deepEqual(reply, { kind: 'superseded', fence: 2 })
        return { kind: 'roll-back', value: undefined }
      })
      assert.deepEqual(await read(id), before)
    },
  },
  {
    name: 'the verbs of a transaction are of no use after its end',
    needs,
    async run({ transactional, read }) {
      const asked = newClaim()
      let late: (() => Promise<unknown>) | undefined
      await transactional.transaction(async (_tx, records) => {
        late = () => records.claim([asked])
        return { kind: 'commit', value: undefined }
      })
      assert.ok(late)
      await assert.rejects(late, { code: 'store-failed' })
      assert.equal(await read(asked.id), undefined)
    },
  },
  {
    name: 'records joined to the user’s own transaction commit and roll back with it',
    needs,
    async run({ transactional, business, claim, settle, read, store }) {
      // The schema is there before the user's transaction holds a lock.
      await store.read([newClaim().id])
      for (const end of ['rollBack', 'commit'] as const) {
        const asked = newClaim()
        const own = await business.begin()
        const records = transactional.join(own.tx)
        assert.equal((await claim(asked, records)).kind, 'claimed')
        await business.write(own.tx, `order, ${end}`)
        assert.equal((await settle(completion(asked), records)).kind, 'settled')
        assert.equal((await claim(newClaim({ id: asked.id }), records)).kind, 'found')
        await own[end]()
        assert.equal((await read(asked.id))?.phase, end === 'commit' ? 'completed' : undefined)
      }
      assert.deepEqual(await business.written(), ['order, commit'])
    },
  },
]
