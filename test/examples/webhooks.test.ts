/** The example of webhooks: an event of Stripe's, sent twice, is applied once. */
import Stripe from 'stripe'
import { expect, test } from 'vitest'
import { startExample } from './example.ts'

test('webhooks', async () => {
  const origin = await startExample('webhooks')
  const body = JSON.stringify({ id: 'evt_1', type: 'invoice.paid', data: { object: { id: 'in_1' } } })
  const send = async (secret: string): Promise<Response> => {
    const signature = new Stripe('sk_test_x').webhooks.generateTestHeaderString({ payload: body, secret })
    return await fetch(`${origin}/hooks/stripe`, {
      method: 'POST',
      headers: { 'Stripe-Signature': signature },
      body,
    })
  }
  expect((await send('whsec_other')).status).toBe(401)
  for (const replayed of [null, 'true']) {
    const answer = await send('whsec_test')
    expect(answer.status).toBe(200)
    expect(answer.headers.get('idempotent-replayed')).toBe(replayed)
  }
  expect(await (await fetch(`${origin}/paid`)).json()).toEqual([{ invoice: 'in_1' }])
})
