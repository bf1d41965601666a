/** The store on the emulator: what goes over the wire, whose clock decides, what the table and its items must be. */
import { DynamoDB, DynamoDBClient } from '@aws-sdk/client-dynamodb'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Claim } from '../../src/core/store.ts'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { dynamodbMigrations, dynamodbStore } from '../../src/stores/dynamodb.ts'
import {
  completion,
  longMs,
  newClaim,
  newId,
  newToken,
  takeover,
} from '../../src/verification/store-cases/context.ts'
import { dynamodbTable, hasDynamodb } from '../servers.ts'
import { clientOf, clockWith, noSkew, sentBy, shopOfTest } from './dynamodb-shop.ts'

const principal = 'alice'

describe('options', () => {
  const client = clientOf('http://127.0.0.1:1')

  test('a client with `send` alone is refused, with the one to pass', () => {
    const bare = new DynamoDBClient({ region: 'eu-central-1' }) as never
    expect(() => dynamodbStore({ client: bare })).toThrow(/new DynamoDB\(\.\.\)/)
    expect(() => dynamodbStore({ client: bare })).toThrow(expect.objectContaining({ code: 'option-invalid' }))
    expect(() => dynamodbStore({ client: undefined as never })).toThrow(/new DynamoDB\(\.\.\)/)
  })

  test('names and values that are not known are refused', () => {
    expect(() => dynamodbStore({ client, tabel: 'x' } as never)).toThrow(/Did you mean table/)
    expect(() => dynamodbStore({ client, table: 'a b' })).toThrow(/letters, digits/)
    expect(() => dynamodbStore({ client, migrate: 'always' as never })).toThrow(/'auto' or 'check'/)
  })
})

