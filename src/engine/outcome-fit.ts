/** Makes an outcome fit the store, without ever making it look as if nothing had happened. */
import { UnstorableOutcomeError } from '../core/errors.ts'
import { encodeOutcome, type Outcome } from '../core/outcome.ts'
import type { RecordId } from '../core/record.ts'
import type { Machinery } from './machinery.ts'
import { plainBytesMax } from './outcome-seal.ts'

export interface FittedOutcome {
  readonly outcome: Outcome
  /** `outcome`, as it is stored. */
  readonly bytes: Uint8Array
}

/**
 * An outcome that cannot be stored becomes one that says so: the effect took place and must not run again. A
 * response keeps its head and omits its body; a value or an error becomes a marker.
 */
export function fitOutcome(machinery: Machinery, id: RecordId, outcome: Outcome): FittedOutcome {
  const whole = tryEncode(machinery, id, outcome)
  if (typeof whole !== 'string') return { outcome, bytes: whole }
  if (outcome.kind === 'response' && outcome.body !== 'omitted') {
    const head: Outcome = { ...outcome, body: 'omitted' }
    const bytes = tryEncode(machinery, id, head)
    if (typeof bytes !== 'string') return { outcome: head, bytes }
  }
  const marker: Outcome = { kind: 'unstorable', reason: whole }
  return { outcome: marker, bytes: machinery.seal.seal(id, encodeOutcome(marker)) }
}

/** The outcome as it is stored, or why it cannot be. */
function tryEncode({ seal, store }: Machinery, id: RecordId, outcome: Outcome): Uint8Array | string {
  const bytesMax = store.capabilities.outcomeBytesMax
  try {
    const encoded = encodeOutcome(outcome)
    if (encoded.length > plainBytesMax) return `it takes over ${plainBytesMax} bytes`
    const bytes = seal.seal(id, encoded)
    if (bytes.length <= bytesMax) return bytes
    return `it takes ${bytes.length} bytes and the store keeps at most ${bytesMax}`
  } catch (error) {
    if (error instanceof UnstorableOutcomeError) return error.reason
    throw error
  }
}
