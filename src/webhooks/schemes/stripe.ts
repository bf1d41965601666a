/** Stripe: `Stripe-Signature: t=<seconds>,v1=<hex>[,v1=<hex>..]` over `t.body`. The event's id is in the body. */
import { onlyValue } from '../delivery.ts'
import { notJson, parsed, type Scheme, textMember, textOf } from '../scheme.ts'
import { anySame, hmac, invalid, noMatch, timeFault, valid } from '../signatures.ts'

export function stripe(): Scheme {
  return {
    idField: 'the member `id` of the event',
    verifier: (secrets, time) => (delivery) => {
      const header = onlyValue(delivery, 'stripe-signature')
      if (header === undefined) return invalid('Stripe-Signature is missing or repeated.')
      const signed = signatureParts(header)
      if (signed === undefined) return invalid('Stripe-Signature is malformed.')
      const expected = secrets.map((secret) =>
        hmac('sha256', secret, [`${signed.timestamp}.`, delivery.body], 'hex'),
      )
      if (!anySame(expected, signed.signatures)) return noMatch
      return timeFault(signed.timestamp, time) ?? valid
    },
    read(delivery) {
      const payload = parsed(textOf(delivery))
      if (payload === undefined) return notJson
      return { kind: 'event', id: textMember(payload, 'id'), type: textMember(payload, 'type'), payload }
    },
  }
}

/** One time and at least one signature of the current version; those of other versions are passed over. */
function signatureParts(header: string): { timestamp: string; signatures: string[] } | undefined {
  const timestamps: string[] = []
  const signatures: string[] = []
  for (const part of header.split(',')) {
    const at = part.indexOf('=')
    if (part.slice(0, at) === 't') timestamps.push(part.slice(at + 1))
    if (part.slice(0, at) === 'v1') signatures.push(part.slice(at + 1))
  }
  const [timestamp] = timestamps
  if (timestamp === undefined || timestamps.length > 1 || signatures.length === 0) return undefined
  return { timestamp, signatures }
}
