/**
 * Fixed seeds of every mode: no promise is broken, everything was reached that a run should reach, and a run can be
 * told again. `RETRYSAFE_SIM_SEEDS` sets how many; the number in a release is in the documentation.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { explore, shrink, simModeNames, simulate, walk } from '../../src/verification/simulator/index.ts'

vi.setConfig({ testTimeout: 600_000 })

const seeds = Number(process.env['RETRYSAFE_SIM_SEEDS'] ?? 20_000)

test.each(simModeNames)('%s: no promise is broken, and all is reached', async (mode) => {
  const { found, neverReached, seeds: done } = await explore({ mode, seeds })
  expect(found).toEqual([])
  expect(neverReached).toEqual([])
  expect(done).toBe(seeds)
})

test.each(simModeNames)('%s: every two faults at every point', async (mode) => {
  const { found, runs, points } = await walk({ mode, depth: 2 })
  expect(found).toEqual([])
  expect(runs).toBeGreaterThan(1_000)
  expect(Object.keys(points).length).toBeGreaterThan(10)
})

test('the same seed is the same run, in another process too', () => {
  const program = join(import.meta.dirname, 'sim.ts')
  const hashes = (): string => {
    const { stdout, status } = spawnSync(process.execPath, [program, '--hashes', '--seeds', '200'], {
      encoding: 'utf8',
    })
    expect(status).toBe(0)
    return stdout
  }
  const first = hashes()
  const lines = first
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
  expect(lines).toHaveLength(200 * simModeNames.length)
  expect(new Set(lines.flatMap(([mode, , hash]) => (mode === 'hold' ? [hash] : []))).size).toBeGreaterThan(
    150,
  )
  expect(hashes()).toBe(first)
})

test('a run can be told again from its decisions', async () => {
  for (let seed = 1; seed <= 50; seed++) {
    const run = await simulate({ mode: 'rerun', seed })
    const again = await simulate({ mode: 'rerun', seed, decisions: run.decisions, story: true })
    expect(again.traceHash).toBe(run.traceHash)
    expect(again.story.length).toBeGreaterThan(0)
  }
})

test('a run that breaks something shrinks to the few decisions that matter', async () => {
  // A wish instead of a fault of ours: that no key is ever taken over.
  const hasTakeover = async (decisions: readonly number[], seed: number): Promise<boolean> =>
    (await simulate({ mode: 'rerun', seed, decisions })).report.sights.takeover > 0
  for (let seed = 1; ; seed++) {
    const run = await simulate({ mode: 'rerun', seed })
    if (run.report.sights.takeover === 0) continue
    const { decisions, runs } = await shrink({
      mode: 'rerun',
      seed,
      decisions: run.decisions,
      breaks: ({ sights }) => sights.takeover > 0,
    })
    expect(await hasTakeover(decisions, seed)).toBe(true)
    const kept = decisions.filter((choice) => choice !== 0)
    expect(kept.length).toBeLessThan(run.decisions.filter((choice) => choice !== 0).length)
    expect(kept.length).toBeLessThanOrEqual(4)
    expect(runs).toBeLessThan(1_000)
    return
  }
})
