/** A server that is killed while a page waits for its charge. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { hasChromium } from '../../../scripts/servers/chromium.ts'
import { freePort } from '../../../scripts/servers/process.ts'
import { eventually } from '../../eventually.ts'
import { open, pages, useBrowser } from './visit.ts'

interface Crashing {
  readonly origin: string
  readonly charges: () => string
  /** Starts the server; `stops`: where it stops and waits to be killed. */
  start(stops?: 'before' | 'after'): Promise<() => Promise<void>>
  readonly hasStopped: () => boolean
}

async function crashing(onUnknown: 'hold' | 'rerun'): Promise<Crashing> {
  const folder = mkdtempSync(join(tmpdir(), 'shop-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'main.js'), await pages())
  writeFileSync(join(folder, 'ledger'), '')
  const port = await freePort()
  return {
    origin: `http://127.0.0.1:${port}`,
    charges: () => readFileSync(join(folder, 'ledger'), 'utf8'),
    hasStopped: () => existsSync(join(folder, 'stopped')),
    async start(stops) {
      const program = join(import.meta.dirname, 'shop-process.ts')
      const args = ['--disable-warning=ExperimentalWarning', program, folder, String(port), onUnknown]
      const child = spawn(process.execPath, stops === undefined ? args : [...args, stops], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const exited = once(child, 'exit')
      const kill = async (): Promise<void> => {
        child.kill('SIGKILL')
        await exited
      }
      onTestFinished(kill)
      await once(child.stdout, 'data')
      return kill
    },
  }
}

describe.skipIf(!hasChromium())('a server that is killed in mid-request', () => {
  useBrowser()

  test('before the charge: one charge, once it is there again', async () => {
    const { origin, charges, start, hasStopped } = await crashing('rerun')
    const kill = await start('before')
    const { page, text } = await open(origin, '/pay')
    await page.click('#a-pay')
    await eventually(() => expect(hasStopped()).toBe(true))
    await kill()
    await start()
    // As a reader does who is told that nobody knows.
    await eventually(async () => {
      if ((await text('a-status')) === 'unknown') await page.click('#a-retry')
      expect(await text('a-status')).toBe('success')
    })
    expect(charges()).toBe('100\n')
  })

  test('after the charge: it is unknown, however often the page asks and is loaded again', async () => {
    const { origin, charges, start, hasStopped } = await crashing('hold')
    const kill = await start('after')
    const { page, shows, text } = await open(origin, '/pay')
    await page.click('#a-pay')
    await eventually(() => expect(hasStopped()).toBe(true))
    await kill()
    await start()
    await shows('a-status', 'unknown')
    await page.click('#a-retry')
    await shows('a-status', 'unknown')
    await page.reload()
    await page.click('#a-pay')
    await shows('a-status', 'unknown')
    await eventually(async () => {
      if ((await text('a-error')).includes('(server,')) return
      await page.click('#a-retry')
      await shows('a-status', 'unknown')
      expect(await text('a-error')).toContain('(server,')
    })
    expect(charges()).toBe('100\n')
  })
})
