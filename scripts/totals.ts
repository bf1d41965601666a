/** The end of a test run, for people and for programs that read it: skips, failures, one plain line of totals. */

/** A test that failed, or what failed around the tests of a file. */
export interface Failure {
  readonly test: string
  readonly error: string
}

/** A test that did not run, and why. */
export interface Skip {
  readonly test: string
  readonly reason: string
}

/** How a run ended; the reporter leaves one in `RETRYSAFE_TOTALS_FILE`. */
export interface RunSummary {
  readonly passed: number
  readonly failures: readonly Failure[]
  readonly skips: readonly Skip[]
}

/** The skips by reason, the failures by name, and at last the line `N passed, N failed, N skipped`. */
export function summaryLines({ passed, failures, skips }: RunSummary): string[] {
  return [
    ...skipLines(skips),
    // Whoever sees only the end of a long log sees what failed.
    ...failures.map(({ test, error }) => `failed: ${test}: ${error.split('\n', 1)[0]}`),
    `${passed} passed, ${failures.length} failed, ${skips.length} skipped`,
  ]
}

const namesShownMax = 3

/** One line for each reason, the most frequent reason first; few tests of one reason are named. */
function skipLines(skips: readonly Skip[]): string[] {
  const byReason = Map.groupBy(skips, (skip) => skip.reason)
  return [...byReason]
    .sort(([, one], [, other]) => other.length - one.length)
    .map(([reason, group]) => {
      const names = group.length > namesShownMax ? '' : `: ${group.map((skip) => skip.test).join(', ')}`
      return `skipped ${group.length}, ${reason}${names}`
    })
}
