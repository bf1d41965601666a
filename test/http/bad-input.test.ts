/** What hostile or broken clients send ends in a documented answer: no 5xx, no hang, no second effect, no echo. */
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { idempotent } from '../../src/http/express.ts'
import { idempotency } from '../../src/http/fastify.ts'
import { idempotent as idempotentFetch } from '../../src/http/fetch.ts'
import { idempotent as idempotentHono } from '../../src/http/hono.ts'
import { idempotent as idempotentNode } from '../../src/http/node.ts'
import { openSocket, send } from './raw-client.ts'
import { instance, serve } from './serving.ts'

interface Target {
  readonly port: number
  readonly ran: () => number
}

type Given = { required?: boolean }

const targets: Readonly<Record<string, (given?: Given) => Promise<Target>>> = {
  express: async (given = {}) => {
    let ran = 0
    const app = express()
    app.post('/x', idempotent(instance(), { principal: 'anonymous', ...given }), (_, res) => {
      ran++
      res.status(201).send('done')
    })
    const { port } = await serve(app)
    return { port, ran: () => ran }
  },
  'node:http': async (given = {}) => {
    let ran = 0
    const { port } = await serve(
      idempotentNode(instance(), { principal: 'anonymous', ...given }, (_, res) => {
        ran++
        res.writeHead(201)
        res.end('done')
      }),
    )
    return { port, ran: () => ran }
  },
}

/** Serves a listener on a server that keeps fewer or more fields than Node does by default. */
async function keepingFields(maxHeadersCount: number): Promise<Target> {
  let ran = 0
  const server = createServer(
    { maxHeaderSize: 65_536 },
    idempotentNode(instance(), { principal: 'anonymous' }, (_, res) => {
      ran++
      res.writeHead(201).end()
    }),
  )
  server.maxHeadersCount = maxHeadersCount
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  })
  return { port: (server.address() as AddressInfo).port, ran: () => ran }
}

describe('a server with a maxHeadersCount of its own', () => {
  test('where the key may have been dropped, nothing runs', async () => {
    const { port, ran } = await keepingFields(10)
    const text = requestText(`${'a: b\r\n'.repeat(100)}${key('k')}`)
    expect(tooManyFields).toContain((await exchange(port, text)).status)
    expect(ran()).toBe(0)
  })

  test('where all fields are kept, the key is found', async () => {
    const { port, ran } = await keepingFields(0)
    const text = requestText(`${'a: b\r\n'.repeat(2_500)}${key('k')}`)
    const statuses = [(await exchange(port, text)).status, (await exchange(port, text)).status]
    expect([statuses, ran()]).toEqual([[201, 201], 1])
  })
})

/** 431 is Node's own answer, where it does not drop fields instead. */
const tooManyFields = [400, 431]

const bodyText = '{"note":"canary-body"}'

/** A request in latin1, one character for each octet, that ends its connection. */
function requestText(fields: string, body = bodyText, type = 'application/json'): string {
  const common = `Host: a\r\nConnection: close\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\n`
  return `POST /x HTTP/1.1\r\n${common}${fields}\r\n${body}`
}

async function exchange(port: number, text: string): Promise<{ status: number; text: string }> {
  const { socket, text: received, closed } = openSocket(port)
  socket.write(text, 'latin1')
  await closed
  return { status: Number(/^HTTP\/1\.1 (\d{3}) /.exec(received())?.[1]), text: received() }
}

const bytes = (...octets: number[]): string => String.fromCharCode(...octets)
const key = (value: string): string => `Idempotency-Key: ${value}\r\n`

const taken: Readonly<Record<string, string>> = {
  'a quote in a string': key('"a\\"b"'),
  'a backslash in a string': key('"a\\\\b"'),
  parameters: key('"k";v=1'),
  'a bare token': key('token'),
  'a comma in a string': key('"a,b"'),
  'white space around it': 'Idempotency-Key:  \t abc \t \r\n',
  'one character': key('k'),
  '255 characters': key('k'.repeat(255)),
  '255 characters in a string': key(`"${'k'.repeat(255)}"`),
  'capital letters': key('ABC'),
  'the field name in capitals': 'IDEMPOTENCY-KEY: abc\r\n',
  __proto__: key('__proto__'),
  constructor: key('constructor'),
  toString: key('toString'),
  'a path': key('../../x'),
  'braces of a hash slot': key('{slot}'),
  'a glob': key('*'),
  'SQL in a string': key(`"'; DROP TABLE x;--"`),
  '%00': key('%00'),
  '%0d%0a': key('%0d%0a'),
  'a look-up': key('${jndi:x}'),
  'markup in a string': key('"<img src=x onerror=1>"'),
  'a formula': key("=cmd|'x'!A1"),
  null: key('null'),
  undefined: key('undefined'),
  'an object in a string': key('"[object Object]"'),
  'an e-mail address': key('a@b.example'),
  'a card number': key('4111111111111111'),
  'the nil UUID': key('00000000-0000-0000-0000-000000000000'),
  'a digit': key('1'),
}

