/** What one attempt says about its call: one table for every transport. */

/** What is read of an answer. */
export interface Answer<Raw> {
  /** 0 for a redirect that cannot be seen. */
  readonly status: number
  /** The value of a field, by its name in lower case. */
  header(name: string): string | null | undefined
  /** `code` of a problem document, where the answer is one. */
  readonly code?: string | undefined
  /** Whether the operation answered with a redirect, and this is the answer of what that named. */
  readonly isElsewhere?: boolean
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
/** Neither the one who is sent on nor the one who may not ask is told what an earlier attempt did. */
const passedOver = signal('none', 'stop')
const unclear = signal('unknown', 'retry')
const lost = signal('unknown', 'stop')

/** What stands here means that; else a failure of the server is unclear, and all the rest the operation's answer. */
const byStatus: Readonly<Record<number, Signal>> = {
  0: lost,
  307: passedOver,
  308: passedOver,
  401: signal('none', 'refresh'),
  403: passedOver,
  408: unclear,
  421: turnedAway,
  425: turnedAway,
  429: turnedAway,
  501: answered,
  505: answered,
}

/**
 * Reads an answer. Servers know best whether another attempt may succeed: Stripe, Stainless and Adyen say so. A
 * success and a replay are final, whatever else they say.
 *
 * @param isRepeatable whether the call may be sent twice; else a conflict is about no earlier attempt. Default true
 */
export function signalOf(answer: Answer<unknown>, isRepeatable = true): Signal {
  const { status, header, isElsewhere } = answer
  if ((status > 0 && status < 307) || isReplay(answer)) return answered
  const { effect, next } = withoutHint(answer, isRepeatable)
  // Who was asked second says nothing of what the first one did.
  if (isElsewhere && effect === 'none') return next === 'retry' && isRepeatable ? unclear : lost
  const hint = header('stripe-should-retry') ?? header('x-should-retry') ?? header('transient-error')
  const isWanted = { true: next === 'stop', false: next === 'retry' }[hint as string]
  return isWanted ? signal(effect, next === 'stop' ? 'retry' : 'stop') : { effect, next }
}

/** Whether the answer is a stored one. */
export function isReplay({ header }: Answer<unknown>): boolean {
  return header('idempotent-replayed') === 'true'
}

/** Codes are those of the problem documents of this project's servers. */
function withoutHint({ status, code = '', header }: Answer<unknown>, isRepeatable: boolean): Signal {
  if (/^(store-unavailable|not-applied)$/.test(code)) return turnedAway
  const known = byStatus[status]
  if (known) return known
  if (status >= 500) return unclear
  if (/^(outcome-unknown|key-expired)$/.test(code)) return lost
  if (/^key-(missing|malformed|reused)$/.test(code)) return signal('none', 'refuse')
  const isOpen = status === 409 && isRepeatable && (code === 'in-progress' || header('retry-after'))
  return isOpen ? unclear : answered
}

/** Reads an attempt that got no answer. */
export function signalOfError(wasNeverSent: boolean): Signal {
  return wasNeverSent ? turnedAway : unclear
}
