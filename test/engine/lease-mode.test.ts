import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { isIdempotencyError, LeaseLostError, ReplayedError } from '../../src/core/errors.ts'
import { flightMsMax } from '../../src/engine/coalescer.ts'
import { createIdempotency, type Idempotency } from '../../src/engine/idempotency.ts'
import type { OperationRun } from '../../src/engine/operation.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { type FaultyStore, faultyStore } from './faulty-store.ts'
import { type ManualRuntime, manualRuntime } from './manual-runtime.ts'

/** Two processes on one store: what one holds is a stranger's to the other. */
let runtime: ManualRuntime
let store: FaultyStore
let here: Idempotency
let there: Idempotency

beforeEach(() => {
  runtime = manualRuntime()
  store = faultyStore(memoryStore({ clock: runtime.clock }))
  here = createIdempotency({ store, lease: '30s', sweep: false }, runtime)
  there = createIdempotency({ store, lease: '30s', sweep: false }, runtime)
})

afterEach(() => {
  store.heal()
})

const call = { key: 'k1', principal: 'alice', input: { amount: 100 } }

/** A handler that is held open until the test lets go. */
function gate<Value>(): {
  handler: (input: unknown, run: OperationRun) => Promise<Value>
  open(value: Value): void
  fail(error: unknown): void
  runs: OperationRun[]
} {
  const { promise, resolve, reject } = Promise.withResolvers<Value>()
  const runs: OperationRun[] = []
  return {
    runs,
    handler: async (_, run) => {
      runs.push(run)
      return await promise
    },
    open: resolve,
    fail: reject,
  }
}

describe('one key, one effect', () => {
  test('the first call runs, the second replays an equal value', async () => {
    let runs = 0
    const charge = here.operation('charge', () => ({ id: ++runs, at: new Date(5) }))
    expect(await charge.run(call)).toEqual({ value: { id: 1, at: new Date(5) }, replayed: false })
    expect(await charge.run(call)).toEqual({ value: { id: 1, at: new Date(5) }, replayed: true })
    expect(runs).toBe(1)
  })

  test('other key, other principal and other operation are other operations', async () => {
    let runs = 0
    const charge = here.operation('charge', () => ++runs)
    const refund = here.operation('refund', () => ++runs)
    await charge.run(call)
    await charge.run({ ...call, key: 'k2' })
    await charge.run({ ...call, principal: 'bob' })
    await refund.run(call)
    expect(runs).toBe(4)
  })

  test('another input under the key is refused and changes nothing', async () => {
    const charge = here.operation('charge', (input: { amount: number }) => input.amount)
    await charge.run(call)
    expect(await charge.attempt({ ...call, input: { amount: 200 } })).toEqual({ kind: 'mismatch' })
    await expect(charge.run({ ...call, input: { amount: 200 } })).rejects.toMatchObject({
      code: 'key-reused',
    })
    expect(await charge.run(call)).toEqual({ value: 100, replayed: true })
  })

  test('100 duplicates in one process send one claim and one settle', async () => {
    let runs = 0
    const charge = here.operation('charge', async () => {
      await runtime.settle()
      return ++runs
    })
    const results = await Promise.all(Array.from({ length: 100 }, () => charge.run(call)))
    expect(results.filter((result) => !result.replayed)).toHaveLength(1)
    expect(new Set(results.map((result) => result.value))).toEqual(new Set([1]))
    expect(store.calls).toMatchObject({ claim: 1, settle: 1 })
  })

  test('50 distinct keys in one turn: two claims leave alone, the rest as two calls', async () => {
    const charge = here.operation('charge', () => 1)
    await Promise.all(Array.from({ length: 50 }, (_, at) => charge.run({ ...call, key: `k${at}` })))
    expect(store.calls.claim).toBe(4)
    expect(store.calls.settle).toBeLessThanOrEqual(4)
  })
})

