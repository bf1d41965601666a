/** Keys that follow from what is meant. */
import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { keyFor, type KeyPart, secretKeyFor } from '../../src/client/index.ts'
import { keyField } from '../../src/client/key.ts'

afterEach(() => {
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
})

const secret = 'a secret of enough octets'

type Parts = [KeyPart, ...KeyPart[]]
const part: fc.Arbitrary<KeyPart> = fc.oneof(
  // Four of four octets each, written as twelve characters: no list is too long for a key.
  fc.string({ unit: 'binary', minLength: 1, maxLength: 4 }),
  fc.string({ unit: fc.constantFrom(':', '%', 'a', '1', '3A', '-'), minLength: 1, maxLength: 4 }),
  fc.maxSafeInteger(),
  fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }),
)
const parts = fc.array(part, { minLength: 1, maxLength: 4 }) as unknown as fc.Arbitrary<Parts>

describe('keyFor', () => {
  test('is readable, and the same today as in a year', () => {
    expect(keyFor('order', 42, 'refund', 1)).toBe('order:42:refund:1')
    expect(keyFor('invoice', '2026-11', 7n)).toBe('invoice:2026-11:7')
    expect(keyFor('a:b', 'ü/1', '50%')).toBe('a%3Ab:%C3%BC%2F1:50%25')
    expect(keyFor('order', 42)).toBe(keyFor('order', '42'))
    expect(keyFor('order', -0)).toBe('order:0')
  })

  test('no two lists of parts give one key, and one list gives one', () => {
    vi.stubEnv('NODE_ENV', 'production')
    const said = (list: Parts): string => JSON.stringify(list.map(String))
    fc.assert(
      fc.property(parts, parts, (one, other) => {
        const keys = [keyFor(...one), keyFor(...other), keyFor(...one)]
        expect(keys[0] === keys[1]).toBe(said(one) === said(other))
        expect(keys[2]).toBe(keys[0])
      }),
      { numRuns: 2_000 },
    )
  })

  test('no joining or splitting of parts gives the same key', () => {
    vi.stubEnv('NODE_ENV', 'production')
    fc.assert(
      fc.property(parts, fc.nat(), fc.nat(), (list, a, b) => {
        const texts = list.map(String)
        const at = a % texts.length
        const cut = (b % (texts[at]?.length ?? 1)) as number
        const halves = [texts[at]?.slice(0, cut), texts[at]?.slice(cut)] as [string, string]
        fc.pre(cut > 0 && halves.every((half) => half.isWellFormed()))
        const split = texts.toSpliced(at, 1, ...halves) as Parts
        expect(keyFor(...split)).not.toBe(keyFor(...(texts as Parts)))
        expect(keyFor(...([halves.join(':'), ...texts] as Parts))).not.toBe(
          keyFor(...([...halves, ...texts] as Parts)),
        )
      }),
    )
  })

  test('every key may be sent as it is', () => {
    vi.stubEnv('NODE_ENV', 'production')
    fc.assert(
      fc.property(parts, (list) => {
        expect(keyField(keyFor(...list), 'bare')).toBe(keyFor(...list))
      }),
    )
  })

  const refused: readonly [string, unknown, RegExp][] = [
    ['an object', { id: 1 }, /never the data of a request/],
    ['an array', [1], /never the data of a request/],
    ['octets', new Uint8Array([1]), /never the data of a request/],
    ['a date', new Date(0), /never the data of a request/],
    ['a function', () => 1, /never the data of a request/],
    ['a symbol', Symbol('a'), /never the data of a request/],
    ['a boolean', true, /never the data of a request/],
    ['null', null, /never the data of a request/],
    ['nothing', undefined, /an id is missing/],
    ['no text', '', /an id is missing/],
    ['NaN', Number.NaN, /whole number/],
    ['a fraction', 0.5, /whole number/],
    ['infinity', Number.POSITIVE_INFINITY, /whole number/],
    ['a number that is not exact', 2 ** 53, /bigint/],
    ['half a character', 'a\uD83E', /halves/],
  ]
  test.each(refused)('refuses %s', (_, value, rule) => {
    for (const make of [() => keyFor('order', value as KeyPart), () => keyFor(value as KeyPart, 1)]) {
      expect(make).toThrow(
        expect.objectContaining({ code: 'option-invalid', message: expect.stringMatching(rule) }),
      )
    }
  })

  test('refuses no parts, and more than fits', () => {
    expect(() => keyFor(...([] as unknown as Parts))).toThrow('at least one part')
    expect(keyFor('x'.repeat(253), 1)).toHaveLength(255)
    expect(() => keyFor('x'.repeat(254), 1)).toThrow('secretKeyFor')
    expect(() => keyFor('ü'.repeat(43), 1)).toThrow('255')
  })
})

