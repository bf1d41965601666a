/**
 * Time, randomness, digests and ciphers, passed in: the same engine files run in production and in the simulator.
 * `engine/node-runtime.ts` holds the real ones.
 */
import type { Digest } from './bytes.ts'

/** Two clocks that must not be mixed: `monotonic` for deadlines in this process, `now` for display. */
export interface Clock {
  /** Wall clock, milliseconds since 1970. */
  now(): number
  /** Milliseconds from an arbitrary start; never goes back. */
  monotonic(): number
}

/** What a timer or a deferred call returns: call it to cancel. */
export type Cancel = () => void

export interface Timers {
  /** Calls `run` once after `delayMs`; somebody waits for it, so the process stays alive until then. */
  after(delayMs: number, run: () => void): Cancel
  /** As `after`, for upkeep that must not keep the process alive. */
  background(delayMs: number, run: () => void): Cancel
  /** Calls `run` once at the end of this turn of the event loop, after what is already under way. */
  atTurnEnd(run: () => void): void
}

export interface Random {
  /** 128 random bits as 22 base64url characters. */
  token(): string
  /** A fraction, 0 <= x < 1, for jitter. */
  fraction(): number
}

/** Compression and authenticated encryption of stored outcomes. */
export interface Sealing {
  compress(octets: Uint8Array): Uint8Array
  /** `undefined` when it is damaged, or longer than `bytesMax`. */
  decompress(octets: Uint8Array, bytesMax: number): Uint8Array | undefined
  /** From a source that is fit for nonces. */
  randomOctets(bytes: number): Uint8Array
  /** AES-256-GCM; the tag of 16 octets comes last. */
  encrypt(key: Uint8Array, nonce: Uint8Array, octets: Uint8Array, associated: Uint8Array): Uint8Array
  /** `undefined` when anything of it is not as it was. */
  decrypt(
    key: Uint8Array,
    nonce: Uint8Array,
    octets: Uint8Array,
    associated: Uint8Array,
  ): Uint8Array | undefined
}

export interface Runtime {
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly digest: Digest
  readonly sealing: Sealing
}
