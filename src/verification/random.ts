/** Numbers that a seed determines: the same seed gives the same run. */

export type SeededRandom = () => number

/**
 * A generator of fractions, 0 <= x < 1 (mulberry32).
 *
 * @param seed a whole number; its lower 32 bits count
 * @example
 * const random = seededRandom(7)
 */
export function seededRandom(seed: number): SeededRandom {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
