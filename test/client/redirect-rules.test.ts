/** The one rule of redirects: what follows an answer, and what does not go there. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { RedirectError, redirectOf } from '../../src/client/redirects.ts'

const url = new URL('http://one.example/charges')
const keyHeader = fc.constantFrom('idempotency-key', undefined)
const method = fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE')
const status = fc.constantFrom(200, 300, 301, 302, 303, 304, 307, 308, 409)
const location = fc.constantFrom(
  '/a',
  '?b',
  'http://one.example:80/c',
  'http://two.example/',
  '//three.example',
  null,
)

test('no key and no credentials leave their origin, and no key goes where an answer is looked at', () => {
  fc.assert(
    fc.property(method, status, location, keyHeader, (verb, code, to, key) => {
      const next = redirectOf({ method: verb, url, keyHeader: key }, code, to)
      if (next === undefined) return
      expect([301, 302, 303, 307, 308]).toContain(code)
      expect(next.leaves).toBe(next.url.origin !== url.origin)
      if (next.leaves || next.dropsBody) expect(next.keyHeader).toBeUndefined()
      if (key !== undefined && next.keyHeader === undefined) expect(next.dropped).toContain(key)
      expect(next.dropped.includes('authorization')).toBe(next.leaves)
      expect(next.dropped.includes('content-type')).toBe(next.dropsBody)
      expect(next.method).toBe(next.dropsBody ? 'GET' : verb)
      expect(next.isElsewhere).toBe(code < 307)
    }),
  )
})

test.each([
  ['POST', 301, 'GET'],
  ['POST', 302, 'GET'],
  ['POST', 303, 'GET'],
  ['POST', 307, 'POST'],
  ['PATCH', 302, 'PATCH'],
  ['PATCH', 303, 'GET'],
  ['DELETE', 303, 'GET'],
  ['HEAD', 303, 'HEAD'],
])('%s, then %i: %s, as `fetch` does', (verb, code, next) => {
  expect(redirectOf({ method: verb, url, keyHeader: undefined }, code, '/a')?.method).toBe(next)
})

test.each(['http://[bad', 'ftp://one.example/', 'data:,'])('%s leads nowhere', (to) => {
  expect(() => redirectOf({ method: 'POST', url, keyHeader: undefined }, 303, to)).toThrow(RedirectError)
})
