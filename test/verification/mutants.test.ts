/** Every mutant is caught within its budget. That the sources as they are never are is `simulator.test.ts`. */
import { expect, inject, test, vi } from 'vitest'
import { mutants, notYet } from './mutants/mutants.ts'
import { tryMutant } from './mutants/plant.ts'

// A process for each, and a copy of the sources.
vi.setConfig({ testTimeout: 300_000 })

// Started once for all: with an address in the environment a run starts none of its own.
const servers = inject('servers')
const addresses = Object.fromEntries(
  Object.entries(servers).map(([name, url]) => [`RETRYSAFE_${name.toUpperCase()}_URL`, url]),
)

test.for(mutants)('$number: $name', async (mutant, { skip }) => {
  const { caughtBy } = mutant
  const server = caughtBy.kind === 'tests' ? caughtBy.server : undefined
  skip(server !== undefined && servers[server] === '', `no ${server}`)
  expect(await tryMutant(mutant, addresses)).toMatchObject({ kind: 'caught' })
})

test('every number of the list is planted, or it is said why not', () => {
  const numbers = [...mutants.map(({ number }) => number), ...Object.keys(notYet).map(Number)]
  expect(numbers.filter((number) => number <= 34).toSorted((a, b) => a - b)).toEqual(
    Array.from({ length: 34 }, (_, at) => at + 1),
  )
  expect(new Set(numbers).size).toBe(numbers.length)
})
