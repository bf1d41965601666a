/** What must hold for each key, its answers and its effects: I1 to I6, I8, I13 to I16. */
import type { Invariant, Violation } from './violations.ts'
import type { EffectEvent, HistoryHeader, InvokeEvent } from './history.ts'
import type { AttemptStory, CallStory, KeyStory, Stories } from './stories.ts'

export function callViolations(header: HistoryHeader, stories: Stories): Violation[] {
  const violations: Violation[] = []
  const lost = new Set(stories.losses.flatMap(({ effects }) => effects))
  for (const story of stories.keys) {
    const check = new KeyCheck(header, stories, story, lost, violations)
    check.answers()
    check.calls()
    check.end()
    // A store that came back without what it had acknowledged voids what it promised about these keys.
    if (!isForgotten(story, stories)) check.effects()
  }
  for (const what of stories.leftOver) violations.push({ invariant: 'I13', says: what })
  for (const what of stories.exceeded) violations.push({ invariant: 'I15', says: what })
  for (const { where } of stories.leaks)
    violations.push({ invariant: 'I16', says: `a secret is in ${where}` })
  return violations
}

/** Whether a loss concerns a key: its record, or an effect of its. */
function isForgotten({ starts, effects }: KeyStory, { losses, attempts }: Stories): boolean {
  if (losses.length === 0) return false
  const records = new Set(losses.flatMap((loss) => loss.records))
  const names = new Set(losses.flatMap((loss) => loss.effects))
  const isOf = (token: string): boolean => records.has(attempts.get(token)?.record ?? '')
  return (
    starts.some(({ token }) => isOf(token)) ||
    effects.some(({ effect, token }) => names.has(effect) || isOf(token))
  )
}

/** Whether a record of the key was evicted: it may have run once more for each time. */
function isEvicted({ starts }: KeyStory, { evictions, attempts }: Stories): boolean {
  if (evictions.size === 0) return false
  return starts.some(({ token }) => evictions.has(attempts.get(token)?.record ?? ''))
}

class KeyCheck {
  readonly #header: HistoryHeader
  readonly #stories: Stories
  readonly #key: KeyStory
  readonly #lost: ReadonlySet<string>
  readonly #violations: Violation[]

  constructor(
    header: HistoryHeader,
    stories: Stories,
    key: KeyStory,
    lost: ReadonlySet<string>,
    violations: Violation[],
  ) {
    this.#header = header
    this.#stories = stories
    this.#key = key
    this.#lost = lost
    this.#violations = violations
  }

