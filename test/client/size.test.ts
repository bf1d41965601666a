/** What a page has to load for the client. */
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build, type Rolldown } from 'vite'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '..', '..')

/** Built with what it imports, gzipped at level 9; without what is loaded anyway. */
async function bytesOf(exported: string, external: readonly string[] = []): Promise<number> {
  const entry = 'virtual:entry'
  const output = (await build({
    root,
    configFile: false,
    logLevel: 'silent',
    plugins: [
      {
        name: 'entry',
        resolveId: (id) => (id === entry ? `\0${entry}` : undefined),
        load: (id) => (id === `\0${entry}` ? exported : undefined),
      },
    ],
    build: {
      write: false,
      minify: true,
      target: 'es2022',
      modulePreload: false,
      rollupOptions: {
        input: entry,
        external: [...external],
        preserveEntrySignatures: 'strict',
        output: { format: 'es' },
      },
    },
  })) as Rolldown.RolldownOutput
  const code = output.output.map((chunk) => (chunk.type === 'chunk' ? chunk.code : '')).join('')
  return gzipSync(code, { level: 9 }).length
}

interface Budget {
  readonly entry: string
  readonly bytesMax: number
  readonly external?: readonly string[]
  /** Another entry whose bytes are not counted, because whoever loads this one has them. */
  readonly besides?: string
}

const core = `export { createIdempotentFetch } from '${root}/src/client/browser.ts'`

const budgets: Readonly<Record<string, Budget>> = {
  'createIdempotentFetch in browsers': { entry: core, bytesMax: 4_096 },
}

test.each(Object.entries(budgets))('%s', async (_name, { entry, bytesMax, external, besides }) => {
  const whole = await bytesOf(entry, external)
  const known = besides === undefined ? 0 : await bytesOf(besides, external)
  expect(whole).toBeGreaterThan(known)
  expect(whole - known).toBeLessThanOrEqual(bytesMax)
})
