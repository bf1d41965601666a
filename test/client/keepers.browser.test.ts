/** Keepers of browsers in a real Chromium: pages that are loaded again, closed and opened twice while they pay. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { hasChromium, launchChromium, launchChromiumOn } from '../../scripts/servers/chromium.ts'
import {
  KeeperError,
  type KeeperOptions,
  type KeptCall,
  type KeyKeeper,
} from '../../src/client/keepers/index.ts'
import { type Charges, keysOf } from './charges.ts'
import { aCall, keeperConformance } from './keeper-conformance.ts'
import { builtPage, startShop } from './page.ts'
import type { BrowserKeeper, Lent, LentAnswer } from './page/main.ts'

const available = hasChromium()
const kinds = ['session', 'local', 'indexed-db'] as const

let browser: Browser
let script: string

beforeAll(async () => {
  if (available) [browser, script] = await Promise.all([launchChromium(), builtPage()])
})
afterAll(() => browser?.close())

async function newContext(): Promise<BrowserContext> {
  const context = await browser.newContext()
  onTestFinished(() => context.close())
  return context
}

interface Shop extends Charges {
  /** Lets the server answer what it has got. */
  readonly answer: () => void
}

/** A shop whose server holds each charge until it is told to answer. */
async function slowShop(): Promise<Shop> {
  const charges = await startShop(script)
  const gate = Promise.withResolvers<void>()
  charges.beforeEffect = () => gate.promise
  onTestFinished(() => gate.resolve())
  return Object.assign(charges, { answer: () => gate.resolve() })
}

async function visit(context: BrowserContext, { origin }: Charges, query: string): Promise<Page> {
  const page = await context.newPage()
  await page.goto(`${origin}/?${query}`)
  return page
}

const said = (page: Page, text: string | RegExp): Promise<void> =>
  expect.poll(() => page.textContent('output')).toMatch(text)
const arrived = ({ arrivals }: Charges, count: number): Promise<void> =>
  expect.poll(() => arrivals.length).toBeGreaterThanOrEqual(count)

function expectOneCharge(shop: Charges): void {
  expect(shop.effects).toHaveLength(1)
  expect(keysOf(shop)).toHaveLength(1)
  expect(new Set(shop.arrivals.map(({ octets }) => octets.toString('hex'))).size).toBe(1)
}

describe.skipIf(!available).each(kinds)('%s', (kind) => {
  test('a page that is loaded again in mid-request: one charge', async () => {
    const shop = await slowShop()
    const page = await visit(await newContext(), shop, `keeper=${kind}`)
    await said(page, /^resumed/)
    await page.click('button')
    await arrived(shop, 1)
    await page.reload()
    await arrived(shop, 2)
    shop.answer()
    await said(page, 'resumed: paid 1')
    expectOneCharge(shop)
    await page.reload()
    await said(page, /^resumed: $/)
  })

  test('loaded again, and pressed again before anything was resumed: one charge', async () => {
    const shop = await slowShop()
    const page = await visit(await newContext(), shop, `keeper=${kind}&waits`)
    await page.click('button')
    await arrived(shop, 1)
    await page.reload()
    await page.click('button')
    await arrived(shop, 2)
    shop.answer()
    await said(page, 'paid 1')
    expectOneCharge(shop)
  })

  test('a double click: one request', async () => {
    const shop = await slowShop()
    const page = await visit(await newContext(), shop, `keeper=${kind}&waits`)
    await page.dblclick('button')
    await arrived(shop, 1)
    shop.answer()
    await said(page, 'paid 1')
    expect(shop.arrivals).toHaveLength(1)
  })

  test('an edited form after a lost page: a new key', async () => {
    const shop = await slowShop()
    const page = await visit(await newContext(), shop, `keeper=${kind}&waits`)
    await page.click('button')
    await arrived(shop, 1)
    await page.reload()
    await page.fill('input', '200')
    await page.click('button')
    await arrived(shop, 2)
    shop.answer()
    await said(page, /^paid/)
    expect(keysOf(shop)).toHaveLength(2)
  })

  test('the back button after it was paid: the stored answer, with keepAfterDone', async () => {
    const shop = await slowShop()
    shop.answer()
    const page = await visit(await newContext(), shop, `keeper=${kind}&waits&keepAfterDone=1m`)
    await page.click('button')
    await said(page, 'paid 1')
    await page.goto('about:blank')
    await page.goBack()
    await page.click('button')
    await said(page, 'paid 1')
    await arrived(shop, 2)
    expectOneCharge(shop)
  })
})

