/** What browsers load for React, beside the client itself and React. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect, onTestFinished, test } from 'vitest'
import { bundle } from './bundle.ts'

const root = join(import.meta.dirname, '../../..')

/** Octets of a page's script that has everything that these files of `src/client` export. */
async function gzipped(...names: string[]): Promise<number> {
  mkdirSync(join(root, '.scratch'), { recursive: true })
  const folder = mkdtempSync(join(root, '.scratch', 'size-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const entry = join(folder, 'entry.ts')
  writeFileSync(entry, names.map((name) => `export * from '../../src/client/${name}'\n`).join(''))
  const code = await bundle(relative(root, entry), { minify: true, external: ['react'] })
  return gzipSync(code, { level: 9 }).length
}

test('the React part adds no more than 2 kB to the core', async () => {
  const core = await gzipped('browser.ts')
  const both = await gzipped('browser.ts', 'react.ts')
  expect(core).toBeGreaterThan(1_000)
  expect(both - core).toBeLessThanOrEqual(2_048)
})
