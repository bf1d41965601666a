/** The providers, with what follows from how each of them sends: one table. */
import type { Duration } from '../core/duration.ts'
import type { WebhookDelivery } from './delivery.ts'
import type { Scheme } from './scheme.ts'
import { github } from './schemes/github.ts'
import { type FetchCertificate, paypal } from './schemes/paypal.ts'
import { shopify } from './schemes/shopify.ts'
import { slack } from './schemes/slack.ts'
import { standardWebhooks } from './schemes/standard-webhooks.ts'
import { stripe } from './schemes/stripe.ts'
import { twilio } from './schemes/twilio.ts'

/** Providers whose webhooks can be verified. */
export type WebhookProvider =
  | 'stripe'
  | 'github'
  | 'shopify'
  | 'standard-webhooks'
  | 'svix'
  | 'slack'
  | 'twilio'
  | 'paypal'

/** Options that only some providers have. */
export interface ProviderOptions {
  readonly url?: string | ((delivery: WebhookDelivery) => string)
  readonly fetchCertificate?: FetchCertificate
}

export interface ProviderRow {
  readonly methods: readonly string[]
  /** The name of the option that holds what signatures are checked with. */
  readonly secretOption: 'secret' | 'webhookId'
  /** Options beside those that all providers have. */
  readonly ownOptions: readonly (keyof ProviderOptions)[]
  /**
   * Twice the time over which the provider sends an event again by itself, and no less than the time in which its
   * owner can have it sent again by hand.
   */
  readonly retention: Duration
  readonly requestBytesMax: number
  scheme(options: ProviderOptions): Scheme
}

const mebibyte = 1024 * 1024

function row(
  retention: Duration,
  scheme: ProviderRow['scheme'],
  changed: Partial<ProviderRow> = {},
): ProviderRow {
  return {
    methods: ['POST'],
    secretOption: 'secret',
    ownOptions: [],
    requestBytesMax: 5 * mebibyte,
    retention,
    scheme,
    ...changed,
  }
}

export const providers: Readonly<Record<WebhookProvider, ProviderRow>> = {
  // Three days by itself, and from the events of the last 30 days by hand (docs.stripe.com/webhooks).
  stripe: row('31d', stripe),
  // By hand only, for three days; bodies of up to 25 MB (docs.github.com/webhooks).
  github: row('7d', github, { requestBytesMax: 25 * mebibyte }),
  // Eight times over four hours, after delays of up to a day (shopify.dev/docs/apps/build/webhooks).
  shopify: row('3d', shopify),
  // Each sender decides; the specification speaks of days.
  'standard-webhooks': row('7d', () => standardWebhooks('webhook')),
  // Eight times over 27.6 hours, and by hand (docs.svix.com/retries).
  svix: row('7d', () => standardWebhooks('svix')),
  // Three times within about an hour, or hourly for a day (api.slack.com/apis/events-api).
  slack: row('3d', slack),
  // Up to five times within 15 seconds (twilio.com/docs/usage/webhooks/webhooks-connection-overrides).
  twilio: row('1d', ({ url }) => twilio(url), { methods: ['POST', 'GET'], ownOptions: ['url'] }),
  // 25 times over three days (developer.paypal.com/api/rest/webhooks/rest).
  paypal: row('7d', ({ fetchCertificate }) => paypal(fetchCertificate), {
    secretOption: 'webhookId',
    ownOptions: ['fetchCertificate'],
  }),
}
