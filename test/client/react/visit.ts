/** A shop that lives as long as a test, and a real browser that visits it. */
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, onTestFinished } from 'vitest'
import { launchChromium } from '../../../scripts/servers/chromium.ts'
import { createIdempotency } from '../../../src/engine/idempotency.ts'
import { memoryStore } from '../../../src/stores/memory.ts'
import { type FaultProxy, startFaultProxy } from '../../../src/verification/fault-proxy.ts'
import { serve } from '../../http/serving.ts'
import { bundle } from './bundle.ts'
import { shop } from './shop.ts'

let browser: Browser
let script: string

/** Starts one browser for the tests of a file. */
export function useBrowser(): void {
  beforeAll(async () => {
    browser = await launchChromium()
  })
  afterAll(() => browser?.close())
}

/** Starts one browser for the tests of a file, and builds the shop's pages once. */
export function useShop(): void {
  useBrowser()
  beforeAll(async () => {
    script = await pages()
  })
}

/** The code of the pages. */
export function pages(): Promise<string> {
  return bundle('test/client/react/app/main.ts', { minify: false })
}

export interface Visit {
  readonly page: Page
  readonly context: BrowserContext
  readonly origin: string
  /** Between the browser and the shop. */
  readonly proxy: FaultProxy
  /** Amounts in the order in which they were charged; 0 for one that was declined. */
  readonly charges: readonly number[]
  /** Makes answers wait, from after the charge on, until the returned function is called. */
  holdAnswers(): () => void
  /** What React and the browser complained about. */
  readonly complaints: readonly string[]
  text(id: string): Promise<string>
  /** Waits for an element to have this text. */
  shows(id: string, text: string): Promise<void>
}

export async function visit(path: string): Promise<Visit> {
  const idem = createIdempotency({ store: memoryStore(), sweep: false })
  onTestFinished(() => idem.close())
  const charges: number[] = []
  let gate = Promise.resolve()
  const ledger = { charge: (amount: number) => charges.push(amount) }
  const { port } = await serve(shop({ idem, ledger, script, after: () => gate }))
  const proxy = await startFaultProxy({ target: { port } })
  onTestFinished(() => proxy.close())
  const visited = await open(`http://127.0.0.1:${proxy.port}`, path)
  return {
    ...visited,
    proxy,
    charges,
    holdAnswers() {
      const held = Promise.withResolvers<void>()
      gate = held.promise
      onTestFinished(() => held.resolve())
      return held.resolve
    },
  }
}

/** Opens a page in a profile of its own. */
export async function open(
  origin: string,
  path: string,
  options: BrowserContextOptions = {},
): Promise<Omit<Visit, 'proxy' | 'charges' | 'holdAnswers'>> {
  const context = await browser.newContext(options)
  onTestFinished(() => context.close())
  const page = await context.newPage()
  const complaints: string[] = []
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('console', (message) => {
    // The browser's own lines about lost connections and refused requests are what the tests are about.
    const isReact = message.type() === 'error' || message.type() === 'warning'
    if (isReact && !message.text().startsWith('Failed to load resource')) complaints.push(message.text())
  })
  await page.goto(origin + path)
  const text = async (id: string): Promise<string> => (await page.locator(`#${id}`).textContent()) ?? ''
  return {
    ...{ page, context, origin, complaints, text },
    async shows(id, wanted) {
      await expect.poll(() => text(id)).toBe(wanted)
    },
  }
}
