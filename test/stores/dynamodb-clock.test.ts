/** The server's clock from whole seconds: what it says is true, whatever the network and the clocks do. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { serverClock } from '../../src/stores/dynamodb/server-clock.ts'

/** The second that a server writes into its answer. */
const dateAt = (serverTime: number): number => Math.floor(serverTime / 1_000) * 1_000

interface Answer {
  readonly afterMs: number
  readonly thereMs: number
  readonly backMs: number
}

const ms = (max: number): fc.Arbitrary<number> => fc.double({ min: 0, max, noNaN: true })
const answers = fc.array(fc.record({ afterMs: ms(60_000), thereMs: ms(3_000), backMs: ms(3_000) }), {
  minLength: 1,
  maxLength: 40,
})

/** Lets answers come one after the other; `check` is called after each with the true time. */
function replay(
  given: readonly Answer[],
  offset: number,
  drift: number,
  check: (clock: ReturnType<typeof serverClock>, monotonic: number, truth: number) => void,
): void {
  const clock = serverClock()
  const truthAt = (monotonic: number): number => offset + monotonic * (1 + drift)
  let monotonic = 0
  for (const { afterMs, thereMs, backMs } of given) {
    const sentAt = monotonic + afterMs
    monotonic = sentAt + thereMs + backMs
    clock.saw(dateAt(truthAt(sentAt + thereMs)), sentAt, monotonic)
    check(clock, monotonic, truthAt(monotonic))
  }
}

describe('the interval', () => {
  test('holds the true time after every answer, and until the next one', () => {
    fc.assert(
      fc.property(
        answers,
        fc.double({ min: 1.7e12, max: 1.8e12, noNaN: true }),
        fc.double({ min: -100e-6, max: 100e-6, noNaN: true }),
        ms(600_000),
        (given, offset, drift, laterMs) => {
          replay(given, offset, drift, (clock, monotonic, truth) => {
            const now = clock.at(monotonic)
            expect(now?.earliest).toBeLessThanOrEqual(truth)
            expect(now?.latest).toBeGreaterThanOrEqual(truth)
          })
          let last: readonly [ReturnType<typeof serverClock>, number, number] | undefined
          replay(given, offset, drift, (...args) => (last = args))
          const [clock, monotonic, truth] = last ?? []
          const later = clock?.at((monotonic ?? 0) + laterMs)
          const truthLater = (truth ?? 0) + laterMs * (1 + drift)
          expect(later?.earliest).toBeLessThanOrEqual(truthLater)
          expect(later?.latest).toBeGreaterThanOrEqual(truthLater)
        },
      ),
    )
  })

  test('never runs backwards while no clock is stepped', () => {
    fc.assert(
      fc.property(answers, (given) => {
        let last = 0
        replay(given, 1.75e12, 0, (clock, monotonic) => {
          const earliest = clock.at(monotonic)?.earliest ?? 0
          expect(earliest).toBeGreaterThanOrEqual(last)
          last = earliest
        })
      }),
    )
  })

  test('is as wide as a second and the round trip at first, and narrows with answers of other parts of a second', () => {
    const clock = serverClock()
    expect(clock.at(0)).toBeUndefined()
    const widths: number[] = []
    for (let at = 0; at < 20; at++) {
      const sentAt = at * 1_053
      clock.saw(dateAt(1.75e12 + sentAt + 5), sentAt, sentAt + 10)
      const { earliest = 0, latest = Infinity } = clock.at(sentAt + 10) ?? {}
      widths.push(latest - earliest)
    }
    expect(widths[0]).toBeGreaterThanOrEqual(1_010)
    expect(widths[0]).toBeLessThanOrEqual(1_060)
    expect(widths.at(-1)).toBeLessThan(120)
  })

  test('widens with age', () => {
    const clock = serverClock()
    clock.saw(1.75e12, 0, 10)
    const { earliest = 0, latest = 0 } = clock.at(3_600_010) ?? {}
    // An hour at 200 parts of a million, on both sides of a second and its round trip.
    expect(latest - earliest).toBeGreaterThanOrEqual(1_010 + 2 * 720)
    expect(latest - earliest).toBeLessThan(1_060 + 2 * 720)
  })

  test.each([-7_200_000, 7_200_000])('starts anew when a clock was stepped by %i ms', (stepMs) => {
    const clock = serverClock()
    const truth = 1.75e12
    clock.saw(dateAt(truth), 0, 10)
    clock.saw(dateAt(truth + 100 + stepMs), 100, 110)
    const now = clock.at(110)
    expect(now?.earliest).toBeLessThanOrEqual(truth + 110 + stepMs)
    expect(now?.latest).toBeGreaterThanOrEqual(truth + 110 + stepMs)
    expect((now?.latest ?? 0) - (now?.earliest ?? 0)).toBeLessThan(1_100)
  })
})
