/** Each client's example is run against the example of Express, through a proxy that loses its first answer. */
import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { startFaultProxy } from '../../src/verification/fault-proxy.ts'
import { startExample } from './example.ts'

const root = join(import.meta.dirname, '../..')
const scripts = readdirSync(join(root, 'examples/client'))

test.each(scripts)('%s', async (script) => {
  const origin = await startExample('express')
  const proxy = await startFaultProxy({ target: { port: Number(new URL(origin).port) } })
  onTestFinished(() => proxy.close())
  proxy.cutOn('POST /charges', 'after')
  const flags = ['--disable-warning=ExperimentalWarning', '--import', './scripts/unbuilt.ts']
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, `examples/client/${script}`], {
    cwd: root,
    env: { ...process.env, SERVER: `http://127.0.0.1:${proxy.port}` },
  })
  expect(stdout).toBe('Charge 1 after 2 attempts\n')
  expect(await (await fetch(`${origin}/charges`)).json()).toEqual({ charges: 1 })
})
