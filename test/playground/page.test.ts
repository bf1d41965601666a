/** The page itself: keyboard, widths, colours, what it says to those who do not see it, and who may ask its server. */
import { request } from 'node:http'
import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { hasChromium } from '../../scripts/servers/chromium.ts'
import { desktop, phone, played, shownOn, startPlaying } from './playing.ts'

/** The lowest contrast of any text of the page with what is behind it (WCAG 2.2, 1.4.3). */
async function lowestContrast(page: Page): Promise<{ ratio: number; text: string }> {
  return await page.evaluate(() => {
    type Color = [red: number, green: number, blue: number, alpha: number]
    const read = (css: string): Color => {
      const [red = 0, green = 0, blue = 0, alpha = 1] = (css.match(/[\d.]+/g) ?? []).map(Number)
      return [red, green, blue, alpha]
    }
    const over = (top: Color, below: Color): Color => {
      const mixed = [0, 1, 2].map((at) => (top[at] ?? 0) * top[3] + (below[at] ?? 0) * (1 - top[3]))
      return [mixed[0] ?? 0, mixed[1] ?? 0, mixed[2] ?? 0, 1]
    }
    const behind = (target: Element | null): Color => {
      if (target === null) return [255, 255, 255, 1]
      const own = read(getComputedStyle(target).backgroundColor)
      return own[3] === 1 ? own : over(own, behind(target.parentElement))
    }
    const luminance = (color: Color): number => {
      const [red = 0, green = 0, blue = 0] = color.slice(0, 3).map((each) => {
        const part = each / 255
        return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
      })
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
    const found = []
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
      const parent = node.parentElement
      const text = node.textContent?.trim() ?? ''
      if (parent === null || text === '' || !parent.checkVisibility() || parent.closest('.hidden')) continue
      const ground = behind(parent)
      const one = luminance(over(read(getComputedStyle(parent).color), ground))
      const other = luminance(ground)
      found.push({ text, ratio: (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05) })
    }
    return found.reduce((lowest, each) => (each.ratio < lowest.ratio ? each : lowest))
  })
}

/** Names of what Tab comes to, in order, until it leaves the page. */
async function focusOrder(page: Page): Promise<string[]> {
  const names: string[] = []
  while (names.length < 40) {
    await page.keyboard.press('Tab')
    const name = await page.evaluate(() => {
      const { activeElement } = document
      if (activeElement === null || activeElement === document.body) return undefined
      return activeElement.id || (activeElement.textContent ?? '').trim()
    })
    if (name === undefined) break
    names.push(name)
  }
  return names
}

