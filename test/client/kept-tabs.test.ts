/** Presses that have one key between them, in one tab and in two, against a real server: never a second charge. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { callOf, createIdempotentFetch } from '../../src/client/index.ts'
import { fileKeeper } from '../../src/client/keepers/file.ts'
import {
  fallbackKeeper,
  KeeperError,
  keptFetch,
  type KeyKeeper,
  memoryKeeper,
  resumeKept,
} from '../../src/client/keepers/index.ts'
import { sqliteKeeper } from '../../src/client/keepers/sqlite.ts'
import { type Charges, keysOf, startCharges } from './charges.ts'

const fetch = createIdempotentFetch({ retries: 0, backoff: 1, timeout: '10s' })

interface LockManager {
  request<Result>(
    name: string,
    options: { signal?: AbortSignal },
    run: () => Promise<Result>,
  ): Promise<Result>
}
const { locks } = (globalThis.navigator ?? {}) as { readonly locks?: LockManager }

/** One storage, and the keeper of each tab or process on it. */
const storages: Readonly<Record<string, () => () => KeyKeeper>> = {
  file() {
    const folder = newFolder()
    return () => fileKeeper({ folder })
  },
  sqlite() {
    const file = join(newFolder(), 'calls.db')
    return () => {
      const keeper = sqliteKeeper({ file })
      onTestFinished(() => keeper.close())
      return keeper
    }
  },
  // As IndexedDB is: one storage, and Web Locks.
  ...(locks && {
    'memory with locks'() {
      const keeper = memoryKeeper()
      const name = crypto.randomUUID()
      const hold: KeyKeeper['hold'] = ({ key }, signal, send) =>
        locks.request(`${name}:${key}`, signal === undefined ? {} : { signal }, send)
      return () => ({ ...keeper, hold })
    },
  }),
}

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'retrysafe-keeper-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** A press of the button in the tab of that keeper. */
async function press(
  keeper: KeyKeeper,
  { origin }: Charges,
  signal?: AbortSignal,
): Promise<number | string | undefined> {
  const pay = keptFetch({ fetch, keeper })
  try {
    const { status } = await pay(`${origin}/charges`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"amount":100}',
      idempotency: { intent: ['pay', 7] },
      ...(signal && { signal }),
    })
    return status
  } catch (error) {
    const { code, message } = error as { code?: unknown; message: string }
    return typeof code === 'string' ? code : message
  }
}

/** A keeper that stands still after the next `keep`, before anything is sent. */
function pausing(keeper: KeyKeeper): { keeper: KeyKeeper; kept: Promise<void>; goOn: () => void } {
  const kept = Promise.withResolvers<void>()
  const gate = Promise.withResolvers<void>()
  const keep: KeyKeeper['keep'] = async (call) => {
    const answer = await keeper.keep(call)
    kept.resolve()
    await gate.promise
    return answer
  }
  return { keeper: { ...keeper, keep }, kept: kept.promise, goOn: gate.resolve }
}

/** A server that holds each charge until it is told to answer. */
async function slowCharges(): Promise<Charges & { arrived: Promise<void>; answer: () => void }> {
  const charges = await startCharges()
  const arrived = Promise.withResolvers<void>()
  const gate = Promise.withResolvers<void>()
  charges.beforeEffect = () => {
    arrived.resolve()
    return gate.promise
  }
  return Object.assign(charges, { arrived: arrived.promise, answer: gate.resolve })
}

function expectOneCharge(charges: Charges): void {
  expect(charges.effects).toHaveLength(1)
  expect(keysOf(charges)).toHaveLength(1)
}

