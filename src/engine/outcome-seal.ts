/**
 * What stands between outcomes and the store: encoded outcomes are compressed and, with keys, encrypted. Every
 * outcome that is written or read goes through here, in both modes and over every store.
 */
import { InvalidOptionError, UnreadableOutcomeError } from '../core/errors.ts'
import { refuseUnknownOptions } from '../core/options.ts'
import { decodeOutcome, type Outcome } from '../core/outcome.ts'
import type { RecordId } from '../core/record.ts'
import type { Sealing } from '../core/runtime.ts'
import {
  associatedOctets,
  isSealed,
  keyIdForm,
  nonceBytes,
  readSealHead,
  writeSealHead,
} from '../core/sealed-outcome.ts'

/** Keys for outcomes at rest. */
export interface EncryptionOptions {
  /**
   * By id (1 to 32 letters, digits, `_`, `-` and `.`): 32 octets, or those as 64 hexadecimal digits or base64. All
   * keys are read with; keep one for as long as outcomes that it wrote are retained.
   */
  readonly keys: Readonly<Record<string, Uint8Array | string>>
  /** The id of the key that new outcomes are written with. */
  readonly current: string
  /**
   * Reads outcomes that were stored before encryption was switched on. Default `false`: whoever can write to the
   * store could pass an outcome of his own for one of those.
   */
  readonly acceptPlain?: boolean
}

/** When outcomes are compressed. */
export interface CompressionOptions {
  /** Encoded outcomes below this size stay as they are. Default 2,048 bytes. */
  readonly minBytes?: number
}

export interface OutcomeSeal {
  /** Outcomes are encrypted, so that no database can write one by itself. */
  readonly encrypts: boolean
  /** The stored form of an encoded outcome. */
  seal(id: RecordId, encoded: Uint8Array): Uint8Array
  /** @throws UnreadableOutcomeError */
  open(id: RecordId, stored: Uint8Array): Outcome
}

const minBytesDefault = 2_048
/** Compressed outcomes that save less than this part of their size are stored as they were. */
const savedPartMin = 1 / 8
/** No outcome is larger, whatever its seal says. */
export const plainBytesMax: number = 64 * 1024 * 1024
const keyBytes = 32

/** @throws InvalidOptionError naming the option and no value, since a key might stand in its place */
export function outcomeSeal(
  sealing: Sealing,
  compression: CompressionOptions | false | undefined,
  encryption: EncryptionOptions | undefined,
): OutcomeSeal {
  const minBytes = readMinBytes(compression)
  const cipher = encryption === undefined ? undefined : readEncryption(encryption)

  return {
    encrypts: cipher !== undefined,

    seal(id, encoded): Uint8Array {
      const compressed = encoded.length < minBytes ? encoded : sealing.compress(encoded)
      const isWorthIt = compressed.length <= encoded.length * (1 - savedPartMin)
      const payload = isWorthIt ? compressed : encoded
      if (cipher === undefined) {
        if (!isWorthIt) return encoded
        return joined(
          writeSealHead({ compressed: true, plainBytes: encoded.length, encryption: undefined }),
          payload,
        )
      }
      const { keyId, key } = cipher.current
      const nonce = sealing.randomOctets(nonceBytes)
      const head = writeSealHead({
        compressed: isWorthIt,
        plainBytes: encoded.length,
        encryption: { keyId, nonce },
      })
      return joined(head, sealing.encrypt(key, nonce, payload, associatedOctets(head, id)))
    },

    open(id, stored): Outcome {
      const head = isSealed(stored) ? readSealHead(stored) : undefined
      if (cipher !== undefined && !cipher.acceptPlain && head?.encryption === undefined) {
        throw new UnreadableOutcomeError('it is not encrypted, and encryption.acceptPlain is not set')
      }
      if (head === undefined) return decodeOutcome(stored)
      const { compressed, plainBytes, encryption: sealed, headBytes } = head
      if (plainBytes > plainBytesMax) throw new UnreadableOutcomeError(`it is over ${plainBytesMax} bytes`)
      let octets: Uint8Array | undefined = stored.subarray(headBytes)
      if (sealed !== undefined) {
        const key = cipher?.keys.get(sealed.keyId)
        if (key === undefined) {
          throw new UnreadableOutcomeError(
            `it is encrypted with the key ${sealed.keyId}, which encryption.keys lacks`,
          )
        }
        const associated = associatedOctets(stored.subarray(0, headBytes), id)
        octets = sealing.decrypt(key, sealed.nonce, octets, associated)
        if (octets === undefined)
          throw new UnreadableOutcomeError('it was changed, moved, or sealed with another key')
      }
      if (compressed) octets = sealing.decompress(octets, plainBytes)
      if (octets?.length !== plainBytes) throw new UnreadableOutcomeError('it is damaged')
      return decodeOutcome(octets)
    },
  }
}

