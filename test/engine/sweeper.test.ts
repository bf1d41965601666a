import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { InvalidOptionError, StoreError } from '../../src/core/errors.ts'
import type { IdempotencyStore, SweepReply } from '../../src/core/store.ts'
import { onEvent } from '../../src/engine/events.ts'
import {
  batchMsGoal,
  batchRange,
  behindPart,
  startSweeper,
  sweepNow,
  turnPart,
} from '../../src/engine/sweeper.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { type ManualRuntime, manualRuntime } from './manual-runtime.ts'

const everyMs = 60_000

let runtime: ManualRuntime
/** The limits that were asked for. */
let asked: number[]
/** How long a batch takes, and how many records are due. */
let tookMs: number
let due: number
let store: IdempotencyStore

beforeEach(() => {
  runtime = manualRuntime()
  asked = []
  tookMs = batchMsGoal
  due = 0
  store = {
    ...memoryStore(),
    sweep(limit): Promise<SweepReply> {
      asked.push(limit)
      const removed = Math.min(limit, due)
      due -= removed
      const reply = { removed, entombed: 0, more: removed === limit }
      return new Promise((resolve) => runtime.timers.after(tookMs, () => resolve(reply)))
    },
  }
})

describe('the sweeper', () => {
  test('comes once in an interval while there is nothing to do', async () => {
    const sweeper = startSweeper(store, runtime, everyMs)
    await runtime.advance(everyMs * 3.5)
    expect(asked).toEqual([500, 500, 500])
    sweeper.close()
  })

  test('works a backlog off in batches, with a pause after each', async () => {
    due = 2_200
    const sweeper = startSweeper(store, runtime, everyMs)
    await runtime.advance(everyMs)
    expect(asked).toEqual([500])
    await runtime.advance(tookMs)
    expect(asked).toEqual([500])
    await runtime.advance(tookMs)
    expect(asked).toEqual([500, 500])
    await runtime.advance(everyMs / 2)
    expect([asked.length, due]).toEqual([5, 0])
    sweeper.close()
  })

  test('ends a turn when its time is over, and comes again sooner', async () => {
    due = Number.POSITIVE_INFINITY
    const sweeper = startSweeper(store, runtime, everyMs)
    await runtime.advance(everyMs)
    await runtime.advance(everyMs * turnPart)
    // Batches of 50 ms, and as long a pause after each.
    const inTurn = asked.length
    expect(inTurn).toBeGreaterThan((everyMs * turnPart) / (2 * tookMs) - 3)
    await runtime.advance(everyMs * behindPart * 0.9)
    expect(asked.length - inTurn).toBeLessThanOrEqual(1)
    await runtime.advance(everyMs * behindPart)
    expect(asked.length).toBeGreaterThan(inTurn + 10)
    sweeper.close()
  })

  test('takes larger batches while they are quick, and smaller ones while they are slow', async () => {
    due = Number.POSITIVE_INFINITY
    tookMs = 1
    const sweeper = startSweeper(store, runtime, everyMs)
    await runtime.advance(everyMs + 100)
    expect(asked.slice(0, 6)).toEqual([500, 1_000, 2_000, 4_000, batchRange.most, batchRange.most])
    tookMs = batchMsGoal * 3
    await runtime.advance(everyMs * 0.4)
    expect(Math.min(...asked)).toBe(batchRange.least)
    sweeper.close()
  })

  test('stops at once, also in a pause', async () => {
    due = Number.POSITIVE_INFINITY
    const sweeper = startSweeper(store, runtime, everyMs)
    await runtime.advance(everyMs + tookMs)
    sweeper.close()
    const before = asked.length
    await runtime.advance(everyMs * 5)
    expect(asked.length).toBe(before)
    expect(runtime.pendingTimers()).toBe(0)
  })

  test('stops at once in the middle of a batch, and reports no failure that comes of closing', async () => {
    const failures: unknown[] = []
    onTestFinished(onEvent('store-error', (event) => failures.push(event)))
    const batch = Promise.withResolvers<SweepReply>()
    store.sweep = (limit) => {
      asked.push(limit)
      return batch.promise
    }
    const sweeper = startSweeper(store, runtime, everyMs)
    await runtime.advance(everyMs)
    sweeper.close()
    batch.reject(new StoreError('permanent', 'closed'))
    await runtime.advance(everyMs * 5)
    expect([asked, failures, runtime.pendingTimers()]).toEqual([[500], [], 0])
  })

  test('pauses for half to one and a half of what the batch took', async () => {
    for (const [fraction, part] of [
      [0, 0.5],
      [0.5, 1],
      [0.999, 1.499],
    ] as const) {
      const began: number[] = []
      const slow: IdempotencyStore = {
        ...store,
        sweep(limit): Promise<SweepReply> {
          began.push(runtime.clock.monotonic())
          const reply = { removed: limit, entombed: 0, more: true }
          return new Promise((resolve) => runtime.timers.after(tookMs, () => resolve(reply)))
        },
      }
      const random = { ...runtime.random, fraction: () => fraction }
      const sweeper = startSweeper(slow, { ...runtime, random }, everyMs)
      await runtime.advance(everyMs * 1.5 + tookMs * 4)
      sweeper.close()
      const [first = 0, second = 0] = began
      expect(second - first).toBeCloseTo(tookMs + tookMs * part, 3)
      await runtime.advance(everyMs)
    }
  })

  test('tries less at a time after a failure, which it reports', async () => {
    const failures: string[] = []
    onTestFinished(onEvent('store-error', ({ verb }) => failures.push(verb)))
    store.sweep = async (limit) => {
      asked.push(limit)
      throw new StoreError('transient', 'took too long')
    }
    const sweeper = startSweeper(store, runtime, everyMs)
    await runtime.advance(everyMs * 4)
    expect(asked).toEqual([500, 250, 125, batchRange.least])
    expect(failures).toEqual(['sweep', 'sweep', 'sweep', 'sweep'])
    sweeper.close()
  })

  test('comes again after a failure', async () => {
    const { sweep } = store
    store.sweep = async () => {
      store.sweep = sweep
      throw new StoreError('transient', 'away')
    }
    const sweeper = startSweeper(store, runtime, everyMs)
    await runtime.advance(everyMs * 2 + tookMs)
    expect(asked).toEqual([250])
    sweeper.close()
  })

  test('spreads processes that started together', async () => {
    const starts: number[] = []
    for (const fraction of [0, 0.25, 0.999]) {
      const own = manualRuntime()
      const random = { ...own.random, fraction: () => fraction }
      const began = own.clock.monotonic()
      const seen: IdempotencyStore = {
        ...store,
        sweep: async () => {
          starts.push(own.clock.monotonic() - began)
          return { removed: 0, entombed: 0, more: false }
        },
      }
      const sweeper = startSweeper(seen, { ...own, random }, everyMs)
      await own.advance(everyMs * 1.5)
      sweeper.close()
    }
    expect(new Set(starts.map((ms) => Math.round(ms / 1_000)))).toEqual(new Set([30, 60, 45, 90]))
  })
})

describe('a sweep that is asked for', () => {
  beforeEach(() => {
    store.sweep = async (limit) => {
      asked.push(limit)
      return { removed: limit, entombed: 0, more: true }
    }
  })

  test('stops at its limit', async () => {
    expect(await sweepNow(store, 1_200)).toBe(1_200)
    expect(asked).toEqual([500, 500, 200])
  })

  test.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '10'])(
    'refuses the limit %s',
    async (limit) => {
      await expect(sweepNow(store, limit as number)).rejects.toThrow(InvalidOptionError)
      expect(asked).toEqual([])
    },
  )
})