describe('duplicates while the first runs', () => {
  test('another request in the same process is a mismatch, before in progress', async () => {
    const open = gate<number>()
    const charge = here.operation('charge', open.handler)
    const first = charge.run(call)
    await runtime.settle()
    expect(await charge.attempt({ ...call, input: 'other' })).toEqual({ kind: 'mismatch' })
    open.open(1)
    await first
  })

  test('without waiting they are refused with a time to come back', async () => {
    const open = gate<number>()
    const options = { wait: 0 }
    const first = here.operation('charge', options, open.handler).run(call)
    await runtime.settle()
    const refused = { kind: 'in-progress', retryAfterMs: 1_000 }
    expect(await here.operation('charge', options, open.handler).attempt(call)).toEqual(refused)
    expect(await there.operation('charge', options, open.handler).attempt(call)).toEqual(refused)
    open.open(1)
    await first
    expect(open.runs).toHaveLength(1)
  })

  test('a waiter in another process gets the outcome once it is there', async () => {
    const open = gate<number>()
    const first = here.operation('charge', open.handler).run(call)
    await runtime.settle()
    const waiter = there.operation('charge', open.handler).run(call)
    await runtime.advance(400)
    open.open(7)
    await first
    await runtime.advance(400)
    expect(await waiter).toEqual({ value: 7, replayed: true })
  })

  test('waiters share one polling read and give up at their time', async () => {
    const open = gate<number>()
    const first = here.operation('charge', open.handler).run(call)
    await runtime.settle()
    const waiting = there.operation('charge', { wait: '5s' }, open.handler)
    const waiters = Array.from({ length: 20 }, () => waiting.attempt(call))
    await runtime.advance(1_000)
    const readsPerSecond = store.calls.read
    expect(readsPerSecond).toBeLessThan(20)
    await runtime.advance(5_000)
    expect((await Promise.all(waiters)).map((result) => result.kind)).toEqual(Array(20).fill('in-progress'))
    open.open(1)
    await first
  })

  test('when the owner releases, exactly one waiter becomes the holder', async () => {
    const open = gate<number>()
    const first = here.operation('charge', open.handler).attempt(call)
    await runtime.settle()
    let runs = 0
    const next = here.operation('charge', () => ++runs)
    const nextThere = there.operation('charge', () => ++runs)
    const waiters = [
      ...Array.from({ length: 5 }, () => next.run(call)),
      nextThere.run(call),
      nextThere.run(call),
    ]
    await runtime.settle()
    open.fail(new Error('declined'))
    await expect(first).rejects.toThrow('declined')
    await runtime.advance(500)
    expect((await Promise.all(waiters)).map((result) => result.value)).toEqual(Array(7).fill(1))
    expect(runs).toBe(1)
  })

  test('an aborted waiter leaves at once and the attempt goes on', async () => {
    const open = gate<number>()
    const charge = here.operation('charge', open.handler)
    const first = charge.run(call)
    await runtime.settle()
    const abort = new AbortController()
    const waiters = [
      charge.run({ ...call, signal: abort.signal }),
      there.operation('charge', open.handler).run({ ...call, signal: abort.signal }),
    ]
    await runtime.settle()
    abort.abort(new Error('gone'))
    for (const waiter of waiters) await expect(waiter).rejects.toThrow('gone')
    open.open(3)
    expect(await first).toEqual({ value: 3, replayed: false })
  })
})

describe('leases', () => {
  test('a slow handler keeps its lease by renewal', async () => {
    const open = gate<number>()
    const first = here.operation('charge', open.handler).run(call)
    await runtime.advance(95_000)
    const other = there.operation('charge', { wait: 0, onUnknown: 'rerun' }, () => 2)
    expect((await other.attempt(call)).kind).toBe('in-progress')
    open.open(1)
    expect(await first).toEqual({ value: 1, replayed: false })
    await runtime.advance(flightMsMax)
    expect(runtime.pendingTimers()).toBeLessThanOrEqual(1)
  })

  test('a holder that could not renew is fenced: its signal aborts and its caller gets the winner’s value', async () => {
    const open = gate<number>()
    const slow = here.operation('charge', open.handler).run(call)
    await runtime.settle()
    const { signal } = open.runs[0] as OperationRun
    store.breakAll('request-lost', ['renew'])
    await runtime.advance(45_000)
    expect(signal.aborted).toBe(true)
    expect(signal.reason).toBeInstanceOf(LeaseLostError)
    store.heal()
    const winner = await there
      .operation('charge', { onUnknown: 'rerun' }, (_, run) => run.fence * 100)
      .run(call)
    expect(winner).toEqual({ value: 200, replayed: false })
    open.open(1)
    expect(await slow).toEqual({ value: 200, replayed: true })
  })

  test('a holder that lost its lease and nobody took over still settles', async () => {
    const open = gate<number>()
    const slow = here.operation('charge', open.handler).run(call)
    await runtime.settle()
    store.breakAll('request-lost', ['renew'])
    await runtime.advance(45_000)
    store.heal()
    open.open(1)
    expect(await slow).toEqual({ value: 1, replayed: false })
  })

  test('a claim answered after half the lease is renewed before the handler starts', async () => {
    const quick = createIdempotency({ store, lease: '1s', sweep: false }, runtime)
    const claim = store.claim
    store.claim = async (claims) => {
      const replies = await claim(claims)
      await runtime.advance(900)
      return replies
    }
    expect(await quick.operation('charge', () => 1).run(call)).toEqual({ value: 1, replayed: false })
    expect(store.calls.renew).toBe(1)
  })
})

