/** The playground and a real browser, for the tests of one file. */
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, onTestFinished } from 'vitest'
import { type Playground, startPlayground } from '../../playground/front/front.ts'
import type { Side } from '../../playground/happenings.ts'
import { launchChromium } from '../../scripts/servers/chromium.ts'

export const desktop = { width: 1280, height: 900 }
export const phone = { width: 390, height: 844 }

export interface Playing {
  readonly playground: Playground
  /**
   * Opens the page in a context of its own. A test fails at its end where the page asked another origin for
   * something, threw, or had anything to complain of but the requests that the playground breaks on purpose.
   */
  open(query?: string, options?: BrowserContextOptions): Promise<Page>
}

export function startPlaying(): () => Playing {
  let playground: Playground
  let browser: Browser
  beforeAll(async () => {
    ;[playground, browser] = await Promise.all([startPlayground({ port: 0 }), launchChromium()])
  })
  afterAll(async () => {
    await Promise.all([browser.close(), playground.close()])
  })
  return () => ({
    playground,
    async open(query = '', options = {}) {
      await fetch(`${playground.origin}/playground/reset`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: '{}',
      })
      const context = await browser.newContext({ viewport: desktop, reducedMotion: 'reduce', ...options })
      const page = await context.newPage()
      const complaints: string[] = []
      page.on('pageerror', (error) => complaints.push(error.message))
      page.on('console', (message) => {
        const isMeant = message.location().url.startsWith(`${playground.origin}/shop/`)
        if (['error', 'warning'].includes(message.type()) && !isMeant) complaints.push(message.text())
      })
      page.on('request', (request) => {
        if (!request.url().startsWith(`${playground.origin}/`) && !request.url().startsWith('data:')) {
          complaints.push(request.url())
        }
      })
      page.on('websocket', (socket) => {
        if (new URL(socket.url()).host !== new URL(playground.origin).host) complaints.push(socket.url())
      })
      onTestFinished(async () => {
        await context.close()
        expect(complaints).toEqual([])
      })
      await page.goto(`${playground.origin}/${query}`)
      await page.locator('[data-state]').waitFor({ state: 'attached' })
      return page
    },
  })
}

/** Waits until nothing more happens to this many orders. */
export async function played(page: Page, orders = 1): Promise<void> {
  const numbers = page.locator('.board .verdict', { hasText: new RegExp(`for ${orders} orders?$`) })
  await expect.poll(() => numbers.count()).toBe(2)
  await page.locator('[data-state=idle]').waitFor({ state: 'attached' })
}

export interface Shown {
  readonly score: string
  readonly tone: string | null
  readonly seen: string
  readonly why: string
  readonly kinds: readonly (string | null)[]
  /** Keys of the ledger, one for each charge. */
  readonly ledgerKeys: readonly string[]
  /** Keys of the requests, as the timeline shows them. */
  readonly sentKeys: readonly string[]
}

/** What one side shows. */
export async function shownOn(page: Page, side: Side): Promise<Shown> {
  const board = page.locator(`[data-side=${side}]`)
  const text = async (selector: string): Promise<string> =>
    (await board.locator(selector).innerText()).replaceAll(/\s+/g, ' ').trim()
  return {
    score: await text('.score'),
    tone: await board.locator('.score').getAttribute('data-tone'),
    seen: await text('.seen'),
    why: await text('.why'),
    kinds: await board
      .locator('.line')
      .evaluateAll((all) => all.map((line) => line.getAttribute('data-kind'))),
    ledgerKeys: await board.locator('.ledger td:nth-child(4)').allInnerTexts(),
    sentKeys: (await board.locator('[data-kind=sent] small').allInnerTexts()).map((each) =>
      each.replace('key ', ''),
    ),
  }
}