describe.skipIf(!hasDynamodb)('requests', () => {
  test('a claim is one, a replay is one, and an operation that runs is two', async () => {
    const { client, store } = await shopOfTest()
    const idem = createIdempotency({ store })
    const charge = idem.operation('charge', async (input: { cents: number }) => input)
    const sent = sentBy(client)
    const call = { key: 'k1', principal, input: { cents: 5 } }
    expect(await charge.run(call)).toEqual({ value: { cents: 5 }, replayed: false })
    expect(sent).toEqual(['PutItem', 'UpdateItem'])
    sent.length = 0
    expect(await charge.run(call)).toEqual({ value: { cents: 5 }, replayed: true })
    expect(sent).toEqual(['PutItem'])
  })

  test('a refusal shows the record without a request of its own', async () => {
    const { client, store } = await shopOfTest()
    const asked = newClaim()
    await store.claim([asked])
    const sent = sentBy(client)
    const stranger = newClaim({ id: asked.id })
    expect((await store.claim([stranger])).replies[0]).toMatchObject({
      kind: 'found',
      record: shownOf(asked),
    })
    const settled = await store.settle([completion({ id: asked.id, token: newToken() })])
    expect(settled.replies[0]).toMatchObject({ kind: 'refused', record: shownOf(asked) })
    const seen = { token: asked.token, phase: 'running' } as const
    const taken = await store.supersede([takeover(seen, stranger)])
    expect(taken.replies[0]).toMatchObject({ kind: 'refused', record: shownOf(asked) })
    expect(sent).toEqual(['PutItem', 'UpdateItem', 'UpdateItem'])
  })

  function shownOf({ id, token, fingerprint }: Claim): object {
    return { id, token, fingerprint, phase: 'running' }
  }

  test('an emulator that does not show what refused is read after', async () => {
    const { client, store } = await shopOfTest()
    const asked = newClaim()
    await store.claim([asked])
    const { putItem } = client
    client.putItem = (async (input: never) => {
      try {
        return await (putItem as (input: never) => Promise<unknown>).call(client, input)
      } catch (error) {
        delete (error as { Item?: unknown }).Item
        throw error
      }
    }) as never
    const sent = sentBy(client)
    const { replies } = await store.claim([newClaim({ id: asked.id })])
    expect(replies[0]).toMatchObject({ kind: 'found', record: { token: asked.token } })
    expect(sent).toEqual(['PutItem', 'GetItem'])
  })

  test('go side by side up to a bound, and those of one id one after the other', async () => {
    const { client, store } = await shopOfTest()
    const underWay: string[] = []
    let most = 0
    const { putItem } = client
    client.putItem = (async (input: { Item: { id: { S: string } } }) => {
      const id = input.Item.id.S
      expect(underWay).not.toContain(id)
      underWay.push(id)
      most = Math.max(most, underWay.length)
      try {
        return await (putItem as (input: never) => Promise<unknown>).call(client, input as never)
      } finally {
        underWay.splice(underWay.indexOf(id), 1)
      }
    }) as never
    const claims = Array.from({ length: 40 }, () => newClaim())
    const again = claims.map(({ id }) => newClaim({ id }))
    const { replies } = await store.claim(claims.flatMap((claim, at) => [claim, again[at] ?? claim]))
    expect(replies.map(({ kind }) => kind)).toEqual(claims.flatMap(() => ['claimed', 'found']))
    expect(most).toBe(25)
  })

  test('every read is a consistent one', async () => {
    const { client, store } = await shopOfTest()
    const flags: unknown[] = []
    client.middlewareStack.add(
      (next) => async (args) => {
        const input = args.input as { ConsistentRead?: boolean; RequestItems?: Record<string, object> }
        const [keys] = Object.values(input.RequestItems ?? {}) as { ConsistentRead?: boolean }[]
        flags.push(keys?.ConsistentRead ?? input.ConsistentRead)
        return await next(args)
      },
      { step: 'initialize' },
    )
    await store.read([newId()])
    await store.read([newId(), newId()])
    await store.list({ limit: 5 })
    await store.sweep(5)
    expect(flags).toEqual([true, true, true, true])
  })

  test('what a read of many leaves unprocessed is asked for again', async () => {
    const { client, store } = await shopOfTest()
    const claims = Array.from({ length: 150 }, () => newClaim())
    await store.claim(claims)
    const { batchGetItem } = client
    let requests = 0
    client.batchGetItem = (async (input: { RequestItems: Record<string, { Keys: unknown[] }> }) => {
      requests += 1
      const [[table, { Keys: keys }]] = Object.entries(input.RequestItems) as [[string, { Keys: unknown[] }]]
      // Every second answer is empty, and the others hold 30 at most.
      const taken = requests % 2 === 0 ? [] : keys.slice(0, 30)
      const left = keys.slice(taken.length)
      const rest = left.length === 0 ? {} : { [table]: { Keys: left } }
      if (taken.length === 0) return { Responses: {}, UnprocessedKeys: rest }
      const asked = { RequestItems: { [table]: { Keys: taken, ConsistentRead: true } } } as never
      const answer: object = await (batchGetItem as (input: never) => Promise<object>).call(client, asked)
      return { ...answer, UnprocessedKeys: rest }
    }) as never
    const { replies } = await store.read(claims.map(({ id }) => id))
    expect(replies.map((record) => record?.token)).toEqual(claims.map(({ token }) => token))
  })

  test('of 50 claims of one key by five processes one wins', async () => {
    const { another } = await shopOfTest()
    const stores = Array.from({ length: 5 }, () => another())
    const id = newId()
    const claims = Array.from({ length: 50 }, () => newClaim({ id }))
    const replies = await Promise.all(
      claims.map(async (claim, at) => (await stores[at % 5]?.claim([claim]))?.replies[0]),
    )
    const winners = claims.filter((_, at) => replies[at]?.kind === 'claimed')
    expect(winners).toHaveLength(1)
    for (const reply of replies) {
      if (reply?.kind === 'claimed') continue
      expect(reply).toMatchObject({ kind: 'found', record: { token: winners[0]?.token } })
    }
  })

  test('an answer over what an item may hold is never run again', async () => {
    const { store } = await shopOfTest()
    const idem = createIdempotency({ store, compression: false })
    let runs = 0
    const report = idem.operation('report', async () => {
      runs += 1
      return 'x'.repeat(410_000)
    })
    const call = { key: 'large', principal, input: null }
    const first = await report.attempt(call)
    expect(first).toMatchObject({ kind: 'failed', error: { code: 'outcome-unstorable' } })
    expect(await report.attempt(call)).toEqual(first)
    expect(runs).toBe(1)
  })
})

