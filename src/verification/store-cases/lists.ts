/** Pages of records. */
import assert from 'node:assert/strict'
import type { IdempotencyRecord } from '../../core/record.ts'
import type { IdempotencyStore, ListQuery } from '../../core/store.ts'
import { completion, newClaim, newId, plain, type StoreCase } from './context.ts'

async function listAll(store: IdempotencyStore, query: ListQuery): Promise<IdempotencyRecord[]> {
  const records: IdempotencyRecord[] = []
  let after: string | undefined
  for (let pages = 0; pages < 100; pages++) {
    const page = await store.list(after === undefined ? query : { ...query, after })
    assert.ok(page.records.length <= query.limit)
    assert.ok(Number.isFinite(page.now))
    records.push(...page.records)
    if (page.next === undefined) return records
    after = page.next
  }
  throw new assert.AssertionError({ message: 'the list does not come to an end' })
}

export const listCases: readonly StoreCase[] = [
  {
    name: 'an empty store has an empty list',
    async run({ store }) {
      const { records, next } = await store.list({ limit: 10 })
      assert.deepEqual([records, next], [[], undefined])
    },
  },
  {
    name: 'pages hold every record once, newest first',
    async run({ store, claim, pass, read }) {
      const ids: string[] = []
      for (let count = 0; count < 23; count++) {
        const asked = newClaim()
        await claim(asked)
        await pass(3)
        ids.unshift(asked.id)
      }
      for (const limit of [1, 7, 23, 24, 1_000]) {
        const records = await listAll(store, { limit })
        assert.deepEqual(
          records.map(({ id }) => id),
          ids,
        )
      }
      const [newest] = (await store.list({ limit: 1 })).records
      assert.ok(newest)
      assert.deepEqual(plain(newest), plain(await read(newest.id)))
    },
  },
  {
    name: 'records that come or change while one pages neither hide nor repeat others',
    async run({ store, claim, settle, pass }) {
      const claims = Array.from({ length: 10 }, () => newClaim())
      for (const asked of claims) {
        await claim(asked)
        await pass(3)
      }
      const first = await store.list({ limit: 4 })
      await claim(newClaim())
      for (const asked of claims) await settle(completion(asked))
      assert.ok(first.next)
      const rest = await listAll(store, { limit: 4, after: first.next })
      const ids = [...first.records, ...rest].map(({ id }) => id)
      assert.deepEqual(ids, claims.map(({ id }) => id).toReversed())
    },
  },
  {
    name: 'filters narrow by phase, operation and principal, also together',
    async run({ store, claim, settle }) {
      for (let count = 0; count < 24; count++) {
        const asked = newClaim({
          operation: count % 2 === 0 ? 'even' : 'odd',
          principalTag: `principal-${count % 3}`,
        })
        await claim(asked)
        if (count % 4 < 2) await settle(completion(asked))
      }
      const count = async (query: Partial<ListQuery>): Promise<number> =>
        (await listAll(store, { limit: 5, ...query })).length
      assert.equal(await count({ phase: 'completed' }), 12)
      assert.equal(await count({ phase: 'unknown' }), 0)
      assert.equal(await count({ operation: 'odd' }), 12)
      assert.equal(await count({ principalTag: 'principal-2' }), 8)
      assert.equal(await count({ phase: 'running', operation: 'even', principalTag: 'principal-0' }), 2)
      assert.equal(await count({ operation: newId() }), 0)
    },
  },
  {
    name: 'a limit or cursor that is none is refused',
    async run({ store }) {
      for (const query of [
        { limit: 0 },
        { limit: 1_001 },
        { limit: 1.5 },
        { limit: 1, after: "1' OR 1=1" },
      ]) {
        await assert.rejects(store.list(query), { code: 'option-invalid' })
      }
    },
  },
]
