/** Mutation fields with keys, on the real servers over HTTP. */
import { describe, expect, test } from 'vitest'
import { eventually } from '../eventually.ts'
import { codesOf, type Received, send } from './graphql-shop.ts'
import { servers } from './graphql-servers.ts'
import { instanceWithoutStore } from './serving.ts'

const charge = 'mutation ($amount: Int!) { charge(amount: $amount) { id amount at } }'
const keyed = `mutation ($key: String!, $amount: Int!) {
  charge(amount: $amount) @idempotent(key: $key) { id amount }
}`
const two = `mutation {
  a: charge(amount: 1) @idempotent(key: "k1") { id }
  b: charge(amount: 2) @idempotent(key: "k2") { id }
}`
const withKey = { 'Idempotency-Key': 'k' }

describe.each(servers)('%s', (_name, start) => {
  test('a key in the request field: one effect, and the same octets again', async () => {
    const { url, effects, fences } = await start()
    const first = await send(url, { query: charge, variables: { amount: 1 } }, withKey)
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

  test('without a key nothing is kept, and required refuses it', async () => {
    const { url, effects } = await start()
    await send(url, { query: charge, variables: { amount: 1 } })
    await send(url, { query: charge, variables: { amount: 1 } })
    expect(effects).toHaveLength(2)
    const strict = await start({ required: true })
    expect(codesOf(await send(strict.url, { query: charge, variables: { amount: 1 } }))).toEqual([
      'key-missing',
    ])
    expect(strict.effects).toEqual([])
  })

  test('queries pass untouched, with a key and where one is required', async () => {
    const { url, effects } = await start({ required: true })
    const first = await send(url, { query: '{ charges }' }, withKey)
    const second = await send(url, { query: '{ charges }' }, withKey)
    expect([first.json.data, second.json.data]).toEqual([{ charges: 1 }, { charges: 2 }])
    expect(effects).toEqual(['read', 'read'])
  })

  test('twenty copies at once have one effect', async () => {
    const { url, effects } = await start({ wait: '10s' })
    const copies = Array.from({ length: 20 }, () =>
      send(url, { query: keyed, variables: { key: 'k', amount: 1 } }),
    )
    const texts = new Set((await Promise.all(copies)).map(({ text }) => text))
    expect(texts.size).toBe(1)
    expect(effects).toEqual(['charge 1'])
  })

  test('other arguments, another selection and another field under the key are refused', async () => {
    const { url, effects } = await start()
    await send(url, { query: keyed, variables: { key: 'k', amount: 1 } })
    const others = [
      send(url, { query: keyed, variables: { key: 'k', amount: 2 } }),
      send(url, { query: 'mutation { charge(amount: 1) @idempotent(key: "k") { id amount at } }' }),
      send(url, { query: 'mutation { mustCharge(amount: 1) @idempotent(key: "k") { id amount } }' }),
    ]
    for (const other of await Promise.all(others)) {
      expect(codesOf(other)).toEqual(['key-reused'])
      expect(other).toMatchObject({ status: 200, json: { data: null } })
    }
    expect(effects).toEqual(['charge 1'])
  })

  test('variables, literals, fragments and defaults that mean the same are the same call', async () => {
    const { url, effects } = await start()
    const first = await send(url, { query: keyed, variables: { key: 'k', amount: 1 } })
    const literal = 'mutation { charge(amount: 1) @idempotent(key: "k") { id amount } }'
    const byDefault = `mutation ($amount: Int! = 1, $no: Boolean! = false) {
      ...Root
      mustCharge(amount: 9) @include(if: $no) { id }
    }
    fragment Root on Mutation { ... on Mutation { charge(amount: $amount) @idempotent(key: "k") { id amount } } }`
    for (const query of [literal, byDefault]) {
      expect((await send(url, { query })).text).toBe(first.text)
    }
    expect(effects).toEqual(['charge 1'])
  })

  test('two tenants share no key', async () => {
    const { url, effects } = await start()
    await send(url, { query: keyed, variables: { key: 'k', amount: 1 } })
    const other = await send(url, { query: keyed, variables: { key: 'k', amount: 2 } }, { 'X-Tenant': 't2' })
    expect(other.json.data).toEqual({ charge: { id: 2, amount: 2 } })
    expect(effects).toHaveLength(2)
  })

  test('nobody logged in is refused', async () => {
    const { url, effects } = await start()
    const sent = fetch(url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ query: keyed, variables: { key: 'k', amount: 1 } }),
    })
    const { errors } = (await (await sent).json()) as Received['json']
    expect(errors?.[0]?.extensions).toEqual({ code: 'principal-invalid' })
    expect(effects).toEqual([])
  })

  test('a call that is still running is in progress, with a time to come back', async () => {
    const { url, effects, gate } = await start()
    const slow = 'mutation { slow(amount: 1) @idempotent(key: "k") { amount } }'
    const first = send(url, { query: slow })
    await eventually(() => expect(effects).toEqual(['slow']))
    const second = await send(url, { query: slow })
    expect(second.json.errors?.[0]).toMatchObject({
      path: ['slow'],
      extensions: { code: 'in-progress', retryAfterMs: expect.any(Number) },
    })
    gate.open()
    expect((await first).json.data).toEqual({ slow: { amount: 1 } })
    expect((await send(url, { query: slow })).text).toBe((await first).text)
    expect(effects).toEqual(['slow'])
  })

  test('each field runs once by itself, whatever it is combined with', async () => {
    const { url, effects } = await start()
    const first = await send(url, { query: two })
    expect(first.json.data).toEqual({ a: { id: 1 }, b: { id: 2 } })
    expect((await send(url, { query: two })).text).toBe(first.text)
    const mixed = await send(url, {
      query: `mutation {
        c: charge(amount: 3) @idempotent(key: "k3") { id }
        was: charge(amount: 2) @idempotent(key: "k2") { id }
        plain: charge(amount: 4) { id }
        __typename
      }`,
    })
    expect(mixed.text.trim()).toBe(
      '{"data":{"c":{"id":3},"was":{"id":2},"plain":{"id":4},"__typename":"Mutation"}}',
    )
    expect(effects).toEqual(['charge 1', 'charge 2', 'charge 3', 'charge 4'])
  })

  test('one refused field stops the operation before anything runs, and holds no other key', async () => {
    const { url, effects } = await start()
    await send(url, { query: 'mutation { charge(amount: 9) @idempotent(key: "k2") { id } }' })
    const refused = await send(url, { query: two })
    expect(codesOf(refused)).toEqual(['key-reused'])
    expect(refused.json).toMatchObject({ data: null, errors: [{ path: ['b'] }] })
    expect(effects).toEqual(['charge 9'])
    const alone = 'mutation { a: charge(amount: 1) @idempotent(key: "k1") { id } }'
    expect((await send(url, { query: alone })).json.data).toEqual({ a: { id: 2 } })
  })

  test.each([
    [
      'one request field for two fields',
      'mutation { a: charge(amount: 1) { id } b: charge(amount: 2) { id } }',
      withKey,
    ],
    [
      'one directive key for two fields',
      'mutation { a: charge(amount: 1) @idempotent(key: "k") { id } b: charge(amount: 1) @idempotent(key: "k") { id } }',
      {},
    ],
    ['a blank key', 'mutation { charge(amount: 1) @idempotent(key: " ") { id } }', {}],
  ])('%s is refused', async (_case, query, headers) => {
    const { url, effects } = await start()
    expect(new Set(codesOf(await send(url, { query }, headers as Record<string, string>)))).toEqual(
      new Set(['key-malformed']),
    )
    expect(effects).toEqual([])
  })

  test('operations of a batch share no request field, and each may have a key', async () => {
    const { url, effects } = await start()
    const operation = { query: charge, variables: { amount: 1 } }
    const refused = await send(url, [operation, operation], withKey)
    expect(refused.text.match(/"code":"key-malformed"/g)).toHaveLength(2)
    expect(effects).toEqual([])
    const batch = [
      { query: keyed, variables: { key: 'k1', amount: 1 } },
      { query: keyed, variables: { key: 'k2', amount: 1 } },
    ]
    const first = await send(url, batch)
    expect(JSON.parse(first.text)).toHaveLength(2)
    expect((await send(url, batch)).text).toBe(first.text)
    expect(effects).toEqual(['charge 1', 'charge 1'])
  })

  test('the key option finds a key in the arguments', async () => {
    const key = ({ args }: { args: Readonly<Record<string, unknown>> }): string | undefined =>
      args['requestId'] as string | undefined
    const { url, effects } = await start({ key })
    const query = 'mutation { charge(amount: 1, requestId: "r") { id } }'
    const first = await send(url, { query })
    expect((await send(url, { query })).text).toBe(first.text)
    expect(effects).toEqual(['charge 1'])
  })

  test('an error with a code of its own is a result and is kept, with its status', async () => {
    const { url, effects } = await start()
    const query = 'mutation { decline(code: "CARD_DECLINED", status: 402) { id } }'
    const first = await send(url, { query }, withKey)
    expect(first).toMatchObject({ status: 402, json: { data: { decline: null } } })
    expect(codesOf(first)).toEqual(['CARD_DECLINED'])
    const again = await send(url, { query }, withKey)
    expect(again).toEqual({ ...first, replayed: true })
    expect(effects).toEqual(['decline'])
  })

  test('a kept error of a field that must not be null takes all data with it again', async () => {
    const { url, effects } = await start()
    const query = 'mutation { mustDecline { id } }'
    const first = await send(url, { query }, withKey)
    expect(first.json.data).toBeNull()
    expect((await send(url, { query }, withKey)).text).toBe(first.text)
    expect(effects).toEqual(['decline'])
  })

  test.each([
    ['a thrown error', 'crash', undefined],
    ['UNAUTHENTICATED', 'decline(code: "UNAUTHENTICATED")', undefined],
    ['RATE_LIMITED', 'decline(code: "RATE_LIMITED")', undefined],
    ['a status of 503', 'decline(code: "X", status: 503)', undefined],
  ])('%s releases the key', async (_case, field) => {
    const { url, effects } = await start()
    const query = `mutation { ${field} { id } }`
    await send(url, { query }, withKey)
    await send(url, { query }, withKey)
    expect(effects).toHaveLength(2)
  })

  test('under money a thrown error leaves the outcome unknown', async () => {
    const { url, effects } = await start({ preset: 'money' })
    await send(url, { query: 'mutation { crash { id } }' }, withKey)
    expect(codesOf(await send(url, { query: 'mutation { crash { id } }' }, withKey))).toEqual([
      'outcome-unknown',
    ])
    expect(effects).toEqual(['crash'])
  })

  test.each([
    ['an error', 'mutation { charge(amount: 1) { id broken } }'],
    ['an error that makes the field null', 'mutation { charge(amount: 1) { id flaw } }'],
    ['an error that makes all data null', 'mutation { mustCharge(amount: 1) { id flaw } }'],
  ])('%s below the field comes after the effect and is kept with it', async (_case, query) => {
    const { url, effects } = await start()
    const first = await send(url, { query }, withKey)
    expect(first.json.errors).toHaveLength(1)
    expect((await send(url, { query }, withKey)).text).toBe(first.text)
    expect(effects).toEqual(['charge 1'])
  })

  test('a field whose answer another one discarded is not run again', async () => {
    const { url, effects } = await start()
    const query = `mutation {
      mustCharge(amount: 1) @idempotent(key: "k1") { id }
      mustDecline @idempotent(key: "k2") { id }
      charge(amount: 3) @idempotent(key: "k3") { id }
    }`
    const first = await send(url, { query })
    expect(first.json.data).toBeNull()
    expect(effects).toEqual(['charge 1', 'decline'])
    const again = await send(url, {
      query: 'mutation { mustCharge(amount: 1) @idempotent(key: "k1") { id } }',
    })
    expect(codesOf(again)).toEqual(['outcome-unstorable'])
    const third = await send(url, { query: 'mutation { charge(amount: 3) @idempotent(key: "k3") { id } }' })
    expect(third.json.data).toEqual({ charge: { id: 3 } })
    expect(effects).toEqual(['charge 1', 'decline', 'charge 3'])
  })

  test('variables that do not pass leave the key free', async () => {
    const { url, effects } = await start()
    const query = 'mutation ($amount: Int!) { charge(amount: $amount) { id } }'
    const bad = await send(url, { query, variables: { amount: 'one' } }, withKey)
    expect(bad.json.errors).toHaveLength(1)
    // The marker of a released key holds other requests off, as it does over HTTP; the same request runs.
    expect((await send(url, { query, variables: { amount: 'one' } }, withKey)).text).toBe(bad.text)
    expect(effects).toEqual([])
  })

  test('a store that is down is refused, or passed over where the options say so', async () => {
    const down = await start({ idem: instanceWithoutStore() })
    const refused = await send(down.url, { query: charge, variables: { amount: 1 } }, withKey)
    expect(codesOf(refused)).toEqual(['store-unavailable'])
    expect(down.effects).toEqual([])
    const open = await start({ idem: instanceWithoutStore(), onStoreError: 'run' })
    const ran = await send(open.url, { query: charge, variables: { amount: 1 } }, withKey)
    expect(ran.json.data).toMatchObject({ charge: { id: 1 } })
  })
})
