import { describe, expect, test } from 'vitest'
import { covers, lenientPath, parsePattern, type RoutePattern, splitTarget } from '../../src/gateway/match.ts'
import { printable, suggestion } from '../../src/gateway/text.ts'

function pattern(text: string): RoutePattern {
  const parsed = parsePattern(text)
  if ('rule' in parsed) throw new Error(parsed.rule)
  return parsed
}

describe('routes', () => {
  test.each([
    ['POST /a', 'POST', '/a', true],
    ['POST /a', 'PUT', '/a', false],
    ['POST /a', 'post', '/a', false],
    ['POST /a', 'POST', '/a/', false],
    ['POST /a', 'POST', '/a/b', false],
    ['POST|PUT /a', 'PUT', '/a', true],
    ['POST /a/*', 'POST', '/a/b', true],
    ['POST /a/*', 'POST', '/a/b/c', true],
    ['POST /a/*', 'POST', '/a/', true],
    ['POST /a/*', 'POST', '/a', false],
    ['POST /a/*', 'POST', '/ab', false],
    ['POST /*', 'POST', '/', true],
    ['POST /a/*/c', 'POST', '/a/b/c', true],
    ['POST /a/*/c', 'POST', '/a/b/b/c', false],
  ])('%s covers %s %s: %s', (text, method, path, expected) => {
    expect(covers(pattern(text), method, path)).toBe(expected)
  })

  test.each([
    ['/a', '/a'],
    ['/%61/b', '/a/b'],
    ['//a///b/', '/a/b'],
    ['/x/../a', '/a'],
    ['/../../a', '/a'],
    ['/./a', '/a'],
    ['/a;v=1/b;w', '/a/b'],
    ['/x/%2e%2e/a', '/a'],
    ['/%zz', '/%zz'],
    ['', '/'],
  ])('%j may be read as %j', (path, expected) => {
    expect(lenientPath(path)).toBe(expected)
  })
})

test.each([
  ['/a?b=c', { path: '/a', query: 'b=c', target: '/a?b=c' }],
  ['/a??', { path: '/a', query: '?', target: '/a??' }],
  ['http://h/a?b', { path: '/a', query: 'b', target: '/a?b' }],
  ['HTTPS://u@h:1?b', { path: '/', query: 'b', target: '/?b' }],
  ['//h/a', { path: '//h/a', query: '', target: '//h/a' }],
  ['*', undefined],
  ['h:443', undefined],
  ['/a#b', undefined],
  ['', undefined],
])('the target %j', (target, expected) => {
  expect(splitTarget(target)).toEqual(expected)
})

test('what is printed holds nothing that a terminal obeys', () => {
  expect(printable('a\u001b[31m\r\n\u009b\u202eb')).toBe('a\ufffd[31m\ufffd\ufffd\ufffd\ufffdb')
  expect(printable('plain é 😀')).toBe('plain é 😀')
})

test('a near name is suggested, otherwise all are named', () => {
  expect(suggestion('lesae', ['lease', 'retention'])).toBe('. Did you mean lease?')
  expect(suggestion('zzz', ['lease', 'retention'])).toBe('. Known: lease, retention')
  expect(suggestion('x'.repeat(100_000), ['lease'])).toBe('. Known: lease')
})