describe.skipIf(!available)('tabs that share a keeper', () => {
  test('two that press at once: one key, one charge, and one of them sends at a time', async () => {
    const shop = await slowShop()
    const context = await newContext()
    const query = 'keeper=indexed-db&waits'
    const [one, two] = [await visit(context, shop, query), await visit(context, shop, query)]
    await Promise.all([one.click('button'), two.click('button')])
    await arrived(shop, 1)
    // Until the first has its answer, the second waits in line.
    await expect.poll(async () => await waitingIn(one)).toBe(1)
    expect(shop.arrivals).toHaveLength(1)
    shop.answer()
    await said(one, 'paid 1')
    await said(two, 'paid 1')
    expectOneCharge(shop)
  })

  test('an edited form in the other tab is a new key, and waits for nobody', async () => {
    const shop = await slowShop()
    const context = await newContext()
    const query = 'keeper=indexed-db&waits'
    const [one, two] = [await visit(context, shop, query), await visit(context, shop, query)]
    await one.click('button')
    await arrived(shop, 1)
    await two.fill('input', '200')
    await two.click('button')
    await arrived(shop, 2)
    shop.answer()
    await said(one, /^paid/)
    await said(two, /^paid/)
    expect(keysOf(shop)).toHaveLength(2)
  })

  test('one that is closed in mid-request lets the other send', async () => {
    const shop = await slowShop()
    const context = await newContext()
    const query = 'keeper=indexed-db&waits'
    const [one, two] = [await visit(context, shop, query), await visit(context, shop, query)]
    await one.click('button')
    await arrived(shop, 1)
    await two.click('button')
    await expect.poll(async () => await waitingIn(two)).toBe(1)
    await one.close()
    await arrived(shop, 2)
    shop.answer()
    await said(two, 'paid 1')
    expectOneCharge(shop)
  })

  test('the first is turned away, and the one in line loses its answer: one charge', async () => {
    const shop = await slowShop()
    const context = await newContext()
    const query = 'keeper=indexed-db&waits&retries=0'
    const [one, two] = [await visit(context, shop, query), await visit(context, shop, query)]
    const [sent, turnedAway] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    await one.route('**/charges', async (route) => {
      sent.resolve()
      await turnedAway.promise
      await route.fulfill({ status: 429 })
    })
    shop.answer()
    // Not by the server: Chromium sends once more by itself what a connection that was used before has lost.
    await two.route('**/charges', async (route) => {
      await route.fetch()
      await route.abort('connectionreset')
    })
    await one.click('button')
    await sent.promise
    await two.click('button')
    await expect.poll(async () => await waitingIn(two)).toBe(1)
    turnedAway.resolve()
    await said(two, /^UnknownOutcomeError/)
    expect(shop.effects).toHaveLength(1)
    await one.unroute('**/charges')
    await one.reload()
    await one.click('button')
    await said(one, 'paid 1')
    expectOneCharge(shop)
  })

  test.each(['local', 'indexed-db'])(
    '%s: closed in mid-request, and the shop opened anew: one charge',
    async (kind) => {
      const shop = await slowShop()
      const context = await newContext()
      const page = await visit(context, shop, `keeper=${kind}`)
      await said(page, /^resumed/)
      await page.click('button')
      await arrived(shop, 1)
      await page.close()
      const anew = await visit(context, shop, `keeper=${kind}`)
      await arrived(shop, 2)
      shop.answer()
      await said(anew, 'resumed: paid 1')
      expectOneCharge(shop)
    },
  )

  test('a late tab gets the stored answer, with keepAfterDone', async () => {
    const shop = await slowShop()
    shop.answer()
    const context = await newContext()
    const query = 'keeper=indexed-db&waits&keepAfterDone=1m'
    const [one, two] = [await visit(context, shop, query), await visit(context, shop, query)]
    for (const page of [one, two]) {
      await page.click('button')
      await said(page, 'paid 1')
    }
    expectOneCharge(shop)
  })

  test('a crashed renderer: one charge', async () => {
    const shop = await slowShop()
    const context = await newContext()
    const page = await visit(context, shop, 'keeper=indexed-db')
    await said(page, /^resumed/)
    await page.click('button')
    await arrived(shop, 1)
    const crashed = page.waitForEvent('crash')
    page.goto('chrome://crash').catch(() => {})
    await crashed
    const anew = await visit(context, shop, 'keeper=indexed-db')
    await arrived(shop, 2)
    shop.answer()
    await said(anew, 'resumed: paid 1')
    expectOneCharge(shop)
  })
})