describe('unknown outcomes', () => {
  /** A holder that dies: its handler never ends and it renews no more. */
  async function crash(): Promise<void> {
    const dead = createIdempotency({ store, lease: '30s', sweep: false }, runtime)
    const open = gate<number>()
    void dead.operation('charge', open.handler).run(call)
    await runtime.settle()
    store.breakAll('hang', ['renew'])
    await runtime.advance(31_000)
    store.heal()
  }

  test('hold refuses the key until somebody reconciles it', async () => {
    await crash()
    const charge = there.operation('charge', () => 2)
    expect(await charge.attempt(call)).toEqual({ kind: 'unknown' })
    await expect(charge.run(call)).rejects.toMatchObject({ code: 'outcome-unknown', settled: true })
  })

  test('a takeover that is on its way while the holder completes after all does not run again', async () => {
    const handler = gate<string>()
    const first = here.operation('charge', { onUnknown: 'rerun' }, handler.handler).run(call)
    await runtime.settle()
    store.breakAll('request-lost', ['renew'])
    await runtime.advance(31_000)
    store.heal()
    // The takeover is sent when the lease is over, and arrives when the outcome is there.
    const inner = store.supersede
    const arrives = Promise.withResolvers<void>()
    store.supersede = async (takeovers) => {
      await arrives.promise
      return await inner(takeovers)
    }
    const second = there.operation('charge', { onUnknown: 'rerun' }, () => 'again').run(call)
    await runtime.settle()
    handler.open('once')
    await runtime.settle()
    arrives.resolve()
    expect(await first).toEqual({ value: 'once', replayed: false })
    expect(await second).toEqual({ value: 'once', replayed: true })
  })

  test('rerun runs again with a greater fence', async () => {
    await crash()
    const charge = there.operation('charge', { onUnknown: 'rerun' }, (_, run) => run.fence)
    expect(await charge.run(call)).toEqual({ value: 2, replayed: false })
  })

  test('reconcile adopts an outcome that it finds', async () => {
    await crash()
    const options = {
      onUnknown: 'reconcile',
      reconcile: () => Promise.resolve({ kind: 'applied', value: 'found' } as const),
    } as const
    const charge = there.operation('charge', options, () => 'ran')
    expect(await charge.run(call)).toEqual({ value: 'found', replayed: true })
    expect(await charge.run(call)).toEqual({ value: 'found', replayed: true })
  })

  test('reconcile runs where nothing was applied', async () => {
    await crash()
    const reconcile = () => Promise.resolve({ kind: 'not-applied' } as const)
    const charge = there.operation('charge', { onUnknown: 'reconcile', reconcile }, () => 'ran')
    expect(await charge.run(call)).toEqual({ value: 'ran', replayed: false })
  })

  test('a reconcile that throws leaves the outcome unknown, and can be asked again', async () => {
    await crash()
    let asked = 0
    const reconcile = async () => {
      if (++asked === 1) throw new Error('provider down')
      return await Promise.resolve({ kind: 'applied', value: 'found' } as const)
    }
    const charge = there.operation('charge', { onUnknown: 'reconcile', reconcile }, () => 'ran')
    await expect(charge.run(call)).rejects.toMatchObject({ code: 'outcome-unknown' })
    expect(await charge.run(call)).toEqual({ value: 'found', replayed: true })
  })
})

