/**
 * Every fault at every point: one key, two clients, two processes and nothing else that goes wrong. At each decision
 * of that run (a message that leaves, an answer, an event of a process) every choice is tried that breaks something;
 * with a depth of 2 every second fault at every later point as well.
 */
import type { Violation } from '../violations.ts'
import { processFates, replyLegs, requestLegs } from './faults.ts'
import type { SimModeName } from './modes.ts'
import { simulate } from './simulate.ts'

export interface WalkOptions {
  readonly mode: SimModeName
  /** Faults in one run: 1 or 2. */
  readonly depth: number
}

export interface Walk {
  readonly runs: number
  /** Points, by name, at which faults were tried. */
  readonly points: Readonly<Record<string, number>>
  readonly found: readonly {
    readonly faults: readonly string[]
    readonly decisions: readonly number[]
    readonly violations: readonly Violation[]
  }[]
}

/** What the run is about. What is not named is 0: nothing breaks. */
const scenario: Readonly<Record<string, number>> = { processes: 1, clients: 1 }
/** A seed whose hosts have right clocks. */
const seed = 3
/** Nothing of these is a fault of its own. */
const settings: ReadonlySet<string> = new Set([
  ...['retention', 'tombstone', 'wait', 'skew', 'processes', 'clients', 'incident', 'incident at'],
  ...['client starts', 'principal', 'key', 'request', 'asks again', 'pause', 'restarts', 'process'],
])
/** The second client asks this much later, of the second process. */
const secondStarts = 1

export async function walk({ mode, depth }: WalkOptions): Promise<Walk> {
  const points: Record<string, number> = {}
  const found: {
    faults: readonly string[]
    decisions: readonly number[]
    violations: readonly Violation[]
  }[] = []
  let runs = 0

  async function visit(faults: ReadonlyMap<number, number>, from: number, deep: number): Promise<void> {
    let starts = 0
    let processes = 0
    const run = await simulate({
      mode,
      seed,
      story: true,
      decisions: (index, name) => {
        const fault = faults.get(index)
        if (fault !== undefined) return fault
        if (name === 'client starts') return starts++ === 1 ? secondStarts : 0
        if (name === 'process') return processes++ % 2
        return scenario[name] ?? 0
      },
    })
    runs += 1
    const names = run.decisionNames
    if (run.report.violations.length > 0) {
      const said = Array.from(
        faults,
        ([index, choice]) => `${names[index]}: ${choiceName(names[index] ?? '', choice)}`,
      )
      found.push({ faults: said, decisions: run.decisions, violations: run.report.violations })
    }
    if (deep === 0) return
    for (let index = from; index < names.length; index++) {
      const name = names[index] ?? ''
      for (const choice of choicesOf(name, deep < depth)) {
        points[name] = (points[name] ?? 0) + 1
        await visit(new Map([...faults, [index, choice]]), index + 1, deep - 1)
      }
    }
  }

  await visit(new Map(), 0, depth)
  return { runs, points, found }
}

/** What breaks something at a decision; fewer kinds for a second fault, which are tried at every point all the same. */
function choicesOf(name: string, isSecond: boolean): readonly number[] {
  if (settings.has(name)) return []
  if (name === 'handler takes') return isSecond ? [4] : [3, 4, 5]
  if (name === 'handler fails') return [1, 2]
  if (name === 'abort' || name === 'sends again' || name === 'knows the commit') return [1]
  if (name === 'eviction') return isSecond ? [1] : [1, 2]
  if (isFate(name)) return isSecond ? [1, 2, 4] : [1, 2, 3, 4, 5]
  const legs = name.endsWith(': answer') ? replyLegs : requestLegs
  const wanted = isSecond ? secondLegs : undefined
  return legs.flatMap((leg, choice) =>
    leg.harmless === true || wanted?.has(leg.name) === false ? [] : [choice],
  )
}

const secondLegs: ReadonlySet<string> = new Set([
  'lost, seen at once',
  'given up, arrives after the lease',
  'arrives again late',
])

/** Events of a process are told from messages by their names. */
function isFate(name: string): boolean {
  return /: (?:answered|no answer|refused)$|^timer$/.test(name)
}

function choiceName(name: string, choice: number): string {
  if (isFate(name)) {
    const { fate, pauseMs } = processFates[choice] ?? { fate: '?', pauseMs: 0 }
    return pauseMs > 0 ? `${fate} ${pauseMs} ms` : fate
  }
  const legs = name.endsWith(': answer') ? replyLegs : requestLegs
  return legs[choice]?.name ?? String(choice)
}
