import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { UnreadableOutcomeError, UnstorableOutcomeError } from '../../src/core/errors.ts'
import { decodeOutcome, encodeOutcome, type HeaderLine, type Outcome } from '../../src/core/outcome.ts'

const roundTrip = (outcome: Outcome): Outcome => decodeOutcome(encodeOutcome(outcome))

function tampered(
  change: (bytes: Uint8Array) => Uint8Array,
  outcome: Outcome = { kind: 'value', value: 1 },
): () => Outcome {
  return () => decodeOutcome(change(encodeOutcome(outcome).slice()))
}

/** An envelope with this kind and head, as a newer release or a hand might have written it. */
function envelopeOf(kind: number, head: string, body: readonly number[] = []): Uint8Array {
  const octets = new TextEncoder().encode(head)
  const length = new Uint8Array(4)
  new DataView(length.buffer).setUint32(0, octets.length)
  return Uint8Array.from([1, kind, ...length, ...octets, ...body])
}

describe('values', () => {
  test.each([
    ['null', null],
    ['undefined', undefined],
    ['undefined member', { a: undefined }],
    ['bigint', 12345678901234567890n],
    ['numbers JSON loses', [Number.NaN, Infinity, -Infinity, -0]],
    ['date', new Date(5)],
    ['invalid date', new Date(Number.NaN)],
    ['bytes', new Uint8Array([0, 255, 7])],
    [
      'map',
      new Map<unknown, unknown>([
        [{ a: 1 }, [1n]],
        ['b', new Set([1])],
      ]),
    ],
    ['the tag as data', { $retrysafe: ['date', 5] }],
    ['the tag as data, nested', { $retrysafe: { $retrysafe: 1 }, b: new Date(1) }],
    ['sparse array', [undefined, 1]],
    ['lone surrogate', '\ud800'],
  ])('%s comes back equal', (_, value) => {
    expect(roundTrip({ kind: 'value', value })).toEqual({ kind: 'value', value })
  })

  test('__proto__ is data and changes no prototype', () => {
    const value = JSON.parse('{"__proto__":{"polluted":true}}') as object
    const back = roundTrip({ kind: 'value', value }) as { value: object }
    expect(Object.getOwnPropertyDescriptor(back.value, '__proto__')?.value).toEqual({ polluted: true })
    expect(Object.getPrototypeOf(back.value)).toBe(Object.prototype)
    expect(({} as { polluted?: true }).polluted).toBeUndefined()
  })

  test('any plain data comes back equal', () => {
    fc.assert(
      fc.property(
        fc.anything({
          withBigInt: true,
          withDate: true,
          withMap: true,
          withSet: true,
          withNullPrototype: false,
        }),
        (value) => {
          expect(roundTrip({ kind: 'value', value })).toEqual({ kind: 'value', value })
        },
      ),
    )
  })

  const cyclic: { self?: unknown } = {}
  cyclic.self = cyclic
  test.each([
    ['function', () => 1],
    ['symbol', Symbol('x')],
    ['instance', new (class Account {})()],
    ['cycle', cyclic],
  ])('a %s is refused', (_, value) => {
    expect(() => encodeOutcome({ kind: 'value', value })).toThrow(UnstorableOutcomeError)
  })
})

describe('responses', () => {
  test('status, header lines in order and any octets come back', () => {
    const header = fc.tuple(
      fc.constantFrom('Set-Cookie', 'x-app', 'ETag'),
      fc.stringMatching(/^[\t\x20-\x7e\x80-\xff]*$/),
    )
    fc.assert(
      fc.property(
        fc.integer({ min: 200, max: 599 }),
        fc.array(header),
        fc.uint8Array(),
        (status, headers, body) => {
          const outcome: Outcome = { kind: 'response', status, headers, body }
          expect(roundTrip(outcome)).toEqual(outcome)
        },
      ),
    )
  })

  test('an omitted body stays told apart from an empty one', () => {
    expect(roundTrip({ kind: 'response', status: 201, headers: [], body: 'omitted' })).toMatchObject({
      body: 'omitted',
    })
    expect(roundTrip({ kind: 'response', status: 201, headers: [], body: new Uint8Array() })).toMatchObject({
      body: new Uint8Array(),
    })
  })

  const bad: [string, number, HeaderLine[]][] = [
    ['status 99', 99, []],
    ['status 101', 101, []],
    ['status 1000', 1000, []],
    ['status 200.5', 200.5, []],
    ['an empty header name', 200, [['', 'x']]],
    ['a header name with a space', 200, [['a b', 'x']]],
    ['CRLF in a value', 200, [['x', 'a\r\nSet-Cookie: b']]],
    ['NUL in a value', 200, [['x', 'a\0']]],
    ['an emoji in a value', 200, [['x', '😀']]],
  ]
  test.each(bad)('%s is refused when written and when read', (_, status, headers) => {
    expect(() => encodeOutcome({ kind: 'response', status, headers, body: new Uint8Array() })).toThrow(
      UnstorableOutcomeError,
    )
    expect(() => decodeOutcome(envelopeOf(2, JSON.stringify({ s: status, h: headers })))).toThrow(
      UnreadableOutcomeError,
    )
  })
})

describe('errors and markers', () => {
  test.each([
    [{ kind: 'error', name: 'CardDeclined', message: 'no funds', code: 'declined' }],
    [{ kind: 'error', name: 'Error', message: '', code: undefined }],
    [{ kind: 'unstorable', reason: 'it holds a function' }],
  ] satisfies [Outcome][])('%j comes back', (outcome) => {
    expect(roundTrip(outcome)).toEqual(outcome)
  })
})

describe('a damaged or newer record is unreadable, never absent', () => {
  test.each<[string, () => Outcome]>([
    ['no octets', () => decodeOutcome(new Uint8Array())],
    ['a newer version', tampered((bytes) => (bytes.set([2], 0), bytes))],
    ['an unknown kind', tampered((bytes) => (bytes.set([9], 1), bytes))],
    ['a cut end', tampered((bytes) => bytes.subarray(0, -1))],
    ['a head length beyond the end', tampered((bytes) => (bytes.set([255, 255, 255, 255], 2), bytes))],
    ['extra octets', tampered((bytes) => Uint8Array.from([...bytes, 0]))],
    ['bad UTF-8', () => decodeOutcome(Uint8Array.from([1, 1, 0, 0, 0, 1, 0xff]))],
    ['bad JSON', () => decodeOutcome(envelopeOf(1, '{'))],
    ['an unknown tag', () => decodeOutcome(envelopeOf(1, '{"$retrysafe":["regexp","x"]}'))],
    ['a status as text', () => decodeOutcome(envelopeOf(2, '{"s":"200","h":[]}'))],
    ['headers as an object', () => decodeOutcome(envelopeOf(2, '{"s":200,"h":{}}'))],
    ['a head that is null', () => decodeOutcome(envelopeOf(3, 'null'))],
    ['a marker without reason', () => decodeOutcome(envelopeOf(4, '{}'))],
  ])('%s', (_, read) => {
    expect(read).toThrow(UnreadableOutcomeError)
  })

  test('any octets either decode or are refused as unreadable', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decodeOutcome(bytes)
        } catch (error) {
          expect(error).toBeInstanceOf(UnreadableOutcomeError)
        }
      }),
    )
  })
})
