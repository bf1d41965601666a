/** Checked runs as one page that needs nothing else: no script, no other file. */
import type { Violation } from '../violations.ts'
import {
  brokenIn,
  type CheckedRun,
  type Figure,
  figuresOf,
  promises,
  titleOf,
  uncheckedIn,
  verdictOf,
  violationsOf,
} from './figures.ts'
import { shares, type SuspiciousKey, suspiciousKeys } from './keys.ts'
import { html, type Markup } from './markup.ts'
import { type KeyStoryShown, runClockOf, shownStory, type StoryLine } from './story.ts'
import { style } from './style.ts'
import { counted, numeral, short } from './text.ts'
import { legendBar, legendMark, timeline } from './timeline.ts'

const runsMost = 100
const keysMost = 50
const violationsMost = 100
const violationsOfKeyMost = 20
const violationsOpenMost = 10
const textMost = 300
const nameMost = 80

/**
 * A page of HTML: for each run its figures and its verdict, then the stories of keys, as a timeline and as a table.
 * Keys are those with a violation; where a run has none, up to 5 that saw a takeover, a process that ended or an
 * unknown commit. It shows 100 runs, those with violations before others, and in all of them 50 keys with 400
 * events each, and says what it leaves out.
 *
 * @example
 * writeFileSync('report.html', htmlReport([{ history, report: check(history) }]))
 */