function joined(head: Uint8Array, payload: Uint8Array): Uint8Array {
  const octets = new Uint8Array(head.length + payload.length)
  octets.set(head)
  octets.set(payload, head.length)
  return octets
}

function readMinBytes(compression: CompressionOptions | false | undefined): number {
  if (compression === false) return Number.POSITIVE_INFINITY
  if (compression === undefined) return minBytesDefault
  if (typeof compression !== 'object' || compression === null) {
    throw new InvalidOptionError('compression', 'must be false or an object', compression)
  }
  refuseUnknownOptions('compression', compression, ['minBytes'])
  const { minBytes = minBytesDefault } = compression
  if (!Number.isSafeInteger(minBytes) || minBytes < 0) {
    throw new InvalidOptionError('compression.minBytes', 'must be a whole number from 0 on', minBytes)
  }
  return minBytes
}

interface Cipher {
  readonly keys: ReadonlyMap<string, Uint8Array>
  readonly current: { readonly keyId: string; readonly key: Uint8Array }
  readonly acceptPlain: boolean
}

function readEncryption(options: EncryptionOptions): Cipher {
  if (typeof options !== 'object' || options === null) {
    throw new InvalidOptionError('encryption', 'must be an object with keys and current')
  }
  refuseUnknownOptions('encryption', options, ['keys', 'current', 'acceptPlain'])
  const { keys: given, current: keyId, acceptPlain = false } = options
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new InvalidOptionError('encryption.keys', 'must be an object of keys by their ids')
  }
  const keys = new Map<string, Uint8Array>()
  for (const [id, key] of Object.entries(given)) {
    if (!keyIdForm.test(id)) {
      throw new InvalidOptionError('encryption.keys', 'must have ids of 1 to 32 letters, digits, _, - and .')
    }
    keys.set(id, readKey(`encryption.keys.${id}`, key))
  }
  const texts = new Set(Array.from(keys.values(), (key) => key.join()))
  if (texts.size < keys.size)
    throw new InvalidOptionError('encryption.keys', 'must not hold one key under two ids')
  const key = keys.get(keyId)
  if (key === undefined)
    throw new InvalidOptionError('encryption.current', 'must be the id of one of the keys')
  if (typeof acceptPlain !== 'boolean') {
    throw new InvalidOptionError('encryption.acceptPlain', 'must be true or false', acceptPlain)
  }
  return { keys, current: { keyId, key }, acceptPlain }
}

function readKey(option: string, given: unknown): Uint8Array {
  const octets = typeof given === 'string' ? keyFromText(given) : given
  if (!(octets instanceof Uint8Array) || octets.length !== keyBytes) {
    throw new InvalidOptionError(
      option,
      `must be ${keyBytes} octets, or those as 64 hexadecimal digits or base64`,
    )
  }
  if (octets.every((octet) => octet === 0)) throw new InvalidOptionError(option, 'must not be all zero')
  return Uint8Array.from(octets)
}

function keyFromText(text: string): Uint8Array | undefined {
  if (/^[0-9a-f]{64}$/i.test(text))
    return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
  if (!/^[\w+/-]{43}=?$/.test(text)) return undefined
  return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (octet) => octet.charCodeAt(0))
}
