/**
 * The runner that all questions share: cases take turns in rounds, so that a slow second of the machine falls on
 * all of them, and a case is compared with the floor of its own round.
 */
import { cpus } from 'node:os'

/** How much one run measures. */
export interface Pace {
  readonly quick: boolean
  readonly rounds: number
  /** How long one case runs in one round. */
  readonly caseMs: number
}

export const concurrencies = [1, 64] as const

export interface Sample {
  readonly perSecond: number
  readonly latenciesMs: readonly number[]
  /** Processor time of the measured process for one operation, where it is another process than the load's. */
  readonly cpuMicros?: number
}

export interface Case {
  readonly name: string
  /** Name of the case it is divided by; a floor names itself. */
  readonly floor: string
  /** The ratio that it should reach, by concurrency. */
  readonly bars?: Readonly<Record<number, number>>
  measure(concurrency: number, ms: number): Promise<Sample>
}

export interface Row {
  readonly case: string
  readonly floor: string
  readonly concurrency: number
  readonly medianPerSecond: number
  readonly ratioToFloor: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly bar?: number
  readonly cpuMicros?: number
  /** Heap after a collection, for the question about memory. */
  readonly heapMiB?: number
  /** What else was measured, in words. */
  readonly note?: string
}

export interface Question {
  /** One line for the list of questions. */
  readonly asks: string
  measure(pace: Pace): Promise<readonly Row[]>
}

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly platform: string
  readonly node: string
}

export function describeMachine(): Machine {
  const all = cpus()
  return {
    cpu: all[0]?.model.trim() ?? 'unknown',
    cores: all.length,
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
  }
}

/** Measures every case at every concurrency. Each case runs once unmeasured before, unless it is quick. */
export async function inRounds(cases: readonly Case[], pace: Pace): Promise<readonly Row[]> {
  const rows: Row[] = []
  for (const concurrency of concurrencies) {
    const samples = new Map<Case, Sample[]>(cases.map((each) => [each, []]))
    if (!pace.quick) for (const each of cases) await each.measure(concurrency, pace.caseMs)
    for (let round = 0; round < pace.rounds; round++) {
      for (let turn = 0; turn < cases.length; turn++) {
        // Each round begins with another case, so that no case always follows the same one.
        const each = cases[(round + turn) % cases.length] as Case
        samples.get(each)?.push(await each.measure(concurrency, pace.caseMs))
      }
    }
    for (const each of cases) rows.push(rowOf(each, concurrency, samples))
  }
  return rows
}

function rowOf(each: Case, concurrency: number, samples: ReadonlyMap<Case, readonly Sample[]>): Row {
  const own = samples.get(each) ?? []
  const floorCase = [...samples.keys()].find(({ name }) => name === each.floor)
  if (floorCase === undefined) throw new Error(`No case is called ${each.floor}.`)
  const floor = samples.get(floorCase) ?? []
  const sorted = own.map(({ latenciesMs }) => latenciesMs.toSorted((a, b) => a - b))
  const bar = each.bars?.[concurrency]
  const cpu = own.flatMap(({ cpuMicros }) => cpuMicros ?? [])
  return {
    case: each.name,
    floor: each.floor,
    concurrency,
    medianPerSecond: rounded(median(own.map(({ perSecond }) => perSecond)), 0),
    ratioToFloor: ratio(
      median(own.map(({ perSecond }, round) => perSecond / (floor[round]?.perSecond ?? Number.NaN))),
    ),
    p50Ms: rounded(median(sorted.map((latencies) => quantile(latencies, 0.5))), 3),
    p99Ms: rounded(median(sorted.map((latencies) => quantile(latencies, 0.99))), 3),
    ...(bar === undefined ? {} : { bar }),
    ...(cpu.length === 0 ? {} : { cpuMicros: rounded(median(cpu), 0) }),
  }
}

/**
 * Runs `once` from `concurrency` callers for `ms`. A caller's latency counts from its last answer, so that the
 * wait for callers that block the event loop is part of it.
 */
export async function drive(
  concurrency: number,
  ms: number,
  once: () => Promise<unknown> | unknown,
): Promise<Sample> {
  const latenciesMs: number[] = []
  const start = performance.now()
  const end = start + ms
  const caller = async (): Promise<void> => {
    let last = performance.now()
    while (last < end) {
      await once()
      const now = performance.now()
      latenciesMs.push(now - last)
      last = now
    }
  }
  await Promise.all(Array.from({ length: concurrency }, caller))
  return { perSecond: (latenciesMs.length * 1000) / (performance.now() - start), latenciesMs }
}

export function median(values: readonly number[]): number {
  return quantile(
    values.toSorted((a, b) => a - b),
    0.5,
  )
}

/** Of values in ascending order; `NaN` where there are none. */
export function quantile(sorted: readonly number[], fraction: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))] ?? Number.NaN
}

/** With three significant digits, so that a small one is not none. */
export function ratio(value: number): number {
  return Number(value.toPrecision(3))
}

export function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}