describe.skipIf(!hasChromium())('the page', { timeout: 60_000 }, () => {
  const playing = startPlaying()

  test('is used with the keyboard alone, from its first hint to the next', async () => {
    const page = await playing().open()
    expect(await page.locator('#hint').innerText()).toBe('Press Pay.')
    const stories = [
      ...['Just pay', 'Lost reply', 'Double click', 'Crash'],
      ...['Slow server', 'Slow lease', 'Refused connection'],
    ]
    const faults = ['Lose the reply 1', 'Refuse 2', 'Crash mid-charge 3', 'Slow server 4', 'Slow lease 5']
    const code = 'The code in this page'
    const controls = ['reset', 'pay', 'double', ...faults]
    expect(await focusOrder(page)).toEqual([
      ...['Skip to the controls', 'shortcuts', 'theme'],
      ...[...stories, code, code, ...controls],
    ])

    // The skip link leads to Pay, and focus is seen there.
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    const pay = page.locator('#pay')
    expect(await pay.evaluate((button) => button === document.activeElement)).toBe(true)
    expect(await pay.evaluate((button) => getComputedStyle(button).outline)).toContain('solid 3px')
    await page.keyboard.press('Enter')
    await played(page)
    expect(await page.locator('#hint').innerText()).toBe('Now lose the reply and press Pay again.')
    expect(await page.locator('[data-next]').innerText()).toContain('Lose the reply')

    await page.keyboard.press('1')
    expect(await page.locator('.fault[aria-pressed=true]').innerText()).toContain('Lose the reply')
    expect(await page.locator('[data-next]').getAttribute('id')).toBe('pay')
    await page.keyboard.press('p')
    await played(page, 2)
    expect((await shownOn(page, 'without')).score).toBe('Charged 3 times EUR 147.00 too much for 2 orders')
    expect((await shownOn(page, 'with')).score).toBe('Charged 2 times EUR 98.00 for 2 orders')

    // One thing goes wrong at a time, and a second press takes it back.
    await page.keyboard.press('2')
    expect(await page.locator('.fault[aria-pressed=true]').allInnerTexts()).toHaveLength(1)
    await page.keyboard.press('2')
    expect(await page.locator('.fault[aria-pressed=true]').count()).toBe(0)
    await page.keyboard.press('d')
    await played(page, 3)
    expect((await shownOn(page, 'with')).ledgerKeys).toHaveLength(3)
    expect((await shownOn(page, 'without')).ledgerKeys).toHaveLength(5)

    // Another page that opens, or this one after a reload, shows the same.
    await page.reload()
    await expect.poll(async () => (await shownOn(page, 'with')).ledgerKeys.length).toBe(3)

    // Keys of one letter can be switched off (WCAG 2.2, 2.1.4).
    await page.locator('#shortcuts').focus()
    await page.keyboard.press('Space')
    await page.keyboard.press('r')
    await page.keyboard.press('Space')
    expect((await shownOn(page, 'with')).ledgerKeys).toHaveLength(3)
    await page.keyboard.press('r')
    await expect.poll(() => page.locator('.line').count()).toBe(0)
    expect(await page.locator('#hint').innerText()).toBe('Press Pay.')
  })

  test('text has a contrast of 4.5 or more in both themes, at rest and while it works', async () => {
    const page = await playing().open('?scenario=slow-server', { colorScheme: 'dark' })
    const ground = (): Promise<string> => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
    const dark = await ground()
    const theme = page.locator('#theme')
    await page.locator('[data-kind=slow]').first().waitFor()
    for (const state of ['busy', 'idle']) {
      await page.locator(`[data-state=${state}]`).waitFor({ state: 'attached' })
      for (const name of ['dark', 'light']) {
        const { ratio, text } = await lowestContrast(page)
        expect(ratio, `${name}, ${state}: ${text}`).toBeGreaterThanOrEqual(4.5)
        await theme.click()
        expect(await theme.innerText()).toBe(name === 'dark' ? 'Dark' : 'Light')
      }
    }
    expect(await ground()).toBe(dark)
    await theme.click()
    expect(await ground()).not.toBe(dark)
    // The choice outlives the visit, whatever the system prefers.
    await page.reload()
    expect(await theme.innerText()).toBe('Dark')
    expect(await ground()).not.toBe(dark)
  })

  test('nothing is wider than the window, stacked or side by side', async () => {
    const page = await playing().open('?scenario=lost-reply', { viewport: phone })
    await played(page)
    await page.locator('summary').first().click()
    for (const width of [360, phone.width, 768, desktop.width, 1_920]) {
      await page.setViewportSize({ width, height: 844 })
      const { scrollWidth, clientWidth } = await page.evaluate(() => document.documentElement)
      expect(scrollWidth, `at ${width}`).toBe(clientWidth)
      const [without, safe] = await Promise.all(
        ['without', 'with'].map((side) => page.locator(`[data-side=${side}]`).boundingBox()),
      )
      const areStacked = (safe?.y ?? 0) >= (without?.y ?? 0) + (without?.height ?? 0)
      expect(areStacked, `stacked at ${width}`).toBe(width < 800)
      for (const button of await page.locator('.dock button').all()) {
        const box = await button.boundingBox()
        expect((box?.x ?? 0) + (box?.width ?? 0)).toBeLessThanOrEqual(width)
        expect(box?.height).toBeGreaterThanOrEqual(24)
      }
    }
  })

  test('nothing moves for those who ask for that', async () => {
    const page = await playing().open('?scenario=pay')
    await played(page)
    const line = page.locator('.line').first()
    const animation = (): Promise<string> => line.evaluate((each) => getComputedStyle(each).animationName)
    expect(await animation()).toBe('none')
    await page.emulateMedia({ reducedMotion: 'no-preference' })
    expect(await animation()).toBe('arrive')
  })

  /** The status of a request as another site's page, or its name, would send it. */
  async function statusOf(path: string, headers: Record<string, string>, method = 'POST'): Promise<number> {
    return await new Promise((resolve, reject) => {
      const sent = request(`${playing().playground.origin}${path}`, { method, headers, agent: false })
      sent.on('error', reject)
      sent.on('response', (response) => {
        resolve(response.statusCode ?? 0)
        response.destroy()
      })
      sent.end(method === 'POST' ? '{}' : undefined)
    })
  }

  test('its server does nothing for pages of other sites, and gives away no files', async () => {
    const json = { 'content-type': 'application/json' }
    expect(await statusOf('/playground/reset', json)).toBe(204)
    expect(await statusOf('/playground/reset', { 'content-type': 'text/plain' })).toBe(403)
    expect(await statusOf('/playground/reset', { ...json, host: 'rebound.example' })).toBe(403)
    expect(await statusOf('/playground/log', { host: 'rebound.example' }, 'GET')).toBe(403)
    expect(await statusOf('/@fs/etc/hostname', {}, 'GET')).toBe(403)
    expect(await statusOf('/', { host: 'rebound.example' }, 'GET')).toBe(403)
  })
})
