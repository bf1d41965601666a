/**
 * The test runner's usual output, then the skipped tests by reason, the failed ones, and one plain line of totals.
 * With `RETRYSAFE_TOTALS_FILE` set it writes all that there instead, for the script that adds it up.
 */
import { writeFileSync } from 'node:fs'
import { DefaultReporter, type SerializedError, type TestModule, type TestRunEndReason } from 'vitest/node'
import { type Failure, type RunSummary, type Skip, summaryLines } from './totals.ts'

/** The reason is the note of the skip, or stands in brackets at the end of the title. */
function skipOf(title: string, note: string | undefined): Skip {
  const inTitle = /^(.*?)\s*\[([^[\]]+)\]$/s.exec(title)
  if (note !== undefined && note !== '') return { test: title, reason: note }
  return { test: inTitle?.[1] ?? title, reason: inTitle?.[2] ?? 'no reason given' }
}

/** With the causes, which say what a typed error stands for. */
function messageOf({ message, cause }: SerializedError): string {
  const [line = ''] = message.split('\n', 1)
  return typeof cause?.message === 'string' ? `${line} [${messageOf(cause)}]` : line
}

function summarise(modules: readonly TestModule[], unhandled: readonly SerializedError[]): RunSummary {
  let passed = 0
  const failures: Failure[] = []
  const fail = (test: string, errors: readonly SerializedError[]): void => {
    failures.push({ test, error: errors[0] === undefined ? 'no error' : messageOf(errors[0]) })
  }
  // Errors outside a test (in a file's top level, in a hook) leave no failed test behind, yet are failures.
  for (const error of unhandled) fail('outside of tests', [error])
  const skips: Skip[] = []
  for (const module of modules) {
    const file = module.relativeModuleId
    for (const error of module.errors()) fail(file, [error])
    for (const suite of module.children.allSuites()) {
      for (const error of suite.errors()) fail(`${file} > ${suite.fullName}`, [error])
    }
    for (const test of module.children.allTests()) {
      const result = test.result()
      if (result.state === 'passed') passed += 1
      else if (result.state === 'failed') fail(`${file} > ${test.fullName}`, result.errors)
      else {
        skips.push(skipOf(test.fullName, result.state === 'skipped' ? result.note : undefined))
      }
    }
  }
  return { passed, failures, skips }
}

export default class PlainTotalsReporter extends DefaultReporter {
  override onTestRunEnd(
    modules: readonly TestModule[],
    unhandledErrors: readonly SerializedError[],
    reason: TestRunEndReason,
  ): void {
    super.onTestRunEnd(modules, unhandledErrors, reason)
    const summary = summarise(modules, unhandledErrors)
    const file = process.env['RETRYSAFE_TOTALS_FILE']
    if (file !== undefined) writeFileSync(file, JSON.stringify(summary))
    else for (const line of summaryLines(summary)) this.log(line)
  }
}
