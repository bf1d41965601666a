/** What a webhook's handler gets. */
import type { OperationRun, TransactionRun } from '../engine/operation.ts'
import type { WebhookProvider } from './providers.ts'

/** A verified event. `Payload` is what you say it is: nothing checks its shape. */
export interface WebhookEvent<Payload = unknown> {
  readonly provider: WebhookProvider
  /** The provider's id of the event, the same in every delivery. */
  readonly id: string
  /** The provider's name for what happened, where it gives one. */
  readonly type: string | undefined
  /** The JSON of the body, or the fields of a form. */
  readonly payload: Payload
  /** The body as it came and was signed. */
  readonly body: Uint8Array
  /** A field of the delivery that ran. Most providers do not sign these. */
  header(name: string): string | undefined
}

/** An answer with something in it, for providers that read it. */
export interface WebhookAnswer {
  /** 200 to 299. Default 200. */
  readonly status?: number
  readonly contentType: string
  readonly body: string
}

interface Answering {
  /** What this delivery, and every later one of the event, is answered. Default: 200 without a body. */
  answer(answer: WebhookAnswer): void
}

/** What a handler gets beside its event. */
export type WebhookRun = OperationRun & Answering

/** What a handler in a transaction gets beside its event. */
export type WebhookTransactionRun<Tx> = TransactionRun<Tx> & Answering
