/** Every mutant is caught within its budget. That the sources as they are never are is `simulator.test.ts`. */
import { expect, inject, test, vi } from 'vitest'
import { mutants, notYet } from './mutants/mutants.ts'
import { tryMutant } from './mutants/plant.ts'

// A process for each, and a copy of the sources.
vi.setConfig({ testTimeout: 300_000 })

const { postgres, mariadb } = inject('servers')
const servers = { RETRYSAFE_POSTGRES_URL: postgres, RETRYSAFE_MARIADB_URL: mariadb }

test.for(mutants)('$number: $name', async (mutant, { skip }) => {
  const { caughtBy } = mutant
  skip(caughtBy.kind === 'tests' && caughtBy.server === 'postgres' && postgres === '', 'no PostgreSQL')
  expect(await tryMutant(mutant, servers)).toMatchObject({ kind: 'caught' })
})

test('every number of the list is planted, or it is said why not', () => {
  const numbers = [...mutants.map(({ number }) => number), ...Object.keys(notYet).map(Number)]
  expect(numbers.filter((number) => number <= 34).toSorted((a, b) => a - b)).toEqual(
    Array.from({ length: 34 }, (_, at) => at + 1),
  )
  expect(new Set(numbers).size).toBe(numbers.length)
})
