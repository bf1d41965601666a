import fc from 'fast-check'
import { parseItem, serializeItem } from 'structured-headers'
import { describe, expect, it } from 'vitest'
import { checkKey, type KeySyntax, type ParsedKey, parseKeyField, parseKeyLines } from '../../src/core/key.ts'

const limits = { lengthMin: 1, lengthMax: 255 }
const syntaxes: KeySyntax[] = ['lenient', 'strict', 'raw']
const uuid = '8e03978e-40d5-43dd-bc93-6894a57f9324'

function keyOf(parsed: ParsedKey): string | undefined {
  return parsed.kind === 'key' ? parsed.key : undefined
}

function read(value: string, syntax: KeySyntax): string | undefined {
  return keyOf(parseKeyField(value, syntax, limits))
}

describe('field values', () => {
  // value, then the key that lenient, strict and raw read from it (undefined: malformed)
  const bad = undefined
  const table: [
    value: string,
    lenient: string | undefined,
    strict: string | undefined,
    raw: string | undefined,
  ][] = [
    [`"${uuid}"`, uuid, uuid, `"${uuid}"`],
    [uuid, uuid, bad, uuid],
    [`  "${uuid}"\t`, uuid, uuid, `"${uuid}"`],
    ['"a\\"b\\\\c"', 'a"b\\c', 'a"b\\c', '"a\\"b\\\\c"'],
    ['"k";v=1', 'k', 'k', '"k";v=1'],
    ['"k"; v=1;w; x="a;\\"b" ;', bad, bad, '"k"; v=1;w; x="a;\\"b" ;'],
    [
      '"k";a;b=?1;c=:aGk=:;d=@17;e=%"f%c3%bc";f=tok/en;g=-1.5',
      'k',
      'k',
      '"k";a;b=?1;c=:aGk=:;d=@17;e=%"f%c3%bc";f=tok/en;g=-1.5',
    ],
    ['"a, b"', 'a, b', 'a, b', bad],
    ['" a "', ' a ', ' a ', '" a "'],
    ['a b', bad, bad, 'a b'],
    ['a,b', bad, bad, 'a,b'],
    ['a, a', bad, bad, bad],
    ['"a", "a"', bad, bad, bad],
    ['"a" x', bad, bad, '"a" x'],
    ['abc;v=1', bad, bad, 'abc;v=1'],
    ['a"b', bad, bad, 'a"b'],
    ['"', bad, bad, '"'],
    ['"abc', bad, bad, '"abc'],
    ['"a\\,b"', bad, bad, '"a\\,b"'],
    ['"a\\"', bad, bad, '"a\\"'],
    ['"a\\', bad, bad, '"a\\'],
    ['""', bad, bad, '""'],
    ['"  "', bad, bad, '"  "'],
    [':aGk=:', bad, bad, ':aGk=:'],
    ['?1', bad, bad, '?1'],
    ['@1700000000', bad, bad, '@1700000000'],
    ['%"a"', bad, bad, '%"a"'],
    ['(a)', bad, bad, '(a)'],
    ['(a b)', bad, bad, '(a b)'],
    ['token', 'token', bad, 'token'],
    ['1', '1', bad, '1'],
    ['-1.5', '-1.5', bad, '-1.5'],
    ['"1"', '1', '1', '"1"'],
    ['user@example.com', 'user@example.com', bad, 'user@example.com'],
    ['@user', '@user', bad, '@user'],
    ['?', '?', bad, '?'],
    ['', bad, bad, bad],
    [' \t ', bad, bad, bad],
  ]
  it.each(table)('%j', (value, lenient, strict, raw) => {
    expect(read(value, 'lenient')).toBe(lenient)
    expect(read(value, 'strict')).toBe(strict)
    expect(read(value, 'raw')).toBe(raw)
  })

  const outsideAscii = [
    'a\0b',
    'a\rb',
    'a\nb',
    'a\r\nSet-Cookie: x',
    'a\r\n b',
    'a\tb',
    'a\x7fb',
    'a\xe9',
    'a\xc3\xa9',
    '😀',
    '\ud800',
    '\udfff',
    '\ufffd',
    'e\u0301',
    '\u200b',
    '\u202e',
    '１２',
    '\x1b[31m',
    '\u00a0',
    '\ufeff"a"',
  ]
  it.each(outsideAscii)('refuses octets outside visible ASCII: %j', (value) => {
    for (const syntax of syntaxes) {
      expect(read(value, syntax)).toBeUndefined()
      expect(read(`"${value}"`, syntax)).toBeUndefined()
    }
  })

  const plainData = [
    '__proto__',
    'constructor',
    'toString',
    '../../x',
    '{slot}',
    '*',
    "'",
    '%00',
    '%0d%0a',
    '${jndi:x}',
    'null',
    '[object',
    '00000000-0000-0000-0000-000000000000',
    '4111111111111111',
    '<img/src=x>',
    "=cmd|'x'!A1",
    'ABC',
    'abc',
  ]
  it.each(plainData)('takes as plain data: %j', (value) => {
    expect(read(value, 'lenient')).toBe(value)
    expect(read(`"${value}"`, 'strict')).toBe(value)
    expect(read(value, 'raw')).toBe(value)
  })

  it.each(["'; DROP TABLE x;--", '<img src=x onerror=1>', '[object Object]', 'a@b.example, c'])(
    'takes as plain data when quoted: %j',
    (value) => {
      expect(read(`"${value}"`, 'lenient')).toBe(value)
      expect(read(`"${value}"`, 'strict')).toBe(value)
    },
  )

  it('counts the length after decoding', () => {
    const escaped = `"${'\\"'.repeat(255)}"`
    expect(read(escaped, 'strict')).toBe('"'.repeat(255))
    for (const [length, accepted] of [
      [1, true],
      [255, true],
      [256, false],
      [257, false],
      [4096, false],
      [20_000, false],
    ] as const) {
      const key = 'k'.repeat(length)
      for (const syntax of ['lenient', 'raw'] as const)
        expect(read(key, syntax)).toBe(accepted ? key : undefined)
      expect(read(`"${key}"`, 'strict')).toBe(accepted ? key : undefined)
    }
    expect(parseKeyField('short', 'lenient', { lengthMin: 16, lengthMax: 255 }).kind).toBe('malformed')
    expect(parseKeyField('"0123456789abcdef"', 'strict', { lengthMin: 16, lengthMax: 16 }).kind).toBe('key')
  })

  it('never repeats the key in a rule', () => {
    const canary = 'sk_live_canary'
    const spoiled = [
      `${canary},`,
      `"${canary}`,
      `"${canary}" x`,
      `${canary};a`,
      `${canary} b`,
      `${canary}\0`,
      `:${canary}:`,
    ]
    for (const value of [...spoiled, canary.repeat(30)]) {
      const parsed = parseKeyField(value, 'lenient', limits)
      expect(parsed.kind).toBe(value.startsWith(':') ? 'key' : 'malformed')
      expect(JSON.stringify(parsed.kind === 'malformed' ? parsed.rule : '')).not.toContain('canary')
    }
  })
})