describe.skipIf(!hasDynamodb)('the clock', () => {
  test.each([-5, 5])('of a host that is wrong by %i hours does not matter', async (hours) => {
    const { endpoint, table, another } = await shopOfTest()
    const client = clientOf(endpoint)
    const skew = { ...noSkew(), wallMs: hours * 3_600_000 }
    const store = dynamodbStore({ client, table, clock: clockWith(skew) })
    const asked = newClaim()
    const wrong = await store.claim([asked])
    const right = await another().read([asked.id])
    expect(Math.abs(wrong.now - right.now)).toBeLessThan(5_000)
    expect(right.replies[0]).toMatchObject({ createdAt: wrong.now, leaseUntil: wrong.now + longMs })
  })

  test('a lease is not taken over before it is over for sure, wherever in its second the server is', async () => {
    const { endpoint, table } = await shopOfTest()
    const started = 1_800_000_000_000
    /** A process whose time and whose server's stand still until they are set; a `Date` has whole seconds. */
    const processAt = (first: number) => {
      const time = { ms: first }
      const client = clientOf(endpoint)
      const handler = client.config.requestHandler
      const handle = handler.handle.bind(handler)
      handler.handle = async (...args: Parameters<typeof handle>) => {
        const answer = await handle(...args)
        answer.response.headers['date'] = new Date(started + time.ms).toUTCString()
        return answer
      }
      const clock = { monotonic: () => time.ms, now: () => time.ms }
      return { time, store: dynamodbStore({ client, table, clock }) }
    }
    // The holder knows the least: it asks at the end of a second, which may as well be its beginning.
    const holder = processAt(990)
    const asked = newClaim({ leaseMs: 5_000 })
    const { now } = await holder.store.claim([asked])
    expect(now).toBeLessThan(started + 10)

    // The taker knows the most: it has seen a second begin.
    const taker = processAt(5_000)
    await taker.store.ready()
    const seen = { token: asked.token, phase: 'running' } as const
    const take = async () =>
      (await taker.store.supersede([takeover(seen, newClaim({ id: asked.id }))])).replies[0]
    for (const ms of [5_100, 5_500, 5_980]) {
      taker.time.ms = ms
      const refused = await take()
      expect(refused).toMatchObject({ kind: 'refused', record: { phase: 'running', token: asked.token } })
      const found = await taker.store.read([asked.id])
      expect(found.now).toBeGreaterThan(now + 5_000)
      // Whoever decides by the record waits, too.
      expect((found.replies[0] as { leaseUntil: number }).leaseUntil).toBeGreaterThan(found.now)
    }
    taker.time.ms = 6_060
    expect(await take()).toEqual({ kind: 'superseded', fence: 2 })
  })

  test('of a host that slept is asked for before anything is written', async () => {
    const { client, store, skew, another } = await shopOfTest()
    await store.claim([newClaim()])
    const sleptMs = 3_600_000
    // The monotonic clock stood still, the wall clock and the server's went on.
    skew.wallMs += sleptMs
    skew.serverMs += sleptMs
    const sent = sentBy(client)
    const asked = newClaim({ leaseMs: 30_000 })
    const { now } = await store.claim([asked])
    expect(sent).toEqual(['GetItem', 'PutItem'])
    const awake = await another().read([asked.id])
    expect(now - awake.now).toBeGreaterThan(sleptMs - 5_000)
    await store.claim([newClaim()])
    expect(sent.slice(2)).toEqual(['PutItem'])
  })

  test('is the host’s where a client does not let its answers be seen', async () => {
    const { client, table } = await shopOfTest()
    const bare = Object.fromEntries(
      (
        [
          'putItem',
          'updateItem',
          'deleteItem',
          'getItem',
          'batchGetItem',
          'scan',
          'transactWriteItems',
          'describeTable',
          'createTable',
          'describeTimeToLive',
          'updateTimeToLive',
        ] as const
      ).map((name) => [name, (client[name] as () => unknown).bind(client)]),
    )
    const clock = { monotonic: () => 0, now: () => 1_234_567 }
    const store = dynamodbStore({ client: bare as never, table, clock })
    expect((await store.claim([newClaim()])).now).toBe(1_234_567)
  })

  test('a server whose answers have no date is an error, and nothing is written', async () => {
    const { endpoint, table } = await shopOfTest()
    const client = clientOf(endpoint)
    const handler = client.config.requestHandler
    const handle = handler.handle.bind(handler)
    handler.handle = async (...args: Parameters<typeof handle>) => {
      const answer = await handle(...args)
      delete answer.response.headers['date']
      return answer
    }
    const sent = sentBy(client)
    await expect(dynamodbStore({ client, table }).claim([newClaim()])).rejects.toMatchObject({
      code: 'store-failed',
      failure: 'permanent',
    })
    expect(sent).not.toContain('PutItem')
  })
})