describe('handlers that throw', () => {
  const declined = Object.assign(new Error('no funds'), { name: 'Declined', code: 'card_declined' })

  test('release: the next attempt runs, and the caller sees the handler’s own error', async () => {
    let runs = 0
    const charge = here.operation('charge', () => {
      if (++runs === 1) throw declined
      return runs
    })
    await expect(charge.run(call)).rejects.toBe(declined)
    expect(await charge.run(call)).toEqual({ value: 2, replayed: false })
  })

  test('keep: the error is the outcome', async () => {
    let runs = 0
    const charge = here.operation('charge', { onError: 'keep' }, () => {
      runs++
      throw declined
    })
    await expect(charge.run(call)).rejects.toBe(declined)
    const replay = await charge.attempt(call)
    expect(replay.kind === 'failed' && replay.error).toBeInstanceOf(ReplayedError)
    await expect(charge.run(call)).rejects.toMatchObject({
      message: 'no funds',
      originalName: 'Declined',
      originalCode: 'card_declined',
    })
    expect(runs).toBe(1)
  })

  test('unknown: the key is held', async () => {
    const charge = here.operation('charge', { onError: () => 'unknown' }, () => {
      throw declined
    })
    await expect(charge.run(call)).rejects.toBe(declined)
    expect(await charge.attempt(call)).toEqual({ kind: 'unknown' })
  })

  test('a value that cannot be stored is reported alike to every caller and does not run again', async () => {
    let runs = 0
    const charge = here.operation('charge', () => ({ run: ++runs, callback: () => 1 }))
    for (let time = 0; time < 2; time++) {
      await expect(charge.run(call)).rejects.toMatchObject({ code: 'outcome-unstorable' })
    }
    expect(runs).toBe(1)
  })
})

describe('store failures', () => {
  test('a claim whose reply got lost is recognised when sent again', async () => {
    store.fail('claim', 'reply-lost')
    const charge = here.operation('charge', (_, run) => run.fence)
    const result = charge.run(call)
    await runtime.advance(1_000)
    expect(await result).toEqual({ value: 1, replayed: false })
    expect(store.calls.claim).toBe(2)
  })

  test('a settle whose reply got lost is recognised when sent again', async () => {
    store.fail('settle', 'reply-lost')
    const result = here.operation('charge', () => 1).run(call)
    await runtime.advance(1_000)
    expect(await result).toEqual({ value: 1, replayed: false })
  })

  test('store down before the handler: refused, handler not run', async () => {
    store.breakAll('request-lost')
    let runs = 0
    const charge = here.operation('charge', () => ++runs)
    const result = expect(charge.run(call)).rejects.toMatchObject({ code: 'store-unavailable' })
    await runtime.advance(20_000)
    await result
    expect(runs).toBe(0)
    store.heal()
    expect(await charge.run(call)).toEqual({ value: 1, replayed: false })
  })

  test('a claim that was applied and never answered does not hold the key', async () => {
    store.breakAll('hang-applied', ['claim'])
    const charge = here.operation('charge', () => 1)
    const result = expect(charge.run(call)).rejects.toMatchObject({ code: 'store-unavailable' })
    await runtime.advance(10_000)
    await result
    store.heal()
    await runtime.advance(1_000)
    expect(await charge.run(call)).toEqual({ value: 1, replayed: false })
  })

  test('a permanent failure is not sent again', async () => {
    store.breakAll('permanent')
    await expect(here.operation('charge', () => 1).run(call)).rejects.toMatchObject({
      code: 'store-unavailable',
    })
    expect(store.calls.claim).toBe(1)
  })

  test('store down after the handler: unknown, and the same key finds the truth later', async () => {
    let runs = 0
    const charge = here.operation('charge', { onUnknown: 'hold' }, () => ++runs)
    store.breakAll('request-lost', ['settle'])
    const result = expect(charge.run(call)).rejects.toMatchObject({ code: 'outcome-unknown', settled: false })
    await runtime.advance(10_000)
    await result
    store.heal()
    expect((await there.operation('charge', { wait: 0 }, () => ++runs).attempt(call)).kind).toBe(
      'in-progress',
    )
    await runtime.advance(31_000)
    expect(await charge.attempt(call)).toEqual({ kind: 'unknown' })
    expect(runs).toBe(1)
  })

  test('duplicates share the leader’s failure', async () => {
    store.breakAll('permanent', ['claim'])
    const charge = here.operation('charge', () => 1)
    const results = await Promise.allSettled([charge.run(call), charge.run(call), charge.run(call)])
    expect(results.map((result) => result.status)).toEqual(['rejected', 'rejected', 'rejected'])
    expect(store.calls.claim).toBe(1)
  })
})

describe('retention', () => {
  test('counts from completion and is not extended by replays', async () => {
    const brief = createIdempotency({ store, retention: '1h', lease: '30s', sweep: false }, runtime)
    let runs = 0
    const charge = brief.operation('charge', () => ++runs)
    await charge.run(call)
    await runtime.advance(3_500_000)
    expect((await charge.run(call)).replayed).toBe(true)
    await runtime.advance(100_000)
    expect(await charge.run(call)).toEqual({ value: 2, replayed: false })
  })

  test('with a tombstone the expired key is refused until that is over', async () => {
    const options = { retention: '1h', tombstone: '1h' } as const
    let runs = 0
    const charge = here.operation('charge', options, () => ++runs)
    await charge.run(call)
    await runtime.advance(3_600_000)
    expect(await charge.attempt(call)).toEqual({ kind: 'expired' })
    await here.sweep()
    expect(await charge.attempt(call)).toEqual({ kind: 'expired' })
    await runtime.advance(3_600_000)
    expect(await charge.run(call)).toEqual({ value: 2, replayed: false })
  })
})

