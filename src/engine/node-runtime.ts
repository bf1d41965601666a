/** The real clock, timers, randomness, digest and ciphers. The only file of core and engine that may ask for them. */
import { createCipheriv, createDecipheriv, createHmac, hash, randomBytes, randomFillSync } from 'node:crypto'
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import type { Digest } from '../core/bytes.ts'
import { InvalidOptionError } from '../core/errors.ts'
import type { Cancel, Clock, Random, Runtime, Sealing, Timers } from '../core/runtime.ts'

const clock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
}

const timers: Timers = {
  after(delayMs: number, run: () => void): Cancel {
    const timer = setTimeout(run, delayMs)
    return () => clearTimeout(timer)
  },
  background(delayMs: number, run: () => void): Cancel {
    const timer = setTimeout(run, delayMs)
    // Where timers are numbers, as in Workers, no timer keeps the process alive.
    if (typeof timer === 'object') timer.unref()
    return () => clearTimeout(timer)
  },
  atTurnEnd(run: () => void): void {
    setImmediate(run)
  },
}

const tokenBytes = 16
const pool = Buffer.alloc(tokenBytes * 256)
let poolAt = pool.length

const random: Random = {
  token(): string {
    // One system call for 256 tokens; a call for each costs more than the rest of a claim.
    if (poolAt === pool.length) {
      randomFillSync(pool)
      poolAt = 0
    }
    const token = pool.toString('base64url', poolAt, poolAt + tokenBytes)
    poolAt += tokenBytes
    return token
  },
  fraction: () => Math.random(),
}

/** The fastest level: outcomes are written once and in a request's time. */
const compressionLevel = 1
const tagBytes = 16
const algorithm = 'aes-256-gcm'

const sealing: Sealing = {
  compress: (octets) =>
    zstdCompressSync(octets, { params: { [constants.ZSTD_c_compressionLevel]: compressionLevel } }),
  decompress(octets, bytesMax): Uint8Array | undefined {
    try {
      return zstdDecompressSync(octets, { maxOutputLength: bytesMax })
    } catch {
      return undefined
    }
  },
  randomOctets: (bytes) => randomBytes(bytes),
  encrypt(key, nonce, octets, associated): Uint8Array {
    const cipher = createCipheriv(algorithm, key, nonce, { authTagLength: tagBytes }).setAAD(associated)
    return Buffer.concat([cipher.update(octets), cipher.final(), cipher.getAuthTag()])
  },
  decrypt(key, nonce, octets, associated): Uint8Array | undefined {
    if (octets.length < tagBytes) return undefined
    const tagAt = octets.length - tagBytes
    const decipher = createDecipheriv(algorithm, key, nonce, { authTagLength: tagBytes }).setAAD(associated)
    decipher.setAuthTag(octets.subarray(tagAt))
    try {
      return Buffer.concat([decipher.update(octets.subarray(0, tagAt)), decipher.final()])
    } catch {
      return undefined
    }
  },
}

const sha256: Digest = (data) => hash('sha256', data, 'base64url')

const secretBytesMin = 16

/**
 * SHA-256, or HMAC-SHA-256 where a secret is given: then neither a record id nor a fingerprint can be
 * confirmed by guessing what it was made of.
 *
 * @throws InvalidOptionError when the secret is shorter than 16 bytes
 */
export function createDigest(secret: string | Uint8Array | undefined): Digest {
  if (secret === undefined) return sha256
  const key = typeof secret === 'string' ? Buffer.from(secret, 'utf8') : secret
  if (!(key instanceof Uint8Array) || key.length < secretBytesMin) {
    throw new InvalidOptionError('secret', `must be a string or bytes of at least ${secretBytesMin} bytes`)
  }
  return (data) => createHmac('sha256', key).update(data).digest('base64url')
}

/** The runtime of a real process. */
export function nodeRuntime(secret?: string | Uint8Array): Runtime {
  return { clock, timers, random, digest: createDigest(secret), sealing }
}
