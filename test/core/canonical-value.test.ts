import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { canonicalValue } from '../../src/core/canonical-value.ts'

function text(value: unknown): string {
  const canonical = canonicalValue(value)
  if (typeof canonical !== 'string') throw new Error(`unsupported at ${canonical.unsupported}`)
  return canonical
}

function unsupportedPath(value: unknown): string | undefined {
  const canonical = canonicalValue(value)
  return typeof canonical === 'string' ? undefined : canonical.unsupported
}

class Money {
  readonly #cents: number
  constructor(cents: number) {
    this.#cents = cents
  }
  toJSON(): unknown {
    return { cents: this.#cents }
  }
}

class Opaque {
  readonly visible = 1
}

const nullPrototype = (members: object): object => Object.assign(Object.create(null) as object, members)

describe('equal values', () => {
  it.each<[unknown, unknown]>([
    [
      { a: 1, b: [2] },
      { b: [2], a: 1 },
    ],
    [{ a: 1, b: undefined }, { a: 1 }],
    [nullPrototype({ a: 1 }), { a: 1 }],
    [runInNewContext('({ a: 1 })'), { a: 1 }],
    [Buffer.from('ab'), new Uint8Array([97, 98])],
    [new Uint8Array([97, 98]).buffer, Buffer.from('ab')],
    [new Uint8Array([0, 97, 98, 0]).subarray(1, 3), Buffer.from('ab')],
    [
      new Map<unknown, unknown>([
        ['a', 1],
        [2, 'b'],
      ]),
      new Map<unknown, unknown>([
        [2, 'b'],
        ['a', 1],
      ]),
    ],
    [new Set([1, 2]), new Set([2, 1])],
    [new Money(5), { cents: 5 }],
    [[undefined], Array.from({ length: 1 })],
    [new URL('http://a.example/'), 'http://a.example/'],
    [1.0, 1],
    [JSON.parse('{"__proto__":1}'), Object.fromEntries([['__proto__', 1]])],
  ])('%o is %o', (left, right) => {
    // What toJSON returns is one level deeper, and nothing of the way there is kept.
    expect(text(left)).toBe(text(right))
  })
})

describe('different values', () => {
  it('never share a text', () => {
    const values: unknown[] = [
      undefined,
      null,
      true,
      false,
      0,
      -0,
      1,
      -1,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      2 ** 53,
      0.1,
      1e300,
      0n,
      1n,
      -1n,
      9007199254740993n,
      9007199254740992n,
      '',
      '0',
      '1',
      '1n',
      'null',
      'undefined',
      'true',
      'a',
      'A',
      'é',
      'e\u0301',
      '\ud800',
      '\udfff',
      '\ufffd',
      '\ud83d\ude00',
      '\0',
      'n',
      'u',
      'd1;',
      new Date(0),
      new Date(1),
      new Date(Number.NaN),
      new Uint8Array(),
      new Uint8Array([0]),
      new Uint8Array([0, 0]),
      Buffer.from('1'),
      [],
      [[]],
      [[], []],
      [undefined],
      [null],
      [1],
      ['1'],
      [1, 2],
      [2, 1],
      [12],
      [[1], 2],
      [1, [2]],
      {},
      { a: 1 },
      { a: '1' },
      { a: null },
      { b: 1 },
      { a: { b: 1 } },
      { a: 1, b: 1 },
      { 'a1:b': 1 },
      { '': 1 },
      { 'ad1;b': 1, c: 1 },
      { a: 1, 'bd1;c': 1 },
      { '0': 1 },
      JSON.parse('{"__proto__":1}'),
      JSON.parse('{"__proto__":2}'),
      { constructor: 1 },
      new Map(),
      new Map([['a', 1]]),
      new Map([[{ a: 1 }, 1]]),
      new Map([['a', undefined]]),
      new Map([
        [1, 2],
        [3, 4],
      ]),
      new Map([
        [1, 4],
        [3, 2],
      ]),
      new Set(),
      new Set(['a']),
      new Set([1]),
      new Set([[]]),
      new Set([{ a: 1 }, { a: 1 }]),
      new Set([{ a: 1 }]),
      ['ab', 'c'],
      ['a', 'bc'],
    ]
    const seen = new Map(values.map((value) => [text(value), value]))
    expect(seen.size).toBe(values.length)
  })

  it('holds for arbitrary values', () => {
    const anything = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withNullPrototype: false,
      maxDepth: 3,
    })
    fc.assert(
      fc.property(anything, anything, (left, right) => {
        expect(text(structuredClone(left))).toBe(text(left))
        expect(text([left, right]) === text([right, left])).toBe(text(left) === text(right))
      }),
    )
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 3 }), fc.jsonValue({ maxDepth: 3 }), (left, right) => {
        expect(text(left) === text(right)).toBe(sorted(left) === sorted(right))
      }),
    )
  })

  function sorted(value: unknown): string {
    if (Object.is(value, -0)) return '-0'
    if (typeof value !== 'object' || value === null) return JSON.stringify(value)
    if (Array.isArray(value)) return `[${value.map(sorted).join()}]`
    return `{${Object.entries(value)
      .map(([name, member]) => `${JSON.stringify(name)}:${sorted(member)}`)
      .sort()
      .join()}}`
  }
})

