import { describe, expect, it } from 'vitest'
import { boundaryOf, type MultipartPart, multipartParts } from '../../src/core/multipart.ts'

const text = (part: MultipartPart): string => Buffer.from(part.content).toString('latin1')

function parse(body: string | Uint8Array, boundary = 'b'): readonly MultipartPart[] | undefined {
  return multipartParts(typeof body === 'string' ? Buffer.from(body, 'utf8') : body, boundary)
}

const field = (name: string, content: string): string =>
  `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${content}\r\n`

describe('multipartParts', () => {
  it('reads what FormData writes', async () => {
    const form = new FormData()
    form.append('amount', '100')
    form.append('é"\r\n', 'line\r\n--not the boundary\r\n')
    form.append('empty', '')
    form.append(
      'file',
      new Blob([new Uint8Array([0, 13, 10, 45, 45, 255])], { type: 'image/png' }),
      'a"é.png',
    )
    const sent = new Request('http://a.example/', { method: 'POST', body: form })
    const boundary = boundaryOf(sent.headers.get('content-type') ?? '')
    const parts = multipartParts(new Uint8Array(await sent.arrayBuffer()), boundary as string)
    expect(parts?.map(({ name, filename, type }) => [name, filename, type])).toEqual([
      ['amount', undefined, ''],
      ['é%22%0D%0A', undefined, ''],
      ['empty', undefined, ''],
      ['file', 'a%22é.png', 'image/png'],
    ])
    expect(parts?.map(text)).toEqual(['100', 'line\r\n--not the boundary\r\n', '', '\0\r\n--\xff'])
  })

  it.each<[string, [string, string][]]>([
    ['--b--', []],
    ['--b--\r\n', []],
    [`${field('a', '1')}--b--\r\n`, [['a', '1']]],
    [
      `${field('a', '1')}${field('a', '2')}--b--`,
      [
        ['a', '1'],
        ['a', '2'],
      ],
    ],
    [`${field('a', '\r\n--')}--b--`, [['a', '\r\n--']]],
    [`${field('a', '\r\r\n\r')}--b--`, [['a', '\r\r\n\r']]],
    ['--b\r\ncontent-disposition:form-data;name=a\r\n\r\n1\r\n--b--', [['a', '1']]],
    [field('a\\"b', '1') + '--b--', [['a\\"b', '1']]],
    [field('__proto__', '1') + '--b--', [['__proto__', '1']]],
  ])('reads %j', (body, expected) => {
    expect(parse(body)?.map((part) => [part.name, text(part)])).toEqual(expected)
  })

  const disposed = (head: string): string => `--b\r\n${head}\r\n\r\n1\r\n--b--`
  it.each([
    '',
    '--',
    '--b',
    '--b\r\n',
    '--b-',
    '--b--x',
    '--b--\r\nepilogue',
    `preamble\r\n${field('a', '1')}--b--`,
    `\r\n${field('a', '1')}--b--`,
    field('a', '1'),
    `${field('a', '1')}--c--`,
    '--b \r\nx\r\n--b--',
    '--b\n--b--',
    '--b\r\n\r\n1\r\n--b--',
    '--b\r\n1\r\n--b--',
    disposed('Content-Type: text/plain'),
    disposed('Content-Disposition: form-data'),
    disposed('Content-Disposition: attachment; name="a"'),
    disposed('Content-Disposition: form-data; filename="a"'),
    disposed('Content-Disposition: form-data; name="a'),
    disposed('Content-Disposition: form-data; name="a"; name="b"'),
    disposed('Content-Disposition: form-data; name="a"; filename*=UTF-8\'\'b'),
    disposed('Content-Disposition: form-data; name="a"\r\nContent-Disposition: form-data; name="b"'),
    disposed('Content-Disposition: form-data;\r\n name="a"'),
    disposed('Content-Disposition: form-data; name="a"\nX: y'),
    disposed('Content-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64'),
    disposed('Content-Disposition : form-data; name="a"'),
    disposed(`Content-Disposition: form-data; name="${'a'.repeat(9000)}"`),
    `${field('a', '1\r\n--bb')}--b--`,
  ])('leaves %j to octets', (body) => {
    expect(parse(body)).toBeUndefined()
  })

  it('leaves names that are not UTF-8 to octets', () => {
    expect(parse(Buffer.from(`${field('\xff', '1')}--b--`, 'latin1'))).toBeUndefined()
  })

  it('takes 10,000 parts and no more', () => {
    expect(parse(`${field('a', '1').repeat(10_000)}--b--`)).toHaveLength(10_000)
    expect(parse(`${field('a', '1').repeat(10_001)}--b--`)).toBeUndefined()
  })

  it('ends on hostile bodies', () => {
    const boundary = 'a'.repeat(70)
    const open = `--${boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\n`
    const size = 1024 * 1024
    for (const filler of ['\r', '\r\n', '\r\n--', `\r\n--${boundary.slice(1)}`, '-', `x--${boundary}`]) {
      const body = open + filler.repeat(Math.ceil(size / filler.length))
      expect(parse(body, boundary)).toBeUndefined()
      expect(parse(`${body}\r\n--${boundary}--`, boundary)).toHaveLength(1)
    }
  })
})

describe('boundaryOf', () => {
  it.each<[string, string | undefined]>([
    ['multipart/form-data; boundary=x7', 'x7'],
    ['Multipart/Form-Data; charset=utf-8; Boundary="a b"', 'a b'],
    ["multipart/form-data; boundary=----WebKitFormBoundaryABC'", "----WebKitFormBoundaryABC'"],
    ['multipart/form-data', undefined],
    ['multipart/form-data; boundary=', undefined],
    ['multipart/form-data; boundary=""', undefined],
    ['multipart/form-data; boundary="a "', undefined],
    ['multipart/form-data; boundary="a\rb"', undefined],
    ['multipart/form-data; boundary=a; boundary=b', undefined],
    [`multipart/form-data; boundary=${'a'.repeat(70)}`, 'a'.repeat(70)],
    [`multipart/form-data; boundary=${'a'.repeat(71)}`, undefined],
    ['multipart/mixed; boundary=a', undefined],
    ['application/json', undefined],
    ['', undefined],
  ])('%s', (contentType, boundary) => {
    expect(boundaryOf(contentType)).toBe(boundary)
  })
})
