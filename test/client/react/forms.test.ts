/** The hidden field and `useIdempotencyKey`, in a real browser and on a server. */
import { createElement } from 'react'
import { renderToString } from 'react-dom/server'
import { describe, expect, test } from 'vitest'
import { hasChromium } from '../../../scripts/servers/chromium.ts'
import { keyFieldName } from '../../../src/http/form-key.ts'
import { IdempotencyKeyField, useIdempotencyKey } from '../../../src/client/react.ts'
import { PayPage } from './app/pay.ts'
import { useShop, visit } from './visit.ts'

describe('on a server', () => {
  test('the field has the name that the servers read', () => {
    const html = renderToString(createElement(IdempotencyKeyField, { parts: ['pay'] }))
    expect(html).toContain(`name="${keyFieldName}"`)
  })

  test('no key is made, and none is kept', () => {
    const html = renderToString(createElement(IdempotencyKeyField, { parts: ['pay'] }))
    expect(html).toContain('value=""')
    const keys: unknown[] = []
    function Probe(): null {
      keys.push(useIdempotencyKey(['pay', 'cart-1']).key)
      return null
    }
    renderToString(createElement(Probe))
    expect(keys).toEqual([undefined])
  })

  test('a key of the server is rendered', () => {
    const field = createElement(IdempotencyKeyField, { parts: ['pay'], name: 'k', initialKey: 'key-1' })
    expect(renderToString(field)).toContain('name="k" value="key-1"')
  })

  test.each([[{ keepAfterDone: '2d' }], [{ keepAfterDone: -1 }]] as const)(
    'refuses %j',
    ({ keepAfterDone }) => {
      const field = createElement(IdempotencyKeyField, { parts: ['pay'], keepAfterDone })
      expect(() => renderToString(field)).toThrow(/keepAfterDone/)
    },
  )

  test('a mutation is idle', () => {
    const html = renderToString(createElement(PayPage, { cart: 'c', givesUp: false, isTwice: false }))
    expect(html).toContain('<output id="a-status">idle</output>')
  })
})

