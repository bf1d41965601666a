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
  running: boolean
}

export interface FlightControls {
  readonly flight: Flight
  begin(end: LeaderEnd): void
  end(end: AttemptEnd): void
}

export type Flights = Map<RecordId, Flight>

/** Puts a new flight into the map. Not running after `begin`, or ended, it is taken out again. */
export function takeOff(flights: Flights, id: RecordId, fingerprint: Fingerprint): FlightControls {
  const begun = Promise.withResolvers<LeaderEnd>()
  const ended = Promise.withResolvers<AttemptEnd>()
  const flight: Flight = {
    fingerprint,
    begun: begun.promise,
    ended: ended.promise,
    waiting: 0,
    running: false,
  }
  flights.set(id, flight)
  const remove = (): void => {
    if (flights.get(id) === flight) flights.delete(id)
  }
  return {
    flight,
    begin(end): void {
      flight.running = end.kind === 'run'
      if (!flight.running) remove()
      begun.resolve(end)
    },
    end(end): void {
      remove()
      ended.resolve(end)
    },
  }
}
