/** A checked run as a table for a terminal. */
import type { CheckReport } from '../checker.ts'
import type { History } from '../history.ts'
import type { Violation } from '../violations.ts'
import { type Figure, figuresOf, uncheckedIn, verdictOf } from './figures.ts'
import { counted, fitted, numeral, wrapped } from './text.ts'

const columnsMost = 100
const nameColumns = 24
const valueColumns = columnsMost - nameColumns
const violationsMost = 20

/**
 * The figures of a run, its verdict and its first 20 violations, as lines of at most 100 columns without control
 * characters. The last line ends with a line end.
 *
 * @example
 * process.stdout.write(summaryTable(history, check(history)))
 */
export function summaryTable(history: History, report: CheckReport): string {
  const { store, mode, promise, seed } = history.header
  const unchecked = uncheckedIn(report)
  const lines = [
    ...row('store', [store]),
    ...row('mode', [`${mode} (promises: ${promise})`]),
    ...row('seed', [String(seed)]),
    ...figuresOf(report).flatMap((figure) => row(figure.name, valueOf(figure))),
    ...(unchecked.length > 0 ? row('not checked', unchecked) : []),
    ...row('verdict', verdictOf(report).says.split(' ')),
    ...violationLines(report.violations),
  ]
  return lines.map((line) => `${line}\n`).join('')
}

function row(name: string, words: readonly string[]): readonly string[] {
  return wrapped(words, valueColumns).map(
    (line, at) => `${(at === 0 ? name : '').padEnd(nameColumns)}${line}`,
  )
}

function valueOf({ total, parts }: Figure): readonly string[] {
  if (parts.length === 0) return [numeral(total)]
  return [`${numeral(total)}:`, ...parts.map((part, at) => (at < parts.length - 1 ? `${part};` : part))]
}

function violationLines(violations: readonly Violation[]): readonly string[] {
  const shown = violations.slice(0, violationsMost)
  const more = violations.length - shown.length
  return [
    ...shown.map((violation) => `  ${fitted(violationLine(violation), columnsMost - 2)}`),
    ...(more > 0 ? [`  and ${counted(more, 'more violation')}`] : []),
  ]
}

function violationLine({ invariant, principal, key, says }: Violation): string {
  const subject = [principal, key].filter((name) => name !== undefined).map((name) => fitted(name, 24))
  return `${invariant.padEnd(4)}${subject.length > 0 ? `${subject.join(' / ')}: ` : ''}${says}`
}
