/** Each scenario, played in a real browser against real shops that are killed and frozen. */
import { describe, expect, test } from 'vitest'
import { hasChromium } from '../../scripts/servers/chromium.ts'
import { whileTimeIsKept } from '../stalls.ts'
import { phone, played, shownOn, startPlaying } from './playing.ts'

interface Expected {
  readonly scenario: string
  /** Charges without a key. */
  readonly without: number
  /** Parts of the sentences. */
  readonly why: readonly [plain: string, safe: string]
  /** What the timelines have, in this order, with other lines in between. */
  readonly lines: readonly [plain: string, safe: string]
}

const expected: readonly Expected[] = [
  {
    scenario: 'pay',
    without: 1,
    why: ['one request, one charge', 'one key, one charge'],
    lines: ['sent charged answered', 'sent claimed charged stored answered'],
  },
  {
    scenario: 'lost-reply',
    without: 2,
    why: [
      'reply was lost; to the shop the retry was a new order',
      'gave the stored answer instead of charging again',
    ],
    lines: [
      'sent charged reply-lost sent charged answered',
      'sent claimed charged stored reply-lost sent replayed answered',
    ],
  },
  {
    scenario: 'double-click',
    without: 2,
    why: ['two requests are two orders', 'both clicks carried the same key'],
    lines: ['sent sent charged charged', 'sent claimed charged stored replayed answered'],
  },
  {
    scenario: 'crash',
    without: 2,
    why: [
      'killed in mid-charge; to the shop the retry was a new order',
      'both were undone, and the retry ran afresh',
    ],
    lines: [
      'sent charged killed cut sent charged answered',
      'sent claimed charged killed rolled-back cut sent claimed charged stored answered',
    ],
  },
  {
    scenario: 'slow-server',
    without: 2,
    why: ['too slow for the browser; to the shop the retry was a new order', 'gave the stored answer'],
    lines: [
      'sent charged slow gave-up sent charged',
      'sent claimed charged slow gave-up sent replayed answered',
    ],
  },
  {
    scenario: 'slow-lease',
    without: 2,
    why: ['the frozen one charged as well when it woke', 'its fence was too low to charge'],
    lines: [
      'sent frozen gave-up sent charged answered woke charged unheard',
      'sent claimed frozen gave-up sent claimed charged stored answered woke fenced-off unheard',
    ],
  },
  {
    scenario: 'refused',
    without: 1,
    why: ['sending it again did no harm', 'was the first to arrive: charged once'],
    lines: ['sent refused sent charged answered', 'sent refused sent claimed charged stored answered'],
  },
]

/** What of `wanted` comes in this order; all of it, where nothing is missing. */
function inOrder(kinds: readonly (string | null)[], wanted: string): string {
  const left = wanted.split(' ')
  const found: string[] = []
  for (const kind of kinds) {
    if (kind === left[0]) found.push(left.shift() as string)
  }
  return found.join(' ')
}

describe.skipIf(!hasChromium())('scenarios', { timeout: 60_000 }, () => {
  const playing = startPlaying()

  // Browsers wait for a second and a half: on a machine that stands still for that long even a quiet shop is too slow.
  test.each(expected)('$scenario', (each) => whileTimeIsKept(() => plays(each)))

  async function plays({ scenario, without, why, lines }: Expected): Promise<void> {
    const page = await playing().open(`?scenario=${scenario}`)
    await played(page)

    const plain = await shownOn(page, 'without')
    expect(inOrder(plain.kinds, lines[0])).toBe(lines[0])
    expect(plain.ledgerKeys).toEqual(Array.from({ length: without }, () => 'none'))
    expect(plain).toMatchObject({ tone: without === 1 ? 'good' : 'bad', seen: 'Paid EUR 49.00. Thank you!' })
    const times = without === 1 ? '1 time EUR 49.00 for' : '2 times EUR 98.00 too much for'
    expect(plain.score).toBe(`Charged ${times} 1 order`)
    expect(plain.why).toContain(why[0])
    expect(new Set(plain.sentKeys)).toEqual(new Set(['no key']))

    const safe = await shownOn(page, 'with')
    expect(inOrder(safe.kinds, lines[1])).toBe(lines[1])
    expect(safe).toMatchObject({ tone: 'good', seen: 'Paid EUR 49.00. Thank you!' })
    expect(safe.score).toBe('Charged 1 time EUR 49.00 for 1 order')
    expect(safe.why).toContain(why[1])
    // One charge, under the key that all attempts carried.
    expect(safe.ledgerKeys).toHaveLength(1)
    expect(new Set(safe.sentKeys)).toEqual(new Set(safe.ledgerKeys))

    const told = (await page.locator('#result').textContent()) ?? ''
    expect(told.replaceAll(/\s/g, ' ')).toContain(`${plain.why} With Retrysafe: Charged 1 time. ${safe.why}`)
    expect(await page.locator('.stories [aria-current]').count()).toBe(1)
  }

  test('the server that answers after a crash is another process', async () => {
    const { open, playground } = playing()
    const before = [...playground.pids]
    const page = await open('?scenario=crash', { viewport: phone, hasTouch: true, isMobile: true })
    await played(page)
    const told = await page.locator('[data-side=with] [data-kind=killed] small').innerText()
    const killed = Number(told.replace('process ', ''))
    expect(before).toContain(killed)
    expect(() => process.kill(killed, 0)).toThrow('ESRCH')
    expect(playground.pids).toHaveLength(2)
    expect(playground.pids).not.toContain(killed)
    expect((await shownOn(page, 'with')).score).toBe('Charged 1 time EUR 49.00 for 1 order')
    expect(await page.locator('#tally').innerText()).toMatch(/Without: 2\s*With: 1/)
  })

  test('a reset ends what is under way, and wakes a frozen server whose charge belongs to no order', async () => {
    const page = await playing().open('?scenario=slow-lease')
    await page.locator('[data-kind=frozen]').first().waitFor()
    await page.locator('#reset').click()
    await expect.poll(() => page.locator('.line').count()).toBe(0)
    expect((await shownOn(page, 'without')).score).toBe('Charged 0 times EUR 0.00')
    expect(await page.locator('.fault[aria-pressed=true]').count()).toBe(0)
    await page.locator('#pay').click()
    await played(page)
    for (const side of ['without', 'with'] as const) {
      expect((await shownOn(page, side)).score).toBe('Charged 1 time EUR 49.00 for 1 order')
    }
  })
})
