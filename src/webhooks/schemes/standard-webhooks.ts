/**
 * Standard Webhooks 1.0 and Svix, which differ in the names of their fields: id, time and body are signed together,
 * `v1` with HMAC-SHA-256 (secret `whsec_..`) or `v1a` with Ed25519 (public key `whpk_..`).
 */
import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { InvalidOptionError } from '../../core/errors.ts'
import { onlyValue } from '../delivery.ts'
import { notJson, parsed, type Scheme, textMember, textOf } from '../scheme.ts'
import {
  anySame,
  decodeSecret,
  decodeSignature,
  hmac,
  invalid,
  noMatch,
  timeFault,
  valid,
} from '../signatures.ts'

/** Signatures in one field; more are not read. */
const signaturesMax = 32

export function standardWebhooks(prefix: 'webhook' | 'svix'): Scheme {
  const field = (delivery: Parameters<typeof onlyValue>[0], name: string): string | undefined =>
    onlyValue(delivery, `${prefix}-${name}`)
  return {
    idField: `${prefix}-id`,
    verifier(secrets, time) {
      const symmetric: Buffer[] = []
      const asymmetric: KeyObject[] = []
      for (const secret of secrets) {
        if (secret.startsWith('whpk_')) asymmetric.push(publicKey(secret.slice('whpk_'.length)))
        else symmetric.push(decodeSecret('secret', secret.replace(/^whsec_/, '')))
      }
      return (delivery) => {
        const id = field(delivery, 'id')
        const timestamp = field(delivery, 'timestamp')
        const header = field(delivery, 'signature')
        if (id === undefined || timestamp === undefined || header === undefined) {
          return invalid(`${prefix}-id, ${prefix}-timestamp or ${prefix}-signature is missing or repeated.`)
        }
        const given = header.split(' ', signaturesMax)
        const head = `${id}.${timestamp}.`
        const expected = symmetric.map((key) => `v1,${hmac('sha256', key, [head, delivery.body], 'base64')}`)
        const signed = Buffer.concat([Buffer.from(head), delivery.body])
        if (!anySame(expected, given) && !anyVerifies(asymmetric, signed, given)) return noMatch
        return timeFault(timestamp, time) ?? valid
      }
    },
    read(delivery) {
      const payload = parsed(textOf(delivery))
      if (payload === undefined) return notJson
      return { kind: 'event', id: field(delivery, 'id'), type: textMember(payload, 'type'), payload }
    },
  }
}

function anyVerifies(keys: readonly KeyObject[], signed: Buffer, given: readonly string[]): boolean {
  const signatures = given
    .filter((one) => one.startsWith('v1a,'))
    .map((one) => decodeSignature(one.slice('v1a,'.length)))
    .filter((octets) => octets !== undefined)
  return keys.some((key) => signatures.some((signature) => verify(null, signed, key, signature)))
}

const publicKeyBytes = 32

function publicKey(base64: string): KeyObject {
  const octets = decodeSecret('secret', base64)
  if (octets.length !== publicKeyBytes) {
    throw new InvalidOptionError('secret', `must hold ${publicKeyBytes} octets after 'whpk_'`)
  }
  return createPublicKey({
    format: 'jwk',
    key: { kty: 'OKP', crv: 'Ed25519', x: octets.toString('base64url') },
  })
}