describe.each(Object.entries(storages))('two tabs: %s', (_name, open) => {
  test('the one that kept the call is turned away before the other one loses its answer', async () => {
    const charges = await startCharges()
    const tab = open()
    const [one, two] = [pausing(tab()), pausing(tab())]
    charges.faults.push(429, 'lost')
    const first = press(one.keeper, charges)
    await one.kept
    const second = press(two.keeper, charges)
    await two.kept
    one.goOn()
    // It was not the only one that had the key, so it cannot say that nothing was done.
    expect(await first).toBe('outcome-unknown')
    two.goOn()
    expect(await second).toBe('outcome-unknown')
    const again = tab()
    expect(await again.list()).toHaveLength(1)
    expect(await press(again, charges)).toBe(201)
    expectOneCharge(charges)
    expect(await again.list()).toEqual([])
  })

  test('the one that kept the call is turned away after the other one lost its answer', async () => {
    const charges = await startCharges()
    const tab = open()
    const one = pausing(tab())
    charges.faults.push('lost', 429)
    const first = press(one.keeper, charges)
    await one.kept
    expect(await press(tab(), charges)).toBe('outcome-unknown')
    one.goOn()
    expect(await first).toBe('outcome-unknown')
    expect(await press(tab(), charges)).toBe(201)
    expectOneCharge(charges)
  })

  test('the one that kept the call is turned away while the other one is about to send', async () => {
    const charges = await startCharges()
    const tab = open()
    const two = pausing(tab())
    charges.faults.push(429, 'lost')
    expect(await press(tab(), charges)).toBe(429)
    // It has gone by now, and this is a new one.
    const second = press(two.keeper, charges)
    await two.kept
    two.goOn()
    expect(await second).toBe('outcome-unknown')
    expect(await press(tab(), charges)).toBe(201)
    expect(charges.effects).toHaveLength(1)
    expect(keysOf(charges)).toHaveLength(2)
  })

  test('a call that the other one settled before it was sent is kept again, under its key', async () => {
    const charges = await slowCharges()
    const tab = open()
    const two = pausing(tab())
    const first = press(tab(), charges)
    await charges.arrived
    const second = press(two.keeper, charges)
    await two.kept
    charges.answer()
    expect(await first).toBe(201)
    const anew = tab()
    expect(await anew.list()).toEqual([])
    charges.faults.push('lost')
    two.goOn()
    expect(await second).toBe('outcome-unknown')
    expect(await anew.list()).toHaveLength(1)
    expect(await press(anew, charges)).toBe(201)
    expectOneCharge(charges)
  })

  test('a tab that starts and sends what is left loses its answer, and the one that kept it is turned away', async () => {
    const charges = await startCharges()
    const tab = open()
    const one = pausing(tab())
    charges.faults.push('lost', 429)
    const first = press(one.keeper, charges)
    await one.kept
    expect(await resumeKept({ fetch, keeper: tab() })).toMatchObject([{ end: 'unknown' }])
    one.goOn()
    expect(await first).toBe('outcome-unknown')
    expect(await press(tab(), charges)).toBe(201)
    expectOneCharge(charges)
  })

  test('an abort before it was sent leaves what the other one was given', async () => {
    const charges = await startCharges()
    const tab = open()
    const [one, two] = [pausing(tab()), pausing(tab())]
    const leaving = new AbortController()
    charges.faults.push('lost')
    const first = press(one.keeper, charges, leaving.signal)
    await one.kept
    const second = press(two.keeper, charges)
    await two.kept
    leaving.abort(new Error('left'))
    one.goOn()
    expect(await first).toBe('left')
    two.goOn()
    expect(await second).toBe('outcome-unknown')
    expect(await press(tab(), charges)).toBe(201)
    expectOneCharge(charges)
  })
})

describe.each(['file', 'sqlite'])('two processes that cannot wait for each other: %s', (kind) => {
  const open = storages[kind] as () => () => KeyKeeper

  test('one loses its answer after the other has settled: the call is kept again', async () => {
    const charges = await slowCharges()
    const tab = open()
    const first = press(tab(), charges)
    await charges.arrived
    // The second is on its way to a server that is still at it, until the first has settled.
    const gate = Promise.withResolvers<void>()
    const sent = Promise.withResolvers<void>()
    const slow = createIdempotentFetch({
      retries: 0,
      fetch: async (...args) => {
        sent.resolve()
        await gate.promise
        return await globalThis.fetch(...args)
      },
    })
    const second = keptFetch({ fetch: slow, keeper: tab() })(`${charges.origin}/charges`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"amount":100}',
      idempotency: { intent: ['pay', 7] },
    }).catch((error: { code: string }) => error.code)
    await sent.promise
    charges.answer()
    expect(await first).toBe(201)
    charges.faults.push('lost')
    gate.resolve()
    expect(await second).toBe('outcome-unknown')
    expect(await press(tab(), charges)).toBe(201)
    expectOneCharge(charges)
  })

  test('one is told that the other is still at it, and presses when that has its answer', async () => {
    const charges = await slowCharges()
    const tab = open()
    const [one, two] = [tab(), tab()]
    const first = press(one, charges)
    await charges.arrived
    expect(await press(two, charges)).toBe('outcome-unknown')
    charges.answer()
    expect(await first).toBe(201)
    expect(await two.list()).toEqual([])
    expect(await press(two, charges)).toBe(201)
    expectOneCharge(charges)
  })
})

