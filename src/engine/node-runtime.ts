/** The real clock, timers, randomness and digest. The only file of core and engine that may ask for them. */
import { createHmac, hash, randomFillSync } from 'node:crypto'
import type { Digest } from '../core/bytes.ts'
import { InvalidOptionError } from '../core/errors.ts'
import type { Cancel, Clock, Random, Runtime, Timers } from '../core/runtime.ts'

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
    timer.unref()
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
  return { clock, timers, random, digest: createDigest(secret) }
}