describe.skipIf(!hasChromium())('in Chromium', () => {
  useShop()

  test('equal parts have one key over components and reloads, other parts and storages another', async () => {
    const { page, text } = await visit('/keys')
    const before = await text('keys')
    const [first, second, other, memory] = JSON.parse(before) as string[]
    expect(second).toBe(first)
    expect(new Set([first, other, memory]).size).toBe(3)
    await page.reload()
    await page.waitForSelector('#keys')
    const after = JSON.parse(await text('keys')) as string[]
    expect(after.slice(0, 3)).toEqual([first, second, other])
    expect(after[3]).not.toBe(memory)
  })

  test('what is stored shows neither ids nor amounts', async () => {
    const { page } = await visit('/keys')
    await page.waitForSelector('#keys')
    const stored = await page.evaluate('JSON.stringify({ ...sessionStorage })')
    expect(stored).toContain('retrysafe-key:')
    expect(stored).not.toMatch(/cart-1|"pay"/)
  })

  test('a page that comes back looks at its keys again', async () => {
    const { page, text } = await visit('/key')
    const key = await text('key')
    // As another page of the tab ends it while this one is put away.
    await page.evaluate('sessionStorage.clear(); dispatchEvent(new Event("pageshow"))')
    await expect.poll(() => text('key')).not.toBe(key)
  })

  test('a reader who forbids storage has keys in memory', async () => {
    const { page, context, origin, charges } = await visit('/elsewhere')
    const forbid =
      "Object.defineProperty(window, 'sessionStorage', { get() { throw new DOMException('no', 'SecurityError') } })"
    await context.addInitScript(forbid)
    await page.goto(`${origin}/pay`)
    await page.dblclick('#a-pay')
    await expect.poll(() => page.textContent('#a-status')).toBe('success')
    await page.goto(`${origin}/key`)
    await expect.poll(() => page.textContent('#key')).toMatch(/^[\da-f-]{36}$/)
    expect(charges).toEqual([100])
  })

  test('done repeats the key, renew ends it', async () => {
    const { page, charges, text, shows } = await visit('/key')
    const key = await text('key')
    await page.click('#pay')
    await shows('status', 'success')
    await page.click('#pay')
    await shows('status', 'success')
    expect(await text('key')).toBe(key)
    expect(charges).toEqual([100])
    await page.click('#renew')
    expect(await text('key')).not.toBe(key)
    await page.click('#pay')
    await expect.poll(() => charges).toEqual([100, 100])
  })

  test('without keepAfterDone done ends the key on the page', async () => {
    const { page, charges, text, shows } = await visit('/key?keep=0')
    const key = await text('key')
    await page.click('#pay')
    await shows('status', 'success')
    await expect.poll(() => text('key')).not.toBe(key)
    expect(charges).toEqual([100])
  })

  test('the key changes on the page when its time is over', async () => {
    const { page, text } = await visit('/key?keep=300')
    const key = await text('key')
    await page.click('#pay')
    await expect.poll(() => text('key')).not.toBe(key)
    const kept = await text('key')
    await page.reload()
    await expect.poll(() => text('key')).toBe(kept)
  })

  test.each(['session', 'memory'])('in %s each of 120 rows on a page keeps its key', async (storage) => {
    const { page, shows, complaints } = await visit(`/rows?storage=${storage}`)
    const keys = (): Promise<string[]> => page.locator('#rows li').allTextContents()
    await shows('renders', '1')
    await expect.poll(async () => new Set(await keys()).size).toBe(120)
    const before = await keys()
    await page.click('#again')
    await shows('renders', '2')
    expect(await keys()).toEqual(before)
    expect(complaints).toEqual([])
  })

  test('a key of the server is for one order: the next one has another, by renew and by time', async () => {
    const { page, text, shows } = await visit('/given-key')
    await shows('key', 'key-1')
    await page.click('#renew')
    await expect.poll(() => text('key')).toMatch(/^[\da-f-]{36}$/)
    const second = await text('key')
    await page.click('#done')
    await expect.poll(() => text('key')).not.toBe(second)
    expect(await text('key')).toMatch(/^[\da-f-]{36}$/)
  })

  test('an end that comes late is none of the key that came after', async () => {
    const { page, text, shows } = await visit('/given-key')
    await shows('key', 'key-1')
    await page.click('#renew')
    await expect.poll(() => text('key')).not.toBe('key-1')
    const second = await text('key')
    await page.click('#late')
    expect(await page.evaluate('Object.values({ ...sessionStorage }).join()')).not.toContain('"until"')
    expect(await text('key')).toBe(second)
  })

  test('a plain form that is sent twice is one charge, and so is the back button', async () => {
    const { page, charges } = await visit('/plain-form')
    await page.dblclick('#pay')
    // The second click ends the navigation of the first, which is an error to who waits for that.
    await page.waitForSelector('#elsewhere')
    await page.goBack()
    await page.click('#pay')
    await page.waitForURL('**/thanks')
    expect(charges).toEqual([100])
  })

  test('a plain form that is loaded again in mid-flight sends the same key', async () => {
    const { page, charges, holdAnswers, origin } = await visit('/plain-form')
    const release = holdAnswers()
    await page.click('#pay', { noWaitAfter: true })
    await expect.poll(() => charges).toEqual([100])
    await page.goto(`${origin}/plain-form`)
    release()
    await page.click('#pay')
    await page.waitForURL('**/thanks')
    expect(charges).toEqual([100])
  })

  test('a form of a server action: one charge for a double click, and another key after the end', async () => {
    const { page, charges, shows, complaints } = await visit('/action-form')
    const field = page.locator('input[name="idempotency-key"]')
    const key = await field.inputValue()
    await page.dblclick('#pay')
    await shows('charge', '1')
    await expect.poll(() => field.inputValue()).not.toBe(key)
    expect(charges).toEqual([100])
    await page.fill('#amount', '200')
    await page.click('#pay')
    await shows('charge', '2')
    expect(charges).toEqual([100, 200])
    expect(complaints).toEqual([])
  })

  test('an action whose answer is lost is sent again with its key', async () => {
    const { page, charges, proxy, shows, complaints } = await visit('/action-form')
    const key = await page.locator('input[name="idempotency-key"]').inputValue()
    proxy.cutOn('POST /action', 'after', 2)
    await page.click('#pay')
    // The action has thrown.
    await expect.poll(() => complaints.join()).toContain('Failed to fetch')
    proxy.disarm()
    await page.reload()
    expect(await page.locator('input[name="idempotency-key"]').inputValue()).toBe(key)
    await page.click('#pay')
    await shows('charge', '1')
    expect(charges).toEqual([100])
  })

  test('what the server rendered is taken over without a complaint, and then has a key', async () => {
    const { page, charges, complaints } = await visit('/rendered')
    const field = page.locator('input[name="idempotency-key"]')
    await expect.poll(() => field.inputValue()).toMatch(/^[\da-f-]{36}$/)
    await page.click('#pay')
    await page.waitForURL('**/thanks')
    expect(charges).toEqual([100])
    expect(complaints).toEqual([])
  })

  test('a key of the server is on the page from the start, and gives way to one that is kept', async () => {
    const { page, origin, complaints } = await visit('/rendered-with-key?key=key-1')
    const field = page.locator('input[name="idempotency-key"]')
    expect(await field.inputValue()).toBe('key-1')
    await expect.poll(() => page.evaluate('JSON.stringify({ ...sessionStorage })')).toContain('key-1')
    await page.goto(`${origin}/rendered-with-key?key=key-2`)
    await expect.poll(() => field.inputValue()).toBe('key-1')
    expect(complaints).toEqual([])
  })

  test('a form that is sent before React has taken over is refused, and not charged without a key', async () => {
    const { page, charges, context, origin } = await visit('/elsewhere')
    await context.route('**/main.js', (route) => route.abort())
    await page.goto(`${origin}/rendered`)
    const [answer] = await Promise.all([page.waitForResponse('**/form'), page.click('#pay')])
    expect(answer.status()).toBe(400)
    expect(charges).toEqual([])
  })
})
