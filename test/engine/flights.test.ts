import { describe, expect, test } from 'vitest'
import type { Fingerprint, RecordId } from '../../src/core/record.ts'
import { Flights, takeOff } from '../../src/engine/flights.ts'

const fingerprint = '1.f' as Fingerprint
/** More than there are buckets, so that many share one. */
const ids = Array.from(
  { length: 3_000 },
  (_, at) => `${String.fromCharCode(65 + (at % 26))}${at}` as RecordId,
)

describe('flights', () => {
  test('each is found by its id until it is over, also where many are under way', () => {
    const flights = new Flights()
    const controls = ids.map((id) => takeOff(flights, id, fingerprint))
    expect(ids.map((id) => flights.get(id))).toEqual(controls)
    expect(new Set(flights.all())).toEqual(new Set(controls))
    for (const [at, each] of controls.entries()) {
      if (at % 3 === 0) each.begin({ kind: 'mismatch' })
      else each.begin({ kind: 'run', leaseLeftMs: () => 1 })
      if (at % 3 === 1) each.end({ kind: 'open' })
    }
    expect(ids.filter((id) => flights.get(id) !== undefined)).toEqual(ids.filter((_, at) => at % 3 === 2))
  })

  test('an end that comes again does not take the next flight of the key away', () => {
    const flights = new Flights()
    const [id] = ids as [RecordId]
    const first = takeOff(flights, id, fingerprint)
    first.end({ kind: 'open' })
    const second = takeOff(flights, id, fingerprint)
    first.end({ kind: 'open' })
    expect(flights.get(id)).toBe(second)
  })

  test('how it began and ended is told to those who asked before and to those who ask after, once', async () => {
    const flights = new Flights()
    const [id] = ids as [RecordId]
    const controls = takeOff(flights, id, fingerprint)
    const flight = flights.get(id) as NonNullable<ReturnType<Flights['get']>>
    const before = flight.begun
    controls.begin({ kind: 'mismatch' })
    controls.begin({ kind: 'expired' })
    controls.end({ kind: 'open' })
    expect([await before, await flight.begun]).toEqual([{ kind: 'mismatch' }, { kind: 'mismatch' }])
    expect(await flight.ended).toEqual({ kind: 'open' })
  })
})
