/** Each provider has its options, and a handler its payload and its transaction. */
import { expectTypeOf, test } from 'vitest'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { webhook, type WebhookEvent, type WebhookRun, webhookTransaction } from '../../src/webhooks/index.ts'

test('webhooks', () => {
  const idem = createIdempotency({ store: sqliteStore({ file: './x.db' }) })
  const named = { name: 'billing', secret: 's' }

  const hook = webhook(idem, 'stripe', named, (event, run) => {
    expectTypeOf(event.payload).toEqualTypeOf<unknown>()
    expectTypeOf(event.type).toEqualTypeOf<string | undefined>()
    expectTypeOf(run).toEqualTypeOf<WebhookRun>()
  })
  expectTypeOf(hook.fetch).returns.toEqualTypeOf<Promise<Response>>()

  webhook(idem, 'github', named, async ({ payload }: WebhookEvent<{ action: string }>) => {
    expectTypeOf(payload.action).toEqualTypeOf<string>()
    // What a handler resolves to is nobody's concern.
    return payload
  })

  webhookTransaction(idem, 'svix', named, (_event, { tx, fence }) => {
    expectTypeOf(tx).toHaveProperty('prepare')
    expectTypeOf(fence).toEqualTypeOf<number>()
  })

  webhook(idem, 'twilio', { ...named, url: 'https://hooks.example.com/sms' }, () => {})
  webhook(idem, 'paypal', { name: 'sales', webhookId: ['a', 'b'] }, () => {})

  // @ts-expect-error an endpoint has a name
  webhook(idem, 'stripe', { secret: 's' }, () => {})
  // @ts-expect-error PayPal signs the id of the webhook
  webhook(idem, 'paypal', named, () => {})
  // @ts-expect-error the URL is for Twilio
  webhook(idem, 'stripe', { ...named, url: 'https://x' }, () => {})
  // @ts-expect-error an error is never an acknowledgement
  webhook(idem, 'stripe', { ...named, onError: 'keep' }, () => {})
  // @ts-expect-error nobody knows how it signs
  webhook(idem, 'braintree', named, () => {})
})
