/**
 * Shopify: `X-Shopify-Hmac-Sha256: <base64>` over the body. The id is `X-Shopify-Webhook-Id`, one for each delivery
 * and the same for its retries. `X-Shopify-Event-Id` is no key: what one action of a merchant sets off shares it,
 * over topics and subscriptions. Neither is signed, and neither is any time.
 */
import { onlyValue } from '../delivery.ts'
import { notJson, parsed, type Scheme, textOf } from '../scheme.ts'
import { anySame, hmac, invalid, noMatch, valid } from '../signatures.ts'

export function shopify(): Scheme {
  return {
    idField: 'X-Shopify-Webhook-Id',
    verifier: (secrets) => (delivery) => {
      const signature = onlyValue(delivery, 'x-shopify-hmac-sha256')
      if (signature === undefined) return invalid('X-Shopify-Hmac-Sha256 is missing or repeated.')
      const expected = secrets.map((secret) => hmac('sha256', secret, [delivery.body], 'base64'))
      return anySame(expected, [signature]) ? valid : noMatch
    },
    read(delivery) {
      const payload = parsed(textOf(delivery))
      if (payload === undefined) return notJson
      return {
        kind: 'event',
        id: onlyValue(delivery, 'x-shopify-webhook-id'),
        type: onlyValue(delivery, 'x-shopify-topic'),
        payload,
      }
    },
  }
}
