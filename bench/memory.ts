/** Whether the memory store stays inside its bound: the heap while fresh keys go on coming. */
import { once } from 'node:events'
import { type startChild, withChildren } from './child.ts'
import { type Pace, type Question, type Row, rounded } from './rounds.ts'

/** What the child tells after each slice. */
export interface HeapReport {
  readonly operations: number
  readonly heapBytes: number
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

const slices = 5

async function measureWith(start: typeof startChild, pace: Pace): Promise<readonly Row[]> {
  const operations = pace.quick ? 20_000 : 1_000_000
  const recordsMax = operations / 10
  const child = await start('memory-child.ts', [String(operations), String(recordsMax)], {
    execArgv: ['--expose-gc'],
  })
  const reports: HeapReport[] = []
  while (reports.length < slices) {
    const told = once(child.process, 'message') as Promise<[HeapReport]>
    child.process.send('next')
    reports.push((await told)[0])
  }
  const [first] = reports as [HeapReport]
  const nameOf = ({ operations: made }: HeapReport): string => `heap after ${made} operations`
  return reports.map((report) => ({
    case: nameOf(report),
    floor: nameOf(first),
    concurrency: 64,
    medianPerSecond: rounded(report.perSecond, 0),
    ratioToFloor: rounded(report.heapBytes / first.heapBytes, 3),
    p50Ms: rounded(report.p50Ms, 4),
    p99Ms: rounded(report.p99Ms, 4),
    heapMiB: rounded(report.heapBytes / 1024 / 1024, 1),
  }))
}

export const question: Question = {
  asks: 'the heap of a bounded memory store while ten times its bound of fresh keys comes',
  measure: (pace) => withChildren((start) => measureWith(start, pace)),
}