const refused: Readonly<Record<string, string>> = {
  absent: '',
  empty: key(''),
  spaces: key('    '),
  'an empty string': key('""'),
  'a blank string': key('"   "'),
  'a string without an end': key('"canary'),
  'a string that ends in a backslash': key('"canary\\"'),
  'a bad escape': key('"canary\\n"'),
  'text after a string': key('"canary" more'),
  'a byte sequence': key(':Y2FuYXJ5:'),
  'a boolean': key('?1'),
  'a date': key('@1700000000'),
  'an inner list': key('("canary" "b")'),
  'two equal lines': key('canary') + key('canary'),
  'two different lines': key('canary') + key('other'),
  'two lines, one in capitals': `${key('canary')}IDEMPOTENCY-KEY: canary\r\n`,
  'two lines, one empty': key('') + key('canary'),
  'a comma': key('canary,other'),
  'a comma and a space': key('canary, other'),
  'a list of strings': key('"canary", "other"'),
  '256 characters': key('canary'.padEnd(256, 'k')),
  '257 characters': key('canary'.padEnd(257, 'k')),
  '256 characters in a string': key(`"${'canary'.padEnd(256, 'k')}"`),
  '4 KB': key('canary'.padEnd(4_096, 'k')),
  '15 KB': key('canary'.padEnd(15_000, 'k')),
  '20 KB': key('canary'.padEnd(20_000, 'k')),
  'after 2,500 other fields': 'a:\r\n'.repeat(2_500) + key('canary'),
  NUL: key('canary\0'),
  CR: key('canary\rb'),
  LF: key('canary\nb'),
  'a TAB inside': key('canary\tb'),
  'a TAB in a string': key('"canary\tb"'),
  DEL: key('canary\x7f'),
  ESC: key('canary\x1b[31m'),
  'a latin1 octet': key(`canary${bytes(0xe9)}`),
  'UTF-8 é': key(`canary${bytes(0xc3, 0xa9)}`),
  'UTF-8 é, decomposed': key(`canary${bytes(0x65, 0xcc, 0x81)}`),
  'UTF-8 emoji': key(`canary${bytes(0xf0, 0x9f, 0x98, 0x80)}`),
  'a high surrogate': key(`canary${bytes(0xed, 0xa0, 0x80)}`),
  'a low surrogate': key(`canary${bytes(0xed, 0xbf, 0xbf)}`),
  'U+FFFD': key(`canary${bytes(0xef, 0xbf, 0xbd)}`),
  'a zero-width space': key(`canary${bytes(0xe2, 0x80, 0x8b)}`),
  'a right-to-left override': key(`canary${bytes(0xe2, 0x80, 0xae)}`),
  'full-width digits': key(`canary${bytes(0xef, 0xbc, 0x91)}`),
  'SQL, bare': key("canary'; DROP TABLE x;--"),
  'markup, bare': key('<img src=canary onerror=1>'),
  'an object, bare': key('[object canary]'),
}

const documented = new Set([400, 409, 413, 422, 431])

