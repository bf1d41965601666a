import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type BodyComparison,
  type ComparedRequest,
  parsedBodyFingerprint,
  requestFingerprint,
  valueFingerprint,
} from '../../src/core/fingerprint.ts'
import { sha256 } from './digest.ts'

interface Sent extends Partial<Omit<ComparedRequest, 'body' | 'mediaType'>> {
  type?: string | undefined
  body?: string | Uint8Array
}

const json = 'application/json'

function fingerprint(sent: Sent, comparison?: BodyComparison): string {
  const { type, body = '{"a":1}', ...rest } = sent
  const request: ComparedRequest = {
    method: 'POST',
    path: '/charges',
    query: '',
    mediaType: 'type' in sent ? type : json,
    body: typeof body === 'string' ? Buffer.from(body, 'utf8') : body,
    ...rest,
  }
  return requestFingerprint(sha256, request, comparison === undefined ? undefined : { body: comparison })
}

const form = (boundary: string, name = 'a', content = '1', rest = ''): string =>
  `--${boundary}\r\nContent-Disposition: form-data; name="${name}"${rest}\r\n\r\n${content}\r\n--${boundary}--\r\n`
const formOf = (boundary: string, ...parts: [name?: string, content?: string, rest?: string]): Sent => ({
  type: `multipart/form-data; boundary=${boundary}`,
  body: form(boundary, ...parts),
})

describe('the same request', () => {
  it.each<[string, Sent, Sent]>([
    [
      'member order, white space, escapes',
      { body: '{"a":"A","b":2}' },
      { body: ' { "b": 2.0, "a": "\\u0041" }\n' },
    ],
    ['case of the media type', {}, { type: 'Application/JSON' }],
    ['charset of JSON', {}, { type: 'application/json; charset=utf-8' }],
    [
      'spelling of charset',
      { type: 'application/json;charset=UTF-8' },
      { type: 'application/json ; Charset="utf8" ;' },
    ],
    ['charset of other text', { type: 'text/plain; charset=UTF-8' }, { type: 'text/plain;charset="utf-8"' }],
    ['order of parameters', { type: 'text/plain; a=1; b=2' }, { type: 'text/plain;b="2";A=1' }],
    [
      'charset of forms',
      { type: 'application/x-www-form-urlencoded' },
      { type: 'application/x-www-form-urlencoded; charset=utf-8' },
    ],
    ['a blank media type', { type: undefined }, { type: ' ' }],
    ['identity coding', {}, { contentEncoding: 'identity' }],
    ['case of the coding', { contentEncoding: 'gzip' }, { contentEncoding: ' GZIP ' }],
    ['the boundary', formOf('one'), formOf('two')],
    [
      'a +json suffix',
      { type: 'application/vnd.a+json', body: '[1.0]' },
      { type: 'application/vnd.a+json', body: '[1]' },
    ],
  ])('%s', (_what, left, right) => {
    expect(fingerprint(left)).toBe(fingerprint(right))
  })
})

