/** The options of a webhook, checked once at construction. No message holds a secret. */
import { type Duration, toMilliseconds } from '../core/duration.ts'
import { InvalidOptionError } from '../core/errors.ts'
import { refuseUnknownOptions } from '../core/options.ts'
import { type PolicyOptions, policyOptionNames } from '../engine/policy.ts'
import type { WebhookDelivery } from './delivery.ts'
import type { WebhookEvent } from './event.ts'
import { type ProviderOptions, type ProviderRow, providers, type WebhookProvider } from './providers.ts'
import type { Scheme, Verifier } from './scheme.ts'
import type { FetchCertificate } from './schemes/paypal.ts'
import type { TimeRule } from './signatures.ts'

type Awaitable<Value> = Value | Promise<Value>

/** One secret, or several while they are being rotated: a signature by any of them is good. */
export type WebhookSecret = string | readonly string[]

/** A secret, or a function that finds it for a delivery; `undefined` from it refuses the delivery. */
export type WebhookSecretOption =
  | WebhookSecret
  | ((delivery: WebhookDelivery) => Awaitable<WebhookSecret | undefined>)

export interface CommonWebhookOptions extends PolicyOptions {
  /**
   * The endpoint's name, part of the scope. Give each endpoint that you register with a provider a name of its own
   * and keep it: providers send one event, under one id, to every endpoint that asked for it.
   */
  readonly name: string
  /**
   * Whose endpoint it is, where several accounts share one: a function of the delivery, required where the secret is
   * a function. Default: the provider's name.
   */
  readonly principal?: (delivery: WebhookDelivery) => Awaitable<string>
  /** The id that makes two deliveries one event. Default: the provider's, see the table in the documentation. */
  readonly id?: (event: WebhookEvent, delivery: WebhookDelivery) => string | undefined
  /** How far a signed time may be from now, either way. Default `'5m'`. Providers that sign no time ignore it. */
  readonly tolerance?: Duration
  /** Largest body, in bytes. Default 5 MiB; GitHub 25 MiB. */
  readonly requestBytesMax?: number
  /** Milliseconds since 1970, for the tolerance. Default `Date.now`. */
  readonly now?: () => number
}

export interface SecretWebhookOptions extends CommonWebhookOptions {
  /**
   * What the provider signs with: Stripe's and Svix' `whsec_..`, the secret of a GitHub hook, the client secret of a
   * Shopify app, Slack's signing secret, Twilio's auth token. Standard Webhooks also takes public keys, `whpk_..`.
   */
  readonly secret: WebhookSecretOption
}

export interface TwilioWebhookOptions extends SecretWebhookOptions {
  /**
   * The URL as it is registered with Twilio, which signs it: needed behind a proxy that changes scheme, host or path.
   * The query of the request is added where it has none. Default: as the server saw it.
   */
  readonly url?: string | ((delivery: WebhookDelivery) => string)
}

export interface PayPalWebhookOptions extends CommonWebhookOptions {
  /** The id that PayPal gave the webhook, which it signs. */
  readonly webhookId: WebhookSecretOption
  /** Fetches a certificate as PEM; its URL has been checked before. Default: `fetch`. */
  readonly fetchCertificate?: FetchCertificate
}

/** The options of each provider. */
export interface WebhookOptionsOf {
  readonly stripe: SecretWebhookOptions
  readonly github: SecretWebhookOptions
  readonly shopify: SecretWebhookOptions
  readonly 'standard-webhooks': SecretWebhookOptions
  readonly svix: SecretWebhookOptions
  readonly slack: SecretWebhookOptions
  readonly twilio: TwilioWebhookOptions
  readonly paypal: PayPalWebhookOptions
}

/** Checked options. */
export interface ResolvedWebhook {
  readonly provider: WebhookProvider
  readonly row: ProviderRow
  readonly name: string
  readonly scheme: Scheme
  /** The verifier for a delivery, `undefined` where nobody's secret fits it. */
  verifierFor(delivery: WebhookDelivery): Awaitable<Verifier | undefined>
  principalOf(delivery: WebhookDelivery): Awaitable<string>
  readonly id: CommonWebhookOptions['id']
  readonly requestBytesMax: number
  /** What of the policy was given, with the provider's retention. */
  readonly policy: PolicyOptions
}