describe.each(Object.entries(targets))('keys, %s', (_, target) => {
  test.each(Object.entries(taken))('taken: %s', async (_name, fields) => {
    const { port, ran } = await target({ required: true })
    const first = await exchange(port, requestText(fields))
    const again = await exchange(port, requestText(fields))
    expect([first.status, again.status, ran()]).toEqual([201, 201, 1])
    expect(again.text).toMatch(/^Idempotent-Replayed: true\r$/im)
  })

  test.each(Object.entries(refused))('refused: %s', async (_name, fields) => {
    const { port, ran } = await target({ required: true })
    for (const _again of [1, 2]) {
      const { status, text } = await exchange(port, requestText(fields))
      expect(fields.length > 10_000 ? tooManyFields : [400]).toContain(status)
      expect(text).not.toMatch(/canary/i)
    }
    expect(ran()).toBe(0)
  })

  test.each([1_100, 2_500])(
    'a key after %i fields never lets the request run unprotected',
    async (fields) => {
      const { port, ran } = await target()
      const { status } = await exchange(port, requestText(`${'a:\r\n'.repeat(fields)}${key('canary')}`))
      expect(tooManyFields).toContain(status)
      expect(ran()).toBe(0)
    },
  )

  test('a folded line is one key or none', async () => {
    const { port, ran } = await target({ required: true })
    const fields = 'Idempotency-Key: canary\r\n more\r\n'
    const statuses = [
      (await exchange(port, requestText(fields))).status,
      (await exchange(port, requestText(fields))).status,
    ]
    expect(statuses).toEqual([400, 400])
    expect(ran()).toBe(0)
  })

  test('a line break in a key adds no field to any answer', async () => {
    const { port, ran } = await target({ required: true })
    const { status, text } = await exchange(port, requestText(key('k\r\nSet-Cookie: x=canary')))
    expect(status).toBe(201)
    expect(text).not.toMatch(/set-cookie|canary/i)
    expect(ran()).toBe(1)
  })

  test('keys that differ in case or quoting inside are different keys', async () => {
    const { port, ran } = await target()
    for (const value of ['abc', 'ABC', '"a\\"bc"', '%61bc', '1', '2', '3']) {
      expect((await exchange(port, requestText(key(value)))).status).toBe(201)
    }
    expect(ran()).toBe(7)
  })
})

const nested = (depth: number): string => `${'['.repeat(depth)}${']'.repeat(depth)}`
const json = 'application/json'

/** Bodies that a parser may stumble over, as octets in latin1. */
const bodies: Readonly<Record<string, readonly [body: string, type?: string]>> = {
  empty: [''],
  'nested 65 deep': [nested(65)],
  'nested 10,000 deep': [nested(10_000)],
  'nested 400,000 deep': [nested(400_000)],
  'objects nested 10,000 deep': [`${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`],
  'duplicate names': ['{"a":1,"a":2}'],
  __proto__: ['{"__proto__":{"a":1}}'],
  'constructor.prototype': ['{"constructor":{"prototype":{"a":1}}}'],
  '-0': ['{"a":-0}'],
  '1e400': ['{"a":1e400}'],
  'a long number': [`{"a":${'9'.repeat(100_000)}}`],
  '\\u0000': ['{"a":"\\u0000"}'],
  '\\ud800': ['{"a":"\\ud800"}'],
  'a byte order mark': [`${bytes(0xef, 0xbb, 0xbf)}{"a":1}`],
  'UTF-16': [`${bytes(0xff, 0xfe)}{\0}\0`],
  'invalid UTF-8': [`{"a":"${bytes(0xc3, 0x28)}"}`],
  'a surrogate in UTF-8': [`{"a":"${bytes(0xed, 0xa0, 0x80)}"}`],
  'trailing text': ['{"a":1}x'],
  'two documents': ['{"a":1}\n{"a":2}\n', 'application/x-ndjson'],
  'not JSON': ['<a/>'],
  '20,000 names': [`{${Array.from({ length: 20_000 }, (_, at) => `"k${at}":${at}`).join(',')}}`],
  'no media type': ['{"a":1}', ''],
  'a broken media type': ['{"a":1}', ';;=,'],
  'a form with __proto__': ['a[__proto__]=1', 'application/x-www-form-urlencoded'],
  'a form with a bad escape': ['a=%zz', 'application/x-www-form-urlencoded'],
  'multipart without a boundary': ['--a\r\n', 'multipart/form-data'],
  'multipart that is not': ['nothing', 'multipart/form-data; boundary=a'],
  'multipart without an end': [
    '--a\r\nContent-Disposition: form-data; name="x"\r\n\r\n1',
    'multipart/form-data; boundary=a',
  ],
  'multipart with 10,000 parts': [
    `${'--a\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n'.repeat(10_000)}--a--\r\n`,
    'multipart/form-data; boundary=a',
  ],
}

