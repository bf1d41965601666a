/** Octets and text: the tuple encoding below every digest, and base64url. Pure, for every JavaScript runtime. */
import { UnreadableOutcomeError } from './errors.ts'

/**
 * A synchronous digest of 32 octets, as base64url text (43 characters): SHA-256, or HMAC-SHA-256 where a secret
 * is set. Text, because that is what is stored and compared, and the platform writes it fastest. It must not keep
 * what it is given.
 */
export type Digest = (data: Uint8Array) => string

const utf8 = new TextEncoder()
const ascii = new TextDecoder()
const prefixBytes = 4
/** Up to here a loop in JavaScript is faster than a call into the runtime. */
const shortTextCharacters = 96

/**
 * Joins parts into one sequence of octets, each after its length (32 bits, big-endian), so that no two
 * different lists of parts give the same octets. Strings count as UTF-8; a lone surrogate, which UTF-8 cannot
 * carry, is written as its own three octets instead of U+FFFD.
 *
 * @example
 * lengthPrefixed(['a', 'bc']) // 0 0 0 1 97 0 0 0 2 98 99
 */
export function lengthPrefixed(parts: readonly (string | Uint8Array)[]): Uint8Array {
  const bytes = new Uint8Array(bytesMaxOf(parts))
  return bytes.subarray(0, writeParts(parts, bytes))
}

/** Every call makes two digests of a few dozen octets: to allocate these takes longer than the digest. */
const shared = new Uint8Array(2_048)

/**
 * The digest of `lengthPrefixed(parts)`. What the digest function is given is its own only until it returns.
 *
 * @example
 * digestOf(digest, ['record', namespace, principal, operation, key])
 */
export function digestOf(digest: Digest, parts: readonly (string | Uint8Array)[]): string {
  if (bytesMaxOf(parts) > shared.length) return digest(lengthPrefixed(parts))
  return digest(shared.subarray(0, writeParts(parts, shared)))
}

/** Room that is enough, without looking at the characters. */
function bytesMaxOf(parts: readonly (string | Uint8Array)[]): number {
  let bytesMax = 0
  for (const part of parts)
    bytesMax += prefixBytes + (typeof part === 'string' ? part.length * 3 : part.length)
  return bytesMax
}

/** Returns where the last part ends. */
function writeParts(parts: readonly (string | Uint8Array)[], bytes: Uint8Array): number {
  let at = 0
  for (const part of parts) {
    const start = at + prefixBytes
    let length: number
    if (typeof part === 'string') {
      length = writeText(part, bytes, start) - start
    } else {
      bytes.set(part, start)
      length = part.length
    }
    bytes[at] = length >>> 24
    bytes[at + 1] = length >>> 16
    bytes[at + 2] = length >>> 8
    bytes[at + 3] = length
    at = start + length
  }
  return at
}

const slabBytes = 16_384
/** Larger pieces get memory of their own, so that one of them cannot keep many others alive. */
const sharedBytesMax = 1_024
let slab = new Uint8Array(slabBytes)
let slabAt = 0

/**
 * New octets, for the caller to fill to the last one. Short pieces lie side by side in one buffer: one of its own
 * costs the garbage collector more than all else that is done with it.
 */
export function roomFor(bytes: number): Uint8Array {
  if (bytes > sharedBytesMax) return new Uint8Array(bytes)
  if (slabAt + bytes > slabBytes) {
    slab = new Uint8Array(slabBytes)
    slabAt = 0
  }
  slabAt += bytes
  return slab.subarray(slabAt - bytes, slabAt)
}

/** How many octets `writeText` takes for a text. */
export function utf8Length(text: string): number {
  let bytes = text.length
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index)
    if (code < 0x80) continue
    bytes += code < 0x800 ? 1 : 2
    // Two units of four octets together.
    if ((text.codePointAt(index) as number) > 0xffff) index += 1
  }
  return bytes
}

/** UTF-8 of a text; lone surrogates keep their own three octets, so that different texts stay different. */
export function textBytes(text: string): Uint8Array {
  if (text.isWellFormed()) return utf8.encode(text)
  const bytes = new Uint8Array(text.length * 3)
  return bytes.subarray(0, writeText(text, bytes, 0))
}