describe.skipIf(!hasDynamodb)('expiry', () => {
  async function itemOf(client: DynamoDB, table: string, id: string): Promise<Record<string, number>> {
    const { Item: item = {} } = await client.getItem({ TableName: table, Key: { id: { S: id } } })
    return Object.fromEntries(Object.entries(item).map(([name, { N: value }]) => [name, Number(value)]))
  }

  test('the server may delete an item only when its record means nothing any more, in each phase', async () => {
    const { client, store, table } = await shopOfTest()
    const lateSeconds = 3_600
    const asked = newClaim({ leaseMs: 60_000, retentionMs: 600_000 })
    const expiresOf = async (): Promise<number> => (await itemOf(client, table, asked.id))['expires'] ?? 0
    const { now } = await store.claim([asked])
    expect(await expiresOf()).toBeGreaterThanOrEqual((now + 660_000) / 1_000 + lateSeconds)
    const renewed = await store.renew([{ ...asked, leaseMs: 9_000_000 }])
    expect(await expiresOf()).toBeGreaterThanOrEqual((renewed.now + 9_600_000) / 1_000 + lateSeconds)
    const settled = await store.settle([completion(asked, { retentionMs: 70_000, tombstoneMs: 80_000 })])
    expect(await expiresOf()).toBeGreaterThanOrEqual((settled.now + 150_000) / 1_000 + lateSeconds)
    expect(await expiresOf()).toBeLessThan((settled.now + 150_000) / 1_000 + lateSeconds + 5)
  })

  test('a record that is past and still there is replaced, as if it had been deleted', async () => {
    const { store, skew } = await shopOfTest()
    const idem = createIdempotency({ store, retention: '1m' })
    let runs = 0
    const charge = idem.operation('charge', async () => ++runs)
    const call = { key: 'k', principal, input: null }
    await charge.run(call)
    expect(await charge.run(call)).toEqual({ value: 1, replayed: true })
    skew.hostMs += 63_000
    skew.serverMs += 63_000
    expect(await charge.run(call)).toEqual({ value: 2, replayed: false })
  })

  test('what changes hands while it is swept stays', async () => {
    const { client, store, skew } = await shopOfTest()
    const short = { leaseMs: 100, retentionMs: 0 }
    const [renewed, taken, settled] = [newClaim(short), newClaim(short), newClaim(short)] as const
    const tombstone = { retentionMs: 100, tombstoneMs: longMs }
    const completed = newClaim()
    const claims = [renewed, taken, settled, completed]
    await store.claim(claims)
    await store.settle([completion(completed, tombstone)])
    skew.hostMs += 5_000
    skew.serverMs += 5_000
    const { scan } = client
    client.scan = (async (input: never) => {
      const page = await (scan as (input: never) => Promise<unknown>).call(client, input)
      await store.renew([{ ...renewed, leaseMs: longMs }])
      const takers = [
        takeover({ token: taken.token, phase: 'running' }, newClaim({ id: taken.id })),
        takeover({ token: completed.token, phase: 'completed' }, newClaim({ id: completed.id })),
      ]
      expect((await store.supersede(takers)).replies.map(({ kind }) => kind)).toEqual([
        'superseded',
        'superseded',
      ])
      await store.settle([completion(settled)])
      return page
    }) as never
    expect(await store.sweep(10)).toEqual({ removed: 0, entombed: 0, more: false })
    const { replies } = await store.read(claims.map(({ id }) => id))
    expect(replies.map((record) => record?.phase)).toEqual(['running', 'running', 'completed', 'running'])
  })

  test('an instance does not sweep by itself', async () => {
    const { client, store } = await shopOfTest()
    const sent = sentBy(client)
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const idem = createIdempotency({ store })
    await vi.advanceTimersByTimeAsync(3_600_000)
    expect(sent).toEqual([])
    await idem.close()
  })
})

