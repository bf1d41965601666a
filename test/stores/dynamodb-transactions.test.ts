/** Records that commit with items of the user's, in one request. */
import { TransactionCanceledException } from '@aws-sdk/client-dynamodb'
import { describe, expect, onTestFinished, test } from 'vitest'
import { StoreError } from '../../src/core/errors.ts'
import { createIdempotency, type Idempotency } from '../../src/engine/idempotency.ts'
import {
  type DynamodbStore,
  type DynamodbTransaction,
  dynamodbTransaction,
} from '../../src/stores/dynamodb.ts'
import { completion, longMs, newClaim } from '../../src/verification/store-cases/context.ts'
import { startFaultProxy } from '../../src/verification/index.ts'
import { hasDynamodb } from '../servers.ts'
import { clientOf, sentBy, type Shop, shopOfTest } from './dynamodb-shop.ts'

const principal = 'alice'
const callOf = (text: string) => ({ key: 'k1', principal, input: { text } })
type Order = Readonly<{ text: string }>

function orderOn(
  idem: Idempotency<DynamodbTransaction>,
  shop: Shop,
  before: () => Promise<void> = async () => {},
) {
  return idem.transaction('order', async ({ text }: Order, { tx }) => {
    await before()
    shop.order(tx, text)
    return { text }
  })
}

const instance = (store: DynamodbStore) => createIdempotency({ store, wait: 0 })

