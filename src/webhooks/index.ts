/** Webhooks in: verified, applied once by the provider's event id, acknowledged when that is stored. */
export type { WebhookDelivery } from './delivery.ts'
export type { WebhookAnswer, WebhookEvent, WebhookRun, WebhookTransactionRun } from './event.ts'
export type {
  CommonWebhookOptions,
  PayPalWebhookOptions,
  SecretWebhookOptions,
  TwilioWebhookOptions,
  WebhookOptionsOf,
  WebhookSecret,
  WebhookSecretOption,
} from './options.ts'
export type { WebhookProvider } from './providers.ts'
export type { FetchCertificate } from './schemes/paypal.ts'
export {
  type Webhook,
  type WebhookErrorVerdict,
  type WebhookReconcile,
  webhook,
  webhookTransaction,
} from './webhook.ts'
export { keepRawBody } from '../http/node-request.ts'
