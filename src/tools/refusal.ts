/** What a model is told when a tool did not run: sentences that an agent can act on, and the stable code. */
import { InProgressError, isIdempotencyError, OutcomeUnknownError, ReplayedError } from '../core/errors.ts'

export interface Refusal {
  /** Of `errorCodes`. */
  readonly code: string
  readonly text: string
  /** When the same call, with the same key, may find an answer. */
  readonly retryAfterMs: number | undefined
}

const sentences: Readonly<Record<string, string>> = {
  'key-missing':
    'This tool needs an idempotency key and none was given. Call it again with one, and keep that key for every retry of the same intention.',
  'key-malformed': 'The idempotency key is malformed: it must be a text of 1 to 255 characters.',
  'key-reused':
    'The idempotency key was used before with other arguments. Nothing was done. For a new intention use a new key; to retry, send the arguments of the first call.',
  'key-expired':
    'The idempotency key has expired. It was used long ago, and nothing was done now. Do not retry with it.',
  'outcome-unstorable':
    'The tool ran, but its result could not be stored. Do not call it again for the same intention: it has taken effect.',
  'outcome-unreadable':
    'The tool ran before, but its stored result cannot be read. Nothing was done now. Do not retry under a new key; tell the user.',
  'principal-invalid': 'The server does not know who is asking. Nothing was done.',
  'input-unsupported': 'The arguments cannot be compared with those of an earlier call. Nothing was done.',
  'store-unavailable':
    'The records of earlier calls cannot be reached. Nothing was done. Try again with the same key in a few seconds.',
  closed: 'The server is ending. Nothing was done. Try again with the same key in a few seconds.',
}

/** The refusal that an error stands for; `undefined` for errors that are none of Retrysafe's. */
export function refusalOf(error: unknown): Refusal | undefined {
  if (!isIdempotencyError(error)) return undefined
  const { code } = error
  if (isIdempotencyError(error, 'in-progress')) {
    const { retryAfterMs } = error as InProgressError
    const seconds = Math.max(1, Math.ceil(retryAfterMs / 1_000))
    const text = `The same call is in progress. Try again with the same key and the same arguments in ${seconds} s.`
    return { code, text, retryAfterMs }
  }
  if (isIdempotencyError(error, 'outcome-unknown')) return unknownRefusal(error as OutcomeUnknownError)
  if (isIdempotencyError(error, 'replayed-error')) {
    return { code, text: (error as ReplayedError).message, retryAfterMs: undefined }
  }
  const text = sentences[code]
  if (text === undefined) return undefined
  const isSoon = code === 'store-unavailable' || code === 'closed'
  return { code, text, retryAfterMs: isSoon ? 1_000 : undefined }
}

function unknownRefusal({ code, settled }: OutcomeUnknownError): Refusal {
  const text = settled
    ? 'Nobody knows whether an earlier call with this key took effect. Do not retry, and do not call the tool under a new key for the same intention: tell the user, so that it can be reconciled.'
    : 'The call may have taken effect, but its result could not be stored. Try again with the same key in a few seconds; never under a new key.'
  return { code, text, retryAfterMs: settled ? undefined : 1_000 }
}