describe.each(Object.entries(targets))('bodies, %s', (_, target) => {
  test.each(Object.entries(bodies))('%s', async (_name, [body, type = json]) => {
    const { port, ran } = await target()
    const first = await exchange(port, requestText(key('k'), body, type))
    const again = await exchange(port, requestText(key('k'), body, type))
    expect([first.status, again.status, ran()]).toEqual([201, 201, 1])
    expect(again.text).toMatch(/^Idempotent-Replayed: true\r$/im)
    const other = await exchange(port, requestText(key('k'), `${body} canary-other`, type))
    expect([other.status, ran()]).toEqual([422, 1])
    expect(other.text).not.toContain('canary')
  })

  test.each([
    ['integers beyond 2^53', '{"a":9007199254740993}', '{"a":9007199254740992}'],
    ['a duplicate name', '{"a":1,"a":2}', '{"a":2}'],
    ['1e400 and null', '{"a":1e400}', '{"a":null}'],
    ['1e400 and 1e500', '{"a":1e400}', '{"a":1e500}'],
    ['a text and a number', '{"a":"1"}', '{"a":1}'],
    ['an absent and a null member', '{}', '{"a":null}'],
    ['__proto__ and nothing', '{"__proto__":{"a":1}}', '{}'],
    ['one accent, composed and not', '{"a":"\\u00e9"}', '{"a":"e\\u0301"}'],
    ['two lone surrogates', '{"a":"\\ud800"}', '{"a":"\\udfff"}'],
    ['different invalid octets', `{"a":"${bytes(0xff)}"}`, `{"a":"${bytes(0xfe)}"}`],
    ['order in an array', '[1,2]', '[2,1]'],
    ['nothing and an empty text', '', '""'],
  ])('different requests: %s', async (_name, one, other) => {
    const { port, ran } = await target()
    expect((await exchange(port, requestText(key('k'), one))).status).toBe(201)
    expect((await exchange(port, requestText(key('k'), other))).status).toBe(422)
    expect(ran()).toBe(1)
  })

  test.each([
    ['order of members', '{"a":1,"b":2}', '{"b":2,"a":1}'],
    ['white space', '{"a":1}', ' { "a" :\n1 } '],
    ['escapes', '{"a":"A"}', '{"a":"\\u0041"}'],
  ])('one request: %s', async (_name, one, other) => {
    const { port, ran } = await target()
    expect((await exchange(port, requestText(key('k'), one))).status).toBe(201)
    expect((await exchange(port, requestText(key('k'), other))).text).toMatch(
      /^Idempotent-Replayed: true\r$/im,
    )
    expect(ran()).toBe(1)
  })

  test('Content-Length beside Transfer-Encoding is refused', async () => {
    const { port, ran } = await target()
    const fields = `${key('k')}Transfer-Encoding: chunked\r\n`
    const { status, text } = await exchange(port, requestText(fields, '0\r\n\r\n'))
    expect(status).toBe(400)
    expect(text).not.toContain('canary')
    expect(ran()).toBe(0)
  })

  test.each([
    ['two lengths', 'Content-Length: 3\r\nContent-Length: 4\r\n'],
    ['a negative length', 'Content-Length: -1\r\n'],
    ['a bad chunk', 'Transfer-Encoding: chunked\r\n'],
  ])('a broken framing is refused: %s', async (_name, framing) => {
    const { port, ran } = await target()
    const head = `POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${key('k')}${framing}\r\n`
    expect((await exchange(port, `${head}zz\r\n`)).status).toBe(400)
    expect(ran()).toBe(0)
  })

  test.each([
    ['with a length', 'Content-Length: 100\r\n\r\n{"a":'],
    ['chunked', 'Transfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n'],
  ])('a body that breaks off runs nothing and claims nothing, %s', async (_name, rest) => {
    const { port, ran } = await target()
    const head = `POST /x HTTP/1.1\r\nHost: a\r\nContent-Type: ${json}\r\n${key('k')}`
    const cut = openSocket(port)
    cut.socket.end(head + rest)
    await cut.closed
    expect(ran()).toBe(0)
    expect((await exchange(port, requestText(key('k'), '{"other":true}'))).status).toBe(201)
    expect(ran()).toBe(1)
  })

  test('a connection that is reset in the middle of a body runs nothing', async () => {
    const { port, ran } = await target()
    const cut = openSocket(port)
    cut.socket.write(`POST /x HTTP/1.1\r\nHost: a\r\n${key('k')}Content-Length: 100\r\n\r\nhalf`)
    // The server has begun to read it when a later request has been answered.
    await exchange(port, requestText(key('other')))
    cut.socket.resetAndDestroy()
    await cut.closed
    expect((await exchange(port, requestText(key('k')))).status).toBe(201)
    expect(ran()).toBe(2)
  })
})

