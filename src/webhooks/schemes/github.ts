/**
 * GitHub: `X-Hub-Signature-256: sha256=<hex>` over the body. The id is `X-GitHub-Delivery`, which a redelivery keeps
 * and which every hook that hears of the event gets. It is not signed, and neither is any time.
 */
import { onlyValue } from '../delivery.ts'
import { isForm, notJson, parsed, type Scheme, textOf } from '../scheme.ts'
import { anySame, hmac, invalid, noMatch, valid } from '../signatures.ts'

export function github(): Scheme {
  return {
    idField: 'X-GitHub-Delivery',
    verifier: (secrets) => (delivery) => {
      const signature = onlyValue(delivery, 'x-hub-signature-256')
      if (signature === undefined) return invalid('X-Hub-Signature-256 is missing or repeated.')
      const expected = secrets.map((secret) => `sha256=${hmac('sha256', secret, [delivery.body], 'hex')}`)
      return anySame(expected, [signature]) ? valid : noMatch
    },
    read(delivery) {
      const text = textOf(delivery)
      // A hook may be set to send its JSON as the one field of a form.
      const json = isForm(delivery) ? new URLSearchParams(text).get('payload') : text
      const payload = parsed(json ?? undefined)
      if (payload === undefined) return notJson
      return {
        kind: 'event',
        id: onlyValue(delivery, 'x-github-delivery'),
        type: onlyValue(delivery, 'x-github-event'),
        payload,
      }
    },
  }
}
