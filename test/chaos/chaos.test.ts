/**
 * Runs with a fixed seed, and with one from the environment: `CHAOS_SEED=7 npx vitest run test/chaos`. Longer ones
 * are `npm run chaos`, and `retrysafe chaos` for a database of yours.
 */
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { runStoreChaos, type StoreChaosOptions } from '../../src/cli/chaos/run.ts'
import { hasMariadb, hasPostgres } from '../servers.ts'
import type { ChaosMode } from '../../src/cli/chaos/protocol.ts'
import { type Edit, mutants } from '../verification/mutants/mutants.ts'
import { plantedCopy } from '../verification/mutants/plant.ts'
import { type ChaosTarget, targetOf } from './servers.ts'

// A run starts processes, pauses them and restarts its server many times.
vi.setConfig({ testTimeout: 360_000, hookTimeout: 120_000 })

const rounds = 42
/** Within so many runs a planted bug must be caught. */
const seedsMax = 6
const seeds = [1, ...(process.env['CHAOS_SEED'] === undefined ? [] : [Number(process.env['CHAOS_SEED'])])]

const databases = {
  PostgreSQL: { dialect: 'postgres', available: hasPostgres },
  MariaDB: { dialect: 'mysql', available: hasMariadb },
  SQLite: { dialect: 'sqlite', available: true },
} as const

describe.each(Object.entries(databases))('%s', (_, { dialect, available }) => {
  let target: ChaosTarget

  beforeAll(async () => {
    if (available) target = await targetOf(dialect)
  })
  afterAll(async () => {
    if (available) await target.dispose()
  })

  const run = (options: Partial<StoreChaosOptions>): ReturnType<typeof runStoreChaos> =>
    runStoreChaos({ ...target, seed: 1, goesOn: (done) => done < rounds, ...options })

  test.skipIf(!available).each(seeds)('no promise is broken in any mode, seed %i', async (seed) => {
    const faults = new Set<string>()
    const runs = await run({ seed, onProgress: ({ fault }) => faults.add(fault) })
    for (const { mode, report } of runs) {
      expect(report.violations, mode).toEqual([])
      // The run was one in which something could have gone wrong.
      expect(report.counts.effects, mode).toBeGreaterThan(50)
      expect(report.counts.replayed, mode).toBeGreaterThan(50)
      expect(report.sights.mismatch, mode).toBeGreaterThan(0)
      expect(report.checked, mode).toEqual(expect.arrayContaining(['I1', 'I7', 'I9', 'I10', 'I12']))
    }
    expect(faults.size).toBe(dialect === 'sqlite' ? 3 : 16)
  })

  test.skipIf(!available)('without Retrysafe the same run finds effects that happened twice', async () => {
    const [first] = await run({ unprotected: true, goesOn: (done) => done < 1 })
    expect(first?.report.violations.map(({ invariant }) => invariant)).toContain('I1')
  })
})

/** Bugs that somebody could have written, in the sources that the workers run. */
const planted: ReadonlyArray<readonly [name: string, mode: ChaosMode, edits: readonly Edit[]]> = [
  [
    'no fence: whoever settles last wins',
    'rerun',
    [
      {
        file: 'src/stores/postgres/statements.ts',
        find: '${settlement} WHERE r.id = $1::uuid AND ${isHeld}`',
        replace: '${settlement} WHERE r.id = $1::uuid AND (${isHeld} OR true)`',
      },
      {
        file: 'src/stores/postgres/statements.ts',
        find: 'WHERE r.id = i.id AND r.token = i.token AND r.phase = ${running}\n        RETURNING i.ord::int AS ord, r.settled_at',
        replace: 'WHERE r.id = i.id\n        RETURNING i.ord::int AS ord, r.settled_at',
      },
    ],
  ],
  ['reading again after an unknown commit', 'transaction', editsOf(34)],
  ['a key without its principal', 'transaction', editsOf(9)],
]

function editsOf(number: number): readonly Edit[] {
  return mutants.find((mutant) => mutant.number === number)?.edits ?? []
}

describe.skipIf(!hasPostgres)('planted in the sources and run on PostgreSQL', () => {
  let target: ChaosTarget

  beforeAll(async () => {
    target = await targetOf('postgres')
  })
  afterAll(() => target.dispose())

  test.each(planted)('%s is caught', async (_, mode, edits) => {
    const { folder, dispose } = plantedCopy(edits)
    try {
      const violations: unknown[] = []
      // What is cut when is not the same in two runs of a seed.
      for (let seed = 1; seed <= seedsMax && violations.length === 0; seed++) {
        const runs = await runStoreChaos({
          ...target,
          seed,
          modes: [mode],
          slowCommits: mode === 'transaction',
          goesOn: (done) => done < rounds,
          workerFile: join(folder, 'src/cli/chaos/worker.ts'),
        })
        violations.push(...runs.flatMap(({ report }) => report.violations))
      }
      expect(violations).not.toEqual([])
    } finally {
      dispose()
    }
  })
})
