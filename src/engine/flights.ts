/**
 * Single flight: what this process is doing for each key right now. Duplicates with the same id (so the same
 * principal) and the same fingerprint join the flight; no second claim is sent for them.
 *
 * claiming  the leader's claim is under way; `begun` has not resolved.
 * running   `begun` resolved to `run`; the handler works; `ended` has not resolved.
 * over      removed from the table.
 */
import type { Fingerprint, RecordId } from '../core/record.ts'
import type { NotRun } from './attempt.ts'
import type { Outcome } from '../core/outcome.ts'

/** How an attempt ended, for the duplicates in this process that wait for it. */
export type AttemptEnd = { readonly kind: 'completed'; readonly outcome: Outcome } | { readonly kind: 'open' }

/** Another process runs the key, under this token. */
export interface InProgressElsewhere {
  readonly kind: 'in-progress'
  readonly retryAfterMs: number
  readonly token: string
}

/** What became of the leader's claim. A leader that failed before it knew is `failed`, with its error. */
export type LeaderEnd =
  | { readonly kind: 'run'; readonly leaseLeftMs: () => number }
  | Exclude<NotRun, { kind: 'in-progress' }>
  | InProgressElsewhere
  | { readonly kind: 'failed'; readonly error: unknown }

export interface Flight {
  readonly fingerprint: Fingerprint
  /** Never rejects. */
  readonly begun: Promise<LeaderEnd>
  /** Never rejects; resolves when the attempt is settled or lost. */
  readonly ended: Promise<AttemptEnd>
  /** Duplicates that wait for `ended`. */
  waiting: number
  readonly running: boolean
}

/** What the leader says of its flight. */
export interface FlightControls {
  begin(end: LeaderEnd): void
  end(end: AttemptEnd): void
}

/** Flights that wait for one another in a bucket are few below so many at once, and still found above. */
const buckets = 1_024

/**
 * The flights of one instance by id. No `Map`, since one that is filled and emptied all the time leaves tables behind
 * that keep what was in them, which the collector then copies instead of dropping.
 */
export class Flights {
  readonly #buckets: (LeaderFlight | undefined)[] = Array.from({ length: buckets }, () => undefined)

  get(id: RecordId): Flight | undefined {
    let flight = this.#buckets[bucketOf(id)]
    while (flight !== undefined && flight.id !== id) flight = flight.nextInBucket
    return flight
  }

  /** One whose id is in no flight. */
  add(flight: LeaderFlight): void {
    const bucket = bucketOf(flight.id)
    flight.nextInBucket = this.#buckets[bucket]
    this.#buckets[bucket] = flight
  }

  /** Does nothing where it is not in the table. */
  remove(flight: LeaderFlight): void {
    const bucket = bucketOf(flight.id)
    let before: LeaderFlight | undefined
    let at = this.#buckets[bucket]
    while (at !== undefined && at !== flight) {
      before = at
      at = at.nextInBucket
    }
    if (at === undefined) return
    if (before === undefined) this.#buckets[bucket] = at.nextInBucket
    else before.nextInBucket = at.nextInBucket
    at.nextInBucket = undefined
  }

  all(): Flight[] {
    const flights: Flight[] = []
    for (const first of this.#buckets) {
      for (let flight = first; flight !== undefined; flight = flight.nextInBucket) flights.push(flight)
    }
    return flights
  }
}

/** Ids are digests: any two characters of one tell as much as a hash of all. */
function bucketOf(id: RecordId): number {
  return ((id.charCodeAt(0) << 5) ^ id.charCodeAt(1)) & (buckets - 1)
}

/** Puts a new flight into the table. Not running after `begin`, or ended, it is taken out again. */
export function takeOff(flights: Flights, id: RecordId, fingerprint: Fingerprint): FlightControls {
  const flight = new LeaderFlight(flights, id, fingerprint)
  flights.add(flight)
  return flight
}

class LeaderFlight implements Flight, FlightControls {
  readonly id: RecordId
  readonly fingerprint: Fingerprint
  nextInBucket: LeaderFlight | undefined
  waiting = 0
  running = false
  readonly #flights: Flights
  readonly #begun = new Later<LeaderEnd>()
  readonly #ended = new Later<AttemptEnd>()

  constructor(flights: Flights, id: RecordId, fingerprint: Fingerprint) {
    this.#flights = flights
    this.id = id
    this.fingerprint = fingerprint
  }

  get begun(): Promise<LeaderEnd> {
    return this.#begun.promise
  }

  get ended(): Promise<AttemptEnd> {
    return this.#ended.promise
  }

  begin(end: LeaderEnd): void {
    this.running = end.kind === 'run'
    this.#begun.resolve(end)
    if (!this.running) this.#flights.remove(this)
  }

  end(end: AttemptEnd): void {
    this.#ended.resolve(end)
    this.#flights.remove(this)
  }
}

/** A value that comes later. Its promise is made for those who ask: most flights have no duplicate. */
class Later<Value> {
  #value: { readonly is: Value } | undefined
  #promise: Promise<Value> | undefined
  #resolve: ((value: Value) => void) | undefined

  get promise(): Promise<Value> {
    this.#promise ??=
      this.#value === undefined
        ? new Promise((resolve) => {
            this.#resolve = resolve
          })
        : Promise.resolve(this.#value.is)
    return this.#promise
  }

  /** The first value counts. */
  resolve(value: Value): void {
    this.#value ??= { is: value }
    this.#resolve?.(value)
  }
}