const secretKey = 'canary-key-4711'

describe('problem documents hold neither key nor body', () => {
  test.each(Object.entries(targets))('%s', async (_, target) => {
    const { port } = await target({ required: true })
    await send(port, { key: secretKey, body: '{"card":"canary-card"}' })
    for (const sent of [
      { key: secretKey, body: '{"card":"canary-other"}' },
      { key: `"${secretKey}`, body: bodyText },
      { key: secretKey.repeat(30), body: bodyText },
      { key: '', body: bodyText },
      { key: secretKey, body: `"canary${'x'.repeat(2 ** 20)}"` },
    ]) {
      const answer = await send(port, sent)
      expect(documented).toContain(answer.status)
      expect(JSON.stringify([answer.lines, answer.body.toString()])).not.toContain('canary')
    }
  })
})

/** Servers whose principal comes from a resolver of the test. */
const resolving: Readonly<
  Record<string, (principal: () => never, ran: () => void) => Promise<() => Promise<Response>>>
> = {
  express: async (principal, ran) => {
    const app = express()
    app.post('/x', idempotent(instance(), { principal }), (_, res) => {
      ran()
      res.end()
    })
    return await asking(app)
  },
  'node:http': async (principal, ran) =>
    await asking(
      idempotentNode(instance(), { principal }, (_, res) => {
        ran()
        res.end()
      }),
    ),
  fastify: async (principal, ran) => {
    const app = Fastify()
    onTestFinished(() => app.close())
    await app.register(idempotency, { idem: instance(), principal })
    app.post('/x', async () => {
      ran()
      return {}
    })
    const origin = await app.listen({ port: 0, host: '127.0.0.1' })
    return () => fetch(`${origin}/x`, init)
  },
  hono: async (principal, ran) => {
    const app = new Hono()
    app.post('/x', idempotentHono(instance(), { principal }), (c) => {
      ran()
      return c.json({})
    })
    return async () => app.fetch(new Request('http://service/x', init))
  },
  fetch: async (principal, ran) => {
    const handler = idempotentFetch(instance(), { principal }, () => {
      ran()
      return new Response()
    })
    return () => handler(new Request('http://service/x', init))
  },
}

const init: RequestInit = {
  method: 'POST',
  body: '{}',
  headers: { 'Content-Type': json, 'Idempotency-Key': secretKey },
}

async function asking(listener: RequestListener): Promise<() => Promise<Response>> {
  const { origin } = await serve(listener)
  return () => fetch(`${origin}/x`, init)
}

describe.each(Object.entries(resolving))('what a principal resolver may not return, %s', (_, adapter) => {
  test.each<[string, number, () => unknown]>([
    ['undefined', 401, () => undefined],
    ['null', 401, () => null],
    ['a promise of undefined', 401, () => Promise.resolve(undefined)],
    ['an empty text', 500, () => ''],
    ['a blank text', 500, () => ' \t'],
    ['a lone surrogate', 500, () => '\ud800'],
    ['a long text', 500, () => 'x'.repeat(1_025)],
    ['an object', 500, () => ({})],
    ['an array', 500, () => ['a']],
    ['a number', 500, () => 7],
    ['zero', 500, () => 0],
    ['false', 500, () => false],
    ['a boxed text', 500, () => Object('a')],
    ['a symbol', 500, () => Symbol('a')],
    [
      'a throw',
      500,
      () => {
        throw new Error('canary-secret')
      },
    ],
    [
      'a throw of undefined',
      500,
      () => {
        throw undefined
      },
    ],
    ['a rejection', 500, () => Promise.reject(new Error('canary-secret'))],
  ])('%s: %i', async (_name, status, principal) => {
    const ran = vi.fn<() => void>()
    const ask = await adapter(principal as () => never, ran)
    for (const _again of [1, 2]) {
      const response = await ask()
      const text = await response.text()
      expect(response.status).toBe(status)
      expect(JSON.parse(text)).toMatchObject({ status, code: 'principal-invalid' })
      expect(text).not.toContain('canary')
      expect(response.headers.get('idempotent-replayed')).toBeNull()
    }
    expect(ran).not.toHaveBeenCalled()
  })
})
