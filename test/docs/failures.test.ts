/** The failure catalogue: a row for each fault, and in each row a test that is there, or that there is none. */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { expect, test } from 'vitest'

const page = join(resolve(import.meta.dirname, '../..'), 'docs/failures.md')
const rows = Array.from(
  readFileSync(page, 'utf8').matchAll(/^\| (\d+) \|(.*)\|$/gm),
  ([, number, cells]) => ({
    number: Number(number),
    cells: (cells ?? '').split('|').map((cell) => cell.trim()),
  }),
)

test('every fault has one row', () => {
  expect(rows.map(({ number }) => number)).toEqual(Array.from({ length: 86 }, (_, at) => at + 1))
})

test.each(rows)('$number says what must happen, and what shows it', ({ cells }) => {
  const [breaks, happens, tested = ''] = cells
  expect(cells).toHaveLength(3)
  expect([breaks, happens]).not.toContain('')
  const links = Array.from(tested.matchAll(/\]\(([^)#]+)\)/g), ([, link]) => link ?? '')
  expect(links.length > 0 || tested.startsWith('not tested')).toBe(true)
  for (const link of links) expect(existsSync(join(dirname(page), link)), link).toBe(true)
})
