/** What `docs/migrating.md` says of @aws-lambda-powertools/idempotency 2.35.0, on the same calls as ours. */
import { IdempotencyConfig, makeIdempotent } from '@aws-lambda-powertools/idempotency'
import { CachePersistenceLayer } from '@aws-lambda-powertools/idempotency/cache'
import type { CacheClient } from '@aws-lambda-powertools/idempotency/cache/types'
import { beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { createIdempotency, type Idempotency, memoryStore } from '../../src/index.ts'

/** What the layer needs of Redis: a map with SET NX. */
function mapClient(): CacheClient & { values: Map<string, string> } {
  const values = new Map<string, string>()
  return {
    values,
    get: async (name) => values.get(name) ?? null,
    async set(name, value, options): Promise<string | null> {
      if ((options as { NX?: boolean } | undefined)?.NX === true && values.has(String(name))) return null
      values.set(String(name), String(value))
      return 'OK'
    },
    async del(names): Promise<number> {
      return names.filter((name) => values.delete(name)).length
    },
  }
}

interface Charge {
  readonly requestId?: string
  readonly amount: number
}

function instance(): Idempotency {
  const idem = createIdempotency({ store: memoryStore(), sweep: false })
  onTestFinished(() => idem.close())
  return idem
}

interface Counted {
  runs: number
}

/** The peer around a function that counts. */
function peer(
  config: ConstructorParameters<typeof IdempotencyConfig>[0] = {},
  client = mapClient(),
  work: (charge: Charge) => unknown = ({ amount }) => ({ amount }),
): { call: (charge: Charge) => Promise<unknown>; counted: Counted } {
  const counted = { runs: 0 }
  const call = makeIdempotent(
    async (charge: Charge) => {
      counted.runs += 1
      return await work(charge)
    },
    {
      persistenceStore: new CachePersistenceLayer({ client }),
      config: new IdempotencyConfig(config),
      keyPrefix: 'charge',
    },
  )
  return { call: call as (charge: Charge) => Promise<unknown>, counted }
}

/** Ours around the same. */
function ours(work: (charge: Charge) => unknown = ({ amount }) => ({ amount })): {
  call: (key: string, charge: Charge) => Promise<unknown>
  counted: Counted
} {
  const counted = { runs: 0 }
  const operation = instance().operation('charge', async (charge: Charge) => {
    counted.runs += 1
    return await work(charge)
  })
  const call = async (key: string, input: Charge): Promise<unknown> =>
    (await operation.run({ key, principal: 'tenant-7', input })).value
  return { call, counted }
}

function gate(): { passed: Promise<void>; open: () => void } {
  let open = (): void => {}
  const passed = new Promise<void>((resolve) => {
    open = resolve
  })
  return { passed, open }
}

// Outside Lambda it warns at each call that it does not know the time that is left.
beforeAll(() => {
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
  return () => warn.mockRestore()
})

describe('the same calls', () => {
  test('by default the payload is the key, so two equal intents are one', async () => {
    const theirs = peer()
    await theirs.call({ amount: 100 })
    await theirs.call({ amount: 100 })
    expect(theirs.counted.runs).toBe(1)
    const mine = ours()
    await mine.call('order-1', { amount: 100 })
    await mine.call('order-2', { amount: 100 })
    await mine.call('order-2', { amount: 100 })
    expect(mine.counted.runs).toBe(2)
  })

  test('without a key the function runs unprotected, and is refused', async () => {
    const theirs = peer({ eventKeyJmesPath: 'requestId' })
    await theirs.call({ amount: 100 })
    await theirs.call({ amount: 100 })
    expect(theirs.counted.runs).toBe(2)
    const mine = ours()
    await expect(mine.call(undefined as never, { amount: 100 })).rejects.toMatchObject({
      code: 'key-malformed',
    })
    expect(mine.counted.runs).toBe(0)
  })

  test('another payload under the key gets the answer to the first, and is refused', async () => {
    const theirs = peer({ eventKeyJmesPath: 'requestId' })
    await theirs.call({ requestId: 'r', amount: 100 })
    expect(await theirs.call({ requestId: 'r', amount: 200 })).toEqual({ amount: 100 })
    const mine = ours()
    await mine.call('r', { amount: 100 })
    await expect(mine.call('r', { amount: 200 })).rejects.toMatchObject({ code: 'key-reused' })
  })

  test('outside Lambda, on Redis, two calls at once both run', async () => {
    const opened = gate()
    const theirs = peer({}, mapClient(), () => opened.passed)
    const both = [theirs.call({ amount: 100 }), theirs.call({ amount: 100 })]
    await vi.waitFor(() => expect(theirs.counted.runs).toBe(2))
    opened.open()
    await Promise.all(both)

    const mineOpened = gate()
    const mine = ours(() => mineOpened.passed)
    const ourBoth = [mine.call('k', { amount: 100 }), mine.call('k', { amount: 100 })]
    await vi.waitFor(() => expect(mine.counted.runs).toBe(1))
    mineOpened.open()
    await Promise.all(ourBoth)
    expect(mine.counted.runs).toBe(1)
  })

  test('an attempt that fails late removes the record of the one that took over', async () => {
    const client = mapClient()
    const [first, second] = [gate(), gate()]
    const works = [
      async () => {
        await first.passed
        throw new Error('late')
      },
      () => second.passed,
      () => undefined,
    ]
    const theirs = peer({}, client, () => works[theirs.counted.runs - 1]?.())
    const failing = theirs.call({ amount: 100 })
    await vi.waitFor(() => expect(theirs.counted.runs).toBe(1))
    // Its record is over: what time does to it.
    client.values.clear()
    const taking = theirs.call({ amount: 100 })
    await vi.waitFor(() => expect(theirs.counted.runs).toBe(2))
    first.open()
    await expect(failing).rejects.toThrow('late')
    expect(client.values.size).toBe(0)
    await theirs.call({ amount: 100 })
    expect(theirs.counted.runs).toBe(3)
    second.open()
    await taking
  })

  test('what is replayed is JSON, and is the value', async () => {
    const at = new Date(0)
    const theirs = peer({}, mapClient(), () => ({ at }))
    // Through the client a value is text, as it is on Redis.
    await theirs.call({ amount: 1 })
    expect(await theirs.call({ amount: 1 })).toEqual({ at: at.toISOString() })
    const mine = ours(() => ({ at }))
    await mine.call('k', { amount: 1 })
    expect(await mine.call('k', { amount: 1 })).toEqual({ at })
  })

  test('the switch: with both around the function, the old one outside, no call runs twice', async () => {
    const client = mapClient()
    const mine = ours()
    const config = { eventKeyJmesPath: 'requestId' }
    const before = peer(config, client)
    const during = peer(config, client, (charge) => mine.call(charge.requestId as string, charge))
    const first = await before.call({ requestId: 'old', amount: 1 })
    expect(await during.call({ requestId: 'old', amount: 1 })).toEqual(first)
    const second = await during.call({ requestId: 'both', amount: 2 })
    expect(await before.call({ requestId: 'both', amount: 2 })).toEqual(second)
    expect(await mine.call('both', { requestId: 'both', amount: 2 })).toEqual(second)
    expect([before.counted.runs, mine.counted.runs]).toEqual([1, 1])
  })
})