export function htmlReport(runs: readonly CheckedRun[]): string {
  const shown = shownRuns(runs)
  const keys = shown.map((run) => suspiciousKeys(run))
  const shareOf = shares(
    keys.map(({ length }) => length),
    keysMost,
  )
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Retrysafe: what the runs showed</title>
${style}
</head>
<body>
<main>
<h1>What the runs showed</h1>
${overall(runs)}
${overview(runs, shown)}
${legend()}
${shown.map((run, at) => runSection(run, at + 1, keys[at] ?? [], shareOf[at] ?? 0))}
</main>
</body>
</html>
`
  return page.toString()
}

function shownRuns(runs: readonly CheckedRun[]): readonly CheckedRun[] {
  if (runs.length <= runsMost) return runs
  const isBroken = ({ report }: CheckedRun): boolean => verdictOf(report).isBroken
  return [...runs.filter(isBroken), ...runs.filter((run) => !isBroken(run))].slice(0, runsMost)
}

function verdictBox(isBroken: boolean, says: string): Markup {
  return html`<p class="verdict ${isBroken ? 'broken' : 'kept'}">${isBroken ? '✗' : '✓'} ${says}</p>`
}

function overall(runs: readonly CheckedRun[]): Markup | undefined {
  const [only] = runs
  if (only === undefined) return html`<p>There is no run.</p>`
  if (runs.length === 1) return undefined
  const broken = runs.filter(({ report }) => report.violations.length > 0)
  const violations = broken.reduce((sum, { report }) => sum + report.violations.length, 0)
  return broken.length === 0
    ? verdictBox(false, `no promise broken in ${counted(runs.length, 'run')}`)
    : verdictBox(
        true,
        `promises broken in ${numeral(broken.length)} of ${counted(runs.length, 'run')}: ${counted(violations, 'violation')}`,
      )
}

function overview(runs: readonly CheckedRun[], shown: readonly CheckedRun[]): Markup | undefined {
  if (runs.length < 2) return undefined
  const left = runs.length - shown.length
  return html`<ol class="runs">
${shown.map(({ history, report }, at) => {
  const { isBroken, says } = verdictOf(report)
  return html`<li><a href="#run-${at + 1}">${titleOf(history)}</a> <span class="${isBroken ? 'broken' : 'kept'}">${isBroken ? '✗' : '✓'} ${says}</span></li>
`
})}</ol>${left > 0 ? html`<p class="soft">${counted(left, 'more run')} left out, those without violations first.</p>` : undefined}`
}

function legend(): Markup {
  const content = html`<p>Events stand in their order; the more time is between two, the further they are apart, but by its logarithm: read
times off the numbers, in milliseconds since the first event of the run. Point at anything for its words.</p>
<ul class="legend">
<li>${legendBar('call ok')}a call that ends ok: an answer came</li>
<li>${legendBar('call fail')}fail: it is known that it did nothing</li>
<li>${legendBar('call info')}info: it may have taken effect</li>
<li>${legendBar('call open')}a call without an end</li>
<li>${legendBar('phase running')}a record that is running</li>
<li>${legendBar('phase completed')}completed</li>
<li>${legendBar('phase unknown')}unknown</li>
<li>${legendBar('phase released')}released, tombstone or absent</li>
<li>${legendMark('start')}a handler starts</li>
<li>${legendMark('stop')}a handler stops</li>
<li>${legendMark('asked')}the operation is asked what became of it</li>
<li>${legendMark('claim')}a holder sees its claim, or gives it back</li>
<li>${legendMark('renewed')}a lease is renewed</li>
<li>${legendMark('effect')}an effect in the ledger</li>
<li>${legendMark('fault')}a fault</li>
</ul>`
  return details(html`How to read a timeline`, content)
}

function runSection(run: CheckedRun, number: number, keys: readonly SuspiciousKey[], share: number): Markup {
  const { history, report } = run
  const { isBroken, says } = verdictOf(report)
  const { promise, leaseMs } = history.header
  const unchecked = uncheckedIn(report)
  return html`<section class="run" aria-labelledby="run-${number}">
<h2 id="run-${number}">${titleOf(history)}</h2>
${verdictBox(isBroken, says)}
<p class="soft">Promise: ${short(promise, nameMost)}. Lease: ${numeral(leaseMs)} ms.${
    unchecked.length > 0
      ? html` Not checked, since the history does not tell of it: ${unchecked.join(', ')}.`
      : undefined
  }</p>
<dl class="figures">${figuresOf(report).map(figureTile)}</dl>
${violationList(run)}
${keySection(run, number, keys, share)}
</section>
`
}

function figureTile({ name, total, parts, countsViolations }: Figure): Markup {
  const made = parts.join('; ')
  const look = `${made.length > 24 ? 'wide' : ''} ${countsViolations && total > 0 ? 'broken' : ''}`.trim()
  return html`<div class="${look}"><dt>${name}</dt><dd><strong>${numeral(total)}</strong>${made}</dd></div>`
}

function violationList({ report }: CheckedRun): Markup | undefined {
  if (report.violations.length === 0) return undefined
  let left = violationsMost
  const groups = brokenIn(report).map((invariant) => {
    const all = violationsOf(report, invariant)
    const shown = all.slice(0, left)
    left -= shown.length
    const items = shown.map((violation) => html`<li>${violationText(violation)}</li>`)
    const title = html`<strong>${invariant}</strong> ${promises[invariant]}: <span class="broken">✗ ${counted(all.length, 'violation')}</span>`
    return details(
      title,
      html`<ul class="violations">${items}${leftOut(all.length - shown.length, 'violation')}</ul>`,
      all.length <= violationsOpenMost,
    )
  })
  return html`<h3>Violations</h3>
${groups}`
}

/** An item that says how many more there are. */
function leftOut(count: number, name: string): Markup | undefined {
  return count > 0 ? html`<li class="soft">${counted(count, `more ${name}`)} left out</li>` : undefined
}

function details(title: Markup, content: Markup, isOpen = false): Markup {
  const body = html`<summary>${title}</summary>
<div class="inside">
${content}
</div>`
  return isOpen
    ? html`<details open>${body}</details>
`
    : html`<details>${body}</details>
`
}

function violationText({ principal, key, says }: Violation): Markup {
  return html`${principal === undefined || key === undefined ? undefined : html`${keyName({ principal, key })}: `}${short(says, textMost)}`
}

function keyName({ principal, key }: { readonly principal: string; readonly key: string }): Markup {
  return html`<code>${short(key, nameMost)}</code> of <code>${short(principal, nameMost)}</code>`
}

function keySection(
  { history }: CheckedRun,
  number: number,
  keys: readonly SuspiciousKey[],
  share: number,
): Markup {
  const areSamples = keys.every(({ violations }) => violations.length === 0)
  if (keys.length === 0) {
    return html`<p class="soft">No key saw a takeover, a process that ended or an unknown commit.</p>`
  }
  const clock = runClockOf(history)
  const left = keys.length - share
  return html`<h3>${areSamples ? 'Some keys that saw trouble' : 'Keys with violations'}</h3>
${keys.slice(0, share).map((key, at) => {
  const story = shownStory(history, key, clock)
  return keyDetails(`run-${number}-key-${at + 1}`, key, story, at === 0 && !areSamples)
})}${left > 0 ? html`<p class="soft">${counted(left, 'more key')} left out.</p>` : undefined}`
}

function keyDetails(id: string, key: SuspiciousKey, story: KeyStoryShown, isOpen: boolean): Markup {
  const { violations, saw } = key
  const about =
    violations.length > 0
      ? html`<span class="broken">✗ ${counted(violations.length, 'violation')}</span>`
      : html`<span class="soft">saw ${saw.join(', ')}</span>`
  const told =
    story.lines.length === 0
      ? html`<p>The history tells nothing of this key.</p>`
      : html`${timeline(id, key, story)}${eventTable(story)}`
  return details(html`${keyName(key)}: ${about}`, html`${violationsOfKey(violations)}${told}`, isOpen)
}

function violationsOfKey(violations: readonly Violation[]): Markup | undefined {
  if (violations.length === 0) return undefined
  const shown = violations.slice(0, violationsOfKeyMost)
  const items = shown.map(
    ({ invariant, says }) => html`<li><strong>${invariant}</strong> ${short(says, textMost)}</li>`,
  )
  return html`<ul class="violations">${items}${leftOut(violations.length - shown.length, 'violation')}</ul>`
}

function eventTable({ lines, gapAt, leftOut, faultsLeftOut }: KeyStoryShown): Markup {
  const gap = html`<tr class="soft"><td></td><td></td><td>${counted(leftOut, 'event')} left out here</td></tr>
`
  return html`<table class="events">
<caption>All that concerns the key, in order</caption>
<thead><tr><th scope="col" class="time">ms</th><th scope="col">who</th><th scope="col">what</th></tr></thead>
<tbody>
${lines.map((line, at) => html`${leftOut > 0 && at === gapAt ? gap : undefined}${eventRow(line)}`)}</tbody>
</table>
${faultsLeftOut > 0 ? html`<p class="soft">${counted(faultsLeftOut, 'fault')} before and after it left out.</p>` : undefined}`
}

function eventRow({ event, atMs, isNearly, who, what }: StoryLine): Markup {
  const time = `${isNearly ? 'about ' : ''}${numeral(atMs)}`
  return html`<tr class="${event.type}"><td class="time">${time}</td><td class="who">${who}</td><td>${what}</td></tr>
`
}