describe.skipIf(!hasDynamodb)('the table', () => {
  test('is not made unless one asks for it, and the error says how', async () => {
    const { endpoint, table } = dynamodbTable()
    const store = dynamodbStore({ client: clientOf(endpoint), table })
    await expect(store.ready()).rejects.toMatchObject({ code: 'schema-mismatch' })
    await expect(store.claim([newClaim()])).rejects.toThrow(/npx retrysafe migrate/)
  })

  test('is made step by step, in words and then in deed, also by two processes at once', async () => {
    const { endpoint, table } = dynamodbTable()
    const client = clientOf(endpoint)
    const migrations = dynamodbMigrations({ client, table })
    expect(await migrations.status()).toEqual({ version: 0, latest: 2 })
    expect((await migrations.pending()).split('\n')).toHaveLength(2)
    expect(await migrations.pending()).toMatch(/PAY_PER_REQUEST/)
    await Promise.all([migrations.apply(), dynamodbMigrations({ client: clientOf(endpoint), table }).apply()])
    expect(await migrations.status()).toEqual({ version: 2, latest: 2 })
    expect(await migrations.pending()).toBe('')
    const { Table: made } = await client.describeTable({ TableName: table })
    expect(made?.BillingModeSummary?.BillingMode).toBe('PAY_PER_REQUEST')
    await dynamodbStore({ client, table }).ready()
  })

  test('without time to live is told apart, and mended', async () => {
    const { endpoint, table } = dynamodbTable()
    const client = clientOf(endpoint)
    await client.createTable({
      TableName: table,
      KeySchema: [{ AttributeName: 'id', KeyType: 'HASH' }],
      AttributeDefinitions: [{ AttributeName: 'id', AttributeType: 'S' }],
      BillingMode: 'PAY_PER_REQUEST',
    })
    await expect(dynamodbStore({ client, table }).ready()).rejects.toThrow(/no time to live on `expires`/)
    expect(await dynamodbMigrations({ client, table }).status()).toEqual({ version: 1, latest: 2 })
    await dynamodbStore({ client, table, migrate: 'auto' }).ready()
    await dynamodbStore({ client, table }).ready()
  })

  test('with another key is refused, and left as it is', async () => {
    const { endpoint, table } = dynamodbTable()
    const client = clientOf(endpoint)
    await client.createTable({
      TableName: table,
      KeySchema: [
        { AttributeName: 'id', KeyType: 'HASH' },
        { AttributeName: 'sort', KeyType: 'RANGE' },
      ],
      AttributeDefinitions: [
        { AttributeName: 'id', AttributeType: 'S' },
        { AttributeName: 'sort', AttributeType: 'S' },
      ],
      BillingMode: 'PAY_PER_REQUEST',
    })
    for (const migrate of ['auto', 'check'] as const) {
      await expect(dynamodbStore({ client, table, migrate }).ready()).rejects.toThrow(/partition key `id`/)
    }
  })
})