describe('one tab', () => {
  test('an abort before it was sent, and a press at once: the key of the second stays', async () => {
    const charges = await startCharges()
    const kept = memoryKeeper()
    // Both have found it before either goes on.
    const gate = Promise.withResolvers<void>()
    let keeps = 0
    const keeper: KeyKeeper = {
      ...kept,
      async keep(call) {
        const answer = await kept.keep(call)
        if (++keeps === 2) gate.resolve()
        if (keeps <= 2) await gate.promise
        return answer
      },
    }
    const leaving = new AbortController()
    charges.faults.push('lost')
    const first = press(keeper, charges, leaving.signal)
    await expect.poll(() => keeps).toBe(1)
    leaving.abort(new Error('left'))
    const second = press(keeper, charges)
    expect([await first, await second]).toEqual(['left', 'outcome-unknown'])
    expect(await press(keeper, charges)).toBe(201)
    expectOneCharge(charges)
  })

  test('joins what is resumed and was settled elsewhere: the stored answer', async () => {
    const charges = await startCharges()
    const kept = memoryKeeper()
    const free = Promise.withResolvers<void>()
    const waits = Promise.withResolvers<void>()
    // Another tab sends, until it lets go.
    const keeper: KeyKeeper = {
      ...kept,
      async hold(_call, _signal, send) {
        waits.resolve()
        await free.promise
        return await send()
      },
    }
    charges.faults.push('lost')
    expect(await press({ ...kept }, charges)).toBe('outcome-unknown')
    const resuming = resumeKept({ fetch, keeper })
    await waits.promise
    const presses = [press(keeper, charges), press(keeper, charges)]
    await new Promise(setImmediate)
    expect(await press({ ...kept }, charges)).toBe(201)
    free.resolve()
    expect(await Promise.all(presses)).toEqual([201, 201])
    expect(await resuming).toMatchObject([{ end: 'elsewhere' }])
    expectOneCharge(charges)
    expect(await kept.list()).toEqual([])
  })

  test('a key that its caller says was sent before stays when it is refused', async () => {
    const charges = await startCharges()
    const keeper = memoryKeeper()
    const pay = keptFetch({ fetch, keeper })
    const send = (body: string, idempotency: object): Promise<unknown> =>
      pay(`${charges.origin}/charges`, { method: 'POST', body, idempotency }).catch(
        (error: { code: string }) => error.code,
      )
    await send('other', { intent: 'other', key: 'mine' })
    const sentSince = Date.now() - 1_000
    expect(await send('body', { intent: 'pay', key: 'mine', sentSince })).toBe('key-refused')
    expect(await keeper.list()).toMatchObject([{ key: 'mine', createdAt: sentSince }])
  })

  test('a storage that fails for a moment: the fallback goes on with the key', async () => {
    const charges = await startCharges()
    const first = memoryKeeper()
    let isDown = false
    const failing = <Args extends unknown[], Answer>(verb: (...args: Args) => Promise<Answer>) => {
      return (...args: Args): Promise<Answer> =>
        isDown ? Promise.reject(new KeeperError('unavailable')) : verb(...args)
    }
    const { keep, find, share, settle, forget, withdraw, list } = first
    const keeper = fallbackKeeper({
      keeper: {
        ...{ keep: failing(keep), find: failing(find), share: failing(share), list: failing(list) },
        ...{ settle: failing(settle), forget: failing(forget), withdraw: failing(withdraw) },
      },
      fallback: memoryKeeper(),
      onFallback: () => {},
    })
    charges.faults.push('lost', 'lost')
    expect(await press(keeper, charges)).toBe('outcome-unknown')
    isDown = true
    expect(await press(keeper, charges)).toBe('outcome-unknown')
    isDown = false
    expect(await keeper.list()).toHaveLength(1)
    expect(await press(keeper, charges)).toBe(201)
    expectOneCharge(charges)
    expect(await keeper.list()).toEqual([])
    expect(await first.list()).toEqual([])
  })

  test('a repeat of what is done that loses its answer is kept past keepAfterDone', async () => {
    const charges = await startCharges()
    const clock = { time: Date.now(), now: (): number => clock.time }
    const keeper = memoryKeeper({ keepAfterDone: '1m', clock })
    expect(await press(keeper, charges)).toBe(201)
    charges.faults.push('lost')
    expect(await press(keeper, charges)).toBe('outcome-unknown')
    clock.time += 61_000
    expect(await keeper.list()).toHaveLength(1)
    const resumed = await resumeKept({ fetch, keeper })
    expect(resumed.map((each) => each.end === 'answered' && callOf(each.response)?.replayed)).toEqual([true])
    expect(await keeper.list()).toEqual([])
    expectOneCharge(charges)
  })
})