describe('agreement with structured-headers', () => {
  const asciiText = fc.string({
    unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
    minLength: 1,
    maxLength: 40,
  })
  const bareItem = fc.oneof(
    asciiText,
    fc.boolean(),
    fc.integer({ min: -999_999_999_999_999, max: 999_999_999_999_999 }),
    fc.uint8Array({ maxLength: 12 }).map((bytes) => bytes.buffer.slice(0, bytes.length)),
    fc.integer({ min: -1e9, max: 1e9 }).map((seconds) => new Date(seconds * 1000)),
  )
  const parameters = fc.dictionary(fc.stringMatching(/^[a-z*][a-z0-9_.*-]{0,8}$/), bareItem, { maxKeys: 4 })

  it('reads every string item that it writes', () => {
    fc.assert(
      fc.property(asciiText, parameters, (key, given) => {
        const field = serializeItem([key, new Map(Object.entries(given))])
        expect(read(field, 'strict')).toBe(key.trim() === '' ? undefined : key)
        expect(read(field, 'lenient')).toBe(read(field, 'strict'))
      }),
    )
  })

  it('accepts no field that it refuses, and the same string where both accept', () => {
    const piece = fc.constantFrom(
      '"',
      '\\',
      ';',
      '=',
      ' ',
      ',',
      'a',
      'b1',
      '*',
      '1',
      '1.5',
      ':',
      'aGk=',
      '?',
      '?1',
      '@',
      '%',
      '-',
      '.',
      '(',
      ')',
    )
    const field = fc.array(piece, { maxLength: 14 }).map((pieces) => pieces.join(''))
    const quotedField = fc
      .tuple(fc.constantFrom('"k"', '"a\\"b"'), field)
      .map(([start, rest]) => start + rest)
    fc.assert(
      fc.property(fc.oneof(field, quotedField), (value) => {
        expect(read(value, 'strict')).toBe(stringItem(value))
      }),
      { numRuns: 3000 },
    )
  })

  function stringItem(value: string): string | undefined {
    try {
      const [bare] = parseItem(value)
      return typeof bare === 'string' && bare.trim() !== '' ? bare : undefined
    } catch {
      return undefined
    }
  }
})

