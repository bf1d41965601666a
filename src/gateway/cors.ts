/** Lets scripts of other origins read the answers that a gateway gives itself. */
import type { HeaderLine } from '../core/outcome.ts'

const exposed = 'Idempotent-Replayed, Idempotency-Replay-Body, Retry-After, Location, Link'

/**
 * The fields for an answer to a request from `origin`. An origin that is listed by name may send credentials, as
 * the upstream's own answers may ask for.
 */
export function corsFields(allowed: readonly string[], origin: string | undefined): HeaderLine[] {
  const varies: HeaderLine = ['Vary', 'Origin']
  if (origin === undefined) return [varies]
  if (allowed.includes(origin)) {
    return [
      ['Access-Control-Allow-Origin', origin],
      ['Access-Control-Allow-Credentials', 'true'],
      ['Access-Control-Expose-Headers', exposed],
      varies,
    ]
  }
  if (!allowed.includes('*')) return [varies]
  return [['Access-Control-Allow-Origin', '*'], ['Access-Control-Expose-Headers', exposed], varies]
}
