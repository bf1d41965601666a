/** Which keys of a run are worth a look: those with a violation, or else some that saw the worst. */
import type { History, KeyOfPrincipal } from '../history.ts'
import { type CallStory, type Stories, storiesOf } from '../stories.ts'
import type { Violation } from '../violations.ts'
import type { CheckedRun } from './figures.ts'

export interface SuspiciousKey extends KeyOfPrincipal {
  /** Empty for a sample. */
  readonly violations: readonly Violation[]
  /** What a sample saw. */
  readonly saw: readonly string[]
}

const samplesMost = 5

export function suspiciousKeys({ history, report }: CheckedRun): readonly SuspiciousKey[] {
  const broken = keysWithViolations(report.violations)
  return broken.length > 0 ? broken : samplesOf(history)
}

function keysWithViolations(violations: readonly Violation[]): readonly SuspiciousKey[] {
  const keys = new Map<string, KeyOfPrincipal & { violations: Violation[] }>()
  for (const violation of violations) {
    const { principal, key } = violation
    if (principal === undefined || key === undefined) continue
    const name = JSON.stringify([principal, key])
    const known = keys.get(name)
    if (known === undefined) keys.set(name, { principal, key, violations: [violation] })
    else known.violations.push(violation)
  }
  return Array.from(keys.values(), (key) => ({ ...key, saw: [] }))
}

/** Those first that saw the most kinds of trouble. */
function samplesOf(history: History): readonly SuspiciousKey[] {
  const stories = storiesOf(history)
  const replaced = replacedTokens(stories)
  const unansweredAt = history.events.flatMap(({ type, at }) => (type === 'unknown-commit' ? [at] : []))
  return stories.keys
    .map(({ principal, key, calls, starts, effects }): SuspiciousKey => {
      const isTakenOver = [...starts, ...effects].some(({ token }) => replaced.has(token))
      const saw = [
        ...(isTakenOver ? ['a takeover'] : []),
        ...(calls.some(({ end }) => codeOf(end) === 'gone') ? ['a process that ended'] : []),
        ...(calls.some((call) => sawUnknownCommit(call, unansweredAt)) ? ['an unknown commit'] : []),
      ]
      return { principal, key, violations: [], saw }
    })
    .filter(({ saw }) => saw.length > 0)
    .toSorted((a, b) => b.saw.length - a.saw.length)
    .slice(0, samplesMost)
}

/** Tokens of holders that were replaced, and of those that replaced them. */
function replacedTokens({ records }: Stories): ReadonlySet<string> {
  const changes = [...records.values()].flat()
  return new Set(
    changes.flatMap(({ before, after }) =>
      before === undefined || after === undefined || before.token === after.token
        ? []
        : [before.token, after.token],
    ),
  )
}

/** An unanswered COMMIT names no key; it may be of any call that was under way then. */
function sawUnknownCommit({ invoke, end }: CallStory, unansweredAt: readonly number[]): boolean {
  const endedAt = end?.at ?? Number.POSITIVE_INFINITY
  return codeOf(end) === 'commit-unknown' || unansweredAt.some((at) => invoke.at <= at && at <= endedAt)
}

function codeOf(end: CallStory['end']): string | undefined {
  return end === undefined || end.type === 'ok' ? undefined : end.code
}

/** How many of what each has it may show when all together may show `most`: each one more in turn. */
export function shares(counts: readonly number[], most: number): readonly number[] {
  const shown = counts.map(() => 0)
  let left = Math.min(
    most,
    counts.reduce((sum, count) => sum + count, 0),
  )
  for (let at = 0; left > 0; at = (at + 1) % counts.length) {
    if ((shown[at] ?? 0) >= (counts[at] ?? 0)) continue
    shown[at] = (shown[at] ?? 0) + 1
    left -= 1
  }
  return shown
}
