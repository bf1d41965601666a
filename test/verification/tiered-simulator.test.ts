/** No fast tier, whatever it does, breaks a promise of the durable store; and faults that would are caught. */
import { expect, test, vi } from 'vitest'
import { explore, type SimModeName, simulate } from '../../src/verification/simulator/index.ts'
import { type BrokenTier, brokenTiers, counting, unreliableTiers } from './tiered-tiers.ts'

vi.setConfig({ testTimeout: 600_000 })

const seeds = Number(process.env['RETRYSAFE_SIM_SEEDS'] ?? 3_000)
const modes: readonly SimModeName[] = ['hold', 'rerun', 'reconcile', 'transaction', 'statement', 'within']

test.each(modes)('%s: no promise is broken behind unreliable tiers', async (mode) => {
  const { found, neverReached } = await explore({ mode, seeds, tier: unreliableTiers() })
  expect(found).toEqual([])
  expect(neverReached).toEqual([])
})

test('two runs of a seed are the same run', async () => {
  for (let seed = 1; seed <= 100; seed++) {
    const mode = modes[seed % modes.length] as SimModeName
    const first = await simulate({ mode, seed, tier: unreliableTiers() })
    const second = await simulate({ mode, seed, tier: unreliableTiers() })
    expect(second.traceHash).toBe(first.traceHash)
  }
})

test('the tiers are asked and answer', async () => {
  const counts = { asked: 0, recalled: 0 }
  await explore({ mode: 'hold', seeds: 300, tier: counting(unreliableTiers(), counts) })
  expect(counts.recalled).toBeGreaterThan(30)
  expect(counts.asked).toBeGreaterThan(counts.recalled)
})

test.each(Object.keys(brokenTiers) as BrokenTier[])('a tier that %s is caught', async (name) => {
  const { found } = await explore({
    mode: 'rerun',
    seeds,
    tier: brokenTiers[name],
    goesOn: (many) => many === 0,
  })
  expect(found).toHaveLength(1)
})
