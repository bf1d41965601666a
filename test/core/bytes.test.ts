import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  first128Bits,
  fromBase64Url,
  lengthPrefixed,
  roomFor,
  textBytes,
  toBase64Url,
  utf8Length,
} from '../../src/core/bytes.ts'
import { UnreadableOutcomeError } from '../../src/core/errors.ts'

const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({
    unit: fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)),
    maxLength: 200,
  }),
)

describe('first128Bits', () => {
  it('is the base64url of the first 16 octets', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (octets) => {
        expect(first128Bits(toBase64Url(octets))).toBe(toBase64Url(octets.subarray(0, 16)))
      }),
    )
  })
})

describe('lengthPrefixed', () => {
  it('writes a 32-bit length before each part', () => {
    expect([...lengthPrefixed(['aé', new Uint8Array([7]), ''])]).toEqual([
      0, 0, 0, 3, 97, 195, 169, 0, 0, 0, 1, 7, 0, 0, 0, 0,
    ])
    expect(lengthPrefixed([])).toHaveLength(0)
    const long = lengthPrefixed(['x'.repeat(70_000)])
    expect([...long.subarray(0, 4)]).toEqual([0, 1, 17, 112])
  })

  it('is UTF-8 for well-formed text of any length', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        expect(Buffer.from(lengthPrefixed([text]).subarray(4)).equals(Buffer.from(text, 'utf8'))).toBe(true)
        expect(Buffer.from(textBytes(text)).equals(Buffer.from(text, 'utf8'))).toBe(true)
        expect(utf8Length(text)).toBe(Buffer.byteLength(text))
      }),
    )
  })

  it('keeps lone surrogates apart from each other and from U+FFFD', () => {
    const texts = ['\ud800', '\udfff', '\ufffd', '\udfff\ud800', '\ud83d\ude00', '\ude00\ud83d'].flatMap(
      (text) => [text, text + 'x'.repeat(200)],
    )
    const encoded = new Set(texts.map((text) => Buffer.from(lengthPrefixed([text])).toString('hex')))
    expect(encoded.size).toBe(texts.length)
  })

  it('is injective', () => {
    fc.assert(
      fc.property(fc.array(anyText, { maxLength: 4 }), fc.array(anyText, { maxLength: 4 }), (left, right) => {
        const same = left.length === right.length && left.every((part, index) => part === right[index])
        expect(Buffer.from(lengthPrefixed(left)).equals(Buffer.from(lengthPrefixed(right)))).toBe(same)
      }),
    )
  })

  it('leaves no room for a moved separator', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.nat(), fc.nat(), (text, first, second) => {
        const cut = (at: number): string[] => [
          text.slice(0, at % (text.length + 1)),
          text.slice(at % (text.length + 1)),
        ]
        const same = first % (text.length + 1) === second % (text.length + 1)
        expect(Buffer.from(lengthPrefixed(cut(first))).equals(Buffer.from(lengthPrefixed(cut(second))))).toBe(
          same,
        )
      }),
    )
  })
})

describe('base64url', () => {
  it('is what Node writes and reads', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const text = toBase64Url(bytes)
        expect(text).toBe(Buffer.from(bytes).toString('base64url'))
        expect([...fromBase64Url(text)]).toEqual([...bytes])
      }),
    )
  })

  it('takes large input', () => {
    const bytes = new Uint8Array(1024 * 1024 + 1).map((_, index) => index * 31)
    const text = toBase64Url(bytes)
    expect(text === Buffer.from(bytes).toString('base64url')).toBe(true)
    expect(Buffer.from(fromBase64Url(text)).equals(Buffer.from(bytes))).toBe(true)
  })

  it.each(['A', 'AAAAA', 'AA==', 'A+', 'A/', 'AA A', 'AA\n', 'AB', 'AAB', 'Aé', '\u0141A', 'A\ud800', '😀'])(
    'refuses %j',
    (text) => {
      expect(() => fromBase64Url(text)).toThrow(UnreadableOutcomeError)
    },
  )
})

describe('octets of texts and rooms', () => {
  it('a text takes as many octets as it is said to', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect(utf8Length(text)).toBe(textBytes(text).length)
      }),
    )
  })

  it('rooms have the asked size and never overlap', () => {
    const sizes = [1, 100, 0, 1_024, 1_025, 5_000, ...Array.from({ length: 40 }, () => 1_000)]
    const rooms = sizes.map((size) => roomFor(size))
    for (const [at, room] of rooms.entries()) room.fill(at)
    expect(rooms.map(({ length }) => length)).toEqual(sizes)
    expect(rooms.every((room, at) => room.every((octet) => octet === at))).toBe(true)
  })
})
