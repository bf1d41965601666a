import { describe, expect, test } from 'vitest'
import { createOverdue } from '../../src/engine/overdue.ts'
import { manualRuntime } from './manual-runtime.ts'

describe('overdue', () => {
  test('what does not end is told at its time, in order, with one timer for all', async () => {
    const runtime = manualRuntime()
    const overdue = createOverdue(100, runtime.clock, runtime.timers)
    const told: string[] = []
    overdue.begin(() => told.push('a'))
    await runtime.advance(40)
    const ended = overdue.begin(() => told.push('b'))
    overdue.begin(() => told.push('c'))
    expect(runtime.pendingTimers()).toBe(1)
    overdue.end(ended)
    await runtime.advance(59)
    expect(told).toEqual([])
    await runtime.advance(1)
    expect(told).toEqual(['a'])
    await runtime.advance(40)
    expect(told).toEqual(['a', 'c'])
    expect(runtime.pendingTimers()).toBe(0)
  })

  test('what begins while others are told is told at its own time', async () => {
    const runtime = manualRuntime()
    const overdue = createOverdue(100, runtime.clock, runtime.timers)
    const told: string[] = []
    overdue.begin(() => {
      told.push('a')
      overdue.begin(() => told.push('b'))
    })
    await runtime.advance(100)
    expect([told, runtime.pendingTimers()]).toEqual([['a'], 1])
    await runtime.advance(100)
    expect([told, runtime.pendingTimers()]).toEqual([['a', 'b'], 0])
  })
})
