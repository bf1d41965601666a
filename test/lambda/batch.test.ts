/** Batches: each record by itself, what is reported, and the order of groups and shards. */
import { describe, expect, test } from 'vitest'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { type BatchOptions, idempotentBatch, type RecordFailure } from '../../src/lambda/index.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { instance } from '../http/serving.ts'
import { kinesisRecord, type Message, sqsRecord, streamRecord } from './events.ts'

const context = { getRemainingTimeInMillis: () => 29_000 }
type SqsRecord = ReturnType<typeof sqsRecord>

/** A handler that fails for bodies with `fail` in them, and what it saw. */
function batchOf(options: Partial<BatchOptions<SqsRecord>> = {}, idem = instance()) {
  const ran: string[] = []
  const failures: RecordFailure<SqsRecord>[] = []
  const given = {
    operation: 'ship',
    principal: 'anonymous' as const,
    onFailure: (failure: RecordFailure<SqsRecord>) => void failures.push(failure),
  }
  const handler = idempotentBatch<SqsRecord>(idem, { ...given, ...options }, async ({ messageId, body }) => {
    ran.push(messageId)
    await Promise.resolve()
    if (body.includes('fail')) throw new Error(`no ${messageId}`)
  })
  const deliver = async (...messages: Message[]): Promise<string[]> => {
    const { batchItemFailures } = await handler({ Records: messages.map(sqsRecord) }, context)
    return batchItemFailures.map(({ itemIdentifier }) => itemIdentifier)
  }
  return { deliver, ran, failures, handler }
}

describe('a standard queue', () => {
  test('reports what failed, and runs only that again', async () => {
    const { deliver, ran, failures } = batchOf()
    const batch = [{ id: 'a' }, { id: 'b', body: 'fail' }, { id: 'c' }]
    expect(await deliver(...batch)).toEqual(['b'])
    expect(failures).toMatchObject([{ record: { messageId: 'b' }, error: { message: 'no b' } }])
    expect(await deliver(...batch)).toEqual(['b'])
    expect(ran.toSorted()).toEqual(['a', 'b', 'b', 'c'])
  })

  test('a message twice in one batch runs once', async () => {
    const { deliver, ran } = batchOf({ concurrency: 1 })
    expect(await deliver({ id: 'a' }, { id: 'a' })).toEqual([])
    expect(ran).toEqual(['a'])
  })

  test.each<[string, BatchOptions<SqsRecord>['key'], Message, Message]>([
    [
      'a message attribute',
      { attribute: 'order' },
      { id: 'a', body: 'x', attributes: { order: '1' } },
      { id: 'b', body: 'x', attributes: { order: '1', trace: '2' } },
    ],
    [
      'a member of the body',
      { body: 'order.id' },
      { id: 'a', body: '{"order":{"id":7}}' },
      { id: 'b', body: '{"order":{"id":7}}' },
    ],
    ['a function', ({ body }: SqsRecord) => body, { id: 'a', body: 'x' }, { id: 'b', body: 'x' }],
  ])('the key may be %s, so that two messages about one thing run once', async (_, key, one, other) => {
    const { deliver, ran } = batchOf(key === undefined ? {} : { key })
    expect([await deliver(one), await deliver(other)]).toEqual([[], []])
    expect(ran).toEqual(['a'])
  })

  test('a record without its key, or with another content under it, comes again', async () => {
    const { deliver, ran, failures } = batchOf({ key: { attribute: 'order' } })
    const attributes = { order: '1' }
    expect(await deliver({ id: 'a', body: 'x', attributes }, { id: 'b' })).toEqual(['b'])
    expect(await deliver({ id: 'c', body: 'y', attributes })).toEqual(['c'])
    expect(failures.map(({ error }) => (error as { code: string }).code)).toEqual([
      'key-missing',
      'key-reused',
    ])
    expect(ran).toEqual(['a'])
  })

  test('a record that is no JSON comes again where the key is in it', async () => {
    const { deliver } = batchOf({ key: { body: 'id' } })
    expect(await deliver({ id: 'a', body: 'no json' }, { id: 'b', body: '{"id":"1"}' })).toEqual(['a'])
  })

  test('one that another invocation runs comes again, and is done afterwards', async () => {
    const inHandler = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    const options = { operation: 'ship', principal: 'anonymous', onFailure: () => {} } as const
    const handler = idempotentBatch(instance(), options, async () => {
      inHandler.resolve()
      await goOn.promise
    })
    const deliver = () => handler({ Records: [sqsRecord({ id: 'a' })] }, context)
    const first = deliver()
    await inHandler.promise
    expect(await deliver()).toEqual({ batchItemFailures: [{ itemIdentifier: 'a' }] })
    goOn.resolve()
    expect([await first, await deliver()]).toEqual([{ batchItemFailures: [] }, { batchItemFailures: [] }])
  })

  test.each([
    ['hold', ['a'], ['a']],
    ['rerun', [], ['a', 'a']],
  ] as const)('an unknown outcome, with onUnknown %s', async (onUnknown, reported, runs) => {
    const { deliver, ran } = batchOf({ onUnknown, onError: 'unknown', fingerprint: () => 'same' })
    expect(await deliver({ id: 'a', body: 'fail' })).toEqual(['a'])
    expect(await deliver({ id: 'a', body: 'good' })).toEqual(reported)
    expect(ran).toEqual(runs)
  })

  test('a tombstone says that the record was done', async () => {
    let now = 1_000_000
    const store = memoryStore({ clock: { now: () => now } })
    const idem = createIdempotency({ store, sweep: false })
    const { deliver, ran } = batchOf({ retention: '1h', tombstone: '7d' }, idem)
    await deliver({ id: 'a' })
    now += 2 * 3_600_000
    expect(await deliver({ id: 'a' })).toEqual([])
    expect(ran).toEqual(['a'])
  })

  test('so many at a time as the options say', async () => {
    let running = 0
    let most = 0
    const options = { operation: 'ship', principal: 'anonymous', concurrency: 3 } as const
    const handler = idempotentBatch(instance(), options, async () => {
      most = Math.max(most, (running += 1))
      await new Promise(setImmediate)
      running -= 1
    })
    const ids = Array.from({ length: 12 }, (_, at) => ({ id: `m${at}` }))
    await handler({ Records: ids.map(sqsRecord) }, context)
    expect(most).toBe(3)
  })

  test('records for which no time is left are reported and not started', async () => {
    const ran: string[] = []
    const options = {
      operation: 'ship',
      principal: 'anonymous',
      concurrency: 1,
      onFailure: () => {},
    } as const
    const handler = idempotentBatch(instance(), options, async (record: SqsRecord, _context, { signal }) => {
      ran.push(record.messageId)
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
    })
    const ending = { getRemainingTimeInMillis: () => 200 }
    const records = ['a', 'b', 'c'].map((id) => sqsRecord({ id }))
    const { batchItemFailures } = await handler({ Records: records }, ending)
    expect(batchItemFailures).toEqual([{ itemIdentifier: 'b' }, { itemIdentifier: 'c' }])
    expect(ran).toEqual(['a'])
  })
})

