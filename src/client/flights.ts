/** Calls that are on their way: whoever means the same in this process joins, and each gets a response of its own. */
import { callOf, report } from './fetch.ts'
import { isSameRequest, type KeptCall, type KeyKeeper } from './keepers/keeper.ts'

interface Flight {
  readonly request: KeptCall
  readonly answer: Promise<Response>
  /** Those who still wait. When none is left, nobody wants the answer. */
  waiting: number
  readonly abort: AbortController
}

/** Of each keeper, so that what is resumed and what is pressed meet. */
const flightsOf = new WeakMap<KeyKeeper, Map<string, Flight>>()

/**
 * Joins the flight of the same request under the same intent, or starts one.
 *
 * @throws the reason of the signal, which ends the flight only where nobody else waits for it
 */
export async function fly(
  keeper: KeyKeeper,
  request: KeptCall,
  signal: AbortSignal | null | undefined,
  start: (signal: AbortSignal) => Promise<Response>,
): Promise<Response> {
  signal?.throwIfAborted()
  const flights = flightsOf.get(keeper) ?? new Map<string, Flight>()
  flightsOf.set(keeper, flights)
  const under = flights.get(request.intent)
  const flight =
    under !== undefined && isSameRequest(under.request, request) ? under : launch(flights, request, start)
  flight.waiting += 1
  return await landed(flight, signal)
}

function launch(
  flights: Map<string, Flight>,
  request: KeptCall,
  start: (signal: AbortSignal) => Promise<Response>,
): Flight {
  const abort = new AbortController()
  const over = (): void => {
    if (flights.get(request.intent) === flight) flights.delete(request.intent)
  }
  const flight: Flight = { request, answer: start(abort.signal), waiting: 0, abort }
  flights.set(request.intent, flight)
  // Nobody joins what nobody waits for.
  abort.signal.addEventListener('abort', over)
  flight.answer.then(over, over)
  return flight
}

/** The answer of a flight, unless the signal comes first. */
function landed(flight: Flight, signal: AbortSignal | null | undefined): Promise<Response> {
  return new Promise((resolve, reject) => {
    let isWaiting = true
    const leave = (): boolean => {
      if (!isWaiting) return false
      isWaiting = false
      flight.waiting -= 1
      signal?.removeEventListener('abort', onAbort)
      return true
    }
    const onAbort = (): void => {
      if (!leave()) return
      // Whoever was the last waits for its end: what was sent is kept before the caller goes on.
      if (flight.waiting > 0) reject(signal?.reason)
      else {
        flight.abort.abort(signal?.reason)
        flight.answer.then(resolve, reject)
      }
    }
    signal?.addEventListener('abort', onAbort)
    flight.answer.then(
      // The last one takes the response itself.
      (response) => leave() && resolve(flight.waiting === 0 ? response : copyOf(response)),
      (error: unknown) => leave() && reject(error),
    )
  })
}

/** Readable on its own, and with what is known of the call. */
function copyOf(response: Response): Response {
  const copy = response.clone()
  // The constructor cannot be told.
  Object.defineProperty(copy, 'url', { value: response.url })
  const known = callOf(response)
  if (known !== undefined) report(copy, known)
  return copy
}