describe.skipIf(!hasDynamodb)('a transaction', () => {
  test('is two requests, and a replay one', async () => {
    const shop = await shopOfTest()
    const order = orderOn(instance(shop.store), shop)
    const sent = sentBy(shop.client)
    expect(await order.run(callOf('one'))).toEqual({ value: { text: 'one' }, replayed: false })
    expect(sent).toEqual(['GetItem', 'TransactWriteItems'])
    sent.length = 0
    expect(await order.run(callOf('one'))).toEqual({ value: { text: 'one' }, replayed: true })
    expect(sent).toEqual(['GetItem'])
    expect(await shop.ordered()).toEqual(['one'])
    await expect(order.run(callOf('two'))).rejects.toMatchObject({ code: 'key-reused' })
  })

  test('whose handler throws writes nothing, and the key is free', async () => {
    const shop = await shopOfTest()
    const idem = instance(shop.store)
    const failing = idem.transaction('order', ({ text }: Order, { tx }) => {
      shop.order(tx, text)
      throw new Error('no stock')
    })
    await expect(failing.run(callOf('one'))).rejects.toThrow('no stock')
    expect(await shop.ordered()).toEqual([])
    expect((await orderOn(idem, shop).run(callOf('one'))).replayed).toBe(false)
  })

  test('of which two run at once in two processes applies once, and the loser gets the winner’s answer', async () => {
    const shop = await shopOfTest()
    const both = Promise.withResolvers<void>()
    let inside = 0
    const meet = async (): Promise<void> => {
      inside += 1
      if (inside === 2) both.resolve()
      await both.promise
    }
    const orders = [shop.store, shop.another()].map((store, at) =>
      instance(store).transaction('order', async ({ text }: Order, { tx }) => {
        await meet()
        // Without the record's condition both could be written.
        shop.order(tx, `${text} of ${at}`)
        return { by: at }
      }),
    )
    const results = await Promise.all(orders.map((order) => order.run(callOf('one'))))
    expect(inside).toBe(2)
    expect(results.filter(({ replayed }) => replayed)).toHaveLength(1)
    const winner = results.findIndex(({ replayed }) => !replayed)
    expect(results.map(({ value }) => value.by)).toEqual([winner, winner])
    expect(await shop.ordered()).toEqual([`one of ${winner}`])
  })

  test('that loses to another request under its key is told so', async () => {
    const shop = await shopOfTest()
    const rival = orderOn(instance(shop.another()), shop)
    const order = orderOn(instance(shop.store), shop, async () => void (await rival.run(callOf('rival'))))
    await expect(order.run(callOf('one'))).rejects.toMatchObject({ code: 'key-reused' })
    expect(await shop.ordered()).toEqual(['rival'])
  })

  test('that loses to a running holder is in progress, also for those who waited for it', async () => {
    const shop = await shopOfTest()
    const other = instance(shop.another())
    const over = Promise.withResolvers<void>()
    const started = Promise.withResolvers<void>()
    const charge = other.operation('order', async () => {
      started.resolve()
      await over.promise
      return { text: 'charged' }
    })
    let charging: Promise<unknown> | undefined
    const waiting = Promise.withResolvers<void>()
    const idem = createIdempotency({ store: shop.store, wait: 0 })
    const order = orderOn(idem, shop, async () => {
      charging = charge.run(callOf('one'))
      await started.promise
      await waiting.promise
    })
    const first = order.attempt(callOf('one'))
    await started.promise
    // A duplicate with patience joins the flight of the first.
    const patient = idem.transaction<Order, Order>('order', { wait: '15s' }, async () => ({ text: 'again' }))
    const second = patient.run(callOf('one'))
    waiting.resolve()
    expect(await first).toMatchObject({ kind: 'in-progress' })
    over.resolve()
    await charging
    expect(await second).toEqual({ value: { text: 'charged' }, replayed: true })
    expect(await shop.ordered()).toEqual([])
  })

  test('that finds its key free again after it lost is not applied, and not run again within the call', async () => {
    const shop = await shopOfTest()
    const other = shop.another()
    let runs = 0
    const order = orderOn(instance(shop.store), shop, async () => {
      runs += 1
      if (runs > 1) return
      const failing = instance(other).operation<Order, never>('order', () => {
        throw new Error('released')
      })
      await expect(failing.run(callOf('one'))).rejects.toThrow('released')
    })
    await expect(order.run(callOf('one'))).rejects.toMatchObject({ code: 'not-applied' })
    expect(runs).toBe(1)
    expect(await order.run(callOf('one'))).toEqual({ value: { text: 'one' }, replayed: false })
    expect(await shop.ordered()).toEqual(['one'])
  })

  test('takes over what an attempt in lease mode left unknown, unless that settles first', async () => {
    const shop = await shopOfTest()
    for (const settles of [false, true]) {
      const asked = newClaim({ leaseMs: 100 })
      await shop.store.claim([asked])
      shop.skew.hostMs += 5_000
      shop.skew.serverMs += 5_000
      const end = await shop.store.transaction(async (tx, records) => {
        const claim = newClaim({ id: asked.id })
        const seen = { seenToken: asked.token, seenPhase: 'running' } as const
        const { replies } = await records.supersede([{ ...seen, claim }])
        expect(replies[0]).toEqual({ kind: 'superseded', fence: 2 })
        shop.order(tx, `settles: ${settles}`)
        if (settles) await shop.store.settle([completion(asked)])
        return { kind: 'commit', value: undefined, settlement: completion(claim) }
      })
      expect(end.kind).toBe(settles ? 'refused' : 'committed')
      const [record] = (await shop.store.read([asked.id])).replies
      expect(record).toMatchObject({ phase: 'completed', fence: settles ? 1 : 2 })
    }
    expect(await shop.ordered()).toEqual(['settles: false'])
  })

  test('does not take over a lease that was renewed while the handler ran', async () => {
    const shop = await shopOfTest()
    const asked = newClaim({ leaseMs: 100 })
    await shop.store.claim([asked])
    shop.skew.hostMs += 5_000
    shop.skew.serverMs += 5_000
    const claim = newClaim({ id: asked.id })
    const end = await shop.store.transaction(async (_, records) => {
      await records.supersede([{ seenToken: asked.token, seenPhase: 'running', claim }])
      await shop.store.renew([{ ...asked, leaseMs: longMs }])
      return { kind: 'commit', value: undefined, settlement: completion(claim) }
    })
    expect(end).toEqual({ kind: 'refused' })
  })
})