describe('another request', () => {
  it.each<[string, Sent, Sent]>([
    ['method', {}, { method: 'PATCH' }],
    ['case of the method', {}, { method: 'post' }],
    ['path', {}, { path: '/refunds' }],
    ['slash at the end', {}, { path: '/charges/' }],
    ['doubled slash', {}, { path: '//charges' }],
    ['coded path', { path: '/a' }, { path: '/%61' }],
    ['path parameter', { path: '/a' }, { path: '/a;x' }],
    ['query', {}, { query: 'dry=1' }],
    ['order of the query', { query: 'a=1&b=2' }, { query: 'b=2&a=1' }],
    ['what is path and what is query', { path: '/a', query: 'b' }, { path: '/ab', query: '' }],
    ['media type', {}, { type: 'text/plain' }],
    ['no media type', {}, { type: undefined }],
    ['a parameter', { type: 'text/plain' }, { type: 'text/plain; format=flowed' }],
    ['case of a parameter', { type: 'text/plain; a=b' }, { type: 'text/plain; a=B' }],
    [
      'white space under another charset',
      { type: 'application/json; charset=utf-16', body: '[1]' },
      { type: 'application/json; charset=utf-16', body: '[ 1]' },
    ],
    ['another charset', {}, { type: 'application/json; charset=utf-16' }],
    ['media types that are none', { type: 'a' }, { type: 'b' }],
    ['suffix', {}, { type: 'application/vnd.a+json' }],
    ['value', {}, { body: '{"a":2}' }],
    ['null and absence', { body: '{"a":1,"b":null}' }, { body: '{"a":1}' }],
    ['integers beyond 2^53', { body: '9007199254740993' }, { body: '9007199254740992' }],
    ['repeated names', { body: '{"a":1,"a":2}' }, { body: '{"a":2}' }],
    ['order of repeated names', { body: '{"a":1,"a":2}' }, { body: '{"a":2,"a":1}' }],
    ['minus zero', { body: '0' }, { body: '-0' }],
    ['overflow', { body: '1e400' }, { body: 'null' }],
    ['__proto__', { body: '{"__proto__":{"a":1}}' }, { body: '{}' }],
    ['lone surrogate', { body: '"\\ud800"' }, { body: '"\\ufffd"' }],
    ['invalid UTF-8', { body: Buffer.from('"\xff"', 'latin1') }, { body: '"\ufffd"' }],
    [
      'two kinds of invalid UTF-8',
      { body: Buffer.from('"\xff"', 'latin1') },
      { body: Buffer.from('"\xfe"', 'latin1') },
    ],
    ['byte order mark', { body: '\ufeff{"a":1}' }, { body: '{"a":1}' }],
    ['UTF-16', { body: Buffer.from('{"a":1}', 'utf16le') }, {}],
    ['trailing garbage', { body: '{"a":1}x' }, {}],
    ['two lines', { body: '{"a":1}\n{"a":1}' }, {}],
    ['empty body', { body: '' }, {}],
    ['empty and null', { body: '' }, { body: 'null' }],
    ['empty and space', { body: '' }, { body: ' ' }],
    [
      'white space where octets count',
      { type: 'text/plain', body: '{"a":1}' },
      { type: 'text/plain', body: '{"a": 1}' },
    ],
    [
      'form arrays',
      { type: 'application/x-www-form-urlencoded', body: 'a[]=1&a[]=2' },
      { type: 'application/x-www-form-urlencoded', body: 'a[]=2&a[]=1' },
    ],
    ['coding', {}, { contentEncoding: 'gzip' }],
    ['codings', { contentEncoding: 'gzip' }, { contentEncoding: 'br' }],
    [
      'white space under a coding',
      { contentEncoding: 'gzip', body: '[1]' },
      { contentEncoding: 'gzip', body: '[ 1]' },
    ],
    ['part name', formOf('b'), formOf('b', 'c')],
    ['part content', formOf('b'), formOf('b', 'a', '2')],
    ['file and field', formOf('b'), formOf('b', 'a', '1', '; filename=""')],
    ['file name', formOf('b', 'a', '1', '; filename="x"'), formOf('b', 'a', '1', '; filename="y"')],
    ['part type', formOf('b'), formOf('b', 'a', '1', '\r\nContent-Type: text/html')],
    ['not well formed', { ...formOf('b'), body: `x${form('b')}` }, formOf('b')],
  ])('%s', (_what, left, right) => {
    expect(fingerprint(left)).not.toBe(fingerprint(right))
  })

  it('never reads one content as another kind', () => {
    const body = '{"a":1}'
    const all = [
      fingerprint({ body }),
      fingerprint({ body }, 'octets'),
      fingerprint({ body }, 'none'),
      parsedBodyFingerprint(sha256, { method: 'POST', path: '/charges', query: '', mediaType: json, body }),
      parsedBodyFingerprint(sha256, {
        method: 'POST',
        path: '/charges',
        query: '',
        mediaType: json,
        body: JSON.parse(body),
      }),
      valueFingerprint(sha256, 'POST', JSON.parse(body)),
    ].map((made) =>
      typeof made === 'string' ? made : made.kind === 'fingerprint' ? made.fingerprint : made.path,
    )
    expect(new Set(all).size).toBe(all.length)
    for (const made of all) expect(made).toMatch(/^1\.[A-Za-z0-9_-]{21}[AQgw]$/)
  })

  it('separates the parts of the request', () => {
    const part = fc.constantFrom('', 'a', 'b', 'ab', '/a', '?', '\0')
    const request = fc.record({ method: part, path: part, query: part, type: part, body: part })
    fc.assert(
      fc.property(request, request, (left, right) => {
        const same = Object.values(left).join('|') === Object.values(right).join('|')
        expect(fingerprint(left) === fingerprint(right)).toBe(same)
      }),
    )
  })
})

