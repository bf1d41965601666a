/**
 * Twilio: `X-Twilio-Signature: <base64>`, an HMAC over the URL that Twilio called and, for a form, its sorted fields.
 * Another body is covered by its SHA-256 in the URL's `bodySHA256`. The id is `I-Twilio-Idempotency-Token`, which is
 * not signed, and neither is any time.
 */
import { createHash } from 'node:crypto'
import { onlyValue, type WebhookDelivery } from '../delivery.ts'
import { type EventRead, isForm, parsed, type Scheme, textOf } from '../scheme.ts'
import { anySame, hmac, invalid, noMatch, sameText, valid } from '../signatures.ts'

export type TwilioUrl = string | ((delivery: WebhookDelivery) => string) | undefined

export function twilio(url: TwilioUrl): Scheme {
  return {
    idField: 'I-Twilio-Idempotency-Token',
    verifier: (secrets) => (delivery) => {
      const signature = onlyValue(delivery, 'x-twilio-signature')
      if (signature === undefined) return invalid('X-Twilio-Signature is missing or repeated.')
      const called = calledUrl(url, delivery)
      const fields = signedFields(delivery, called)
      if (fields === undefined) return invalid('The body is neither a form nor covered by bodySHA256.')
      const hash = hashOf(delivery)
      if (hash === undefined) return invalid('The signature is of an unknown algorithm.')
      // Twilio signs some URLs with the port, and some without it.
      const urls = [...new Set([withoutPort(called), withPort(called)])]
      const expected = secrets.flatMap((secret) =>
        urls.map((each) => hmac(hash, secret, [each, fields], 'base64')),
      )
      return anySame(expected, [signature]) ? valid : noMatch
    },
    read(delivery): EventRead {
      const id = onlyValue(delivery, 'i-twilio-idempotency-token')
      if (isForm(delivery) || delivery.body.length === 0) {
        // A GET has its fields in the URL; the one that was verified, not the one that came.
        const text = delivery.body.length === 0 ? queryOf(calledUrl(url, delivery)) : textOf(delivery)
        const payload = Object.fromEntries(new URLSearchParams(text))
        return { kind: 'event', id, type: undefined, payload }
      }
      const payload = parsed(textOf(delivery))
      if (payload === undefined) return { kind: 'malformed', reason: 'The body is neither a form nor JSON.' }
      return { kind: 'event', id, type: undefined, payload }
    },
  }
}

/** What follows the URL in the signed text, `undefined` where the body is not covered by the signature. */
function signedFields(delivery: WebhookDelivery, called: string): string | undefined {
  const bodyDigest = new URLSearchParams(queryOf(called)).get('bodySHA256')
  if (bodyDigest !== null) {
    const digest = createHash('sha256').update(delivery.body).digest('hex')
    return sameText(digest, bodyDigest) ? '' : undefined
  }
  if (delivery.body.length === 0) return ''
  return isForm(delivery) ? sortedFields(textOf(delivery)) : undefined
}

function sortedFields(text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  const values = new Map<string, Set<string>>()
  for (const [name, value] of new URLSearchParams(text)) {
    values.set(name, (values.get(name) ?? new Set()).add(value))
  }
  return [...values.keys()]
    .sort()
    .flatMap((name) => [...(values.get(name) as Set<string>)].sort().map((value) => name + value))
    .join('')
}

/** The name that newer accounts send; without it the auth token signs with SHA-1. */
function hashOf(delivery: WebhookDelivery): 'sha1' | 'sha256' | undefined {
  const settings = delivery.header('x-twilio-webhooks-signature-settings') ?? ''
  const algorithm = /(?:^|,)\s*algorithm=([^,]*)/.exec(settings)?.[1]?.trim() ?? ''
  if (algorithm === '' || algorithm === 'HMAC_SHA1') return 'sha1'
  return algorithm === 'HMAC_SHA256' ? 'sha256' : undefined
}

function calledUrl(url: TwilioUrl, delivery: WebhookDelivery): string {
  const called = typeof url === 'function' ? url(delivery) : (url ?? delivery.url)
  if (called.includes('?')) return called
  const query = queryOf(delivery.url)
  return query === '' ? called : `${called}?${query}`
}

function queryOf(url: string): string {
  const at = url.indexOf('?')
  return at === -1 ? '' : url.slice(at + 1)
}

/** By text and not through `URL`, which would escape characters that Twilio signed as they are. */
const authority = /^(https?):\/\/([^/?#]*)/i

function withoutPort(url: string): string {
  return url.replace(
    authority,
    (_, scheme: string, host: string) => `${scheme}://${host.replace(/:\d+$/, '')}`,
  )
}

function withPort(url: string): string {
  return url.replace(authority, (whole, scheme: string, host: string) => {
    if (/:\d+$/.test(host)) return whole
    return `${scheme}://${host}:${scheme.toLowerCase() === 'https' ? 443 : 80}`
  })
}