describe.skipIf(!hasDynamodb)('items that are none of ours', () => {
  const whole = {
    v: { N: '1' },
    phase: { S: 'completed' },
    fingerprint: { S: '1.AAAA' },
    token: { S: 'A'.repeat(22) },
    fence: { N: '1' },
    operation: { S: 'o' },
    principalTag: { S: 'p' },
    createdAt: { N: '1' },
    settledAt: { N: '2' },
    liveUntil: { N: '3' },
    sureUntil: { N: '3' },
    keptMs: { N: '0' },
    keptSeconds: { N: '0' },
    expires: { N: '9' },
    outcome: { B: Buffer.from('x') },
  }
  const without = (name: keyof typeof whole) =>
    Object.fromEntries(Object.entries(whole).filter(([each]) => each !== name))

  test.each([
    ['of a newer release', { ...whole, v: { N: '2' } }, /newer release/],
    ['without a version', without('v'), /damaged: its v/],
    ['without a token', without('token'), /damaged: its token/],
    ['of an unknown phase', { ...whole, phase: { S: 'paused' } }, /damaged: its phase/],
    ['with a fence of 0', { ...whole, fence: { N: '0' } }, /damaged: its fence/],
    ['with a time that is none', { ...whole, liveUntil: { S: 'soon' } }, /damaged: its liveUntil/],
    ['without an outcome', without('outcome'), /damaged: its outcome/],
    ['of another program', { name: { S: 'CANARY-item' } }, /damaged/],
  ])('%s are an error and never absent', async (_, item, message) => {
    const { client, store, table } = await shopOfTest()
    const id = newId()
    await client.putItem({ TableName: table, Item: { id: { S: id }, ...item } as never })
    const [claimed] = (await store.claim([newClaim({ id })])).replies
    expect(claimed).toMatchObject({ kind: 'failed', error: { failure: 'permanent' } })
    if (claimed?.kind === 'failed') expect(claimed.error.message).toMatch(message)
    await expect(store.read([id])).rejects.toMatchObject({ failure: 'permanent' })
    const [neighbour] = (await store.claim([newClaim(), newClaim({ id })])).replies
    expect(neighbour?.kind).toBe('claimed')
  })

  test('are never swept', async () => {
    const { client, store, table } = await shopOfTest()
    const items = [{ name: { S: 'x' } }, { ...whole, v: { N: '2' } }, without('sureUntil')]
    for (const item of items) {
      await client.putItem({ TableName: table, Item: { id: { S: newId() }, ...item } as never })
    }
    await client.putItem({ TableName: table, Item: { id: { S: newId() }, ...whole } })
    expect(await store.sweep(100)).toEqual({ removed: 1, entombed: 0, more: false })
  })
})

describe.skipIf(!hasDynamodb)('input that is none', () => {
  test.each([
    ['an id', { id: 'x' as never }],
    ['a token', { token: "'; DROP" }],
    ['a fingerprint', { fingerprint: 'x' as never }],
    ['a name', { operation: 'x'.repeat(256) }],
    ['a text that is not well-formed', { principalTag: '\ud800' }],
    ['a duration', { leaseMs: Number.NaN }],
    ['a retention', { retentionMs: -1 }],
  ])('%s fails its item and no other', async (_, parts) => {
    const { store } = await shopOfTest()
    const good = newClaim()
    const { replies } = await store.claim([newClaim(parts), good])
    expect(replies[0]).toMatchObject({ kind: 'failed', error: { failure: 'permanent' } })
    expect(replies[1]).toEqual({ kind: 'claimed' })
  })
})
