/**
 * Virtual time. All that happens is an event with a time; the earliest is next, in the order of their making where
 * times are equal. After each event the event loop takes one turn, so that every promise settles first and any
 * number of `await`s takes no time. A trace hash over all that happens tells whether two runs were the same.
 */
import type { HistoryEvent, Unstamped } from '../history.ts'
import type { Fate } from './faults.ts'
import type { Tape } from './tape.ts'

/** Whose events they are, as far as time is concerned. */
export interface Scheduled {
  readonly name: string
  readonly alive: boolean
  readonly pausedUntil: number
  /** Decides what happens to it at one of its events. */
  fate(event: string): Fate
  crash(when: string): void
}

interface Pending {
  readonly at: number
  readonly order: number
  /** Whose continuation it is; nothing happens to a process that has ended. */
  readonly process: Scheduled | undefined
  readonly name: string
  readonly run: () => void
  cancelled: boolean
}

/** Events after which a run has gone astray: the longest sound ones take a tenth. */
const eventsMax = 6_000
/** Steps that are queued at once: the event loop drains promises between them at less cost than a turn of its own. */
const stepsAtOnce = 32

export class World {
  readonly tape: Tape
  readonly history: HistoryEvent[] = []
  /** Milliseconds since the run began. */
  time = 0
  /** Faults happen until then. */
  quiet = false
  events = 0
  /** Whether far too much has happened, so that the run was ended. */
  get isAstray(): boolean {
    return this.events > eventsMax
  }

  /** What happened, in words; only kept for people. */
  readonly story: string[] | undefined
  #queue: Pending[] = []
  #order = 0
  #hash = 0x811c9dc5

  constructor(tape: Tape, tellsStory: boolean) {
    this.tape = tape
    this.story = tellsStory ? [] : undefined
  }

  /** Equal for equal runs. */
  get traceHash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0')
  }

  /** Runs `run` after `delayMs`; where `process` is given, only as long as it lives and when it is not paused. */
  later(delayMs: number, name: string, run: () => void, process?: Scheduled): () => void {
    const event: Pending = {
      at: this.time + delayMs,
      order: this.#order++,
      process,
      name,
      run,
      cancelled: false,
    }
    this.#insert(event)
    return () => {
      event.cancelled = true
    }
  }

  record(event: Unstamped): void {
    const stamped = { at: this.time, ...event } as HistoryEvent
    this.history.push(stamped)
    this.#mix(stamped.type.length * 31 + stamped.type.charCodeAt(0))
    if ('call' in stamped) this.#mix(stamped.call)
    if ('value' in stamped) this.#mixText(stamped.value)
    if ('code' in stamped) this.#mixText(stamped.code)
    if ('fence' in stamped) this.#mix(stamped.fence)
  }

  tell(line: () => string): void {
    this.story?.push(`${this.time.toFixed(0).padStart(7)} ms  ${line()}`)
  }

  /** Goes on until nothing is left to do, until `isOver`, or until far too much has happened. */
  run(isOver: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      let over = false
      const step = (): void => {
        if (over) return
        try {
          if (!isOver() && this.#next()) return
          over = true
          resolve()
        } catch (error) {
          over = true
          reject(error)
        }
      }
      const steps = (): void => {
        if (over) return
        for (let count = 0; count < stepsAtOnce; count++) setImmediate(step)
        setImmediate(steps)
      }
      steps()
    })
  }

  /** Before all else, once every promise has settled. */
  #atOnce(name: string, run: () => void): void {
    this.#insert({ at: this.time, order: -1, process: undefined, name, run, cancelled: false })
  }

  #insert(event: Pending): void {
    const queue = this.#queue
    // Latest first, so that the next one is taken from the end.
    let low = 0
    let high = queue.length
    while (low < high) {
      const middle = (low + high) >> 1
      const other = queue[middle] as Pending
      if (other.at > event.at || (other.at === event.at && other.order > event.order)) low = middle + 1
      else high = middle
    }
    queue.splice(low, 0, event)
  }

  #next(): boolean {
    for (;;) {
      const event = this.#queue.pop()
      if (event === undefined) return false
      const { process } = event
      if (event.cancelled || process?.alive === false) continue
      if (process !== undefined && process.pausedUntil > event.at) {
        this.#insert({ ...event, at: process.pausedUntil, order: this.#order++ })
        continue
      }
      if (++this.events > eventsMax) return false
      this.time = Math.max(this.time, event.at)
      this.#mix(this.time)
      this.#mix(event.name.length)
      this.#happen(event, process)
      return true
    }
  }

  #happen(event: Pending, process: Scheduled | undefined): void {
    const fate = process === undefined || this.quiet ? 'goes on' : process.fate(event.name)
    if (fate === 'crashes before') return process?.crash(`before ${event.name}`)
    if (fate === 'pauses' && process !== undefined) {
      this.#insert({ ...event, at: process.pausedUntil, order: this.#order++ })
      return
    }
    this.tell(() => (process === undefined ? event.name : `${process.name}: ${event.name}`))
    event.run()
    // What the event set going is still done: what it sends is sent.
    if (fate === 'crashes after') this.#atOnce('crash', () => process?.crash(`after ${event.name}`))
  }

  #mix(value: number): void {
    this.#hash = Math.imul(this.#hash ^ (value | 0), 0x01000193)
    this.#hash ^= this.#hash >>> 15
  }

  #mixText(text: string): void {
    for (let at = 0; at < text.length; at++) this.#mix(text.charCodeAt(at))
  }
}