describe('field lines', () => {
  it('refuses anything but exactly one line', () => {
    expect(parseKeyLines(['"a"'], 'lenient', limits)).toEqual({ kind: 'key', key: 'a' })
    expect(parseKeyLines([], 'lenient', limits).kind).toBe('malformed')
    expect(parseKeyLines(['a', 'a'], 'lenient', limits).kind).toBe('malformed')
    expect(parseKeyLines(['a', 'b'], 'raw', limits).kind).toBe('malformed')
    expect(parseKeyLines([''], 'raw', limits).kind).toBe('malformed')
  })
})

describe('keys from programs', () => {
  const notKeys: unknown[] = [
    undefined,
    null,
    0,
    Number.NaN,
    true,
    [],
    ['a'],
    {},
    { toPostgres: () => 'a' },
    Object('a'),
    Buffer.from('a'),
    Symbol('a'),
    new Date(0),
    1n,
    () => 'a',
    '',
    ' ',
    ' \t\n',
    '\u00a0',
    '\ud800',
    'a\udfffb',
    'k'.repeat(256),
  ]
  it.each(notKeys.map((value) => [typeof value, value]))('refuses a %s: %o', (_type, value) => {
    expect(checkKey(value, limits).kind).toBe('malformed')
  })

  it.each([
    'a',
    ' a ',
    'A',
    '\ufffd',
    'é',
    'e\u0301',
    '😀',
    '\u200b',
    '\u202ex',
    'a\0b',
    'a\r\nb',
    '__proto__',
    '${x}',
    'k'.repeat(255),
  ])('takes %j unchanged', (key) => {
    expect(checkKey(key, limits)).toEqual({ kind: 'key', key })
  })
})

describe('worst cases end', () => {
  const size = 200_000
  const values = [
    '"'.repeat(size),
    '\\'.repeat(size),
    `"${'\\"'.repeat(size)}`,
    ' '.repeat(size),
    `a${' '.repeat(size)}b`,
    `"k"${';'.repeat(size)}`,
    `"k";${' '.repeat(size)}!`,
    `"k"${';a'.repeat(size)}!`,
    `"k";a=%"${'a'.repeat(size)}`,
    `"k";a=${'1'.repeat(size)}`,
    `"k";a=:${'A'.repeat(size)}`,
    `:${'A'.repeat(size)}`,
    `(${')'.repeat(size)}`,
    `"k";a="${'\\\\'.repeat(size)}`,
  ]
  it.each(values.map((value) => [value.slice(0, 12), value]))('%s..', (_start, value) => {
    for (const syntax of syntaxes) expect(parseKeyField(value, syntax, limits).kind).toBe('malformed')
  })
})
