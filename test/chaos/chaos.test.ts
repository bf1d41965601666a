/**
 * Short runs with a fixed seed, and with one from the environment: `CHAOS_SEED=7 npx vitest run test/chaos`. The
 * long ones are `npm run chaos`.
 */
import { describe, expect, test, vi } from 'vitest'
import { hasMariadb, hasPostgres } from '../servers.ts'
import { runChaos, summary } from './chaos.ts'

// A run starts a server and three processes, and restarts them many times.
vi.setConfig({ testTimeout: 180_000 })

/** Two rounds of all kinds. */
const faultsMax = 14
const seeds = [1, ...(process.env['CHAOS_SEED'] === undefined ? [] : [Number(process.env['CHAOS_SEED'])])]

for (const [name, { dialect, available }] of Object.entries({
  PostgreSQL: { dialect: 'postgres', available: hasPostgres },
  MariaDB: { dialect: 'mysql', available: hasMariadb },
} as const)) {
  describe.skipIf(!available)(name, () => {
    test.each(seeds)('no effect twice and none lost, seed %i', async (seed) => {
      const report = await runChaos({ dialect, seed, goesOn: (faults) => faults < faultsMax })
      expect(report.violations, summary(report)).toEqual([])
      // The run was one in which something could have gone wrong.
      expect(Object.keys(report.faults).length).toBeGreaterThan(3)
      expect(report.executed).toBeGreaterThan(0)
      expect(report.replayed).toBeGreaterThan(0)
      expect(report.cuts).toBeGreaterThan(0)
    })

    test('without Retrysafe the same run finds effects that happened twice', async () => {
      const report = await runChaos({ dialect, seed: 1, unprotected: true, goesOn: (faults) => faults < 1 })
      expect(report.violations.join()).toMatch(/\d effects/)
    })
  })
}
