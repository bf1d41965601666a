/** The field and the mutation in an app of Next.js, built by `next build`, in a real browser. */
import { randomUUID } from 'node:crypto'
import type { BrowserContextOptions } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { hasChromium } from '../../../scripts/servers/chromium.ts'
import { type FaultProxy, startFaultProxy } from '../../../src/verification/fault-proxy.ts'
import { type AppCommand, buildApp, type RunningApp, serveApp } from '../../http/apps/app.ts'
import { open, useBrowser, type Visit } from './visit.ts'

const uuid = /^[\da-f-]{36}$/

function next(...args: string[]): AppCommand {
  return { program: 'next/dist/bin/next', args, app: 'next', env: { OUTPUT: '.scratch/react' } }
}

interface ShopVisit extends Pick<Visit, 'page' | 'context' | 'complaints' | 'shows'> {
  /** Between the browser and the shop. */
  readonly proxy: FaultProxy
  /** Of another page for the same cart. */
  address(path: string): string
  /** How many requests of actions and mutations were answered. */
  answered(): number
  /** Value of the hidden field. */
  key(): Promise<string>
  /** How often the cart was ordered. */
  orders(): Promise<number>
  /** Waits until the page is React's. */
  takenOver(): Promise<void>
  /** Orders, and loads the page again while the answer waits, until the returned function is called. */
  loadAgainInFlight(): Promise<() => Promise<void>>
  /** Makes the answers for the cart wait, from after the order on, until the returned function is called. */
  holdAnswers(): Promise<() => Promise<void>>
}

let app: RunningApp

/** Opens a page of the shop with a cart of its own. */
async function visit(path: string, options?: BrowserContextOptions): Promise<ShopVisit> {
  const { port, origin } = app
  const proxy = await startFaultProxy({ target: { port } })
  onTestFinished(() => proxy.close())
  const cart = randomUUID()
  const address = (of: string): string => `${of}${of.includes('?') ? '&' : '?'}cart=${cart}`
  const visited = await open(`http://127.0.0.1:${proxy.port}`, address(path), options)
  const field = visited.page.locator('input[name="idempotency-key"]')
  const answers = async (method: 'POST' | 'DELETE'): Promise<void> => {
    await (await fetch(`${origin}/shop/answers/${cart}`, { method })).arrayBuffer()
  }
  let answered = 0
  visited.page.on('response', (response) => {
    if (response.request().method() === 'POST') answered += 1
  })
  const takenOver = (): Promise<void> => visited.shows('taken-over', 'true')
  if (options?.javaScriptEnabled !== false) await takenOver()
  const orders = async (): Promise<number> => {
    const runs = (await (await fetch(`${origin}/runs`)).json()) as Record<string, number>
    return runs[`order ${cart}`] ?? 0
  }
  const holdAnswers = async (): Promise<() => Promise<void>> => {
    await answers('POST')
    onTestFinished(() => answers('DELETE'))
    return () => answers('DELETE')
  }
  return {
    ...{ ...visited, proxy, takenOver, orders, holdAnswers },
    address: (of) => visited.origin + address(of),
    answered: () => answered,
    key: () => field.inputValue(),
    async loadAgainInFlight() {
      const release = await holdAnswers()
      await visited.page.click('#order')
      await expect.poll(orders).toBe(1)
      await visited.page.reload()
      await takenOver()
      return release
    },
  }
}

/** Long enough that no key ends while a test runs. */
const keep = 'keep=60000'

describe.skipIf(!hasChromium())('in an app of Next.js, in Chromium', () => {
  useBrowser()

  describe('as next build made it', built)
  describe('in development, in StrictMode', { timeout: 120_000 }, developed)
})