describe('misuse and closing', () => {
  test.each<[string, object, string]>([
    ['no key', { key: undefined }, 'key-malformed'],
    ['a number as key', { key: 0 }, 'key-malformed'],
    ['a blank key', { key: '  ' }, 'key-malformed'],
    ['a String object', { key: new String('a') }, 'key-malformed'],
    ['an array', { key: ['a'] }, 'key-malformed'],
    ['a lone surrogate', { key: 'a\ud800' }, 'key-malformed'],
    ['256 characters', { key: 'k'.repeat(256) }, 'key-malformed'],
    ['no principal', { principal: undefined }, 'principal-invalid'],
    ['an empty principal', { principal: '' }, 'principal-invalid'],
    ['an object as principal', { principal: {} }, 'principal-invalid'],
    ['a function in the input', { input: { amount: () => 1 } }, 'input-unsupported'],
  ])('%s is refused, and the handler does not run', async (_, wrong, code) => {
    let runs = 0
    const charge = here.operation('charge', () => ++runs)
    const error: unknown = await charge.run({ ...call, ...wrong } as never).catch((thrown: unknown) => thrown)
    expect(isIdempotencyError(error, code as never)).toBe(true)
    expect(runs).toBe(0)
  })

  test('no message holds the key, the principal or the input', async () => {
    const secret = { key: 'canary-key '.repeat(40), principal: 'canary-principal', input: 'canary-input' }
    const error: unknown = await here
      .operation('charge', () => 1)
      .run(secret)
      .catch((thrown: unknown) => thrown)
    expect(String(error)).not.toContain('canary')
  })

  test('close waits for running attempts, ends waiters and refuses new calls', async () => {
    const open = gate<number>()
    const charge = here.operation('charge', open.handler)
    const first = charge.run(call)
    await runtime.settle()
    const closing = here.close()
    await expect(charge.run({ ...call, key: 'k2' })).rejects.toMatchObject({ code: 'closed' })
    open.open(1)
    expect(await first).toEqual({ value: 1, replayed: false })
    await closing
  })

  test('downstream keys are equal for every attempt of a key and differ by name and key', async () => {
    const keys: string[] = []
    const charge = here.operation('charge', { onError: 'release' }, (_, run) => {
      keys.push(run.downstreamKey('pay'), run.downstreamKey('mail'))
      if (keys.length === 2) throw new Error('once')
      return 1
    })
    await charge.run(call).catch(() => {})
    await charge.run(call)
    await charge.run({ ...call, key: 'k2' })
    expect(keys[0]).toBe(keys[2])
    expect(new Set(keys).size).toBe(4)
  })
})

describe('a lease that covers the whole time of its handler', () => {
  const policy = { lease: '10s', timeout: '10s' } as const

  test('is not renewed, aborts the signal when the time is over, and is another’s right after', async () => {
    const { handler, runs, open } = gate<string>()
    const slow = here.operation('charge', policy, handler).run(call)
    const renewals = store.calls.renew
    await runtime.advance(9_999)
    expect([store.calls.renew - renewals, runs[0]?.signal.aborted]).toEqual([0, false])
    await runtime.advance(1)
    expect(runs[0]?.signal.reason).toBeInstanceOf(LeaseLostError)
    const rerun = there.operation('charge', { ...policy, onUnknown: 'rerun', wait: 0 }, () => 'second')
    expect(await rerun.run(call)).toEqual({ value: 'second', replayed: false })
    open('first')
    expect(await slow).toEqual({ value: 'second', replayed: true })
  })

  test('leaves no timer behind, however many lengths of leases there are', async () => {
    const charge = here.operation('charge', () => 1)
    await charge.run(call)
    const before = runtime.pendingTimers()
    for (const lease of [10_000, 11_000, 12_000]) {
      const key = `k${lease}`
      await here.operation('charge', { lease, timeout: lease }, () => 1).run({ ...call, key })
    }
    expect(runtime.pendingTimers()).toBe(before)
  })
})
