import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { canonicalJson } from '../../src/core/canonical-json.ts'

/** JSON as a tree that keeps number lexemes and member order. */
type Tree =
  | { kind: 'word'; text: string }
  | { kind: 'number'; sign: string; digits: string; power: number }
  | { kind: 'string'; text: string }
  | { kind: 'array'; items: Tree[] }
  | { kind: 'object'; members: [string, Tree][] }

const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 8 }),
  fc.string({
    unit: fc.constantFrom(
      'a',
      '"',
      '\\',
      '/',
      '\n',
      '\0',
      '\x7f',
      'é',
      '\u2028',
      '\ud83d',
      '\ude00',
      '\ufffd',
      '\ufeff',
    ),
    maxLength: 6,
  }),
  fc.constantFrom('__proto__', 'constructor', 'a', 'b', '1'),
)
const numberTree = fc.record({
  kind: fc.constant('number' as const),
  sign: fc.constantFrom('', '-'),
  digits: fc.stringMatching(/^(0|[1-9][0-9]{0,20})$/),
  power: fc.integer({ min: -30, max: 30 }),
})
const tree = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom('true', 'false', 'null').map((text): Tree => ({ kind: 'word', text })),
    numberTree,
    anyText.map((text): Tree => ({ kind: 'string', text })),
    fc.array(tie('tree'), { maxLength: 4 }).map((items): Tree => ({ kind: 'array', items })),
    fc
      .uniqueArray(fc.tuple(anyText, tie('tree')), { selector: ([name]) => name, maxLength: 4 })
      .map((members): Tree => ({ kind: 'object', members })),
  ),
})).tree

/** Writes a tree in one of its many spellings; `pick(n)` chooses among n. */
function spell(node: Tree, pick: (choices: number) => number): string {
  const space = (): string => ['', ' ', '\n', '\t\r '][pick(4)] as string
  const list = (texts: string[]): string => texts.map((text) => space() + text + space()).join(',')
  switch (node.kind) {
    case 'word':
      return node.text
    case 'number':
      return spellNumber(node, pick)
    case 'string':
      return spellString(node.text, pick)
    case 'array':
      return `[${space()}${list(node.items.map((item) => spell(item, pick)))}]`
    case 'object': {
      const members = node.members.map(
        ([name, value]) => `${spellString(name, pick)}${space()}:${space()}${spell(value, pick)}`,
      )
      for (let left = members.length - 1; left > 0; left -= 1) {
        const right = pick(left + 1)
        ;[members[left], members[right]] = [members[right] as string, members[left] as string]
      }
      return `{${space()}${list(members)}}`
    }
    default:
      return node satisfies never
  }
}

function spellNumber(node: Tree & { kind: 'number' }, pick: (choices: number) => number): string {
  const zeros = pick(3)
  const whole = node.digits === '0' ? '0' : node.digits + '0'.repeat(zeros)
  const power = node.power - (node.digits === '0' ? 0 : zeros)
  const exponent = `${['e', 'E'][pick(2)]}${power < 0 ? '-' : ['', '+'][pick(2)]}${'0'.repeat(pick(3))}${Math.abs(power)}`
  const fraction = ['', '.0', '.000'][pick(3)]
  if (pick(2) === 0 && whole.length > 1) {
    const shifted = power + whole.length - 1
    return `${node.sign}${whole[0]}.${whole.slice(1)}e${shifted}`
  }
  return node.sign + whole + fraction + (power === 0 && pick(2) === 0 ? '' : exponent)
}

function spellString(text: string, pick: (choices: number) => number): string {
  let spelled = ''
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at] as string
    const escaped = `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
    const must = character === '"' || character === '\\' || character < ' '
    const spellings = [
      ...(must ? [] : [character]),
      escaped,
      escaped.toUpperCase().replace('\\U', '\\u'),
      ...(character === '/' ? ['\\/'] : []),
      ...(character === '\n' ? ['\\n'] : []),
      ...(character === '"' || character === '\\' ? [`\\${character}`] : []),
    ]
    spelled += spellings[pick(spellings.length)]
  }
  return `"${spelled}"`
}

/** Equality of trees by meaning, written apart from the code under test. */
function meaning(node: Tree): string {
  switch (node.kind) {
    case 'word':
      return node.text
    case 'number': {
      if (/^0+$/.test(node.digits)) return `#${node.sign}0`
      const stripped = node.digits.replace(/0+$/, '')
      return `#${node.sign}${BigInt(stripped)}^${node.power + node.digits.length - stripped.length}`
    }
    case 'string':
      return codeUnits(node.text)
    case 'array':
      return `[${node.items.map(meaning).join(',')}]`
    case 'object':
      return `{${node.members
        .map(([name, value]) => `${codeUnits(name)}:${meaning(value)}`)
        .sort()
        .join(',')}}`
    default:
      return node satisfies never
  }
}

function codeUnits(text: string): string {
  return `'${Array.from({ length: text.length }, (_, at) => text.charCodeAt(at)).join('.')}'`
}

const picks = fc.infiniteStream(fc.nat({ max: 1000 }))