describe('personal data', () => {
  const personal: readonly [string, KeyPart][] = [
    ['an e-mail address', 'ada@example.com'],
    ['an e-mail address', 'mailto:ada.l+shop@mail.example.co.uk'],
    ['a phone number', '+49 170 1234567'],
    ['a phone number', '+1 (555) 010-9999'],
    ['a card number', '4111 1111 1111 1111'],
    ['a card number', 5555555555554444],
    ['a card number', 378282246310005n],
    ['a card number', '2223003122003222'],
    ['an account number', 'DE89 3704 0044 0532 0130 00'],
    ['an account number', 'gb29nwbk60161331926819'],
  ]
  test.each(personal)('%s is refused in development: %s', (kind, value) => {
    expect(() => keyFor('order', value)).toThrow(`must not be ${kind}`)
    // The value is not told.
    expect(() => keyFor('order', value)).not.toThrow(String(value))
    vi.stubEnv('NODE_ENV', 'production')
    expect(keyFor('order', value)).toContain('order:')
  })

  test.each([
    ['a card number with another check digit', '4111111111111112'],
    ['an account number with another check', 'DE88370400440532013000'],
    ['a time in microseconds', '1764489600000000'],
    ['an id of 19 digits that would pass the check digit', '1800000000000000000'],
    ['a UUID', '0f8fad5b-d9cb-469f-a165-70867728950e'],
    ['a handle', '@ada1'],
    ['a version', 'pkg@1.2.3'],
    ['a signed number', '+12'],
    ['an ISO time', '2026-11-30T07:16:54+01:00'],
  ])('an id is none: %s', (_, value) => {
    expect(() => keyFor('order', value)).not.toThrow()
  })
})

describe('keys that tell nothing apart', () => {
  test('are warned of in development, once', () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
    for (const _ of [1, 2]) keyFor('send', 'newsletter')
    expect(warn).toHaveBeenCalledTimes(1)
    expect(String(warn.mock.calls[0])).toMatch(/no id in it/)
    expect(String(warn.mock.calls[0])).not.toContain('newsletter')
    vi.stubEnv('NODE_ENV', 'production')
    keyFor('send', 'invoices')
    expect(warn).toHaveBeenCalledTimes(1)
  })

  test('keys with an id are not', () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
    keyFor('send', 'newsletter', 3)
    keyFor('send', 'newsletter', 3n)
    keyFor('send', 'newsletter', '2026-11')
    keyFor('send', 'abcdefabcdefabcdef')
    expect(warn).not.toHaveBeenCalled()
  })
})

describe('secretKeyFor', () => {
  test('is the HMAC of the readable key', async () => {
    const octets = createHmac('sha256', secret).update('order:42:refund:1').digest()
    expect(await secretKeyFor(secret, 'order', 42, 'refund', 1)).toBe(octets.toString('base64url'))
    const bytes = Uint8Array.from(Buffer.from(secret))
    expect(await secretKeyFor(bytes, 'order', 42, 'refund', 1)).toBe(octets.toString('base64url'))
    expect(await secretKeyFor({ secret }, 'order', '42', 'refund', 1n)).toBe(octets.toString('base64url'))
  })

  test('is a UUID of version 8 where that is asked for', async () => {
    const octets = createHmac('sha256', secret).update('order:42').digest()
    const uuid = await secretKeyFor({ secret, form: 'uuid' }, 'order', 42)
    expect(uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(uuid.slice(0, 8)).toBe(octets.toString('hex').slice(0, 8))
    expect(uuid.slice(-12)).toBe(octets.toString('hex').slice(20, 32))
  })

  test('hides what may not be seen, at any length, and another secret gives another key', async () => {
    const one = await secretKeyFor(secret, 'welcome', 'ada@example.com', 'x'.repeat(1_000))
    expect(one).toMatch(/^[\w-]{43}$/)
    expect(await secretKeyFor(`${secret}.`, 'welcome', 'ada@example.com', 'x'.repeat(1_000))).not.toBe(one)
  })

  test('refuses a secret that can be guessed, an unknown form, and what is no part', async () => {
    await expect(secretKeyFor('short', 'order', 1)).rejects.toThrow('16 octets')
    await expect(secretKeyFor(new Uint8Array(15), 'order', 1)).rejects.toThrow('16 octets')
    await expect(secretKeyFor({ secret, form: 'hex' as 'uuid' }, 'order', 1)).rejects.toThrow('form')
    await expect(secretKeyFor(secret, 'order', '')).rejects.toThrow('an id is missing')
  })
})