describe.skipIf(!hasDynamodb)('entries of the user’s', () => {
  test('whose condition is not met undo everything, as the SDK’s own error, and leave the key free', async () => {
    const shop = await shopOfTest()
    const idem = instance(shop.store)
    let stock = 'none'
    const order = idem.transaction('order', async ({ text }: Order, { tx }) => {
      shop.order(tx, text)
      tx.write({
        ConditionCheck: {
          TableName: shop.orders,
          Key: { text: { S: stock } },
          ConditionExpression: 'attribute_exists(#text)',
          ExpressionAttributeNames: { '#text': 'text' },
        },
      })
      return { text }
    })
    const failed = await order.run(callOf('one')).catch((error: unknown) => error)
    expect(failed).toBeInstanceOf(TransactionCanceledException)
    const { CancellationReasons: reasons } = failed as TransactionCanceledException
    expect(reasons?.map(({ Code: code }) => code ?? 'None')).toEqual([
      'None',
      'ConditionalCheckFailed',
      'None',
    ])
    expect(await shop.ordered()).toEqual([])

    await shop.store.transaction(async (tx) => {
      shop.order(tx, 'stock')
      return { kind: 'commit', value: undefined }
    })
    stock = 'stock'
    expect(await order.run(callOf('one'))).toEqual({ value: { text: 'one' }, replayed: false })
    expect(await shop.ordered()).toEqual(['one', 'stock'])
  })

  test('that the server finds mistakes in come out in its words', async () => {
    const shop = await shopOfTest()
    const order = instance(shop.store).transaction('order', async ({ text }: Order, { tx }) => {
      shop.order(tx, text)
      shop.order(tx, text)
    })
    await expect(order.run(callOf('one'))).rejects.toMatchObject({ name: 'ValidationException' })
    expect(await shop.ordered()).toEqual([])
    expect((await shop.store.list({ limit: 10 })).records).toEqual([])
  })

  test('are at most 99, and one of four kinds', async () => {
    const shop = await shopOfTest()
    const idem = instance(shop.store)
    const many = idem.transaction('order', async (_: Order, { tx }) => {
      for (let at = 0; at < 100; at++) shop.order(tx, `order ${at}`)
    })
    await expect(many.run(callOf('one'))).rejects.toThrow(/at most 99/)
    for (const entry of [{}, { Get: {} }, { Put: {}, Delete: {} }, null]) {
      const wrong = idem.transaction('order', async (_: Order, { tx }) => tx.write(entry as never))
      await expect(wrong.run(callOf('one'))).rejects.toMatchObject({ code: 'option-invalid' })
    }
    expect(await shop.ordered()).toEqual([])
  })

  test('are refused after the transaction has ended', async () => {
    const shop = await shopOfTest()
    let late: DynamodbTransaction | undefined
    await shop.store.transaction(async (tx) => {
      late = tx
      return { kind: 'roll-back', value: undefined }
    })
    expect(() => shop.order(late as DynamodbTransaction, 'late')).toThrow(/has ended/)
  })
})