function pickFrom(stream: Iterator<number>): (choices: number) => number {
  return (choices) => (stream.next().value as number) % choices
}

describe('properties', () => {
  it('gives one text for all spellings of one value', () => {
    fc.assert(
      fc.property(tree, picks, (value, stream) => {
        const first = spell(value, () => 0)
        const other = spell(value, pickFrom(stream))
        expect(canonicalJson(other)).toBe(canonicalJson(first))
        expect(canonicalJson(first)).toBeDefined()
      }),
      { numRuns: 1000 },
    )
  })

  it('gives different texts for different values', () => {
    fc.assert(
      fc.property(tree, tree, picks, (left, right, stream) => {
        const same = meaning(left) === meaning(right)
        expect(canonicalJson(spell(left, () => 0)) === canonicalJson(spell(right, pickFrom(stream)))).toBe(
          same,
        )
      }),
      { numRuns: 1000 },
    )
  })

  it('is its own canonical text, well formed and of the same value', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), (text) => {
        const canonical = canonicalJson(text) as string
        expect(canonicalJson(canonical)).toBe(canonical)
        expect(canonical.isWellFormed()).toBe(true)
        expect(JSON.parse(canonical)).toStrictEqual(JSON.parse(text))
      }),
      { numRuns: 1000 },
    )
  })

  it('accepts what JSON.parse accepts and nothing else', () => {
    const piece = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"a"',
      '"b"',
      '""',
      '"\\u00e9"',
      '"\\x"',
      '"',
      '\\',
      '1',
      '0',
      '-',
      '.',
      'e',
      'E',
      '+',
      '01',
      '1.5',
      'true',
      'null',
      'fals',
      'NaN',
      ' ',
      '\n',
      '\u00a0',
      '\ufeff',
      '\0',
      '/**/',
      "'",
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 9 }), (pieces) => {
        const text = pieces.join('')
        const canonical = canonicalJson(text)
        if (canonical === undefined) expect(isJson(text) && !repeatsName(text)).toBe(false)
        else expect(JSON.parse(canonical)).toStrictEqual(JSON.parse(text))
      }),
      { numRuns: 20_000 },
    )
  })

  function isJson(text: string): boolean {
    try {
      JSON.parse(text)
      return true
    } catch {
      return false
    }
  }

  /** With one-letter names and values that are short, a repeated name shows as a lost member. */
  function repeatsName(text: string): boolean {
    const names = text.match(/"[ab]?"\s*:|"\\u00e9"\s*:/g) ?? []
    return names.length !== countMembers(JSON.parse(text))
  }

  function countMembers(value: unknown): number {
    if (typeof value !== 'object' || value === null) return 0
    const own = Array.isArray(value) ? 0 : Object.keys(value).length
    return Object.values(value).reduce((total: number, member) => total + countMembers(member), own)
  }
})

describe('values', () => {
  it.each([
    ['{"a":"A","b":2}', '{ "b" : 2, "a" : "\\u0041" }'],
    ['1', '1.0'],
    ['1', '1e0'],
    ['1', '10e-1'],
    ['1', '0.1E+1'],
    ['1', '1.000'],
    ['100', '1e2'],
    ['0', '0.0'],
    ['0', '0e5'],
    ['-0', '-0.00e-7'],
    ['1e400', '10e399'],
    ['0.001', '1e-3'],
    ['-2500.0', '-25e2'],
    ['1e000000000000001', '10'],
    ['9007199254740993', '9007199254740993.0'],
    ['"\\/"', '"/"'],
    ['"\\ud83d\\ude00"', '"😀"'],
    ['"\\ud83d"', '"\ud83d"'],
    ['"\\u000a"', '"\\n"'],
    [' [ ] ', '[]'],
    ['{\r\n}', '{}'],
    ['"é"', '"\\u00E9"'],
  ])('%s equals %s', (left, right) => {
    expect(canonicalJson(left)).toBeDefined()
    expect(canonicalJson(left)).toBe(canonicalJson(right))
  })

  it.each([
    ['9007199254740993', '9007199254740992'],
    ['0', '-0'],
    ['0.0', '-0.0'],
    ['1e400', 'null'],
    ['1e400', '1e401'],
    ['1', '"1"'],
    ['1', '10'],
    ['1', '-1'],
    ['12', '1.2'],
    ['[1,2]', '[12]'],
    ['[1,2]', '[2,1]'],
    ['{"a":1,"b":null}', '{"a":1}'],
    ['[]', '{}'],
    ['""', 'null'],
    ['"é"', '"e\\u0301"'],
    ['"\\ud800"', '"\\ufffd"'],
    ['"\\ud800"', '"\\udfff"'],
    ['"\\ud800"', '"\\\\ud800"'],
    ['{"a":{"b":1}}', '{"a":1,"b":1}'],
    ['{"__proto__":1}', '{}'],
    ['{"__proto__":1}', '{"__proto__":2}'],
    ['{"constructor":{"prototype":1}}', '{"constructor":{}}'],
    ['["a,b"]', '["a","b"]'],
    ['"A"', '"a"'],
    ['"a"', '"a "'],
    ['0.1', '0.10000000000000000555'],
    ['[[]]', '[[],[]]'],
    ['true', '"true"'],
    ['"\\u0000"', '""'],
  ])('%s differs from %s', (left, right) => {
    expect(canonicalJson(left)).toBeDefined()
    expect(canonicalJson(right)).toBeDefined()
    expect(canonicalJson(left)).not.toBe(canonicalJson(right))
  })

  it.each([
    '',
    ' ',
    '\ufeff{}',
    '{}\ufeff',
    '{"a":1,"a":1}',
    '{"a":1,"\\u0061":2}',
    '{"b":1,"a":1,"b":2}',
    '{"x":{"a":1,"a":2}}',
    '{}{}',
    '{"a":1}\n{"a":2}',
    '{"a":1} x',
    '[1,]',
    '[,1]',
    '{,}',
    '{"a":1,}',
    '{"a"}',
    '{a:1}',
    '{1:1}',
    "{'a':1}",
    '[1 2]',
    '[',
    ']',
    '{',
    '}',
    '"',
    '"\\',
    '"\\"',
    '"\\u12"',
    '"\\u12g4"',
    '"\\x41"',
    '"a\nb"',
    '"\t"',
    '"\x1f"',
    '"\0"',
    '01',
    '-',
    '-01',
    '+1',
    '.5',
    '1.',
    '1.e1',
    '1e',
    '1e+',
    '0x1',
    'NaN',
    'Infinity',
    '-Infinity',
    'undefined',
    'True',
    'nul',
    'nulll',
    '// a\n1',
    '[1]//',
    '1e1234567890',
    '1e-1234567890',
    '\u00a01',
    '[}',
    '{"a":1]',
    '1,2',
    '1 2',
    '1-',
    '1.2.3',
    '1e5e5',
    '1e5.5',
  ])('leaves %j to octets', (text) => {
    expect(canonicalJson(text)).toBeUndefined()
  })
})

