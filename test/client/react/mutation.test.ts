/** `useIdempotentMutation` in a real browser, against a real server that counts charges. */
import { describe, expect, test } from 'vitest'
import { hasChromium } from '../../../scripts/servers/chromium.ts'
import { useShop, visit } from './visit.ts'

describe.skipIf(!hasChromium())('useIdempotentMutation in Chromium', () => {
  useShop()

  test('a double click is one charge, in StrictMode', async () => {
    const { page, charges, shows, complaints } = await visit('/pay')
    await page.dblclick('#a-pay')
    await shows('a-status', 'success')
    expect(charges).toEqual([100])
    expect(complaints).toEqual([])
  })

  test('clicks while a call is under way join it, in both components that mean the same', async () => {
    const { page, charges, holdAnswers, shows, text } = await visit('/pay?twice')
    const release = holdAnswers()
    const sent: string[] = []
    page.on('request', (request) => request.method() === 'POST' && sent.push(request.url()))
    await page.click('#a-pay')
    await page.click('#a-pay')
    await page.click('#b-pay')
    await shows('b-status', 'pending')
    release()
    await shows('a-status', 'success')
    await shows('b-status', 'success')
    expect(await text('a-charge')).toBe(await text('b-charge'))
    expect(charges).toEqual([100])
    expect(sent).toHaveLength(1)
  })

  test('a click after the end is a replay, until the page says that it is a new order', async () => {
    const { page, charges, shows } = await visit('/pay')
    await page.click('#a-pay')
    await shows('a-status', 'success')
    await shows('a-replayed', 'false')
    await page.click('#a-pay')
    await shows('a-replayed', 'true')
    await shows('a-charge', '1')
    await page.click('#a-renew')
    await shows('a-status', 'idle')
    await page.click('#a-pay')
    await shows('a-charge', '2')
    expect(charges).toEqual([100, 100])
  })

  test('with keepAfterDone 0 a click after the end is another charge', async () => {
    const { page, charges, shows } = await visit('/pay?keep=0')
    await page.click('#a-pay')
    await shows('a-charge', '1')
    await page.click('#a-pay')
    await shows('a-charge', '2')
    expect(charges).toEqual([100, 100])
  })

  test('an edited amount is another charge, and the first amount is still the first charge', async () => {
    const { page, charges, shows } = await visit('/pay')
    await page.click('#a-pay')
    await shows('a-charge', '1')
    await page.fill('#a-amount', '200')
    await page.click('#a-pay')
    await shows('a-charge', '2')
    await page.fill('#a-amount', '100')
    await page.click('#a-pay')
    await shows('a-charge', '1')
    await shows('a-replayed', 'true')
    expect(charges).toEqual([100, 200])
  })

  test('a refresh in mid-flight is one charge', async () => {
    const { page, charges, holdAnswers, shows } = await visit('/pay')
    const release = holdAnswers()
    await page.click('#a-pay')
    await expect.poll(() => charges).toEqual([100])
    await page.reload()
    await shows('a-status', 'idle')
    await page.click('#a-pay')
    release()
    await shows('a-status', 'success')
    await shows('a-replayed', 'true')
    expect(charges).toEqual([100])
  })

  test.each([
    ['in mid-flight', true],
    ['after the end', false],
  ])('the back button %s is one charge', async (_when, isHeld) => {
    const { page, charges, holdAnswers, shows, origin } = await visit('/pay')
    const release = holdAnswers()
    await page.click('#a-pay')
    await expect.poll(() => charges).toEqual([100])
    if (!isHeld) {
      release()
      await shows('a-status', 'success')
    }
    await page.goto(`${origin}/elsewhere`)
    await page.waitForSelector('#elsewhere')
    await page.goBack()
    await page.click('#a-pay')
    release()
    await shows('a-status', 'success')
    await shows('a-charge', '1')
    expect(charges).toEqual([100])
  })

  test('unmounted in mid-flight the call goes on, and a component that comes back joins it', async () => {
    const { page, charges, holdAnswers, shows, complaints } = await visit('/pay')
    const release = holdAnswers()
    await page.click('#a-pay')
    await expect.poll(() => charges).toEqual([100])
    await page.click('#toggle')
    await page.waitForSelector('#a-pay', { state: 'detached' })
    await page.click('#toggle')
    await shows('a-status', 'idle')
    await page.click('#a-pay')
    await shows('a-status', 'pending')
    release()
    await shows('a-status', 'success')
    await shows('a-replayed', 'false')
    expect(charges).toEqual([100])
    expect(complaints).toEqual([])
  })

  test('an end that came while nothing was mounted has ended its key', async () => {
    const { page, charges, holdAnswers, shows } = await visit('/pay?keep=0')
    const release = holdAnswers()
    await page.click('#a-pay')
    await expect.poll(() => charges).toEqual([100])
    await page.click('#toggle')
    release()
    await expect
      .poll(() => page.evaluate('Object.values({ ...sessionStorage }).join()'))
      .not.toContain('"key"')
    await page.click('#toggle')
    await page.click('#a-pay')
    await shows('a-charge', '2')
    expect(charges).toEqual([100, 100])
  })

  test('lost answers are asked for again with the same key', async () => {
    const { page, charges, proxy, shows } = await visit('/pay')
    proxy.cutOn('POST /charges', 'after', 2)
    await page.click('#a-pay')
    await shows('a-status', 'success')
    await shows('a-replayed', 'true')
    expect(proxy.counts.cutAfter).toBe(2)
    expect(charges).toEqual([100])
  })

  test('an unknown outcome is shown as such, and asking again tells it', async () => {
    const { page, charges, proxy, shows, text } = await visit('/pay?gives-up')
    // Chromium itself sends once more what it sent on a connection that it had used before.
    proxy.cutOn('POST /charges', 'after', 2)
    await page.click('#a-pay')
    await shows('a-status', 'unknown')
    proxy.disarm()
    expect(await text('a-error')).toContain('Nobody knows')
    await page.click('#a-retry')
    await shows('a-status', 'success')
    await shows('a-charge', '1')
    expect(charges).toEqual([100])
  })

  test('an unknown outcome keeps its key over a reload', async () => {
    const { page, charges, proxy, shows } = await visit('/pay?gives-up')
    // Chromium itself sends once more what it sent on a connection that it had used before.
    proxy.cutOn('POST /charges', 'after', 2)
    await page.click('#a-pay')
    await shows('a-status', 'unknown')
    proxy.disarm()
    await page.reload()
    await page.click('#a-pay')
    await shows('a-status', 'success')
    expect(charges).toEqual([100])
  })

  test('a definite no ends the key: the next press is another try', async () => {
    const { page, charges, shows } = await visit('/pay')
    await page.fill('#a-amount', '13')
    await page.click('#a-pay')
    await shows('a-error', 'status 402')
    await shows('a-status', 'error')
    await page.click('#a-pay')
    await expect.poll(() => charges).toEqual([0, 0])
  })

  test('an action shows that it is pending, and ends with the call', async () => {
    const { page, charges, holdAnswers, shows, complaints } = await visit('/pay')
    const release = holdAnswers()
    await page.click('#a-act')
    await shows('a-acting', 'true')
    await shows('a-status', 'pending')
    await page.click('#a-act')
    release()
    await shows('a-acting', 'false')
    await shows('a-status', 'success')
    expect(charges).toEqual([100])
    expect(complaints).toEqual([])
  })

  test('two tabs are two intents: the keys of one tab are its own', async () => {
    const { page, context, origin, charges, shows } = await visit('/pay')
    const second = await context.newPage()
    await second.goto(`${origin}/pay`)
    await page.click('#a-pay')
    await shows('a-status', 'success')
    await second.click('#a-pay')
    await expect.poll(() => second.textContent('#a-status')).toBe('success')
    expect(charges).toEqual([100, 100])
  })

  test('a tab that was duplicated goes on with the key', async () => {
    const { page, charges, holdAnswers, shows, context } = await visit('/pay')
    const release = holdAnswers()
    await page.click('#a-pay')
    await expect.poll(() => charges).toEqual([100])
    // A window that a page opens begins with a copy of its storage, as a duplicated tab does.
    const [second] = await Promise.all([
      context.waitForEvent('page'),
      page.evaluate('void window.open(location.href)'),
    ])
    await second.click('#a-pay')
    release()
    await shows('a-status', 'success')
    await expect.poll(() => second.textContent('#a-status')).toBe('success')
    expect(charges).toEqual([100])
  })
})