describe('unsupported values', () => {
  const cycle: { self?: unknown } = {}
  cycle.self = cycle
  const nested = (depth: number): unknown => Array.from({ length: depth }).reduce((inner) => [inner], 1)

  it.each<[unknown, string]>([
    [() => 1, '$'],
    [Symbol('a'), '$'],
    [{ items: [{ price: 1 }, { price: () => 1 }] }, '$.items[1].price'],
    [{ 'a b': { c: Symbol('x') } }, '$["a b"].c'],
    [{ ['n'.repeat(1000)]: Symbol('x') }, `$["${'n'.repeat(40)}.."]`],
    [new Opaque(), '$'],
    [{ a: new Opaque() }, '$.a'],
    [Object('a'), '$'],
    [/a/, '$'],
    [new Error('a'), '$'],
    [Promise.resolve(1), '$'],
    [new Float64Array(1), '$'],
    [new WeakMap(), '$'],
    [
      new Map([
        ['a', 1 as unknown],
        ['b', Symbol('x')],
      ]),
      '$[1]',
    ],
    [new Map([[Symbol('x'), 1]]), '$[0]'],
    [new Set([1, () => 1]), '$[1]'],
    [{ toJSON: () => Symbol('x') }, '$'],
    [nested(65), `$${'[0]'.repeat(65)}`],
    [cycle, `$${'.self'.repeat(65)}`],
  ])('%o', (value, path) => {
    expect(unsupportedPath(value)).toBe(path)
  })

  it('reads 64 levels', () => {
    expect(unsupportedPath(nested(64))).toBeUndefined()
  })

  it('ends on what is deep, endless or shared without end', () => {
    expect(unsupportedPath(nested(100_000))).toBeDefined()
    const endless = { toJSON: (): unknown => ({ ...endless }) }
    expect(unsupportedPath(endless)).toBeDefined()
    let shared: unknown = 1
    for (let level = 0; level < 60; level += 1) shared = [shared, shared]
    expect(unsupportedPath(shared)).toBeDefined()
    expect(unsupportedPath(Array.from({ length: 1_000_001 }))).toBeDefined()
    expect(unsupportedPath([...Array.from({ length: 3 }), cycle, cycle])).toBe(`$[3]${'.self'.repeat(64)}`)
  })

  it('throws on what the caller’s own code throws', () => {
    const failing = {
      get price(): number {
        throw new RangeError('no price')
      },
    }
    expect(() => canonicalValue(failing)).toThrow(RangeError)
  })
})
