/** The table of the documentation says of each adapter which conformance cases apply to it, and why others do not. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { notApplicable } from '../http/adapter-conformance.ts'
import { loadCases } from '../http/conformance/cases.ts'
import { adapters } from '../http/fixture/adapters.ts'

const page = readFileSync(join(import.meta.dirname, '../../docs/http-conformance.md'), 'utf8')

/** What the needs of a case are called on the page. */
const inWords: Readonly<Record<string, string>> = {
  'needs gateway': 'for gateways',
  'needs h2': 'served over HTTP/1.1 only',
  'needs transaction': 'for transaction mode',
  'needs store5xx': 'a 5xx rolls back',
  'needs crash-reject': 'a crash leaves nothing unknown',
  'needs limit': 'an answer over the limit is refused',
}

function rowOf(adapter: string): string {
  const cases = [...notApplicable(adapter)]
  const byReason = Map.groupBy(cases, ([, reason]) => inWords[reason] ?? reason)
  const reasons = [...byReason].map(([reason, of]) => `${of.map(([id]) => id).join(', ')}: ${reason}`)
  return `| \`${adapter}\` | ${loadCases().length - cases.length} | ${reasons.join('; ')} |`
}

test('a row for each adapter', () => {
  // The gateway has settings of its own.
  const rows = Object.keys(adapters)
    .filter((adapter) => adapter !== 'gateway')
    .toSorted()
    .map(rowOf)
  const shown = page.split('\n').filter((line) => line.startsWith('| `') && !line.startsWith('| `gateway`'))
  expect(shown).toEqual(rows)
  expect(page).toContain(`of ${loadCases().length} cases`)
})