describe('comparison of bodies', () => {
  it('by octets keeps spellings apart', () => {
    expect(fingerprint({ body: '[1]' }, 'octets')).not.toBe(fingerprint({ body: '[1.0]' }, 'octets'))
    expect(fingerprint({ body: '[1]' }, 'octets')).toBe(fingerprint({ body: '[1]' }, 'octets'))
  })

  it('none looks at no body', () => {
    expect(fingerprint({ body: 'x' }, 'none')).toBe(
      fingerprint({ body: 'y', contentEncoding: 'gzip' }, 'none'),
    )
    expect(fingerprint({ body: 'x' }, 'none')).not.toBe(fingerprint({ body: 'x', path: '/other' }, 'none'))
  })

  it('reads JSON by meaning up to 256 KiB', () => {
    const padded = (spaces: number): string => `[${' '.repeat(spaces)}1]`
    expect(fingerprint({ body: padded(256 * 1024 - 3) })).toBe(fingerprint({ body: '[1]' }))
    expect(fingerprint({ body: padded(256 * 1024 - 2) })).not.toBe(fingerprint({ body: '[1]' }))
  })

  it('ends on hostile bodies', () => {
    for (const body of [
      '['.repeat(1024 * 1024),
      '['.repeat(200_000),
      `${'['.repeat(100_000)}${']'.repeat(100_000)}`,
    ]) {
      expect(fingerprint({ body })).toBe(fingerprint({ body }, 'octets'))
    }
    const type = `a/b${';'.repeat(100_000)}`
    expect(fingerprint({ type })).toBe(fingerprint({ type: 'a/b' }))
    for (const odd of [
      `a/b;a="${'\\"'.repeat(100_000)}`,
      `a/b${';a=b'.repeat(50_000)}`,
      `a/b;${' '.repeat(100_000)}!`,
    ]) {
      expect(fingerprint({ type: odd })).not.toBe(fingerprint({ type: 'a/b' }))
    }
  })
})

describe('values', () => {
  it('depend on operation and value', () => {
    const made = (operation: string, value: unknown) => valueFingerprint(sha256, operation, value)
    expect(made('charge', { a: 1, b: 2 })).toEqual(made('charge', { b: 2, a: 1 }))
    expect(made('charge', { a: 1 })).not.toEqual(made('refund', { a: 1 }))
    expect(made('charge', undefined)).not.toEqual(made('charge', null))
    expect(made('charge', { a: [() => 1] })).toEqual({ kind: 'unsupported', path: '$.a[0]' })
  })

  it('of parsed bodies depend on the request as well', () => {
    const request = { method: 'POST', path: '/a', query: '', mediaType: json, body: { a: 1 } as unknown }
    const made = parsedBodyFingerprint(sha256, request)
    expect(
      parsedBodyFingerprint(sha256, { ...request, mediaType: 'application/json; charset=utf-8' }),
    ).toEqual(made)
    expect(parsedBodyFingerprint(sha256, { ...request, path: '/b' })).not.toEqual(made)
    expect(parsedBodyFingerprint(sha256, { ...request, body: { a: 2 } })).not.toEqual(made)
    expect(parsedBodyFingerprint(sha256, { ...request, body: { a: new WeakSet() } })).toEqual({
      kind: 'unsupported',
      path: '$.a',
    })
    const none = parsedBodyFingerprint(sha256, { ...request, body: new WeakSet() }, { body: 'none' })
    expect(none).toEqual(parsedBodyFingerprint(sha256, request, { body: 'none' }))
    expect(none).not.toEqual(made)
  })
})

describe('stored fingerprints', () => {
  it('stay what they are', () => {
    const form1: Sent = formOf('b', 'a', '1', '; filename="x"\r\nContent-Type: text/plain')
    const made = [
      fingerprint({}),
      fingerprint({ type: 'text/plain' }),
      fingerprint(form1),
      fingerprint({}, 'none'),
    ]
    expect(made).toEqual([
      '1.Q2PRGl_maJM5yolzvVAH-g',
      '1.tQS_yd_gO7iPK7IBMHin_Q',
      '1.r6EOkUnJOCGzq1FCDJKNng',
      '1.mcq6wdJkHbCNPtiUw3AtEg',
    ])
    expect(valueFingerprint(sha256, 'charge', { a: [1, 2n, 'é', new Date(0)], b: null })).toEqual({
      kind: 'fingerprint',
      fingerprint: '1.i0dgCa0FpUBnKIPkRL_m5Q',
    })
  })

  it('are keyed where the digest is', () => {
    const keyed = (data: Uint8Array): string =>
      createHmac('sha256', 'secret of the server').update(data).digest('base64url')
    expect(valueFingerprint(keyed, 'charge', 1)).not.toEqual(valueFingerprint(sha256, 'charge', 1))
  })
})