function built(): void {
  beforeAll(async () => {
    await buildApp(next('build'))
    app = await serveApp(next('start', '--hostname', '127.0.0.1'))
  }, 300_000)
  afterAll(() => app?.close())

  describe('a form of a server action', () => {
    test('a double click is one order, and nobody complains', async () => {
      const { page, orders, answered, key, shows, complaints } = await visit(`/shop/form?${keep}`)
      expect(await key()).toMatch(uuid)
      await page.dblclick('#order')
      await expect.poll(answered).toBe(2)
      await page.click('#order')
      await expect.poll(answered).toBe(3)
      await shows('ended', '{"order":1}')
      expect(await orders()).toBe(1)
      expect(complaints).toEqual([])
    })

    test('the key that the server made is kept and sent', async () => {
      const { page, orders, key, shows, takenOver } = await visit('/shop/form')
      // As in a tab that has not been here.
      await page.evaluate('sessionStorage.clear()')
      const html = await (await page.reload())?.text()
      await takenOver()
      const first = await key()
      expect(html).toContain(`value="${first}"`)
      const [request] = await Promise.all([
        page.waitForRequest((sent) => sent.method() === 'POST'),
        page.click('#order'),
      ])
      expect(request.postData()).toContain(first)
      await shows('ended', '{"order":1}')
      expect(await orders()).toBe(1)
    })

    test('after the end the form has another key: a second order is one', async () => {
      const { page, orders, key, shows, complaints } = await visit('/shop/form')
      const first = await key()
      await page.click('#order')
      await shows('ended', '{"order":1}')
      await expect.poll(key).not.toBe(first)
      await page.click('#order')
      await shows('ended', '{"order":2}')
      expect(await orders()).toBe(2)
      expect(complaints).toEqual([])
    })

    test('loaded again in mid-flight, it sends the same key', async () => {
      const { page, orders, key, shows, loadAgainInFlight, complaints } = await visit(`/shop/form?${keep}`)
      const first = await key()
      const release = await loadAgainInFlight()
      expect(await key()).toBe(first)
      await page.click('#order')
      await release()
      await shows('ended', '{"order":1}')
      expect(await orders()).toBe(1)
      expect(complaints).toEqual([])
    })

    test('a refusal while the first order is under way ends no key', async () => {
      const { page, orders, key, shows, loadAgainInFlight } = await visit('/shop/form?keep=0')
      const first = await key()
      const release = await loadAgainInFlight()
      expect(await key()).toBe(first)
      await page.fill('#amount', '200')
      await page.click('#order')
      await shows('ended', '{"refused":"key-reused"}')
      expect(await key()).toBe(first)
      await page.fill('#amount', '100')
      await page.click('#order')
      await release()
      await shows('ended', '{"order":1}')
      await expect.poll(key).not.toBe(first)
      expect(await orders()).toBe(1)
    })

    test('an answer that is lost is asked for under the same key', async () => {
      const { page, orders, key, shows, proxy } = await visit(`/shop/form?${keep}`)
      const first = await key()
      // The browser itself tries a few times.
      proxy.cutOn('POST /shop/form', 'after', 10)
      await page.click('#order')
      await page.waitForSelector('#again')
      proxy.disarm()
      await page.click('#again')
      await expect.poll(key).toBe(first)
      await page.click('#order')
      await shows('ended', '{"order":1}')
      expect(await orders()).toBe(1)
    })

    test('the back button after another document is the same order', async () => {
      const { page, orders, key, shows, address, takenOver, complaints } = await visit(`/shop/form?${keep}`)
      const first = await key()
      await page.click('#order')
      await shows('ended', '{"order":1}')
      await page.goto(address('/shop/thanks'))
      await page.goBack()
      await takenOver()
      expect(await key()).toBe(first)
      await page.click('#order')
      await shows('ended', '{"order":1}')
      expect(await orders()).toBe(1)
      expect(complaints).toEqual([])
    })

    test('the back button after a link is the same order, also in mid-flight', async () => {
      const { page, orders, key, shows, holdAnswers, takenOver, complaints } = await visit(
        `/shop/form?${keep}`,
      )
      const first = await key()
      const release = await holdAnswers()
      await page.click('#order')
      await expect.poll(orders).toBe(1)
      await page.click('#leave')
      await release()
      await page.waitForSelector('#thanks', { state: 'attached' })
      await page.goBack()
      await takenOver()
      expect(await key()).toBe(first)
      await page.click('#order')
      await shows('ended', '{"order":1}')
      expect(await orders()).toBe(1)
      expect(complaints).toEqual([])
    })
  })

  describe('a form that leads to another page', () => {
    test('the back button is the same order, until the page that thanks begins another', async () => {
      const { page, orders, key, takenOver, complaints } = await visit('/shop/plain')
      const first = await key()
      await page.dblclick('#order')
      await expect.poll(() => page.textContent('#thanks')).toBe('1')
      await page.goBack()
      await takenOver()
      expect(await key()).toBe(first)
      await page.click('#order')
      await page.waitForURL('**/shop/thanks**')
      expect(await orders()).toBe(1)
      await page.click('#again')
      await page.waitForURL('**/shop/plain**')
      await expect.poll(key).not.toBe(first)
      await page.click('#order')
      await expect.poll(() => page.textContent('#thanks')).toBe('2')
      expect(await orders()).toBe(2)
      expect(complaints).toEqual([])
    })
  })

  describe('without scripts', () => {
    const withoutScripts = { javaScriptEnabled: false }

    test('a double click, and an answer that is loaded again, are one order', async () => {
      const { page, orders, key } = await visit(`/shop/form?${keep}`, withoutScripts)
      expect(await key()).toMatch(uuid)
      await page.dblclick('#order')
      await expect.poll(() => page.textContent('#ended')).toBe('{"order":1}')
      await page.reload()
      await expect.poll(() => page.textContent('#ended')).toBe('{"order":1}')
      expect(await orders()).toBe(1)
    })

    test('a form that is sent again by the back button is one order with the key of the cart', async () => {
      const { page, orders, key } = await visit('/shop/plain', withoutScripts)
      const first = await key()
      await page.click('#order')
      await expect.poll(() => page.textContent('#thanks')).toBe('1')
      await page.goBack()
      expect(await key()).toBe(first)
      await page.click('#order')
      await page.waitForURL('**/shop/thanks**')
      expect(await page.textContent('#thanks')).toBe('1')
      expect(await orders()).toBe(1)
    })
  })

  test('a form that is sent before React has taken over is one order, and its end is taken over', async () => {
    const { page, context, orders, shows, takenOver, complaints } = await visit('/shop/form')
    await page.evaluate('sessionStorage.clear()')
    await context.route('**/*.js', (route) => route.abort())
    await page.reload()
    await page.dblclick('#order')
    await shows('ended', '{"order":1}')
    await context.unroute('**/*.js')
    // Sends the form again, as a reader who loads its answer anew.
    await page.reload()
    await takenOver()
    await shows('ended', '{"order":1}')
    expect(await orders()).toBe(1)
    expect(complaints).toEqual([])
  })

  test('a form that is sent in mid-flight, before React has taken over, is one order with the key of the cart', async () => {
    const { page, context, orders, holdAnswers } = await visit('/shop/plain')
    const release = await holdAnswers()
    await page.click('#order')
    await expect.poll(orders).toBe(1)
    await context.route('**/*.js', (route) => route.abort())
    await page.reload()
    await page.click('#order', { noWaitAfter: true })
    await release()
    await expect.poll(() => page.textContent('#thanks')).toBe('1')
    expect(await orders()).toBe(1)
  })

  describe('a mutation that calls a route handler', () => {
    test('a double click is one order', async () => {
      const { page, orders, shows, complaints } = await visit('/shop/button')
      await page.dblclick('#order')
      await shows('status', 'success')
      await page.click('#order')
      await shows('replayed', 'true')
      await shows('number', '1')
      expect(await orders()).toBe(1)
      expect(complaints).toEqual([])
    })

    test('loaded again in mid-flight, it gets the answer of the first call', async () => {
      const { page, orders, shows, loadAgainInFlight, complaints } = await visit('/shop/button')
      const release = await loadAgainInFlight()
      await page.click('#order')
      await shows('status', 'pending')
      await release()
      await shows('replayed', 'true')
      await shows('number', '1')
      expect(await orders()).toBe(1)
      expect(complaints).toEqual([])
    })

    test('the back button repeats the order, and a new order is one', async () => {
      const { page, orders, shows, address, takenOver, complaints } = await visit('/shop/button')
      await page.click('#order')
      await shows('number', '1')
      await page.goto(address('/shop/thanks'))
      await page.goBack()
      await takenOver()
      await page.click('#order')
      await shows('replayed', 'true')
      await page.click('#renew')
      await shows('status', 'idle')
      await page.click('#order')
      await shows('number', '2')
      expect(await orders()).toBe(2)
      expect(complaints).toEqual([])
    })
  })
}

function developed(): void {
  beforeAll(async () => {
    app = await serveApp({ ...next('dev', '--hostname', '127.0.0.1'), endedBy: 'SIGTERM' })
  }, 120_000)
  afterAll(() => app?.close())

  test('a form of a server action is one order for a double click, and React has no complaint', async () => {
    const { page, orders, answered, shows, complaints } = await visit(`/shop/form?${keep}`)
    await page.dblclick('#order')
    await expect.poll(answered).toBe(2)
    await page.reload()
    await shows('taken-over', 'true')
    await page.click('#order')
    await shows('ended', '{"order":1}')
    expect(await orders()).toBe(1)
    expect(complaints).toEqual([])
  })

  test('a mutation is one order for a double click, and React has no complaint', async () => {
    const { page, orders, shows, complaints } = await visit('/shop/button')
    await page.dblclick('#order')
    await shows('number', '1')
    expect(await orders()).toBe(1)
    expect(complaints).toEqual([])
  })
}
