/**
 * Slack: `X-Slack-Signature: v0=<hex>` over `v0:timestamp:body`. Events have an `event_id`; commands and
 * interactions have a `trigger_id`. Slack does not send those again, and the few that have neither are known by
 * their signature, which covers their time.
 */
import { onlyValue } from '../delivery.ts'
import { type EventRead, isForm, notJson, parsed, type Scheme, textMember, textOf } from '../scheme.ts'
import { anySame, hmac, invalid, noMatch, timeFault, valid } from '../signatures.ts'

export function slack(): Scheme {
  return {
    idField: 'the member `event_id`',
    verifier: (secrets, time) => (delivery) => {
      const signature = onlyValue(delivery, 'x-slack-signature')
      const timestamp = onlyValue(delivery, 'x-slack-request-timestamp')
      if (signature === undefined || timestamp === undefined) {
        return invalid('X-Slack-Signature or X-Slack-Request-Timestamp is missing or repeated.')
      }
      const expected = secrets.map(
        (secret) => `v0=${hmac('sha256', secret, [`v0:${timestamp}:`, delivery.body], 'hex')}`,
      )
      if (!anySame(expected, [signature])) return noMatch
      return timeFault(timestamp, time) ?? valid
    },
    read(delivery): EventRead {
      const text = textOf(delivery)
      if (text === undefined) return notJson
      const payload = isForm(delivery) ? formPayload(text) : parsed(text)
      if (payload === undefined) return notJson
      const type = textMember(payload, 'type')
      const challenge = textMember(payload, 'challenge')
      if (type === 'url_verification' && challenge !== undefined) {
        return { kind: 'answer', contentType: 'text/plain', body: challenge }
      }
      const id =
        textMember(payload, 'event_id') ??
        textMember(payload, 'trigger_id') ??
        onlyValue(delivery, 'x-slack-signature')
      const inner = textMember((payload as { event?: unknown }).event, 'type')
      return { kind: 'event', id, type: inner ?? type ?? textMember(payload, 'command'), payload }
    },
  }
}

/** Interactions carry JSON in the field `payload`; commands are plain fields. */
function formPayload(text: string): unknown {
  const fields = new URLSearchParams(text)
  const payload = fields.get('payload')
  return payload === null ? Object.fromEntries(fields) : parsed(payload)
}
