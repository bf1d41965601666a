/** What the schemes share: keyed digests, comparisons that take the same time for every input, and timestamps. */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { InvalidOptionError } from '../core/errors.ts'

/** What is wrong with a signature, in a sentence that holds nothing of the secret. */
export type SignatureVerdict =
  | { readonly kind: 'valid' }
  | { readonly kind: 'invalid'; readonly reason: string }
  /** It could not be checked now; the provider is to send the event again. */
  | { readonly kind: 'unavailable'; readonly reason: string }

export const valid: SignatureVerdict = { kind: 'valid' }

export function invalid(reason: string): SignatureVerdict {
  return { kind: 'invalid', reason }
}

export const noMatch: SignatureVerdict = invalid('The signature does not match.')

export function hmac(
  hash: 'sha1' | 'sha256',
  key: string | Uint8Array,
  parts: readonly (string | Uint8Array)[],
  encoding: 'hex' | 'base64',
): string {
  const digest = createHmac(hash, key)
  for (const part of parts) digest.update(part)
  return digest.digest(encoding)
}

/** Compares two texts in a time that depends on their lengths only. */
export function sameText(expected: string, given: string): boolean {
  const left = Buffer.from(expected)
  const right = Buffer.from(given)
  return left.length === right.length && timingSafeEqual(left, right)
}

/** Whether some given signature is one of the expected ones. Every pair is compared. */
export function anySame(expected: readonly string[], given: readonly string[]): boolean {
  let found = false
  for (const one of expected) {
    for (const other of given) found = sameText(one, other) || found
  }
  return found
}

/** How a scheme judges the time that a provider signed. */
export interface TimeRule {
  /** Milliseconds since 1970. */
  readonly now: () => number
  readonly toleranceMs: number
}

/** `undefined` where the timestamp (seconds since 1970, in digits) is near enough. */
export function timeFault(timestamp: string, rule: TimeRule): SignatureVerdict | undefined {
  if (!/^\d{1,12}$/.test(timestamp)) return invalid('The timestamp is malformed.')
  const ageMs = rule.now() - Number(timestamp) * 1000
  if (ageMs > rule.toleranceMs) return invalid('The timestamp is too old.')
  if (ageMs < -rule.toleranceMs) return invalid('The timestamp is in the future.')
  return undefined
}

/**
 * The octets of a signature in base64, in the one spelling that they have: otherwise many texts would be one
 * signature. `undefined` for any other text.
 */
export function decodeSignature(text: string): Buffer | undefined {
  const octets = Buffer.from(text, 'base64')
  return octets.toString('base64') === text ? octets : undefined
}

/** The octets of a base64 secret. @throws InvalidOptionError without the secret */
export function decodeSecret(option: string, text: string): Buffer {
  const octets = /^[A-Za-z0-9+/]+={0,2}$/.test(text) ? Buffer.from(text, 'base64') : Buffer.alloc(0)
  if (octets.length > 0) return octets
  throw new InvalidOptionError(option, 'must be base64 after its prefix')
}