  /** I2, I3, I4, I5: what was told. */
  answers(): void {
    const forgotten = isForgotten(this.#key, this.#stories)
    const told = new Map<string, EffectEvent>()
    for (const { call, invoke, end } of this.#key.calls) {
      if (end?.type !== 'ok') continue
      const [principal, key, request, name] = end.value.split('|')
      if (principal !== invoke.principal || key !== invoke.key) {
        this.#say('I4', `call ${call} was told what belongs to ${principal}, ${key}`)
        continue
      }
      if (request !== invoke.request) this.#say('I5', `call ${call} was told the answer of another request`)
      const effect = this.#stories.effects.get(name ?? '')
      if (effect === undefined || (this.#lost.has(effect.effect) && !forgotten)) {
        this.#say('I2', `call ${call} was told ${name}, which is not in the ledger`)
      } else {
        told.set(effect.effect, effect)
        const isOwn = effect.call === call && !end.replayed
        if (isOwn && !forgotten && this.#stories.attempts.get(effect.token)?.wasCompleted === false) {
          this.#say('I2', `call ${call} was told ${name}, which no record kept`)
        }
        if (this.#isToldTooLate(invoke, effect)) {
          this.#say('I3', `call ${call} was told ${name} after its retention`)
        }
      }
    }
    if (forgotten) return
    const windows = this.#inWindows([...told.values()])
    for (const window of windows) {
      if (window.length > 1) {
        this.#say('I3', `different answers: ${window.map(({ effect }) => effect).join(', ')}`)
      }
    }
    for (const ack of this.#key.acks) {
      const isApplied = this.#key.effects.some(({ at }) => at <= ack.at)
      if (!isApplied) this.#say('I2', 'a message was acknowledged before it was applied')
    }
  }

  /** I5, I8, I13, I14: single calls. */
  calls(): void {
    const { calls, effects } = this.#key
    const failed = new Set<number>()
    for (const { call, invoke, end } of calls) {
      if (end === undefined) {
        this.#say('I13', `call ${call} has no end`)
        continue
      }
      if (end.type === 'fail') failed.add(call)
      if (end.type !== 'fail' || end.code !== 'key-reused') continue
      const other = calls.some((one) => one.invoke.request !== invoke.request && one.invoke.at <= end.at)
      if (!other) this.#say('I5', `call ${call} was told of another request, and there was none`)
    }
    for (const { effect, call, request, at } of effects) {
      const asked = this.#stories.calls.get(call)?.invoke
      const isAsked =
        asked?.principal === this.#key.principal && asked.key === this.#key.key && asked.request === request
      if (!isAsked || asked.at > at) this.#say('I8', `nobody asked for ${effect}`)
      if (failed.has(call) && !this.#lost.has(effect))
        this.#say('I14', `call ${call} failed for certain, yet ${effect} is there`)
    }
  }

  /** I6: the last word on a key after the faults. */
  end(): void {
    const probes = this.#key.calls.filter(({ isProbe }) => isProbe)
    const last = probes.at(-1)?.end
    if (last === undefined) return
    if (last.type !== 'ok' && !this.#isHeldForGood(last.code, last.at)) {
      this.#say('I6', `asked when all was quiet, the last answer is ${last.code}`)
      return
    }
    const { quietAt } = this.#stories
    const tookMs = last.at - Math.max(quietAt, probes[0]?.invoke.at ?? quietAt)
    if (last.type === 'ok' && tookMs > this.#header.recoveryMs && !this.#waitedForTombstone(probes)) {
      this.#say('I6', `it took ${Math.round(tookMs)} ms until the key had an answer`)
    }
  }

  /** I1: how often it took effect. */
  effects(): void {
    const { effects } = this.#key
    const { promise } = this.#header
    const byToken = new Set<string>()
    for (const { effect, token } of effects) {
      if (token !== '' && byToken.has(token))
        this.#say('I1', `one attempt had two effects, the second ${effect}`)
      byToken.add(token)
    }
    for (const window of this.#inWindows(effects)) {
      if (promise === 'once' || promise === 'held') {
        if (window.length > 1) {
          this.#say(
            'I1',
            `took effect ${window.length} times: ${window.map(({ effect }) => effect).join(', ')}`,
          )
        }
      } else this.#checkReruns(window)
    }
  }

  /** Each further effect needs an attempt that began when the one before it had ended without an outcome. */
  #checkReruns(window: readonly EffectEvent[]): void {
    const { attempts } = this.#stories
    if (attempts.size === 0) return
    for (const { effect, call, token } of window) {
      const before = attempts.get(token)?.before
      if (before === undefined || before.phase === 'released') continue
      if (before.phase === 'completed' && !this.#isPast(attempts.get(before.token), attempts.get(token))) {
        this.#say('I1', `${effect} followed a completed attempt`)
      }
      const wasAsked = this.#key.reconciles.some((asked) => asked.call === call)
      const isUnknown = before.phase === 'running' || before.phase === 'unknown'
      const past = this.#isPast(attempts.get(before.token), attempts.get(token))
      if (this.#header.promise === 'reconciled' && isUnknown && !wasAsked && !past) {
        this.#say('I1', `${effect} followed an unknown outcome, and the operation was not asked`)
      }
    }
  }

  /** Whether the retention of all that the key was completed with was over when the call began. */
  #isToldTooLate(invoke: InvokeEvent & { readonly at: number }, { token }: EffectEvent): boolean {
    const { storeAheadMs, attempts } = this.#stories
    const record = attempts.get(token)?.record
    if (storeAheadMs === undefined || record === undefined) return false
    const now = invoke.at + storeAheadMs
    const completed = [...attempts.values()].filter(
      (attempt) => attempt.record === record && attempt.settledTo === 'completed',
    )
    const isOver =
      completed.length > 0 &&
      completed.every(
        ({ settledAt = Number.POSITIVE_INFINITY }) => now >= settledAt + this.#header.retentionMs,
      )
    // A duplicate shares what an earlier call of its process is told.
    return isOver && !this.#key.calls.some((other) => isUnderWay(other, invoke))
  }

