/** Deliveries as the providers send them, signed by the providers' own SDKs where there is one. */
import { createHash, createHmac, createSign, generateKeyPairSync, sign as signOctets } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { sign as signGitHub } from '@octokit/webhooks-methods'
import { Webhook as StandardWebhook } from 'standardwebhooks'
import Stripe from 'stripe'
import { Webhook as SvixWebhook } from 'svix'
import twilio from 'twilio'
import type { WebhookProvider } from '../../src/webhooks/index.ts'
import { paypalCertificate } from './certificates.ts'

/** When the deliveries of these tests are sent and received. */
export const nowMs = 1_800_000_000_000
const nowS = nowMs / 1000

export interface Sent {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface SendOptions {
  readonly id: string
  /** What the provider signs with. */
  readonly secret?: string
  /** Seconds since 1970, where the provider signs a time. */
  readonly sentAtS?: number
  /** Members of the body beside those that the provider needs. */
  readonly more?: Readonly<Record<string, unknown>>
}

export interface TestProvider {
  readonly provider: WebhookProvider
  readonly secret: string
  readonly otherSecret: string
  /** Fields without which there is no signature. */
  readonly signatureFields: readonly string[]
  readonly signsTime: boolean
  /** Field of the id, where it is not in the body. */
  readonly idField?: string
  send(options: SendOptions): Promise<Sent> | Sent
}

export const certificateUrl = 'https://api.sandbox.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594'
const origin = 'https://hooks.example.com/in'
const json = { 'content-type': 'application/json' }
const stripeSdk = new Stripe('sk_test_x')

function base64Secret(seed: string): string {
  return `whsec_${createHash('sha256').update(seed).digest('base64')}`
}

function standard(
  provider: 'standard-webhooks' | 'svix',
  prefix: string,
  sign: (secret: string, id: string, at: Date, body: string) => string,
): TestProvider {
  const secret = base64Secret('first')
  return {
    provider,
    secret,
    otherSecret: base64Secret('second'),
    signatureFields: [`${prefix}-signature`, `${prefix}-timestamp`, `${prefix}-id`],
    signsTime: true,
    send({ id, secret: used = secret, sentAtS = nowS, more }) {
      const body = JSON.stringify({ type: 'invoice.paid', data: {}, ...more })
      return {
        url: origin,
        body,
        headers: {
          ...json,
          [`${prefix}-id`]: id,
          [`${prefix}-timestamp`]: String(sentAtS),
          [`${prefix}-signature`]: sign(used, id, new Date(sentAtS * 1000), body),
        },
      }
    },
  }
}

export const stripe: TestProvider = {
  provider: 'stripe',
  secret: 'whsec_first',
  otherSecret: 'whsec_second',
  signatureFields: ['stripe-signature'],
  signsTime: true,
  send({ id, secret = 'whsec_first', sentAtS = nowS, more }) {
    const body = JSON.stringify({ id, object: 'event', type: 'invoice.paid', pending_webhooks: 2, ...more })
    const signature = stripeSdk.webhooks.generateTestHeaderString({
      payload: body,
      secret,
      timestamp: sentAtS,
    })
    return { url: origin, body, headers: { ...json, 'stripe-signature': signature } }
  },
}

export const github: TestProvider = {
  provider: 'github',
  secret: 'first secret',
  otherSecret: 'second secret',
  signatureFields: ['x-hub-signature-256'],
  signsTime: false,
  idField: 'x-github-delivery',
  async send({ id, secret = 'first secret', more }) {
    const body = JSON.stringify({ action: 'opened', ...more })
    const signature = await signGitHub(secret, body)
    return {
      url: origin,
      body,
      headers: {
        ...json,
        'x-hub-signature-256': signature,
        'x-github-delivery': id,
        'x-github-event': 'issues',
      },
    }
  },
}

const shopify: TestProvider = {
  provider: 'shopify',
  secret: 'first secret',
  otherSecret: 'second secret',
  signatureFields: ['x-shopify-hmac-sha256'],
  signsTime: false,
  idField: 'x-shopify-webhook-id',
  send({ id, secret = 'first secret', more }) {
    const body = JSON.stringify({ id: 820982911946154500, total_price: '10.00', ...more })
    return {
      url: origin,
      body,
      headers: {
        ...json,
        'x-shopify-hmac-sha256': createHmac('sha256', secret).update(body).digest('base64'),
        'x-shopify-webhook-id': id,
        'x-shopify-event-id': 'one-action-of-a-merchant',
        'x-shopify-topic': 'orders/create',
      },
    }
  },
}

export const slack: TestProvider = {
  provider: 'slack',
  secret: '8f742231b10e8888abcd99yyyzzz85a5',
  otherSecret: 'another',
  signatureFields: ['x-slack-signature', 'x-slack-request-timestamp'],
  signsTime: true,
  send({ id, secret = '8f742231b10e8888abcd99yyyzzz85a5', sentAtS = nowS, more }) {
    const body = JSON.stringify({ type: 'event_callback', event_id: id, event: { type: 'message' }, ...more })
    const signature = createHmac('sha256', secret).update(`v0:${sentAtS}:${body}`).digest('hex')
    return {
      url: origin,
      body,
      headers: {
        ...json,
        'x-slack-signature': `v0=${signature}`,
        'x-slack-request-timestamp': String(sentAtS),
      },
    }
  },
}

export const twilioSms: TestProvider = {
  provider: 'twilio',
  secret: 'first-token',
  otherSecret: 'second-token',
  signatureFields: ['x-twilio-signature'],
  signsTime: false,
  idField: 'i-twilio-idempotency-token',
  send({ id, secret = 'first-token', more }) {
    const fields = { MessageSid: 'SM1', Body: 'Hellö & welcome', From: '+15550100', ...more }
    return {
      url: `${origin}?tenant=7`,
      body: new URLSearchParams(fields as Record<string, string>).toString(),
      headers: {
        'content-type': 'application/x-www-form-urlencoded; charset=UTF-8',
        'x-twilio-signature': twilio.getExpectedTwilioSignature(secret, `${origin}?tenant=7`, fields),
        'i-twilio-idempotency-token': id,
      },
    }
  },
}

export const paypal: TestProvider = {
  provider: 'paypal',
  secret: '9XL90610J3647323C',
  otherSecret: '0AB00000A0000000A',
  signatureFields: [
    'paypal-transmission-id',
    'paypal-transmission-time',
    'paypal-transmission-sig',
    'paypal-cert-url',
    'paypal-auth-algo',
  ],
  signsTime: false,
  send({ id, secret = '9XL90610J3647323C', more }) {
    const body = JSON.stringify({ id, event_type: 'PAYMENT.CAPTURE.COMPLETED', ...more })
    const sentAt = '2026-09-21T22:00:46Z'
    const signed = `69cd13f0-d67a-11e5-baa3-778b53f4ae55|${sentAt}|${secret}|${crc32(body)}`
    return {
      url: origin,
      body,
      headers: {
        ...json,
        'paypal-transmission-id': '69cd13f0-d67a-11e5-baa3-778b53f4ae55',
        'paypal-transmission-time': sentAt,
        'paypal-transmission-sig': createSign('RSA-SHA256')
          .update(signed)
          .sign(paypalCertificate.key, 'base64'),
        'paypal-cert-url': certificateUrl,
        'paypal-auth-algo': 'SHA256withRSA',
      },
    }
  },
}

export const providers: readonly TestProvider[] = [
  stripe,
  github,
  shopify,
  standard('standard-webhooks', 'webhook', (secret, id, at, body) =>
    new StandardWebhook(secret).sign(id, at, body),
  ),
  standard('svix', 'svix', (secret, id, at, body) => new SvixWebhook(secret).sign(id, at, body)),
  slack,
  twilioSms,
  paypal,
]

/** An Ed25519 pair: the public key as Standard Webhooks writes it, and a function that signs. */
export function asymmetricPair(): { publicKey: string; sign: (signed: string) => string } {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const octets = Buffer.from((publicKey.export({ format: 'jwk' }) as { x: string }).x, 'base64url')
  return {
    publicKey: `whpk_${octets.toString('base64')}`,
    sign: (signed) => `v1a,${signOctets(null, Buffer.from(signed), privateKey).toString('base64')}`,
  }
}
