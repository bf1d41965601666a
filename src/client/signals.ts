/** What one attempt says about its call: one table for every transport. */

/** What is read of an answer. */
export interface Answer<Raw> {
  /** 0 for a redirect to where no key may follow. */
  readonly status: number
  /** The value of a field, by its name in lower case. */
  header(name: string): string | null | undefined
  /** `code` of a problem document, where the answer is one. */
  readonly code?: string | undefined
  /** What the caller gets. */
  readonly raw: Raw
}

/** Whether the operation took effect, as far as the attempt tells. */
export type Effect =
  /** The answer is the operation's own. */
  | 'told'
  /** The attempt changed nothing. */
  | 'none'
  | 'unknown'

export interface Signal {
  readonly effect: Effect
  readonly next: 'stop' | 'retry' | 'refresh' | 'refuse'
}

const signal = (effect: Effect, next: Signal['next']): Signal => ({ effect, next })

const answered = signal('told', 'stop')
const turnedAway = signal('none', 'retry')
const unclear = signal('unknown', 'retry')
const lost = signal('unknown', 'stop')
const keyRefused = signal('none', 'refuse')

/** Reads an answer. Servers know best whether another attempt may succeed: Stripe, Stainless and Adyen say so. */
export function signalOf(answer: Answer<unknown>): Signal {
  const { header } = answer
  const { effect, next } = byStatus(answer)
  const hint = header('stripe-should-retry') ?? header('x-should-retry') ?? header('transient-error')
  if (hint === 'true' && next === 'stop') return signal(effect, 'retry')
  return signal(effect, hint === 'false' && next === 'retry' ? 'stop' : next)
}

/** Whether the answer is a stored one. */
export function isReplay({ header }: Answer<unknown>): boolean {
  return header('idempotent-replayed') === 'true'
}

function byStatus(answer: Answer<unknown>): Signal {
  const { status, code = '', header } = answer
  if (status === 0) return signal('none', 'stop')
  // A replay is final, whatever it holds.
  if (status < 400 || isReplay(answer)) return answered
  switch (status) {
    case 400:
      return code.startsWith('key-') ? keyRefused : answered
    case 401:
      return signal('none', 'refresh')
    case 403:
      return signal('none', 'stop')
    case 409:
      if (code === 'outcome-unknown') return lost
      return code === 'in-progress' || header('retry-after') ? unclear : answered
    case 421:
    case 425:
    case 429:
      return turnedAway
    case 422:
      if (code === 'key-expired') return lost
      return code === 'key-reused' ? keyRefused : answered
    case 503:
      return code === 'store-unavailable' ? turnedAway : unclear
    case 408:
    case 500:
    case 502:
    case 504:
      return unclear
    default:
      return answered
  }
}

/** Reads an attempt that got no answer. */
export function signalOfError(wasNeverSent: boolean): Signal {
  return wasNeverSent ? turnedAway : unclear
}
