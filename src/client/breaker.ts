/** Leaves an origin alone that has failed again and again. */
import { type Duration, toMilliseconds } from '../core/duration.ts'
import { InvalidOptionError } from '../core/errors.ts'
import { refuseUnknownOptions } from '../core/options.ts'
import { eachOrigin } from './budget.ts'

export interface CircuitBreakerOptions {
  /** Attempts in a row without a usable answer that open it. Default 20. */
  readonly failures?: number
  /** How long it stays open; then one attempt at a time may try. Default 5 s. */
  readonly coolDown?: Duration
}

/** What the client asks of a circuit breaker. */
export interface CircuitBreaker {
  /** Milliseconds for which nothing is to be sent; 0 lets one attempt pass. */
  blockedMs(origin: string): number
  /** Told how each attempt that passed has ended: `undefined` where its end says nothing of the origin. */
  report(origin: string, isFailure: boolean | undefined): void
}

/**
 * A circuit breaker for the option `breaker`, with a circuit for each origin.
 *
 * closed      attempts pass; failures in a row are counted, any usable answer resets them
 * open        nothing passes until the cool-down is over
 * half open   then one attempt passes: it closes the circuit or opens it again
 *
 * @throws InvalidOptionError
 * @example
 * const pay = createIdempotentFetch({ breaker: circuitBreaker({ failures: 10, coolDown: '10s' }) })
 */
export function circuitBreaker(options: CircuitBreakerOptions = {}): CircuitBreaker {
  refuseUnknownOptions('circuitBreaker', options, ['failures', 'coolDown'])
  const { failures: failuresMax = 20, coolDown = '5s' } = options
  if (!Number.isInteger(failuresMax) || failuresMax < 1) {
    throw new InvalidOptionError('failures', 'must be a whole number from 1', failuresMax)
  }
  const coolDownMs = toMilliseconds('coolDown', coolDown, { min: '1ms' })
  const circuits = eachOrigin(() => ({ failures: 0, openUntil: 0, isHalfOpen: false }))
  return {
    blockedMs(origin) {
      const circuit = circuits(origin)
      const now = performance.now()
      if (circuit.failures < failuresMax) return 0
      if (now < circuit.openUntil) return circuit.openUntil - now
      // Half open: nobody else passes until this attempt has told, or as long again.
      circuit.openUntil = now + coolDownMs
      circuit.isHalfOpen = true
      return 0
    },
    report(origin, isFailure) {
      const circuit = circuits(origin)
      if (isFailure === undefined) {
        // It may have been the one that tries; then the next one does.
        if (circuit.isHalfOpen) circuit.openUntil = 0
        return
      }
      circuit.isHalfOpen = false
      circuit.failures = isFailure ? circuit.failures + 1 : 0
      if (circuit.failures >= failuresMax) circuit.openUntil = performance.now() + coolDownMs
    },
  }
}
