/** Makes an outcome fit the store, without ever making it look as if nothing had happened. */
import { UnstorableOutcomeError } from '../core/errors.ts'
import { encodeOutcome, type Outcome } from '../core/outcome.ts'

export interface FittedOutcome {
  readonly outcome: Outcome
  /** `outcome`, encoded. */
  readonly bytes: Uint8Array
}

/**
 * An outcome that cannot be stored becomes one that says so: the effect took place and must not run again. A
 * response keeps its head and omits its body; a value or an error becomes a marker.
 */
export function fitOutcome(outcome: Outcome, bytesMax: number): FittedOutcome {
  const whole = tryEncode(outcome, bytesMax)
  if (typeof whole !== 'string') return { outcome, bytes: whole }
  if (outcome.kind === 'response' && outcome.body !== 'omitted') {
    const head: Outcome = { ...outcome, body: 'omitted' }
    const bytes = tryEncode(head, bytesMax)
    if (typeof bytes !== 'string') return { outcome: head, bytes }
  }
  const marker: Outcome = { kind: 'unstorable', reason: whole }
  return { outcome: marker, bytes: encodeOutcome(marker) }
}

/** The encoded outcome, or why it cannot be stored. */
function tryEncode(outcome: Outcome, bytesMax: number): Uint8Array | string {
  try {
    const bytes = encodeOutcome(outcome)
    if (bytes.length <= bytesMax) return bytes
    return `it takes ${bytes.length} bytes and the store keeps at most ${bytesMax}`
  } catch (error) {
    if (error instanceof UnstorableOutcomeError) return error.reason
    throw error
  }
}
