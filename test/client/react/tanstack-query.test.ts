/** Mutations of TanStack Query in a real browser that loses its network and its page. */
import { MutationObserver, QueryClient } from '@tanstack/react-query'
import { describe, expect, test } from 'vitest'
import { hasChromium } from '../../../scripts/servers/chromium.ts'
import { createIdempotentFetch } from '../../../src/client/index.ts'
import { idempotentMutationOptions, withKey } from '../../../src/client/tanstack-query.ts'
import { serve } from '../../http/serving.ts'
import { useShop, visit } from './visit.ts'

test('a key that is kept elsewhere is not sent when it is too old, at whichever press', async () => {
  const seen: unknown[] = []
  const { origin } = await serve((request, response) => {
    seen.push(request.headers['idempotency-key'])
    response.end()
  })
  const options = idempotentMutationOptions({
    mutationFn: async (_variables: null, { fetch }) => (await fetch(origin, { method: 'POST' })).status,
    fetch: createIdempotentFetch({ lifetime: '24h' }),
  })
  const pay = new MutationObserver(new QueryClient(), options)
  const hoursAgo = (hours: number): number => Date.now() - hours * 3_600_000
  for (const _press of ['first', 'second']) {
    await expect(pay.mutate(withKey(null, 'key-1', hoursAgo(13)))).rejects.toMatchObject({
      code: 'horizon-passed',
    })
  }
  expect(seen).toEqual([])
  expect(await pay.mutate(withKey(null, 'key-1', hoursAgo(1)))).toBe(200)
  expect(seen).toEqual(['"key-1"'])
})

describe.skipIf(!hasChromium())('TanStack Query in Chromium', () => {
  useShop()

  test('lost answers are asked for again with the same key', async () => {
    const { page, charges, proxy, shows } = await visit('/query')
    proxy.cutOn('POST /charges', 'after', 2)
    await page.click('#pay')
    await shows('status', 'success')
    expect(charges).toEqual([100])
  })

  test('each mutate is a call of its own', async () => {
    const { page, charges, shows } = await visit('/query')
    await page.click('#pay')
    await page.click('#pay')
    await shows('status', 'success, success')
    expect(charges).toEqual([100, 100])
  })

  test('paused without a network, it is sent once there is one', async () => {
    const { page, context, charges, shows } = await visit('/query')
    await context.setOffline(true)
    await page.click('#pay')
    await shows('status', 'pending paused')
    await context.setOffline(false)
    await shows('status', 'success')
    expect(charges).toEqual([100])
  })

  test('a call that lost its network in mid-flight goes on after a reload with its key', async () => {
    const { page, context, charges, holdAnswers, proxy, shows } = await visit('/query?retries=0')
    const release = holdAnswers()
    await page.click('#pay')
    await expect.poll(() => charges).toEqual([100])
    await context.setOffline(true)
    proxy.dropAll()
    await shows('status', 'pending paused')
    release()
    // Loads the page where there is a network again.
    await context.setOffline(false)
    await shows('status', 'success')
    expect(charges).toEqual([100])
  })

  test('a paused call of the page before is resumed by the next one with the same key', async () => {
    const { page, context, charges, holdAnswers, proxy, shows } = await visit('/query?retries=0')
    const release = holdAnswers()
    await page.click('#pay')
    await expect.poll(() => charges).toEqual([100])
    await context.setOffline(true)
    proxy.dropAll()
    await shows('status', 'pending paused')
    const keys: (string | undefined)[] = []
    page.on('request', (request) => keys.push(request.headers()['idempotency-key']))
    // The page before must not resume: it is gone before there is a network.
    await page.goto('about:blank')
    await context.setOffline(false)
    release()
    await page.goBack()
    await shows('status', 'success')
    expect(charges).toEqual([100])
    expect(keys.filter((key) => key !== undefined)).toHaveLength(1)
  })

  test('an unknown outcome is not tried again by TanStack, and its variables have its key', async () => {
    const { page, charges, proxy, shows } = await visit('/query?retries=0')
    // Chromium itself sends once more what it sent on a connection that it had used before.
    proxy.cutOn('POST /charges', 'after', 2)
    await page.click('#pay')
    await shows('error', 'UnknownOutcomeError')
    proxy.disarm()
    await page.click('#retry')
    await expect.poll(() => page.textContent('#status')).toContain('success')
    expect(charges).toEqual([100])
  })
})