/** Writes a text at `at` and returns where it ends. `bytes` has room for three octets a character. */
export function writeText(text: string, bytes: Uint8Array, at: number): number {
  if (text.length > shortTextCharacters && text.isWellFormed()) {
    return at + utf8.encodeInto(text, bytes.subarray(at)).written
  }
  let end = at
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index)
    if (code < 0x80) bytes[end++] = code
    else {
      const point = text.codePointAt(index) as number
      if (point > 0xffff) index += 1
      end = writeLongPoint(point, bytes, end)
    }
  }
  return end
}

function writeLongPoint(point: number, bytes: Uint8Array, at: number): number {
  let end = at
  if (point < 0x800) bytes[end++] = 0xc0 | (point >> 6)
  else {
    if (point < 0x10000) bytes[end++] = 0xe0 | (point >> 12)
    else {
      bytes[end++] = 0xf0 | (point >> 18)
      bytes[end++] = 0x80 | ((point >> 12) & 0x3f)
    }
    bytes[end++] = 0x80 | ((point >> 6) & 0x3f)
  }
  bytes[end++] = 0x80 | (point & 0x3f)
  return end
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const sextetCodes = Uint8Array.from(alphabet, (character) => character.charCodeAt(0))
const notInAlphabet = 255
const sextetOf = new Uint8Array(128).fill(notInAlphabet)
for (const [sextet, code] of sextetCodes.entries()) sextetOf[code] = sextet

/**
 * base64url without padding (RFC 4648, section 5).
 *
 * @example
 * toBase64Url(new Uint8Array([255, 254])) // '__4'
 */
export function toBase64Url(bytes: Uint8Array): string {
  const { length } = bytes
  const text = new Uint8Array(Math.ceil((length * 4) / 3))
  let end = 0
  for (let at = 0; at < length; at += 3) {
    // Past the end an octet reads as undefined, which the shifts turn into 0.
    const triple =
      ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number)
    text[end++] = sextetCodes[triple >> 18] as number
    text[end++] = sextetCodes[(triple >> 12) & 63] as number
    if (at + 1 < length) text[end++] = sextetCodes[(triple >> 6) & 63] as number
    if (at + 2 < length) text[end++] = sextetCodes[triple & 63] as number
  }
  if (end > shortTextCharacters) return ascii.decode(text)
  // Spreading the array instead takes four times as long. Every digest goes through here.
  return String.fromCharCode.apply(null, text as unknown as number[])
}

/**
 * Reads base64url back, only as `toBase64Url` writes it: without padding, white space or stray last bits.
 *
 * @throws UnreadableOutcomeError when the text is anything else; the text comes from a record
 */
export function fromBase64Url(text: string): Uint8Array {
  const { length } = text
  if (length % 4 === 1) throw notBase64Url()
  const bytes = new Uint8Array(Math.floor((length * 3) / 4))
  let end = 0
  let bits = 0
  let bitCount = 0
  for (let at = 0; at < length; at += 1) {
    const sextet = sextetOf[text.charCodeAt(at)] ?? notInAlphabet
    if (sextet === notInAlphabet) throw notBase64Url()
    bits = ((bits << 6) | sextet) & 0xffff
    bitCount += 6
    if (bitCount < 8) continue
    bitCount -= 8
    bytes[end++] = bits >> bitCount
    bits &= (1 << bitCount) - 1
  }
  if (bits !== 0) throw notBase64Url()
  return bytes
}

/**
 * The first 128 bits of a digest, as 22 characters of base64url. Enough for identity: to reach another caller's
 * record takes a second preimage among all records (2^128 divided by their number), and a collision (2^64) joins
 * only keys or requests that the same caller chose. Half the octets are half the index in every store.
 *
 * @example
 * first128Bits(digestOf(digest, ['record', namespace, principal, operation, key]))
 */
export function first128Bits(digestText: string): string {
  const last = sextetOf[digestText.charCodeAt(21)] ?? 0
  return digestText.slice(0, 21) + (alphabet[last & 0b110000] as string)
}

function notBase64Url(): UnreadableOutcomeError {
  return new UnreadableOutcomeError('its octets are not base64url')
}
