/** The one plain line that ends a test run, for people and for programs that read it. */

/** How many tests ended how. */
export interface Totals {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

/** A test that did not run, and why. */
export interface Skip {
  readonly test: string
  readonly reason: string
}

/** The line `N passed, N failed, N skipped`. */
export function totalsLine(totals: Totals): string {
  return `${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`
}

const namesShownMax = 3

/** The skipped tests, one line for each reason, the most frequent reason first; few of one reason are named. */
export function skipLines(skips: readonly Skip[]): string[] {
  const byReason = Map.groupBy(skips, (skip) => skip.reason)
  return [...byReason]
    .sort(([, one], [, other]) => other.length - one.length)
    .map(([reason, group]) => {
      const names = group.length > namesShownMax ? '' : `: ${group.map((skip) => skip.test).join(', ')}`
      return `skipped ${group.length}, ${reason}${names}`
    })
}
