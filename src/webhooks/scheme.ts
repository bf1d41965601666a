/** What each provider's file gives: how its signature is checked, and where the event and its id are. */
import type { WebhookDelivery } from './delivery.ts'
import { type SignatureVerdict, type TimeRule } from './signatures.ts'

/** The parts of a verified delivery. */
export type EventRead =
  | {
      readonly kind: 'event'
      readonly id: string | undefined
      readonly type: string | undefined
      readonly payload: unknown
    }
  /** No event, but a question of the provider's that has its answer here. */
  | { readonly kind: 'answer'; readonly contentType: string; readonly body: string }
  | { readonly kind: 'malformed'; readonly reason: string }

/** Checks a delivery against the secrets that it was made with. */
export type Verifier = (delivery: WebhookDelivery) => SignatureVerdict | Promise<SignatureVerdict>

export interface Scheme {
  /** Where the id is found, for the message that it is missing. */
  readonly idField: string
  /** @throws InvalidOptionError where a secret is not of the provider's form; the message never holds it */
  verifier(secrets: readonly string[], time: TimeRule): Verifier
  read(delivery: WebhookDelivery): EventRead
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** The body as text, `undefined` where it is not UTF-8. */
export function textOf(delivery: WebhookDelivery): string | undefined {
  try {
    return utf8.decode(delivery.body)
  } catch {
    return undefined
  }
}

/** A JSON text as a value, `undefined` where it is none. */
export function parsed(text: string | undefined): unknown {
  if (text === undefined) return undefined
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

/** A member of a JSON object that is a text with something in it. */
export function textMember(value: unknown, name: string): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const member = (value as Record<string, unknown>)[name]
  return typeof member === 'string' && member !== '' ? member : undefined
}

export function isForm(delivery: WebhookDelivery): boolean {
  return /^application\/x-www-form-urlencoded\s*(?:;|$)/i.test(delivery.header('content-type') ?? '')
}

export const notJson: EventRead = { kind: 'malformed', reason: 'The body is not JSON.' }
