/** The table of the documentation says of each adapter how it differs, as the suite holds it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { clientAdapters } from './adapters.ts'
import type { ClientAdapter } from './suite.ts'

const page = readFileSync(join(import.meta.dirname, '../../../docs/client-adapters.md'), 'utf8')

function rowOf({ name, differences }: ClientAdapter): string {
  const { refusedAnswer, abort, redirects, errors, callOptions, report } = differences
  const isError = refusedAnswer.endsWith('Error')
  const cells = [
    `\`${name}\``,
    isError ? `\`${refusedAnswer}\`` : refusedAnswer,
    errors.replace('TypeError', '`TypeError`'),
    `\`${abort}\``,
    redirects,
    callOptions.replace(/^.*idempotency.*$/, '`$&`'),
    report ? 'yes' : 'no',
  ]
  return `| ${cells.join(' | ')} |`
}

test('a row for each adapter', () => {
  const [, table = ''] = page.split('## How they differ')
  const shown = table.split('\n').filter((line) => line.startsWith('| `'))
  expect(shown).toEqual(clientAdapters.map(rowOf))
})
