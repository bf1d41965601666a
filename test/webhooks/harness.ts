/** An endpoint of each provider with a handler that counts, and deliveries to it. */
import { onTestFinished } from 'vitest'
import { createIdempotency, type Idempotency, memoryStore } from '../../src/index.ts'
import { type Webhook, type WebhookEvent, type WebhookRun, webhook } from '../../src/webhooks/index.ts'
import { paypalCertificate } from './certificates.ts'
import { certificateUrl, nowMs, type Sent, type TestProvider } from './deliveries.ts'

export function instance(): Idempotency {
  const idem = createIdempotency({ store: memoryStore(), sweep: false })
  onTestFinished(() => idem.close())
  return idem
}

export interface Counted {
  readonly hook: Webhook
  readonly events: WebhookEvent[]
}

type Handler = (event: WebhookEvent, run: WebhookRun) => unknown

/** The certificate at the one URL that has it. */
async function testCertificate(url: string): Promise<string> {
  if (url === certificateUrl) return paypalCertificate.certificate
  throw new Error('Not found.')
}

/** Options for every provider, under the name that its secret has. */
export function optionsOf(provider: TestProvider, more: object = {}): never {
  const secret =
    provider.provider === 'paypal'
      ? { webhookId: provider.secret, fetchCertificate: testCertificate }
      : { secret: provider.secret }
  return { name: 'test', now: () => nowMs, ...secret, ...more } as never
}

/** The option of a provider that holds what signatures are checked with. */
export function secretOption(provider: TestProvider): 'secret' | 'webhookId' {
  return provider.provider === 'paypal' ? 'webhookId' : 'secret'
}

export function counted(
  provider: TestProvider,
  more: object = {},
  handler: Handler = () => undefined,
  idem: Idempotency = instance(),
): Counted {
  const events: WebhookEvent[] = []
  const hook = webhook(idem, provider.provider, optionsOf(provider, more), (event, run) => {
    events.push(event)
    return handler(event, run)
  })
  return { hook, events }
}

export interface Answer {
  readonly status: number
  readonly text: string
  readonly headers: Headers
}

/** Delivers as a fetch request. */
export async function deliver(hook: Webhook, sent: Sent, init: RequestInit = {}): Promise<Answer> {
  const { url, headers, body } = sent
  const request = new Request(url, {
    method: 'POST',
    body,
    ...init,
    headers: { ...headers, ...init.headers },
  })
  const response = await hook.fetch(request)
  return { status: response.status, text: await response.text(), headers: response.headers }
}

/** The code of a problem document. */
export function codeOf({ text }: Answer): unknown {
  return (JSON.parse(text) as { code?: unknown }).code
}
