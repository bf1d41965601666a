/** Names of intents: the same for what is equal, and for nothing else. */
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { intentName } from '../../src/client/form-key-intent.ts'

type Json = ReturnType<typeof reordered>

/** The same value, with its members in another order. */
function reordered(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(reordered)
  return Object.fromEntries(
    Object.entries(value)
      .map(([name, member]): [string, Json] => [name, reordered(member)])
      .reverse(),
  )
}

describe('intentName', () => {
  test('does not depend on the order of members', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue()), (parts) => {
        expect(intentName(reordered(parts) as unknown[])).toBe(intentName(parts))
      }),
    )
  })

  test('differs where the parts do', () => {
    const texts = fc.array(fc.jsonValue({ maxDepth: 2 }), { maxLength: 3 })
    fc.assert(
      fc.property(texts, texts, (one, other) => {
        // JSON has no -0.
        const [read, readOther] = [one, other].map((parts): unknown => JSON.parse(JSON.stringify(parts)))
        fc.pre(!isDeepStrictEqual(read, readOther))
        expect(intentName(one)).not.toBe(intentName(other))
      }),
    )
  })

  test('a member that is undefined is as good as none, as after a way through JSON', () => {
    expect(intentName([{ amount: 1, coupon: undefined }])).toBe(intentName([{ amount: 1 }]))
  })

  test('few amounts and carts share none', () => {
    const names = new Set<string>()
    for (let cart = 0; cart < 200; cart += 1) {
      for (let amount = 0; amount < 200; amount += 1) names.add(intentName(['pay', `cart-${cart}`, amount]))
    }
    expect(names.size).toBe(40_000)
  })

  test.each<[string, unknown, unknown]>([
    ['a number and its text', 1, '1'],
    ['a large number and its text', 1n, '1n'],
    ['numbers that are none', NaN, null],
    ['what is absent', undefined, null],
    ['infinite numbers', Infinity, -Infinity],
    ['large numbers', 2n ** 64n, 2n ** 64n + 1n],
    ['dates', new Date(0), new Date(1)],
    ['maps', new Map([['a', 1]]), new Map([['a', 2]])],
    ['sets', new Set([1]), new Set([2])],
    ['octets', new Uint8Array([1]), new Uint8Array([2])],
    ['forms', form('amount', '1'), form('amount', '2')],
    ['files', new File(['a'], 'one'), new File(['a'], 'other')],
    ['files in forms', form('file', new File(['a'], 'f')), form('file', new File(['ab'], 'f'))],
    ['lists', [1, [2]], [[1], 2]],
  ])('tells %s apart', (_what, one, other) => {
    expect(intentName([one])).not.toBe(intentName([other]))
    expect(intentName([one])).toBe(intentName([one]))
  })
})

function form(name: string, value: string | File): FormData {
  const data = new FormData()
  if (typeof value === 'string') data.append(name, value)
  else data.append(name, value)
  return data
}
