/**
 * What every store must do, as cases that run against any of them: verbs, refusals in every phase, batches,
 * races, sweep, lists, transactions. Runs under any test runner that has a `test(name, run)`.
 */
import assert from 'node:assert/strict'
import type { Clock } from '../core/runtime.ts'
import { joinsTransaction } from '../core/store.ts'
import type { IdempotencyStore } from '../core/store.ts'
import { batchCases } from './store-cases/batches.ts'
import { type BusinessWrites, createContext, type StoreCase } from './store-cases/context.ts'
import { lifeCycleCases } from './store-cases/life-cycle.ts'
import { listCases } from './store-cases/lists.ts'
import { phaseCases } from './store-cases/phases.ts'
import { raceCases } from './store-cases/races.ts'
import { sweepCases } from './store-cases/sweep.ts'
import { transactionCases } from './store-cases/transactions.ts'
import { verbCases } from './store-cases/verbs.ts'

export type { BusinessWrites, OwnTransaction } from './store-cases/context.ts'

/** A store under test with what belongs to it. */
export interface StoreUnderTest {
  readonly store: IdempotencyStore
  /** Writes beside the records; needed where the store joins transactions. */
  readonly business?: BusinessWrites
  /** Called after the case, when the store is closed. */
  dispose?(): Promise<void> | void
}

export interface StoreConformanceOptions {
  /** Put before the name of each case, such as `sqlite on node:sqlite`. */
  readonly name: string
  /** `test` of vitest, node:test or alike. Where it has `skip`, skipped cases are shown with their reason. */
  readonly test: TestFunction
  /** Whether the store joins transactions; the cases on them are left out where it does not. */
  readonly joinsTransaction: boolean
  /**
   * Opens a store without records, once for each case. A store that lives in this process takes its times from
   * `clock`; one with a clock of its own leaves it aside and gives `advance`.
   */
  open(clock: Pick<Clock, 'now'>): Promise<StoreUnderTest>
  /** Lets the store's time pass. Default: moves the clock that `open` was given. */
  advance?(ms: number): Promise<void>
  /** Cases that do not apply, by name, each with its reason. */
  readonly skip?: Readonly<Record<string, string>>
}

export interface TestFunction {
  (name: string, run: () => Promise<void>): unknown
  readonly skip?: (name: string, run: () => Promise<void>) => unknown
}

const cases: readonly StoreCase[] = [
  ...verbCases,
  ...phaseCases,
  ...batchCases,
  ...raceCases,
  ...sweepCases,
  ...listCases,
  ...lifeCycleCases,
  ...transactionCases,
]

/** The names of all cases, for `skip`. */
export const storeCaseNames: readonly string[] = cases.map(({ name }) => name)

/**
 * Registers every case with the test runner.
 *
 * @throws Error when `skip` names a case that is not there, or gives no reason
 * @example
 * storeConformance({
 *   name: 'memory',
 *   test,
 *   joinsTransaction: false,
 *   open: async (clock) => ({ store: memoryStore({ clock }) }),
 * })
 */
export function storeConformance(options: StoreConformanceOptions): void {
  const { name, test, joinsTransaction: joins, skip = {} } = options
  for (const [skipped, reason] of Object.entries(skip)) {
    if (!storeCaseNames.includes(skipped)) throw new Error(`There is no case named '${skipped}' to skip.`)
    if (reason.trim() === '') throw new Error(`Skipping '${skipped}' needs a reason.`)
  }
  for (const storeCase of cases) {
    if (storeCase.needs === 'transactions' && !joins) continue
    const title = `${name}: ${storeCase.name}`
    const reason = skip[storeCase.name]
    if (reason === undefined) test(title, () => runCase(storeCase, options))
    else test.skip?.(`${title} [${reason}]`, async () => {})
  }
}

async function runCase(storeCase: StoreCase, options: StoreConformanceOptions): Promise<void> {
  const { open, advance } = options
  let time = 1_800_000_000_000
  const clock = { now: (): number => time }
  const { store, business, dispose } = await open(clock)
  try {
    assert.equal(joinsTransaction(store), options.joinsTransaction, 'what the store says of transactions')
    const pass = advance ?? (async (ms: number): Promise<void> => void (time += ms))
    await storeCase.run(createContext(store, business, pass))
  } finally {
    await store.close()
    await dispose?.()
  }
}
