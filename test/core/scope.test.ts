import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { InvalidPrincipalError } from '../../src/core/errors.ts'
import { checkPrincipal, principalTag, recordId, type Scope } from '../../src/core/scope.ts'
import { sha256 } from './digest.ts'

const part = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.constantFrom('a', 'a:', ':b', 'b', 'a:b', '', '\0'),
)
const tuple = fc.tuple(part, part, part, part)

function idOf([namespace, principal, operation, key]: readonly [string, string, string, string]): string {
  return recordId(sha256, { namespace, principal, operation }, key)
}

describe('recordId', () => {
  it('is 22 characters and stays what it is', () => {
    const scope: Scope = { namespace: 'default', principal: 'alice', operation: 'charge' }
    expect(recordId(sha256, scope, 'k1')).toBe('1BAqH3rr58UcuquKYOzcZw')
  })

  it('is injective over scope and key', () => {
    fc.assert(
      fc.property(tuple, tuple, (left, right) => {
        expect(idOf(left) === idOf(right)).toBe(left.every((text, index) => text === right[index]))
      }),
    )
  })

  it('does not move when text moves between neighbours', () => {
    fc.assert(
      fc.property(tuple, fc.nat({ max: 2 }), ([...parts], at) => {
        const moved: [string, string, string, string] = [...parts]
        moved[at + 1] = `${moved[at]}${moved[at + 1]}`
        moved[at] = ''
        expect(idOf(moved) === idOf(parts)).toBe(parts[at] === '')
      }),
    )
  })

  it('keeps all look-alikes apart', () => {
    const keys = [
      'ABC',
      'abc',
      'abc ',
      ' abc',
      'é',
      'e\u0301',
      '\ud800',
      '\udfff',
      '\ufffd',
      '\u200b',
      '',
      '\0',
      '１',
      '1',
      '__proto__',
      'constructor',
      'null',
      'undefined',
      '[object Object]',
    ]
    expect(new Set(keys.map((key) => idOf(['n', 'p', 'o', key]))).size).toBe(keys.length)
  })
})

describe('principalTag', () => {
  it('is 12 base64url characters, one for each namespace and principal', () => {
    const tags = [
      ['a', 'b'],
      ['ab', ''],
      ['', 'ab'],
      ['b', 'a'],
    ].map(([namespace = '', principal = '']) => principalTag(sha256, namespace, principal))
    for (const tag of tags) expect(tag).toMatch(/^[A-Za-z0-9_-]{12}$/)
    expect(new Set(tags).size).toBe(4)
  })
})

describe('checkPrincipal', () => {
  it.each([
    undefined,
    null,
    '',
    ' ',
    '\t\n',
    0,
    Number.NaN,
    true,
    {},
    [],
    ['a'],
    Object('a'),
    Symbol('a'),
    () => 'a',
    Promise.resolve('a'),
    '\ud800',
    'a\udfff',
    'p'.repeat(1025),
  ])('refuses %o', (principal) => {
    expect(() => checkPrincipal(principal)).toThrow(InvalidPrincipalError)
  })

  it.each(['anonymous', ' alice ', 'é', 'e\u0301', '__proto__', 'a:b', 'p'.repeat(1024)])(
    'returns %j unchanged',
    (principal) => {
      expect(checkPrincipal(principal)).toBe(principal)
    },
  )

  it('never repeats the principal', () => {
    expect(() => checkPrincipal('canary\ud800')).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('canary') }),
    )
  })
})