/** Callers that wait for a Web Lock. */
async function waitingIn(page: Page): Promise<number> {
  return await page.evaluate('navigator.locks.query().then(({ pending }) => pending.length)')
}

describe.skipIf(!available)('a browser that is killed', () => {
  test('and started anew on its profile has the call, as soon as it was sent: one charge', async () => {
    const shop = await slowShop()
    const profile = mkdtempSync(join(tmpdir(), 'retrysafe-profile-'))
    onTestFinished(() => rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }))
    const first = await launchChromiumOn(profile)
    const page = await visit(first, shop, 'keeper=indexed-db&waits')
    await page.click('button')
    await arrived(shop, 1)
    const session = await first.newCDPSession(page)
    const closed = new Promise((resolve) => first.once('close', resolve))
    session.send('Browser.crash').catch(() => {})
    await closed
    const second = await launchChromiumOn(profile)
    onTestFinished(() => second.close())
    const anew = await visit(second, shop, 'keeper=indexed-db')
    await arrived(shop, 2)
    shop.answer()
    await said(anew, 'resumed: paid 1')
    expectOneCharge(shop)
  })
})

describe.skipIf(!available)('storage that fails', () => {
  test.each(kinds)('%s: forbidden: the call is not sent, and the page says why', async (kind) => {
    const shop = await slowShop()
    const page = await (await newContext()).newPage()
    await page.goto(`${shop.origin}/sandboxed?waits&keeper=${kind}`)
    await page.click('button')
    await said(page, 'KeeperError: The storage cannot be used.')
    expect(shop.arrivals).toHaveLength(0)
  })

  test('local: full: the call is not sent, and the page says why', async () => {
    const shop = await slowShop()
    const page = await visit(await newContext(), shop, 'waits&keeper=local')
    await page.evaluate(`
      let text = 'x'.repeat(2 ** 20)
      for (let at = 0; text.length > 0; at++) {
        try { localStorage.setItem('other' + at, text) } catch { text = text.slice(text.length / 2 + 1) }
      }
    `)
    await page.click('button')
    await said(page, 'KeeperError: There is no room for another call.')
    expect(shop.arrivals).toHaveLength(0)
  })
})