  /** Effects by retention and by eviction: a key may take effect anew when its outcome is kept no more. */
  #inWindows(effects: readonly EffectEvent[]): EffectEvent[][] {
    const { attempts } = this.#stories
    const evictionsBefore = ({ token }: EffectEvent): number => attempts.get(token)?.evictionsBefore ?? 0
    const ordered = effects.toSorted(
      (a, b) =>
        evictionsBefore(a) - evictionsBefore(b) ||
        (attempts.get(a.token)?.claimedAt ?? 0) - (attempts.get(b.token)?.claimedAt ?? 0),
    )
    const windows: EffectEvent[][] = []
    for (const effect of ordered) {
      const window = windows.at(-1)
      const previous = window?.at(-1)
      const isNew =
        previous === undefined ||
        evictionsBefore(previous) < evictionsBefore(effect) ||
        this.#isPast(attempts.get(previous.token), attempts.get(effect.token))
      if (isNew || window === undefined) windows.push([effect])
      else window.push(effect)
    }
    return windows
  }

  /** Whether an attempt claimed when the record of an earlier one meant nothing any more. */
  #isPast(earlier: AttemptStory | undefined, later: AttemptStory | undefined): boolean {
    if (earlier === undefined || later === undefined) return false
    const { retentionMs, tombstoneMs } = this.#header
    const from =
      earlier.settledAt === undefined
        ? (earlier.leaseUntil ?? Number.POSITIVE_INFINITY) + retentionMs
        : earlier.settledAt + retentionMs + (earlier.settledTo === 'completed' ? tombstoneMs : 0)
    return later.claimedAt >= from
  }

  /** In lease mode a key may end held: some attempt of it had not ended then, or ended unknown. */
  #isHeldForGood(code: string, at: number): boolean {
    if (this.#header.promise !== 'held' || code !== 'outcome-unknown') return false
    if (isForgotten(this.#key, this.#stories) || isEvicted(this.#key, this.#stories)) return true
    const { attempts } = this.#stories
    if (attempts.size === 0) return this.#key.effects.length <= 1
    const records = new Set(this.#key.starts.map(({ token }) => attempts.get(token)?.record))
    const ofKey = [...attempts.values()].filter(({ record }) => records.size === 0 || records.has(record))
    return (
      records.size === 0 ||
      ofKey.some(
        ({ settledTo, endedAt }) => settledTo === undefined || settledTo === 'unknown' || (endedAt ?? 0) > at,
      )
    )
  }

  #waitedForTombstone(probes: readonly CallStory[]): boolean {
    return probes.some(({ end }) => end?.type === 'fail' && end.code === 'key-expired')
  }

  #say(invariant: Invariant, says: string): void {
    const { principal, key } = this.#key
    this.#violations.push({ invariant, says, principal, key })
  }
}

/** Whether a call was under way in the same process when another one began. */
function isUnderWay({ call, invoke, end }: CallStory, begun: InvokeEvent & { readonly at: number }): boolean {
  if (call === begun.call || invoke.process !== begun.process || invoke.at > begun.at) return false
  return end === undefined || end.at >= begun.at
}
