/**
 * Single flight: what this process is doing for each key right now. Duplicates with the same id (so the same
 * principal) and the same fingerprint join the flight; no second claim is sent for them.
 *
 * claiming  the leader's claim is under way; `begun` has not resolved.
 * running   `begun` resolved to `run`; the handler works; `ended` has not resolved.
 * over      removed from the map.
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

export type Flights = Map<RecordId, Flight>

/** Puts a new flight into the map. Not running after `begin`, or ended, it is taken out again. */
export function takeOff(flights: Flights, id: RecordId, fingerprint: Fingerprint): FlightControls {
  const flight = new LeaderFlight(flights, id, fingerprint)
  flights.set(id, flight)
  return flight
}

class LeaderFlight implements Flight, FlightControls {
  readonly fingerprint: Fingerprint
  waiting = 0
  running = false
  readonly #flights: Flights
  readonly #id: RecordId
  readonly #begun = new Later<LeaderEnd>()
  readonly #ended = new Later<AttemptEnd>()

  constructor(flights: Flights, id: RecordId, fingerprint: Fingerprint) {
    this.#flights = flights
    this.#id = id
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
    if (!this.running) this.#remove()
  }

  end(end: AttemptEnd): void {
    this.#ended.resolve(end)
    this.#remove()
  }

  #remove(): void {
    if (this.#flights.get(this.#id) === this) this.#flights.delete(this.#id)
    if (this.#begun.isAsked) return
    // Nobody has it and nobody can get it any more, but what the map leaves behind would keep what it holds.
    this.#begun.forget()
    this.#ended.forget()
  }
}

/** A value that comes later. Its promise is made for those who ask: most flights have no duplicate. */
class Later<Value> {
  #value: { readonly is: Value } | undefined
  #promise: Promise<Value> | undefined
  #resolve: ((value: Value) => void) | undefined

  get isAsked(): boolean {
    return this.#promise !== undefined
  }

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

  forget(): void {
    this.#value = undefined
  }
}