describe.skipIf(!available)('conformance', () => {
  let pages: readonly Page[] = []
  const ends: (() => Promise<void>)[] = []
  beforeAll(async () => {
    const shop = await startShop(script, (end) => void ends.push(end))
    const context = await browser.newContext()
    ends.push(() => context.close())
    pages = [await visit(context, shop, 'waits'), await visit(context, shop, 'waits')]
  })
  afterAll(async () => {
    for (const end of ends.reverse()) await end()
  })

  /** Storages of one kind, each with a name of its own. */
  function opener(
    kind: BrowserKeeper,
  ): (options: KeeperOptions) => { keeper: KeyKeeper; again(): KeyKeeper } {
    return (options) => {
      const name = `${kind}:${crypto.randomUUID()}`
      const keeperIn = (tab: number): KeyKeeper => borrowed(pages[tab] as Page, kind, name, options)
      // Another tab where tabs share it; else another keeper in the page.
      return { keeper: keeperIn(0), again: () => keeperIn(kind === 'indexed-db' ? 1 : 0) }
    }
  }

  for (const kind of kinds) keeperConformance({ name: kind, open: opener(kind) })

  const damages: Readonly<Record<BrowserKeeper, (name: string) => string>> = {
    session: (name) =>
      `sessionStorage.setItem('retrysafe:${encodeURIComponent(name)}:pay:cart-7', '{"intent')`,
    local: (name) => `localStorage.setItem('retrysafe:${encodeURIComponent(name)}:pay:cart-7', '[]')`,
    'indexed-db': (name) => `new Promise((resolve) => {
      indexedDB.open('${name}').onsuccess = ({ target: { result: database } }) => {
        const transaction = database.transaction('calls', 'readwrite')
        transaction.objectStore('calls').put({ intent: 'pay:cart-7', key: 7 })
        transaction.oncomplete = () => resolve(database.close())
      }
    })`,
  }
  test.each(kinds)('%s: what cannot be read is told and left out, and its intent is free', async (kind) => {
    let damaged = 0
    const name = `${kind}:${crypto.randomUUID()}`
    const keeper = borrowed(pages[0] as Page, kind, name, { onDamaged: () => void (damaged += 1) })
    await keeper.keep(aCall())
    await keeper.keep(aCall({ intent: 'whole' }))
    await (pages[0] as Page).evaluate(damages[kind](name))
    expect((await keeper.list()).map(({ intent }) => intent)).toEqual(['whole'])
    expect(damaged).toBe(1)
    const fresh = aCall()
    expect(await keeper.keep(fresh)).toMatchObject({ call: { key: fresh.key }, isNew: true })
    expect(await keeper.list()).toHaveLength(2)
  })

  test('indexed-db: a database that is deleted under it is made again', async () => {
    const name = `indexed-db:${crypto.randomUUID()}`
    const keeper = borrowed(pages[0] as Page, 'indexed-db', name, {})
    await keeper.keep(aCall())
    await (pages[1] as Page).evaluate(
      `new Promise((resolve) => { indexedDB.deleteDatabase('${name}').onsuccess = () => resolve() })`,
    )
    expect(await keeper.list()).toEqual([])
    expect(await keeper.keep(aCall())).toMatchObject({ isNew: true })
  })

  test('indexed-db: a connection that was closed without a word is opened again', async () => {
    const page = pages[0] as Page
    const keeper = borrowed(page, 'indexed-db', `indexed-db:${crypto.randomUUID()}`, {})
    const call = aCall()
    await keeper.keep(call)
    await page.evaluate(`{
      const { transaction } = IDBDatabase.prototype
      IDBDatabase.prototype.transaction = function (...args) {
        IDBDatabase.prototype.transaction = transaction
        this.close()
        return this.transaction(...args)
      }
    }`)
    expect(await keeper.list()).toEqual([call])
    expect(await keeper.keep(aCall())).toMatchObject({ call, isNew: false })
  })

  test('indexed-db: behind a deletion that another tab blocks it is told, and used when that is over', async () => {
    const name = `indexed-db:${crypto.randomUUID()}`
    const [page, other] = pages as [Page, Page]
    const keeper = borrowed(page, 'indexed-db', name, {})
    await keeper.keep(aCall())
    await other.evaluate(`new Promise((resolve) => {
      indexedDB.open('${name}').onsuccess = ({ target }) => resolve(void (globalThis.blocking = target.result))
    })`)
    await page.evaluate(
      `new Promise((resolve) => { indexedDB.deleteDatabase('${name}').onblocked = () => resolve() })`,
    )
    await expect(keeper.keep(aCall())).rejects.toMatchObject({ reason: 'unavailable' })
    await other.evaluate('globalThis.blocking.close()')
    expect(await keeper.keep(aCall())).toMatchObject({ isNew: true })
    expect(await keeper.list()).toHaveLength(1)
  })
})

let lent = 0

/** A keeper that lives in a page. */
function borrowed(page: Page, kind: BrowserKeeper, name: string, options: KeeperOptions): KeyKeeper {
  const { clock, onDropped, onDamaged, ...plain } = options
  const id = `${(lent += 1)}`
  async function ask(verb: Lent['verb'], call?: KeptCall): Promise<unknown> {
    const asked: Lent = { ...{ kind, id, verb, call }, options: { ...plain, name }, time: clock?.now() }
    const told = await page.evaluate((given) => (globalThis as unknown as Lender).lent(given), asked)
    if ('failure' in told) throw new KeeperError(told.failure as 'full')
    for (const dropped of told.dropped) onDropped?.(dropped)
    for (let count = 0; count < told.damaged; count++) onDamaged?.(new KeeperError('damaged'))
    return told.answer
  }
  return {
    keep: (call) => ask('keep', call) as ReturnType<KeyKeeper['keep']>,
    find: (intent) => ask('find', aCall({ intent })) as ReturnType<KeyKeeper['find']>,
    share: (call) => ask('share', call) as Promise<boolean>,
    settle: (call) => ask('settle', call) as Promise<void>,
    forget: (call) => ask('forget', call) as Promise<void>,
    withdraw: (call) => ask('withdraw', call) as Promise<void>,
    list: () => ask('list') as ReturnType<KeyKeeper['list']>,
  }
}

interface Lender {
  lent(asked: Lent): Promise<LentAnswer>
}
