/** Mutation fields with keys, on the real servers over HTTP. */
import { describe, expect, test } from 'vitest'
import { eventually } from '../eventually.ts'
import { codesOf, send } from './graphql-shop.ts'
import { servers } from './graphql-servers.ts'
import { instanceWithoutStore } from './serving.ts'

const charge = 'mutation ($amount: Int!) { charge(amount: $amount) { id amount at } }'
const keyed =
  'mutation ($key: String!, $amount: Int!) { charge(amount: $amount) @idempotent(key: $key) { id amount } }'

describe.each(servers)('%s', (_name, start) => {
  test('a key in the request field: one effect, and the same octets again', async () => {
    const { url, effects, fences } = await start()
    const first = await send(url, { query: charge, variables: { amount: 1 } }, { 'Idempotency-Key': 'k' })
    expect(first).toMatchObject({
      status: 200,
      replayed: false,
      json: { data: { charge: { id: 1, amount: 1 } } },
    })
    const again = await send(url, { query: charge, variables: { amount: 1 } }, { 'Idempotency-Key': '"k"' })
    expect(again).toEqual({ ...first, replayed: true })
    expect(effects).toEqual(['charge 1'])
    expect(fences).toEqual([1])
  })
})
