import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const root = join(import.meta.dirname, '..', '..')
const head = "import { beforeAll, describe, expect, it } from 'vitest'\n"

describe('the last lines of a test run', () => {
  let folder: string

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'retrysafe-reporter-'))
    writeFileSync(join(folder, 'vitest.config.js'), 'export default {}\n')
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  })

  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  /** The last lines that the test runner prints for one test file. */
  function linesFor(source: string): string[] {
    writeFileSync(join(folder, 'planted.test.ts'), head + source)
    const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
    const reporter = join(root, 'scripts', 'reporter.ts')
    const { RETRYSAFE_TOTALS_FILE: _, ...env } = process.env
    const { stdout } = spawnSync(
      process.execPath,
      [vitest, 'run', '--root', folder, '--reporter', reporter, 'planted'],
      { cwd: folder, env: { ...env, NO_COLOR: '1' }, encoding: 'utf8' },
    )
    return stdout.trimEnd().split('\n')
  }

  it('name what failed, count what passed, failed and was skipped, and say why', () => {
    const lines = linesFor(`
      it('one', () => expect(1).toBe(1))
      it('two', () => expect(1).toBe(2))
      it('three', (test) => test.skip('no such server'))
      it('four', (test) => test.skip('no such server'))
      it.skip('five [not applicable: needs a lease]', () => {})
      it.skip('six', () => {})
    `)
    expect(lines.slice(-5)).toEqual([
      'skipped 2, no such server: three, four',
      'skipped 1, not applicable: needs a lease: five',
      'skipped 1, no reason given: six',
      'failed: planted.test.ts > two: expected 1 to be 2 // Object.is equality',
      '1 passed, 1 failed, 4 skipped',
    ])
  })

  it('tell the causes of an error, first lines only', () => {
    const source = `
      it('a', () => {
        const cause = new Error('the server did not answer\\nand more', { cause: new Error('ECONNRESET') })
        throw new Error('lost', { cause })
      })
    `
    expect(linesFor(source).at(-2)).toBe(
      'failed: planted.test.ts > a: lost [the server did not answer [ECONNRESET]]',
    )
  })

  it.each([
    ['the top level of a file', "throw new Error('planted')", '0 passed, 1 failed, 0 skipped'],
    [
      'a hook',
      "describe('d', () => { beforeAll(() => { throw new Error('planted') }); it('a', () => {}) })",
      '0 passed, 1 failed, 1 skipped',
    ],
    [
      'a promise that nobody awaits',
      "it('a', () => { void Promise.reject(new Error('planted')) })",
      '1 passed, 1 failed, 0 skipped',
    ],
  ])('count an error in %s as a failure, and name it', (_, source, expected) => {
    const [failure, totals] = linesFor(source).slice(-2)
    expect(failure).toMatch(/^failed: .*: planted$/)
    expect(totals).toBe(expected)
  })
})