describe.skipIf(!hasDynamodb)('a commit', () => {
  async function throughProxy(maxAttempts: number) {
    const shop = await shopOfTest()
    const proxy = await startFaultProxy({ target: { port: Number(new URL(shop.endpoint).port) } })
    const client = clientOf(`http://127.0.0.1:${proxy.port}`, { maxAttempts })
    const store = shop.another({ client })
    return { shop, proxy, client, order: orderOn(instance(store), shop) }
  }
  const target = 'DynamoDB_20120810.TransactWriteItems'

  test('whose answer is lost and that the SDK sends again is recognised by its token', async () => {
    const { shop, proxy, client, order } = await throughProxy(3)
    const sent = sentBy(client)
    proxy.cutOn(target, 'after')
    expect(await order.run(callOf('one'))).toEqual({ value: { text: 'one' }, replayed: false })
    expect(sent.filter((name) => name === 'TransactWriteItems')).toHaveLength(2)
    expect(proxy.counts.cutAfter).toBe(1)
    expect(await shop.ordered()).toEqual(['one'])
    await proxy.close()
  })

  test.each([
    ['applied', 'after'],
    ['not applied', 'before'],
  ] as const)('that has no answer and was %s is looked into', async (_, when) => {
    const { shop, proxy, order } = await throughProxy(1)
    proxy.cutOn(target, when)
    const first = order.run(callOf('one'))
    if (when === 'after') expect(await first).toEqual({ value: { text: 'one' }, replayed: false })
    else await expect(first).rejects.toMatchObject({ code: 'not-applied' })
    expect(await shop.ordered()).toEqual(when === 'after' ? ['one'] : [])
    expect((await order.run(callOf('one'))).replayed).toBe(when === 'after')
    expect(await shop.ordered()).toEqual(['one'])
    await proxy.close()
  })

  test('that comes after it was looked into is refused', async () => {
    const shop = await shopOfTest()
    const { transactWriteItems } = shop.client
    let late: (() => Promise<unknown>) | undefined
    shop.client.transactWriteItems = (async (...args: Parameters<typeof transactWriteItems>) => {
      shop.client.transactWriteItems = transactWriteItems
      late = () => transactWriteItems.apply(shop.client, args) as never
      throw Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' })
    }) as never
    const order = orderOn(instance(shop.store), shop)
    await expect(order.run(callOf('one'))).rejects.toMatchObject({ code: 'not-applied' })
    await expect(late?.()).rejects.toMatchObject({ name: 'TransactionCanceledException' })
    expect(await shop.ordered()).toEqual([])
  })

  /** The emulator runs one transaction after the other, so this answer is put in its mouth. */
  function cancelNext(shop: Shop, times: number, ...codes: readonly string[]): () => number {
    const { transactWriteItems } = shop.client
    let cancelled = 0
    shop.client.transactWriteItems = (async (...args: Parameters<typeof transactWriteItems>) => {
      if (cancelled === times) return transactWriteItems.apply(shop.client, args)
      cancelled += 1
      throw new TransactionCanceledException({
        message: 'Transaction cancelled',
        CancellationReasons: codes.map((code) => ({ Code: code })),
        $metadata: { httpStatusCode: 400, attempts: 1 },
      })
    }) as never
    return () => cancelled
  }

  test.each(['TransactionConflict', 'ThrottlingError', 'ProvisionedThroughputExceeded'])(
    'that is cancelled by %s is sent again as it is',
    async (code) => {
      const shop = await shopOfTest()
      cancelNext(shop, 2, 'None', code)
      const order = orderOn(instance(shop.store), shop)
      expect(await order.run(callOf('one'))).toEqual({ value: { text: 'one' }, replayed: false })
      expect(await shop.ordered()).toEqual(['one'])
    },
  )

  test('that conflicts with the one that wins gets that one’s answer', async () => {
    const shop = await shopOfTest()
    cancelNext(shop, 1, 'None', 'TransactionConflict')
    const rival = orderOn(instance(shop.another()), shop)
    const order = orderOn(instance(shop.store), shop, async () => void (await rival.run(callOf('one'))))
    expect(await order.run(callOf('one'))).toEqual({ value: { text: 'one' }, replayed: true })
    expect(await shop.ordered()).toEqual(['one'])
  })

  test('that meets conflicts without end is not applied', async () => {
    const shop = await shopOfTest()
    const cancelled = cancelNext(shop, 100, 'TransactionConflict', 'None')
    const order = orderOn(instance(shop.store), shop)
    const failed = await order.run(callOf('one')).catch((error: unknown) => error)
    expect(failed).toMatchObject({ code: 'not-applied', cause: { failure: 'transient' } })
    expect((failed as Error).cause).toBeInstanceOf(StoreError)
    expect(cancelled()).toBe(6)
    expect(await shop.ordered()).toEqual([])
  })
})