describe('bounds', () => {
  const nested = (depth: number, open = '[', close = ']', inner = ''): string =>
    open.repeat(depth) + inner + close.repeat(depth)

  it('reads 64 levels and no more', () => {
    expect(canonicalJson(nested(64))).toBe(nested(64))
    expect(canonicalJson(nested(65))).toBeUndefined()
    expect(canonicalJson(nested(64, '{"a":', '}', '1'))).toBe(nested(64, '{"a":', '}', '1'))
    expect(canonicalJson(nested(65, '{"a":', '}', '1'))).toBeUndefined()
    expect(canonicalJson('[[[]]]', { depthMax: 2, nodesMax: 10 })).toBeUndefined()
  })

  it('reads as many values as allowed', () => {
    const items = (count: number): string => `[${'1,'.repeat(count - 1)}1]`
    expect(canonicalJson(items(19_999))).toBeDefined()
    expect(canonicalJson(items(20_000))).toBeUndefined()
    expect(canonicalJson('[1,2,3]', { depthMax: 2, nodesMax: 3 })).toBeUndefined()
  })

  const mebibyte = 1024 * 1024
  const worst: [name: string, text: string, canonical: boolean][] = [
    ['open brackets', '['.repeat(mebibyte), false],
    ['nested 10^4', nested(10_000), false],
    ['nested 10^6', nested(1_000_000), false],
    ['open objects', '{"a":'.repeat(200_000), false],
    ['200,000 names', `{${Array.from({ length: 200_000 }, (_, index) => `"${index}":1`).join(',')}}`, false],
    [
      '15,000 names, backwards',
      `{${Array.from({ length: 15_000 }, (_, index) => `"${99_999 - index}":1`).join(',')}}`,
      true,
    ],
    ['15,000 equal names', `{${'"a":1,'.repeat(15_000)}"a":1}`, false],
    ['white space', ' '.repeat(mebibyte), false],
    ['white space around', `${' '.repeat(mebibyte)}1${' '.repeat(mebibyte)}`, true],
    ['a string without end', `"${'a'.repeat(mebibyte)}`, false],
    ['escapes without end', `"${'\\\\'.repeat(mebibyte / 2)}`, false],
    ['a long string', `"${'\\u0041'.repeat(100_000)}"`, true],
    ['a long integer', '9'.repeat(mebibyte), true],
    ['many zeros', `1${'0'.repeat(mebibyte)}`, true],
    ['a long fraction', `0.${'0'.repeat(mebibyte)}1`, true],
    ['a long fraction, broken', `0.${'0'.repeat(mebibyte)}.`, false],
    ['a long exponent', `1e${'9'.repeat(mebibyte)}`, false],
    ['exponent zeros', `1e${'0'.repeat(mebibyte)}1`, true],
    ['commas', `[${','.repeat(mebibyte)}`, false],
    ['20,000 empty arrays in depth 60', `${'['.repeat(60)}${'[],'.repeat(19_900)}1${']'.repeat(60)}`, true],
  ]
  it.each(worst)('ends on %s', (_name, text, canonical) => {
    expect(canonicalJson(text) !== undefined).toBe(canonical)
  })
})