describe('order', () => {
  test('in a FIFO queue the rest of a group is reported with the one that failed, in order', async () => {
    const { deliver, ran, failures } = batchOf()
    const batch = [
      { id: 'a1', group: 'a' },
      { id: 'b1', group: 'b' },
      { id: 'a2', group: 'a', body: 'fail' },
      { id: 'b2', group: 'b' },
      { id: 'a3', group: 'a' },
      { id: 'a4', group: 'a' },
    ]
    expect(await deliver(...batch)).toEqual(['a2', 'a3', 'a4'])
    expect(ran.filter((id) => id.startsWith('a'))).toEqual(['a1', 'a2'])
    expect(ran.filter((id) => id.startsWith('b'))).toEqual(['b1', 'b2'])
    expect(failures.map(({ error }) => error === undefined)).toEqual([false, true, true])
  })

  test('a group id of a standard queue is no order', async () => {
    const { deliver } = batchOf()
    const fair = { group: 'tenant', fifo: false }
    expect(await deliver({ id: 'a', body: 'fail', ...fair }, { id: 'b', ...fair })).toEqual(['a'])
  })

  test.each([
    ['Kinesis', kinesisRecord],
    ['DynamoDB', streamRecord],
  ] as const)('a shard of %s stops at the record that failed', async (_, recordOf) => {
    const ran: unknown[] = []
    let down = true
    const options = { operation: 'project', principal: 'anonymous', onFailure: () => {} } as const
    const handler = idempotentBatch(
      instance(),
      options,
      (record: ReturnType<typeof kinesisRecord | typeof streamRecord>) => {
        ran.push(record.eventID?.slice(-1))
        if (record.eventID?.endsWith('2') === true && down) throw new Error('down')
      },
    )
    const deliver = async () => {
      const Records = ['1', '2', '3'].map((number) => recordOf(number, `data ${number}`))
      return (await handler({ Records }, context)).batchItemFailures.map(
        ({ itemIdentifier }) => itemIdentifier,
      )
    }
    expect([await deliver(), ran]).toEqual([
      ['2', '3'],
      ['1', '2'],
    ])
    down = false
    expect([await deliver(), ran]).toEqual([[], ['1', '2', '2', '3']])
  })
})

test('options are checked where the handler is made', () => {
  const good = { operation: 'o', principal: 'anonymous' }
  const make = (changed: object) => () =>
    idempotentBatch(instance(), { ...good, ...changed } as never, () => {})
  expect(make({ key: 'messageId' })).toThrow(/key must be/)
  expect(make({ key: { body: '' } })).toThrow(/key.body must be/)
  expect(make({ concurrency: 0 })).toThrow(/concurrency must be/)
  expect(make({ operation: undefined })).toThrow(/operation must be/)
  expect(make({ reportFailure: 1 })).toThrow(/is not known/)
})