const commonNames = ['name', 'principal', 'id', 'tolerance', 'requestBytesMax', 'now', ...policyOptionNames]
const bodyBytesMax = 256 * 1024 * 1024

/**
 * Checks options and fills what is not given.
 *
 * @throws InvalidOptionError naming option and rule
 */
export function resolveWebhook(
  provider: WebhookProvider,
  options: CommonWebhookOptions &
    ProviderOptions &
    Partial<Record<'secret' | 'webhookId', WebhookSecretOption>>,
  extraNames: readonly string[],
): ResolvedWebhook {
  if (!Object.hasOwn(providers, provider)) {
    throw new InvalidOptionError('provider', `must be one of ${Object.keys(providers).join(', ')}`)
  }
  const row = providers[provider]
  if (typeof options !== 'object' || options === null) {
    throw new InvalidOptionError('options', `must be an object with a name and a ${row.secretOption}`)
  }
  refuseUnknownOptions(`webhook '${provider}'`, options, [
    row.secretOption,
    ...commonNames,
    ...row.ownOptions,
    ...extraNames,
  ])
  const {
    name,
    principal,
    id,
    now = Date.now,
    tolerance = '5m',
    requestBytesMax = row.requestBytesMax,
  } = options
  checkName(name)
  for (const [option, value] of Object.entries({
    principal,
    id,
    now,
    fetchCertificate: options.fetchCertificate,
  })) {
    if (value !== undefined && typeof value !== 'function') {
      throw new InvalidOptionError(option, 'must be a function')
    }
  }
  checkUrl(options.url)
  if (!Number.isInteger(requestBytesMax) || requestBytesMax < 1 || requestBytesMax > bodyBytesMax) {
    throw new InvalidOptionError(
      'requestBytesMax',
      `must be a whole number from 1 to ${bodyBytesMax}`,
      requestBytesMax,
    )
  }
  const secret = options[row.secretOption]
  if (typeof secret === 'function' && principal === undefined) {
    const rule = `is required where ${row.secretOption} is a function: who has one secret must not reach the events of another`
    throw new InvalidOptionError('principal', rule)
  }
  const scheme = row.scheme(options)
  const time: TimeRule = { now, toleranceMs: toMilliseconds('tolerance', tolerance, { min: '1s' }) }
  const given = policyOptionNames.filter((each) => options[each] !== undefined)
  return {
    provider,
    row,
    name,
    scheme,
    verifierFor: verifierFor(row.secretOption, secret, scheme, time),
    principalOf: principal ?? (() => provider),
    id,
    requestBytesMax,
    policy: {
      retention: row.retention,
      wait: 0,
      ...Object.fromEntries(given.map((each) => [each, options[each]])),
    },
  }
}

function verifierFor(
  option: string,
  secret: WebhookSecretOption | undefined,
  scheme: Scheme,
  time: TimeRule,
): ResolvedWebhook['verifierFor'] {
  if (typeof secret !== 'function') {
    const verifier = scheme.verifier(secretsOf(option, secret), time)
    return () => verifier
  }
  return async (delivery) => {
    const found = await secret(delivery)
    return found === undefined ? undefined : scheme.verifier(secretsOf(option, found), time)
  }
}

const secretsMax = 16

/** The secrets, each with something in it: an empty one would make every signature easy to forge. */
function secretsOf(option: string, secret: unknown): readonly string[] {
  const secrets: readonly unknown[] = Array.isArray(secret) ? secret : [secret]
  const isSecret = (each: unknown): each is string => typeof each === 'string' && each.trim() !== ''
  if (secrets.length > 0 && secrets.length <= secretsMax && secrets.every(isSecret)) return secrets
  throw new InvalidOptionError(option, `must be a non-empty string, or 1 to ${secretsMax} of them`)
}

function checkName(name: unknown): void {
  if (typeof name === 'string' && name.trim() !== '' && name.length <= 200 && name.isWellFormed()) return
  throw new InvalidOptionError('name', 'must be a string of 1 to 200 characters, one for each endpoint', name)
}

function checkUrl(url: unknown): void {
  if (url === undefined || typeof url === 'function') return
  if (typeof url === 'string' && /^https?:/i.test(url) && URL.canParse(url) && !url.includes('#')) return
  throw new InvalidOptionError('url', 'must be the absolute URL as registered, without a fragment')
}
