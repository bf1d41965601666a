/** What one attempt says about its call: one table for every transport. */

/** What is read of an answer. */
export interface Answer<Raw> {
  /** 0 for a redirect that cannot be seen. */
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

/**
 * Reads an answer. Servers know best whether another attempt may succeed: Stripe, Stainless and Adyen say so. A
 * success and a replay are final, whatever else they say.
 *
 * @param isRepeatable whether the call may be sent twice; else a conflict is about no earlier attempt. Default true
 */
export function signalOf(answer: Answer<unknown>, isRepeatable = true): Signal {
  const { status, header } = answer
  if ((status > 0 && status < 307) || isReplay(answer)) return answered
  const { effect, next } = byStatus(answer, isRepeatable)
  const hint = header('stripe-should-retry') ?? header('x-should-retry') ?? header('transient-error')
  if (hint === 'true' && next === 'stop') return signal(effect, 'retry')
  return signal(effect, hint === 'false' && next === 'retry' ? 'stop' : next)
}

/** Whether the answer is a stored one. */
export function isReplay({ header }: Answer<unknown>): boolean {
  return header('idempotent-replayed') === 'true'
}

function byStatus({ status, code = '', header }: Answer<unknown>, isRepeatable: boolean): Signal {
  if (status === 0) return lost
  if (status === 401) return signal('none', 'refresh')
  // Neither the one who is sent on nor the one who may not ask is told what an earlier attempt did.
  if ([307, 308, 403].includes(status)) return signal('none', 'stop')
  if (code === 'store-unavailable' || [421, 425, 429].includes(status)) return turnedAway
  if (status < 500) {
    if (/^(outcome-unknown|key-expired)$/.test(code)) return lost
    if (/^key-(missing|malformed|reused)$/.test(code)) return signal('none', 'refuse')
  }
  if (status === 409) {
    return isRepeatable && (code === 'in-progress' || header('retry-after')) ? unclear : answered
  }
  return status === 408 || (status >= 500 && status !== 501 && status !== 505) ? unclear : answered
}

/** Reads an attempt that got no answer. */
export function signalOfError(wasNeverSent: boolean): Signal {
  return wasNeverSent ? turnedAway : unclear
}
