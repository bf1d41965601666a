/** What must hold for each record, and for the leases in it: I7, I9, I10, I11, I12. */
import type { Violation } from './violations.ts'
import type { HistoryHeader, RecordEvent, RecordState, RecordVerb } from './history.ts'
import type { Stories } from './stories.ts'

export function recordViolations(header: HistoryHeader, stories: Stories): Violation[] {
  const violations: Violation[] = []
  for (const [record, changes] of stories.records) {
    const check = new RecordCheck(header, record, stories.storeClockJumped, violations)
    for (const change of changes) check.see(change)
  }
  if (header.promise !== 'once') checkStarts(stories, violations)
  checkOwnClaims(stories, violations)
  return violations
}

/** Follows one record through its changes. */
class RecordCheck {
  readonly #header: HistoryHeader
  readonly #record: string
  readonly #clockJumped: boolean
  readonly #violations: Violation[]

  constructor(header: HistoryHeader, record: string, clockJumped: boolean, violations: Violation[]) {
    this.#header = header
    this.#record = record
    this.#clockJumped = clockJumped
    this.#violations = violations
  }

  see({ before, after, now, verb }: RecordEvent): void {
    if (before === undefined) this.#checkBeginning(after, verb)
    else if (after === undefined) this.#checkRemoval(before, now)
    else if (before.token === after.token) this.#checkSame(before, after, now)
    else this.#checkTakeover(before, after, now)
    // In a transaction that the user ends, a settlement is seen later than it was made, and never before.
    if ((after?.settledAt ?? 0) > now && !this.#clockJumped) this.#say('I7', 'a settlement is dated ahead')
  }

  #checkBeginning(after: RecordState | undefined, verb: RecordVerb | undefined): void {
    if (after === undefined) return
    if (after.fence !== 1) this.#say('I12', `the first fence is ${after.fence}`)
    // Where effect and record commit together, a record may be seen first when it is completed.
    const isClaimed = this.#header.promise === 'once' || after.phase === 'running'
    if (!isClaimed || (verb !== undefined && verb !== 'claim' && this.#header.promise !== 'once')) {
      this.#say('I7', `${verb ?? after.phase} made a record where nothing was`)
    }
  }

  #checkRemoval(before: RecordState, now: number): void {
    if (now < this.#meansNothingFrom(before)) this.#say('I7', `${before.phase} was removed before its time`)
  }

  #checkSame(before: RecordState, after: RecordState, now: number): void {
    if (after.fence !== before.fence) this.#say('I12', 'the fence changed under one holder')
    if (after.fingerprint !== before.fingerprint) this.#say('I10', 'the fingerprint changed under one holder')
    const allowed =
      before.phase === 'running'
        ? after.phase !== 'tombstone'
        : before.phase === 'completed' &&
          after.phase === 'tombstone' &&
          now >= (before.settledAt ?? 0) + this.#header.retentionMs
    if (!allowed) this.#say('I7', `${before.phase} became ${after.phase}`)
  }

  #checkTakeover(before: RecordState, after: RecordState, now: number): void {
    if (after.fence <= before.fence) {
      this.#say('I12', `a new holder has fence ${after.fence} after ${before.fence}`)
    }
    const isPast = now >= this.#meansNothingFrom(before)
    if (!isPast && after.fingerprint !== before.fingerprint) {
      this.#say('I10', `a record that was ${before.phase} changed its fingerprint`)
    }
    if (isPast) return
    switch (before.phase) {
      case 'running':
        if (now < (before.leaseUntil ?? 0))
          this.#say('I9', 'a claim was won while the lease of another was live')
        else if (this.#header.promise === 'held') this.#say('I7', 'an unknown outcome was not held')
        break
      case 'unknown':
        if (this.#header.promise === 'held') this.#say('I7', 'an unknown outcome was not held')
        break
      case 'completed':
      case 'tombstone':
        this.#say('I7', `${before.phase} was taken over within its retention`)
        break
      case 'released':
        break
      default:
        before.phase satisfies never
    }
  }

  /** The store's clock from which on this state keeps nobody out any more. */
  #meansNothingFrom(state: RecordState): number {
    const { retentionMs, tombstoneMs } = this.#header
    switch (state.phase) {
      case 'running':
        return (state.leaseUntil ?? 0) + retentionMs
      case 'completed':
      case 'tombstone':
        return (state.settledAt ?? 0) + retentionMs + tombstoneMs
      case 'released':
      case 'unknown':
        return (state.settledAt ?? 0) + retentionMs
      default:
        return state.phase satisfies never
    }
  }

  #say(invariant: Violation['invariant'], says: string): void {
    this.#violations.push({ invariant, says: `record ${this.#record.slice(0, 6)}: ${says}` })
  }
}

/**
 * No handler starts when its lease is over by the store's clock, or when it is somebody else's. Excused is only who
 * had claimed before the store lost that very record.
 */
function checkStarts({ inOrder, attempts, storeClockJumped }: Stories, violations: Violation[]): void {
  if (storeClockJumped) return
  const leases = new Map<string, number>()
  const holders = new Map<string, string>()
  const claimed = new Map<string, Set<string>>()
  const excused = new Set<string>()
  const lose = (record: string): void => {
    for (const token of claimed.get(record) ?? []) excused.add(token)
    holders.delete(record)
  }
  for (const event of inOrder) {
    if (event.type === 'record') {
      const { record, after } = event
      if (after === undefined) holders.delete(record)
      else {
        holders.set(record, after.token)
        claimed.set(record, (claimed.get(record) ?? new Set()).add(after.token))
      }
      if (after?.leaseUntil !== undefined) leases.set(after.token, after.leaseUntil)
    }
    if (event.type === 'eviction') lose(event.record)
    if (event.type === 'loss') event.records.forEach(lose)
    if (event.type !== 'start' || event.now === undefined || excused.has(event.token)) continue
    const leaseUntil = leases.get(event.token)
    const { principal, key } = event
    const record = attempts.get(event.token)?.record
    if (leaseUntil === undefined || record === undefined || holders.get(record) !== event.token) {
      violations.push({ invariant: 'I9', principal, key, says: `call ${event.call} runs without a claim` })
    } else if (event.now >= leaseUntil) {
      violations.push({ invariant: 'I9', principal, key, says: `call ${event.call} starts after its lease` })
    }
  }
}

/** Who has seen its own live claim runs its handler or gives the key back, unless something is done to it. */
function checkOwnClaims({ ownClaims, keys, disturbed }: Stories, violations: Violation[]): void {
  if (ownClaims.length === 0) return
  const started = new Set(keys.flatMap(({ starts }) => starts.map(({ token }) => token)))
  const givenBack = new Set(ownClaims.flatMap(({ token, what }) => (what === 'given back' ? [token] : [])))
  for (const { token, what, process, at } of ownClaims) {
    if (what !== 'seen' || started.has(token) || givenBack.has(token)) continue
    if (disturbed.get(process)?.some((when) => when >= at) === true) continue
    violations.push({ invariant: 'I11', says: `${process} saw its own claim ${token} and left it alone` })
  }
}
