/**
 * The test runner's usual output, then the skipped tests by reason, then one plain line of totals. With
 * `RETRYSAFE_TOTALS_FILE` set it writes totals and skips there instead, for the script that adds them up.
 */
import { writeFileSync } from 'node:fs'
import { DefaultReporter, type SerializedError, type TestModule, type TestRunEndReason } from 'vitest/node'
import { type Skip, skipLines, type Totals, totalsLine } from './totals.ts'

/** What the reporter leaves in `RETRYSAFE_TOTALS_FILE`. */
export interface RunSummary extends Totals {
  readonly skips: readonly Skip[]
}

/** The reason is the note of the skip, or stands in brackets at the end of the title. */
function skipOf(title: string, note: string | undefined): Skip {
  const inTitle = /^(.*?)\s*\[([^[\]]+)\]$/s.exec(title)
  if (note !== undefined && note !== '') return { test: title, reason: note }
  return { test: inTitle?.[1] ?? title, reason: inTitle?.[2] ?? 'no reason given' }
}

function summarise(modules: readonly TestModule[], unhandled: number): RunSummary {
  let passed = 0
  // Errors outside a test (in a file's top level, in a hook) leave no failed test behind, yet are failures.
  let failed = unhandled
  const skips: Skip[] = []
  for (const module of modules) {
    failed += module.errors().length
    for (const suite of module.children.allSuites()) failed += suite.errors().length
    for (const test of module.children.allTests()) {
      const result = test.result()
      if (result.state === 'passed') passed += 1
      else if (result.state === 'failed') failed += 1
      else {
        skips.push(skipOf(test.fullName, result.state === 'skipped' ? result.note : undefined))
      }
    }
  }
  return { passed, failed, skipped: skips.length, skips }
}

export default class PlainTotalsReporter extends DefaultReporter {
  override onTestRunEnd(
    modules: readonly TestModule[],
    unhandledErrors: readonly SerializedError[],
    reason: TestRunEndReason,
  ): void {
    super.onTestRunEnd(modules, unhandledErrors, reason)
    const summary = summarise(modules, unhandledErrors.length)
    const file = process.env['RETRYSAFE_TOTALS_FILE']
    if (file !== undefined) writeFileSync(file, JSON.stringify(summary))
    else for (const line of [...skipLines(summary.skips), totalsLine(summary)]) this.log(line)
  }
}
