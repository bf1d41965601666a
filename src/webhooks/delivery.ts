/** One delivery of a webhook, whatever server received it: the octets as they came, and the fields beside them. */
import type { NodeRequest } from '../http/node-request.ts'
import { fieldLines, targetOf } from '../http/node-request.ts'

/** What resolvers such as `secret`, `principal` and `url` are asked with. Nothing of it is verified yet. */
export interface WebhookDelivery {
  readonly method: string
  /** Absolute, as the server saw it: behind a proxy it may not be what the provider called. */
  readonly url: string
  /** The body as it came. */
  readonly body: Uint8Array
  /** A field's value, `undefined` where there is none; the lines of a repeated field are joined by `, `. */
  header(name: string): string | undefined
}

/** A delivery out of a Node request. */
export function nodeDelivery(request: NodeRequest, body: Uint8Array): WebhookDelivery {
  const { path, query } = targetOf(request)
  const isSecure = (request.socket as { encrypted?: boolean } | undefined)?.encrypted === true
  const host = request.headers.host ?? request.headers[':authority'] ?? 'localhost'
  return {
    method: request.method ?? '',
    url: `${isSecure ? 'https' : 'http'}://${String(host)}${path}${query === '' ? '' : `?${query}`}`,
    body,
    header(name): string | undefined {
      const lines = fieldLines(request, name.toLowerCase())
      return lines.length === 0 ? undefined : lines.join(', ')
    },
  }
}

/** A delivery out of a fetch request whose body has been read. */
export function fetchDelivery(request: Request, body: Uint8Array): WebhookDelivery {
  return {
    method: request.method,
    url: request.url,
    body,
    header: (name) => request.headers.get(name) ?? undefined,
  }
}

/**
 * The value of a field that must be there once. No field of a provider holds `, `, which is what repeated lines look
 * like once they are joined: a request with two signatures or two ids has none.
 */
export function onlyValue(delivery: WebhookDelivery, name: string): string | undefined {
  const value = delivery.header(name)
  return value === undefined || value === '' || value.includes(', ') ? undefined : value
}
