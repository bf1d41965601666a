/**
 * What can go wrong, and how likely. Every seed draws its own rates, many of them zero: faults that are always on
 * hide the bugs that need quiet.
 */
import { seededRandom } from '../random.ts'

/** What becomes of a message. */
export interface Leg {
  readonly name: string
  /** Until it arrives; `undefined`: it does not. */
  readonly delayMs: number | undefined
  /** A second copy arrives so much later. */
  readonly againAfterMs?: number
  /** The sender is told after so long that nobody knows; `undefined`: it waits for an answer. */
  readonly givenUpAfterMs?: number
  /** The receiver says no, and nothing was applied. */
  readonly refused?: true
  /** No fault at all. */
  readonly harmless?: true
}

const usual: Leg = { name: 'usual', delayMs: 4, harmless: true }
const jitters: readonly Leg[] = [1, 9, 30].map((delayMs) => ({
  name: `${delayMs} ms`,
  delayMs,
  harmless: true,
}))
/** The lease is 1,000 ms. */
const slow: readonly Leg[] = [150, 700, 1_200, 4_000].map((delayMs) => ({
  name: `takes ${delayMs} ms`,
  delayMs,
}))
const lost: readonly Leg[] = [
  { name: 'lost, seen at once', delayMs: undefined, givenUpAfterMs: 1 },
  { name: 'lost, seen late', delayMs: undefined, givenUpAfterMs: 800 },
  // Longer than the engine waits for a batch; client libraries have deadlines of their own.
  { name: 'lost, seen very late', delayMs: undefined, givenUpAfterMs: 6_000 },
]
const twice: readonly Leg[] = [
  { name: 'arrives twice', delayMs: 4, againAfterMs: 30 },
  { name: 'arrives again late', delayMs: 4, againAfterMs: 1_500 },
]
const late: readonly Leg[] = [
  { name: 'given up, arrives after all', delayMs: 60, givenUpAfterMs: 1 },
  { name: 'given up, arrives after the lease', delayMs: 1_300, givenUpAfterMs: 1 },
  { name: 'given up, arrives very late', delayMs: 4_000, givenUpAfterMs: 1 },
]
const refused: readonly Leg[] = [{ name: 'refused', delayMs: 4, refused: true }]

const requestGroups = [[usual], jitters, slow, lost, twice, late, refused] as const
const replyGroups = [[usual], jitters, slow, lost] as const
export const requestLegs: readonly Leg[] = requestGroups.flat()
export const replyLegs: readonly Leg[] = replyGroups.flat()
export const usualLeg: Leg = usual

/** What happens to a process when something is delivered to it. */
export type Fate = 'goes on' | 'crashes before' | 'crashes after' | 'pauses'
export interface ProcessFate {
  readonly fate: Fate
  readonly pauseMs: number
}
export const processFates: readonly ProcessFate[] = [
  { fate: 'goes on', pauseMs: 0 },
  { fate: 'crashes before', pauseMs: 0 },
  { fate: 'crashes after', pauseMs: 0 },
  { fate: 'pauses', pauseMs: 150 },
  { fate: 'pauses', pauseMs: 1_500 },
  { fate: 'pauses', pauseMs: 4_000 },
]

/** What happens to the store once in a run. */
export type StoreIncident =
  | 'nothing'
  | 'away 300 ms'
  | 'away 2500 ms'
  | 'restarts'
  | 'clock jumps ahead'
  | 'clock jumps back'
  | 'forgets'
export const storeIncidents: readonly StoreIncident[] = [
  'nothing',
  'away 300 ms',
  'away 2500 ms',
  'restarts',
  'clock jumps ahead',
  'clock jumps back',
  'forgets',
]

/** What a store that evicts does right before a verb: to the records of that verb, or to all. */
export const evictions = ['keeps', 'evicts', 'is flushed'] as const

/** Cumulative weights of every decision that a seed makes. */
export interface Rates {
  readonly request: readonly number[]
  readonly reply: readonly number[]
  readonly process: readonly number[]
  /** Whether hosts have wrong clocks. */
  readonly skewed: boolean
  /** Of `evictions`, at each verb of a store that evicts. */
  readonly eviction: readonly number[]
}

/** The rates of a seed; nearly half of them are zero, so that most faults are also met alone. */
export function ratesOf(seed: number): Rates {
  const random = seededRandom(seed ^ 0x5eed)
  const rate = (most: number): number => (random() < 0.45 ? 0 : random() * random() * most)
  const jitter = random() < 0.3 ? 0 : random()
  const [slowRate, lostRequest, lostReply, twiceRate, lateRate, refusedRate] = [
    rate(0.3),
    rate(0.25),
    rate(0.3),
    rate(0.2),
    rate(0.2),
    rate(0.2),
  ]
  const crash = rate(0.06)
  const pause = rate(0.06)
  return {
    request: cumulative(requestGroups, [jitter, slowRate, lostRequest, twiceRate, lateRate, refusedRate]),
    reply: cumulative(replyGroups, [jitter, slowRate, lostReply]),
    process: cumulative([[0], [1, 2], [3, 4, 5]], [crash, pause]),
    skewed: random() < 0.5,
    eviction: cumulative([[0], [1, 2]], [rate(0.15)]),
  }
}

/** `rates` are of all groups but the first, which takes what is left; the members of a group share its rate. */
function cumulative(groups: readonly (readonly unknown[])[], rates: readonly number[]): readonly number[] {
  const total = Math.max(
    1,
    rates.reduce((sum, rate) => sum + rate, 0),
  )
  const weights = groups.flatMap((group, at) => {
    const rate =
      at === 0 ? 1 - rates.reduce((sum, one) => sum + one, 0) / total : (rates[at - 1] as number) / total
    return group.map(() => Math.max(0, rate) / group.length)
  })
  let sum = 0
  const upTo = weights.map((weight) => (sum += weight))
  upTo[upTo.length - 1] = Number.POSITIVE_INFINITY
  return upTo
}

/** Weights of `choices` choices: the first one is the usual, the others share `rate` between them. */
export function chanceOf(rate: number, choices: number): readonly number[] {
  return cumulative([[0], Array.from({ length: choices - 1 })], [rate])
}
