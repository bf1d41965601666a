/**
 * The sealed form of an encoded outcome (`outcome.ts`): compressed, encrypted or both. An outcome that is neither
 * is stored as it was encoded, with the version 1 in its first octet.
 *
 *   octet 0      version, 2
 *   octet 1      flags: 1 compressed, 2 encrypted
 *   octets 2..5  length of the encoded outcome, big-endian
 *   if encrypted: octet 6 is the length of the key's id (1 to 32); the id, ASCII; a nonce of 12 octets
 *   rest         the outcome, compressed if so flagged, then encrypted with AES-256-GCM and its tag of 16 octets
 *
 * Everything before the rest, and the record's id, is authenticated with it: an outcome that was moved to another
 * record, or whose flags were changed, is not read.
 */
import { UnreadableOutcomeError } from './errors.ts'
import type { RecordId } from './record.ts'

const version = 2
const flagsAt = 1
const lengthAt = 2
const keyIdAt = 6
const flag = { compressed: 1, encrypted: 2 } as const

/** AES-GCM takes nonces of 96 bits; random ones are safe for 2^32 writes under one key (NIST SP 800-38D, 8.3). */
export const nonceBytes = 12
export const keyIdForm: RegExp = /^[\w.-]{1,32}$/

const ascii = new TextEncoder()
const text = new TextDecoder()

/** What stands before the payload. */
export interface SealHead {
  readonly compressed: boolean
  /** Of the encoded outcome. */
  readonly plainBytes: number
  readonly encryption: { readonly keyId: string; readonly nonce: Uint8Array } | undefined
}

/** Whether an outcome is in its sealed form. */
export function isSealed(stored: Uint8Array): boolean {
  return stored[0] === version
}

export function writeSealHead({ compressed, plainBytes, encryption }: SealHead): Uint8Array {
  const keyId = encryption === undefined ? undefined : ascii.encode(encryption.keyId)
  const bytes = keyId === undefined ? keyIdAt : keyIdAt + 1 + keyId.length + nonceBytes
  const head = new Uint8Array(bytes)
  head[0] = version
  head[flagsAt] = (compressed ? flag.compressed : 0) | (keyId === undefined ? 0 : flag.encrypted)
  new DataView(head.buffer).setUint32(lengthAt, plainBytes)
  if (keyId !== undefined && encryption !== undefined) {
    head[keyIdAt] = keyId.length
    head.set(keyId, keyIdAt + 1)
    head.set(encryption.nonce, keyIdAt + 1 + keyId.length)
  }
  return head
}

/** @throws UnreadableOutcomeError when it is cut off or of an unknown form */
export function readSealHead(stored: Uint8Array): SealHead & { readonly headBytes: number } {
  const flags = stored[flagsAt] ?? 0
  if (stored.length < keyIdAt || (flags & ~(flag.compressed | flag.encrypted)) !== 0 || flags === 0) {
    throw new UnreadableOutcomeError('its seal is not known to this release')
  }
  const plainBytes = new DataView(stored.buffer, stored.byteOffset).getUint32(lengthAt)
  const compressed = (flags & flag.compressed) !== 0
  if ((flags & flag.encrypted) === 0)
    return { compressed, plainBytes, encryption: undefined, headBytes: keyIdAt }
  const nonceAt = keyIdAt + 1 + (stored[keyIdAt] ?? 0)
  const headBytes = nonceAt + nonceBytes
  const keyId = text.decode(stored.subarray(keyIdAt + 1, nonceAt))
  if (stored.length < headBytes || !keyIdForm.test(keyId))
    throw new UnreadableOutcomeError('its seal is damaged')
  const encryption = { keyId, nonce: stored.subarray(nonceAt, headBytes) }
  return { compressed, plainBytes, encryption, headBytes }
}

/** What is authenticated beside the payload. */
export function associatedOctets(head: Uint8Array, id: RecordId): Uint8Array {
  const idOctets = ascii.encode(id)
  const octets = new Uint8Array(head.length + idOctets.length)
  octets.set(head)
  octets.set(idOctets, head.length)
  return octets
}