describe.skipIf(!hasDynamodb)('under faults', () => {
  test('of many keys, each asked for in three processes whose connections are cut, each is applied once', async () => {
    const shop = await shopOfTest()
    const port = Number(new URL(shop.endpoint).port)
    const proxies = await Promise.all([0, 1, 2].map(() => startFaultProxy({ target: { port } })))
    onTestFinished(async () => void (await Promise.all(proxies.map((proxy) => proxy.close()))))
    let runs = 0
    const orders = proxies.map((proxy, at) => {
      const client = clientOf(`http://127.0.0.1:${proxy.port}`, { maxAttempts: 1 + at })
      const idem = createIdempotency({ store: shop.another({ client }) })
      return idem.transaction('order', async ({ text }: Order, { tx }) => {
        const run = (runs += 1)
        // An entry of its own for each run: what is applied twice shows.
        shop.order(tx, `${text} by run ${run}`)
        return { run }
      })
    })
    await Promise.all(
      orders.map((order, at) => order.run({ key: `warm ${at}`, principal, input: { text: 'w' } })),
    )
    for (const proxy of proxies) {
      for (const when of ['before', 'after', 'sent'] as const) {
        proxy.cutOn('DynamoDB_20120810.TransactWriteItems', when, 4)
        proxy.cutOn('DynamoDB_20120810.GetItem', when, 2)
      }
    }
    const keys = Array.from({ length: 15 }, (_, at) => `key ${at}`)
    const triesMax = 30
    const persistent = async (order: (typeof orders)[number], key: string): Promise<number> => {
      for (let tries = 1; ; tries++) {
        try {
          return (await order.run({ key, principal, input: { text: key } })).value.run
        } catch (error) {
          expect(['not-applied', 'in-progress', 'store-unavailable', 'outcome-unknown']).toContain(
            (error as { code?: string }).code,
          )
          if (tries === triesMax) throw error
        }
      }
    }
    const answers = await Promise.all(
      keys.map(async (key) => {
        const values = await Promise.all(orders.map((order) => persistent(order, key)))
        expect(new Set(values).size).toBe(1)
        return `${key} by run ${values[0]}`
      }),
    )
    const applied = (await shop.ordered()).filter((text) => text.startsWith('key'))
    expect(applied).toEqual(answers.toSorted())
    const cuts = proxies.reduce(
      (sum, { counts }) => sum + counts.cutBefore + counts.cutAfter + counts.cutSent,
      0,
    )
    expect(cuts).toBeGreaterThan(10)
  })
})

describe.skipIf(!hasDynamodb)('a transaction that the user sends', () => {
  test('carries the record, and a replay carries nothing', async () => {
    const shop = await shopOfTest()
    const idem = instance(shop.store)
    const call = { operation: 'order', ...callOf('one') }
    for (const replayed of [false, true]) {
      const tx = dynamodbTransaction()
      const result = await idem.within(tx, call, () => {
        shop.order(tx, 'one')
        return { text: 'one' }
      })
      expect(result).toEqual({ value: { text: 'one' }, replayed })
      expect(tx.request().TransactItems).toHaveLength(replayed ? 0 : 2)
      if (!replayed) await shop.client.transactWriteItems(tx.request())
    }
    expect(await shop.ordered()).toEqual(['one'])
  })

  test('in which one key is asked for twice holds it once', async () => {
    const shop = await shopOfTest()
    const idem = instance(shop.store)
    const tx = dynamodbTransaction()
    let runs = 0
    const within = () => idem.within(tx, { operation: 'order', ...callOf('one') }, () => ++runs)
    await Promise.allSettled([within(), within()])
    expect(runs).toBe(1)
    expect(tx.request().TransactItems).toHaveLength(1)
    await shop.client.transactWriteItems(tx.request())
  })

  test('of which two are sent applies once', async () => {
    const shop = await shopOfTest()
    const idems = [instance(shop.store), instance(shop.another())]
    const requests = await Promise.all(
      idems.map(async (idem, at) => {
        const tx = dynamodbTransaction()
        await idem.within(tx, { operation: 'order', ...callOf('one') }, () => shop.order(tx, `one of ${at}`))
        return tx.request()
      }),
    )
    const ends = await Promise.allSettled(requests.map((request) => shop.client.transactWriteItems(request)))
    expect(ends.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect(await shop.ordered()).toHaveLength(1)
  })

  test('must be one, and a transaction of the store’s joins itself', async () => {
    const shop = await shopOfTest()
    const idem = instance(shop.store)
    for (const tx of [{}, undefined, shop.client, { write: () => {} }]) {
      await expect(
        idem.within(tx as never, { operation: 'order', ...callOf('one') }, () => 1),
      ).rejects.toThrow(/dynamodbTransaction\(\)/)
    }
    const outer = idem.transaction('outer', async (input: Order, { tx }) => {
      const call = { operation: 'inner', key: 'k2', principal, input }
      return await idem.within(tx, call, () => shop.order(tx, input.text))
    })
    await outer.run(callOf('one'))
    expect((await outer.run(callOf('one'))).replayed).toBe(true)
    const { records } = await shop.store.list({ limit: 10, phase: 'completed' })
    expect(records.map(({ operation }) => operation).sort()).toEqual(['inner', 'outer'])
    expect(await shop.ordered()).toEqual(['one'])
  })
})
