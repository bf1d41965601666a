/** Keys that follow from what is meant, for jobs and scripts: run again, they send the same key. */
import { InvalidOptionError } from '../core/errors.ts'
import { checkInDevelopment } from './key-checks.ts'

/** A word that says what is done, or an id. A whole number and its digits are one part. */
export type KeyPart = string | number | bigint

/** As long as `Idempotency-Key` may be everywhere. */
const keyLengthMax = 255

/**
 * A key of what is meant, readable and always the same: `order:42:refund:1`. Name the operation, the thing it is done
 * to and which of its kind it is. No two lists of parts give one key. Never made of a request's body: two equal orders
 * would be one, and one order with a field in another place two.
 *
 * In development (`NODE_ENV` is not `production`) parts that look like personal data are refused, because keys end up
 * in logs and tables, and a key of nothing but short words is warned of, once.
 *
 * @throws InvalidOptionError for a part that is no id or word, and for more than 255 characters
 * @example
 * await pay('/refunds', { method: 'POST', body, idempotency: { key: keyFor('order', 42, 'refund', 1) } })
 */
export function keyFor(...parts: readonly [KeyPart, ...KeyPart[]]): string {
  const key = intentText(parts)
  if (key.length > keyLengthMax) {
    const rule = `must give a key of at most ${keyLengthMax} characters; secretKeyFor() gives short ones`
    throw new InvalidOptionError('keyFor', rule)
  }
  checkInDevelopment('keyFor', parts, key)
  return key
}

export interface KeySecret {
  /** At least 16 octets; text counts in UTF-8. The same one for as long as keys are to be the same. */
  readonly secret: string | Uint8Array<ArrayBuffer>
  /** Default `'base64url'` (43 characters). `'uuid'` is a UUID of version 8, for servers that take nothing else. */
  readonly form?: 'base64url' | 'uuid'
}

const secretOctetsMin = 16

/**
 * As `keyFor`, for ids that must not be seen: an HMAC-SHA-256 of the parts, which nobody makes or guesses without the
 * secret.
 *
 * @throws InvalidOptionError for a part that is no id or word, and for a short secret
 * @example
 * const key = await secretKeyFor({ secret, form: 'uuid' }, 'invoice', customerId, '2026-11')
 */
export async function secretKeyFor(
  secret: KeySecret | KeySecret['secret'],
  ...parts: readonly [KeyPart, ...KeyPart[]]
): Promise<string> {
  const options = typeof secret === 'string' || secret instanceof Uint8Array ? { secret } : secret
  const { form = 'base64url' } = options
  const octets = typeof options.secret === 'string' ? utf8.encode(options.secret) : options.secret
  if (octets.length < secretOctetsMin) {
    throw new InvalidOptionError('secret', `must have at least ${secretOctetsMin} octets`)
  }
  if (form !== 'base64url' && form !== 'uuid') {
    throw new InvalidOptionError('form', "must be 'base64url' or 'uuid'", form)
  }
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const key = await crypto.subtle.importKey('raw', octets, algorithm, false, ['sign'])
  const digest = new Uint8Array(await crypto.subtle.sign('HMAC', key, utf8.encode(intentText(parts))))
  return form === 'uuid' ? uuidOf(digest) : base64urlOf(digest)
}

const utf8 = new TextEncoder()

/**
 * The parts as one text, each with all that is no letter or digit of ASCII (and `-_.!~*'()`) written as `%` and its
 * UTF-8 octets, so that `:` stands between parts alone.
 */
export function intentText(parts: readonly KeyPart[]): string {
  if (parts.length === 0) throw new InvalidOptionError('intent', 'must have at least one part')
  return parts.map(partText).join(':')
}

function partText(part: unknown, at: number): string {
  switch (typeof part) {
    case 'string':
      if (part === '') return refuse(at, 'must not be empty: an id is missing')
      if (!part.isWellFormed()) return refuse(at, 'must be text without halves of characters')
      return encodeURIComponent(part)
    case 'bigint':
      return `${part}`
    case 'number':
      if (Number.isSafeInteger(part)) return `${part}`
      return refuse(at, 'must be a whole number that is exact; give others as text or as a bigint')
    case 'undefined':
      return refuse(at, 'must not be undefined: an id is missing')
    default:
      // Equal bodies may be two orders, and one order may be two bodies.
      return refuse(
        at,
        'must be text or a whole number that names what is meant, never the data of a request',
      )
  }
}

/** The value is not told: it may be what must not be seen. */
function refuse(at: number, rule: string): never {
  throw new InvalidOptionError(`part ${at + 1} of the intent`, rule)
}

function base64urlOf(octets: Uint8Array): string {
  return btoa(String.fromCharCode(...octets))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')
}

/** RFC 9562, section 5.8: 122 bits of the digest. */
function uuidOf(digest: Uint8Array): string {
  const octets = digest.slice(0, 16)
  octets[6] = ((octets[6] as number) & 0x0f) | 0x80
  octets[8] = ((octets[8] as number) & 0x3f) | 0x80
  const hex = Array.from(octets, (octet) => octet.toString(16).padStart(2, '0')).join('')
  return [8, 12, 16, 20, 32].map((end, at, ends) => hex.slice(ends[at - 1] ?? 0, end)).join('-')
}
