/** A version in If-Match and If-None-Match: what is read, what is answered, and what happens to a repeated change. */
import { readFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { json } from 'node:stream/consumers'
import { getRequestListener } from '@hono/node-server'
import express from 'express'
import fc from 'fast-check'
import Fastify from 'fastify'
import { Hono } from 'hono'
import { describe, expect, onTestFinished, test } from 'vitest'
import { InvalidOptionError } from '../../src/core/errors.ts'
import { idempotent as idempotentExpress, sendAnswer } from '../../src/http/express.ts'
import { sendAnswer as sendFastify } from '../../src/http/fastify.ts'
import { idempotent as idempotentFetch, toResponse } from '../../src/http/fetch.ts'
import {
  checkPrecondition,
  entityTag,
  type FoundVersion,
  ifMatchLines,
  ifNoneMatchLines,
  parseIfMatch,
  preconditionFailed,
  type PreconditionCheck,
  type PreconditionRequest,
  type PreconditionVerdict,
  type ProtocolAnswer,
  type Version,
  versionFrom,
  versionTextFrom,
} from '../../src/http/precondition.ts'
import { sqliteExecutor, updateVersion } from '../../src/writes/index.ts'
import { exchange, instance, type Served, serve } from './serving.ts'

const strong = (opaque: string) => ({ weak: false, opaque })
const weak = (opaque: string) => ({ weak: true, opaque })
const list = (...tags: object[]) => ({ kind: 'tags', tags })

/** Versions that an entity tag can hold. */
const anyVersion: fc.Arbitrary<Version> = fc.oneof(
  fc.maxSafeNat(),
  fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
  fc.stringMatching(/^[\x21\x23-\x7e\x80-\xff]{0,60}$/),
)

describe('entityTag', () => {
  test.each<[Version, string]>([
    [0, '"0"'],
    [7, '"7"'],
    [2n ** 63n - 1n, '"9223372036854775807"'],
    ['', '""'],
    ['a,b\\', '"a,b\\"'],
    ['\u0080\u00ff', '"\u0080\u00ff"'],
  ])('%o is %s', (version, tag) => {
    expect(entityTag(version)).toBe(tag)
    expect(entityTag(version, { weak: true })).toBe(`W/${tag}`)
  })

  test.each([
    ...['a b', 'a"', '\t', '\n', '\0', '\u007f', '\u0100', 'x'.repeat(256)],
    ...[-1, 1.5, 2 ** 53, Number.NaN, -1n, 2n ** 63n, undefined, null, {}, true],
  ])('%o is no version', (version) => {
    expect(() => entityTag(version as Version)).toThrow(InvalidOptionError)
    expect(() => entityTag(version as Version)).toThrow(expect.objectContaining({ option: 'version' }))
  })
})

describe('parseIfMatch', () => {
  test.each<[string[], object]>([
    [[], { kind: 'absent' }],
    [['*'], { kind: 'any' }],
    [[' \t* '], { kind: 'any' }],
    // The examples of RFC 9110, sections 8.8.3 and 13.1.
    [['"xyzzy"'], list(strong('xyzzy'))],
    [['W/"xyzzy"'], list(weak('xyzzy'))],
    [['""'], list(strong(''))],
    [['"xyzzy", "r2d2xxxx", "c3piozzzz"'], list(...['xyzzy', 'r2d2xxxx', 'c3piozzzz'].map(strong))],
    [['W/"xyzzy", W/"r2d2xxxx", W/"c3piozzzz"'], list(...['xyzzy', 'r2d2xxxx', 'c3piozzzz'].map(weak))],
    [['"a,b","W/c"'], list(strong('a,b'), strong('W/c'))],
    [['"a\\","b"'], list(strong('a\\'), strong('b'))],
    [[',, "a" ,\t, W/"b",'], list(strong('a'), weak('b'))],
    [['"a"', '', 'W/"b", "c"'], list(strong('a'), weak('b'), strong('c'))],
    [['"\u0080\u00e9\u00ff"'], list(strong('\u0080\u00e9\u00ff'))],
    [['"*"'], list(strong('*'))],
    [[`"${'x'.repeat(8_190)}"`], list(strong('x'.repeat(8_190)))],
    [[Array(100).fill('"a"').join()], list(...Array<object>(100).fill(strong('a')))],
  ])('%j', (lines, parsed) => {
    expect(parseIfMatch(lines)).toEqual(parsed)
  })

  test.each<[string[], RegExp]>([
    [[''], /no entity tag/],
    [[' ,\t,'], /no entity tag/],
    [['a'], /quoted/],
    [['7'], /quoted/],
    [['w/"a"'], /quoted/],
    [['W/a'], /quoted/],
    [['W/ "a"'], /quoted/],
    [['"a", b'], /quoted/],
    [['\u00a0"a"'], /quoted/],
    [['"a'], /no end/],
    [['a"'], /quoted/],
    [['"a", "'], /no end/],
    [['"a" "b"'], /separated by commas/],
    [['"a"W/"b"'], /separated by commas/],
    [['"a";q=1'], /separated by commas/],
    [['"a b"'], /space/],
    [['"a\tb"'], /space/],
    [['"a\u007f"'], /space/],
    [['"a\0"'], /space/],
    [['"\u0100"'], /space/],
    [['*, "a"'], /alone/],
    [['"a", *'], /alone/],
    [['*', '*'], /alone/],
    [['*,'], /alone/],
    // One tag must not begin in one line and end in the next.
    [['"a', 'b"'], /no end/],
    [[`"${'x'.repeat(8_191)}"`], /8192 characters/],
    [Array(8_194).fill(''), /8192 characters/],
    [[Array(101).fill('"a"').join()], /100 entity tags/],
  ])('%j is malformed', (lines, rule) => {
    expect(parseIfMatch(lines)).toEqual({ kind: 'malformed', rule: expect.stringMatching(rule) })
  })

  test('reads what entityTag writes', () => {
    const written = fc.record({ version: anyVersion, weak: fc.boolean() })
    fc.assert(
      fc.property(
        fc.array(written, { minLength: 1, maxLength: 40 }),
        fc.constantFrom(',', ', ', ' ,\t,'),
        (tags, separator) => {
          const lines = tags.map(({ version, weak: isWeak }) => entityTag(version, { weak: isWeak }))
          const parsed = tags.map((tag) => ({ weak: tag.weak, opaque: String(tag.version) }))
          expect(parseIfMatch(lines)).toEqual({ kind: 'tags', tags: parsed })
          expect(parseIfMatch([lines.join(separator)])).toEqual({ kind: 'tags', tags: parsed })
        },
      ),
    )
  })

  test('and the rest never throw, whatever the octets', () => {
    const octets = fc.string({
      unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
    })
    const nearly = fc.string({ unit: fc.constantFrom('"', ',', ' ', '*', 'W', '/', '7', '\u00ff') })
    fc.assert(
      fc.property(fc.array(fc.oneof(octets, nearly), { maxLength: 4 }), (lines) => {
        const parsed = parseIfMatch(lines)
        expect(['absent', 'any', 'tags', 'malformed']).toContain(parsed.kind)
        if (parsed.kind === 'tags') {
          const again = parsed.tags.map((tag) => entityTag(tag.opaque, tag))
          expect(parseIfMatch(again)).toEqual(parsed)
        }
        expect(['version', 'answer']).toContain(versionFrom(lines).kind)
        expect(['version', 'answer']).toContain(versionTextFrom(lines).kind)
        const verdict = checkPrecondition({ ifMatch: lines, ifNoneMatch: lines, current: 7, required: true })
        expect(verdict.kind).toBe('answer')
      }),
    )
  })
})

const statusOf = (end: PreconditionVerdict | FoundVersion<Version>): number | string =>
  end.kind === 'answer' ? end.answer.status : end.kind

describe('checkPrecondition', () => {
  test.each<[PreconditionCheck, 'pass' | 400 | 412 | 428]>([
    [{ current: 7 }, 'pass'],
    [{ current: undefined }, 'pass'],
    [{ ifMatch: ['"7"'], current: 7 }, 'pass'],
    [{ ifMatch: ['"7"'], current: 7n }, 'pass'],
    [{ ifMatch: ['"7"'], current: '7' }, 'pass'],
    [{ ifMatch: ['"6"', '"7"'], current: 7 }, 'pass'],
    [{ ifMatch: ['"6"'], current: 7 }, 412],
    [{ ifMatch: ['"07"'], current: 7 }, 412],
    [{ ifMatch: ['W/"7"'], current: 7 }, 412],
    [{ ifMatch: ['W/"7", "7"'], current: 7 }, 'pass'],
    [{ ifMatch: ['"7"'], current: undefined }, 412],
    [{ ifMatch: ['*'], current: 7 }, 'pass'],
    [{ ifMatch: ['*'], current: undefined }, 412],
    [{ ifMatch: ['7'], current: 7 }, 400],
    [{ ifNoneMatch: ['*'], current: undefined }, 'pass'],
    [{ ifNoneMatch: ['*'], current: 7 }, 412],
    [{ ifNoneMatch: ['"7"'], current: 7 }, 412],
    [{ ifNoneMatch: ['W/"7"'], current: 7 }, 412],
    [{ ifNoneMatch: ['"6"'], current: 7 }, 'pass'],
    [{ ifNoneMatch: ['"6"'], current: undefined }, 'pass'],
    [{ ifNoneMatch: ['"7'], current: undefined }, 400],
    [{ ifMatch: ['"7"'], ifNoneMatch: ['"7"'], current: 7 }, 412],
    [{ ifMatch: ['"7"'], ifNoneMatch: ['"6"'], current: 7 }, 'pass'],
    [{ ifMatch: ['"6"'], ifNoneMatch: ['"6"'], current: 7 }, 412],
    [{ current: 7, required: true }, 428],
    [{ current: undefined, required: true }, 428],
    [{ ifMatch: ['"7"'], current: 7, required: true }, 'pass'],
    [{ ifNoneMatch: ['*'], current: undefined, required: true }, 'pass'],
    [{ ifNoneMatch: ['"6"'], current: 7, required: true }, 428],
  ])('%o: %s', (check, expected) => {
    expect(statusOf(checkPrecondition(check))).toBe(expected)
  })

  test('a current version that no tag can hold is refused, not compared', () => {
    const check = { ifMatch: ['"7"'], current: 'a b' }
    expect(() => checkPrecondition(check)).toThrow(expect.objectContaining({ option: 'current' }))
  })
})

describe('versionFrom', () => {
  test.each<[string[], bigint | 400 | 412 | 428]>([
    [['"7"'], 7n],
    [['"0"'], 0n],
    [['"9223372036854775807"'], 9_223_372_036_854_775_807n],
    [['"7"', '"7"'], 7n],
    [['W/"6", "7"'], 7n],
    [[], 428],
    [['*'], 428],
    [['"6", "7"'], 428],
    [['W/"7"'], 412],
    [['"9223372036854775808"'], 412],
    [['"07"'], 412],
    [['"-1"'], 412],
    [['"7 "'], 400],
    [['"1e3"'], 412],
    [['""'], 412],
    [['7'], 400],
  ])('%o: %s', (lines, expected) => {
    const found = versionFrom(lines)
    expect(found.kind === 'version' ? found.version : found.answer.status).toBe(expected)
  })

  test('every whole number comes back, and as text every version', () => {
    fc.assert(
      fc.property(anyVersion, (version) => {
        const line = entityTag(version)
        expect(versionTextFrom([line])).toEqual({ kind: 'version', version: String(version) })
        if (typeof version === 'string') return
        expect(versionFrom([line])).toEqual({ kind: 'version', version: BigInt(version) })
      }),
    )
  })
})

describe('answers', () => {
  const answerOf = (end: FoundVersion<Version>): ProtocolAnswer =>
    end.kind === 'answer' ? end.answer : expect.fail('a version')

  test.each<[string, ProtocolAnswer]>([
    ['412 precondition-failed', preconditionFailed()],
    ['428 precondition-required', answerOf(versionFrom([]))],
    ['400 malformed-precondition', answerOf(versionFrom(['secret']))],
  ])('%s is a problem document that leads to its page', (name, answer) => {
    const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8')
    const text = Buffer.from(answer.body).toString()
    const body = JSON.parse(text) as Record<string, unknown>
    expect(Object.keys(body)).toEqual(['type', 'title', 'status', 'detail', 'code'])
    expect(`${String(body['status'])} ${String(body['code'])}`).toBe(name)
    expect([answer.status, answer.code]).toEqual([body['status'], body['code']])
    expect(body['type']).toBe(`https://unpkg.com/retrysafe/docs/errors.md#${answer.code}`)
    expect(page).toContain(`\n### ${answer.code}\n`)
    expect(text).not.toContain('secret')
    expect(answer.headers).toEqual([
      ['Content-Type', 'application/problem+json'],
      ['Cache-Control', 'no-store'],
      ['Link', `<${String(body['type'])}>; rel="describedby"`],
    ])
  })
})

/** A cart at version 3 in a database, and a change of it that compares and sets. */
class Shop {
  readonly #db = new DatabaseSync(':memory:')

  constructor() {
    this.#db.exec(`CREATE TABLE carts (id TEXT PRIMARY KEY, address TEXT, version INTEGER);
      INSERT INTO carts VALUES ('7', 'old', 3)`)
    onTestFinished(() => this.#db.close())
  }

  cart(id = '7'): unknown {
    return { ...this.#db.prepare('SELECT address, version FROM carts WHERE id = ?').get(id) }
  }

  /** PUT. A cart of another id is created where the request says that there is none. */
  async put(request: PreconditionRequest, id: string, address: string): Promise<Changed> {
    if (id !== '7') return this.#create(request, id, address)
    const seen = versionFrom(ifMatchLines(request))
    if (seen.kind === 'answer') return seen
    const end = await updateVersion<{ address: string }>(sqliteExecutor(this.#db), {
      table: 'carts',
      key: { id },
      version: seen.version,
      set: { address },
    })
    switch (end.kind) {
      case 'applied':
      case 'already-applied':
        return { kind: 'changed', etag: entityTag(end.version), address: end.row.address }
      case 'conflict':
      case 'missing':
        return { kind: 'answer', answer: preconditionFailed() }
      default:
        return end satisfies never
    }
  }

  /** Nothing is awaited between the look and the insert, so nobody comes between them. */
  #create(request: PreconditionRequest, id: string, address: string): Changed {
    const row = this.#db.prepare('SELECT version FROM carts WHERE id = ?').get(id)
    const verdict = checkPrecondition({
      ifMatch: ifMatchLines(request),
      ifNoneMatch: ifNoneMatchLines(request),
      current: row?.['version'] as number | undefined,
      required: true,
    })
    if (verdict.kind === 'answer') return verdict
    this.#db.prepare('INSERT INTO carts VALUES (?, ?, 1)').run(id, address)
    return { kind: 'changed', etag: entityTag(1), address }
  }
}

type Changed =
  | { readonly kind: 'changed'; readonly etag: string; readonly address: string }
  | { readonly kind: 'answer'; readonly answer: ProtocolAnswer }

interface Cart {
  readonly address: string
}

const keyed = { principal: 'anonymous', methods: ['PUT'] } as const

function expressApp(shop: Shop, layers: express.RequestHandler[]): express.Express {
  const app = express()
  app.put('/carts/:id', ...layers, express.json(), async (req, res) => {
    const changed = await shop.put(req, String(req.params['id']), (req.body as Cart).address)
    if (changed.kind === 'answer') return sendAnswer(res, changed.answer)
    res.set('ETag', changed.etag).json({ address: changed.address })
  })
  return app
}

async function handleFetch(shop: Shop, request: Request): Promise<Response> {
  const id = new URL(request.url).pathname.slice('/carts/'.length)
  const changed = await shop.put(request, id, ((await request.json()) as Cart).address)
  if (changed.kind === 'answer') return toResponse(changed.answer)
  return Response.json({ address: changed.address }, { headers: { ETag: changed.etag } })
}

const targets: Readonly<Record<string, (shop: Shop) => Promise<Served>>> = {
  'node:http': (shop) =>
    serve(async (req, res) => {
      const id = (req.url as string).slice('/carts/'.length)
      const changed = await shop.put(req, id, ((await json(req)) as Cart).address)
      if (changed.kind === 'answer') return sendAnswer(res, changed.answer)
      res.writeHead(200, { 'Content-Type': 'application/json', ETag: changed.etag })
      res.end(JSON.stringify({ address: changed.address }))
    }),
  express: (shop) => serve(expressApp(shop, [])),
  fastify: async (shop) => {
    const app = Fastify()
    onTestFinished(() => app.close())
    app.put<{ Params: { id: string }; Body: Cart }>('/carts/:id', async (request, reply) => {
      const changed = await shop.put(request, request.params.id, request.body.address)
      if (changed.kind === 'answer') return sendFastify(reply, changed.answer)
      return reply.header('ETag', changed.etag).send({ address: changed.address })
    })
    const origin = await app.listen({ port: 0, host: '127.0.0.1' })
    return { origin, port: Number(new URL(origin).port) }
  },
  hono: (shop) => {
    const app = new Hono()
    app.put('/carts/:id', async (c) => {
      const changed = await shop.put(c.req, c.req.param('id'), (await c.req.json<Cart>()).address)
      if (changed.kind === 'answer') return toResponse(changed.answer)
      return c.json({ address: changed.address }, 200, { ETag: changed.etag })
    })
    return serve(getRequestListener(app.fetch))
  },
  fetch: (shop) => serve(getRequestListener((request) => handleFetch(shop, request))),
}

interface Put {
  readonly status: number
  readonly etag: string | null
  readonly replayed: boolean
  readonly body: string
  readonly headers: Headers
}

async function put(origin: string, address: string, headers: Record<string, string>, id = '7'): Promise<Put> {
  const response = await fetch(`${origin}/carts/${id}`, {
    method: 'PUT',
    body: JSON.stringify({ address }),
    headers: { 'Content-Type': 'application/json', ...headers },
  })
  return {
    status: response.status,
    etag: response.headers.get('etag'),
    replayed: response.headers.has('idempotent-replayed'),
    body: await response.text(),
    headers: response.headers,
  }
}

const applied = (etag: string) => ({ status: 200, etag, replayed: false })
const refused = (status: number) => ({ status, etag: null, replayed: false })

describe.each(Object.entries(targets))('%s', (_, open) => {
  test('applies a change to the version that it names, once', async () => {
    const shop = new Shop()
    const { origin } = await open(shop)
    expect(await put(origin, 'new', {})).toMatchObject(refused(428))
    expect(await put(origin, 'new', { 'If-Match': '3' })).toMatchObject(refused(400))
    expect(await put(origin, 'new', { 'If-Match': 'W/"3"' })).toMatchObject(refused(412))
    expect(shop.cart()).toEqual({ address: 'old', version: 3 })
    expect(await put(origin, 'new', { 'If-Match': '"3"' })).toMatchObject(applied('"4"'))
    // The answer was lost, and the client sends it again: the row says what was asked.
    expect(await put(origin, 'new', { 'If-Match': '"3"' })).toMatchObject(applied('"4"'))
    expect(await put(origin, 'other', { 'If-Match': '"3"' })).toMatchObject(refused(412))
    expect(await put(origin, 'newer', { 'If-Match': '"4"' })).toMatchObject(applied('"5"'))
    // Now that somebody went on from it, a repetition is a conflict, although it was applied.
    expect(await put(origin, 'new', { 'If-Match': '"3"' })).toMatchObject(refused(412))
    expect(shop.cart()).toEqual({ address: 'newer', version: 5 })
  })

  test('of two changes of one version one is applied', async () => {
    const shop = new Shop()
    const { origin } = await open(shop)
    const both = await Promise.all(['a', 'b'].map((address) => put(origin, address, { 'If-Match': '"3"' })))
    expect(both.map(({ status }) => status).toSorted((one, other) => one - other)).toEqual([200, 412])
    expect(shop.cart()).toMatchObject({ version: 4 })
  })

  test('creates once', async () => {
    const shop = new Shop()
    const { origin } = await open(shop)
    expect(await put(origin, 'here', {}, '8')).toMatchObject(refused(428))
    expect(await put(origin, 'here', { 'If-Match': '*' }, '8')).toMatchObject(refused(412))
    expect(await put(origin, 'here', { 'If-None-Match': '*' }, '8')).toMatchObject(applied('"1"'))
    expect(await put(origin, 'there', { 'If-None-Match': '*' }, '8')).toMatchObject(refused(412))
    expect(shop.cart('8')).toEqual({ address: 'here', version: 1 })
  })

  test('sends the octets that every framework sends', async () => {
    const { origin } = await open(new Shop())
    const expected: [Record<string, string>, FoundVersion<bigint>][] = [
      [{}, versionFrom([])],
      [{ 'If-Match': '3' }, versionFrom(['3'])],
      [{ 'If-Match': '"2"' }, { kind: 'answer', answer: preconditionFailed() }],
    ]
    for (const [headers, found] of expected) {
      const answer = found.kind === 'answer' ? found.answer : expect.fail()
      const sent = await put(origin, 'new', headers)
      expect([sent.status, sent.body]).toEqual([answer.status, Buffer.from(answer.body).toString()])
      for (const [name, value] of answer.headers) expect(sent.headers.get(name)).toBe(value)
      expect(sent.headers.get('content-length')).toBe(String(answer.body.length))
    }
  })

  test('takes several field lines for one list, and octets beyond ASCII for a tag', async () => {
    const { port } = await open(new Shop())
    const raw = async (fields: string): Promise<string> => {
      const head = `PUT /carts/7 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n`
      const body = '{"address":"new"}'
      return await exchange(port, `${head}Content-Length: ${body.length}\r\n${fields}\r\n\r\n${body}`)
    }
    expect(await raw('If-Match: "2"\r\nIf-Match: "3"')).toMatch(/^HTTP\/1.1 428 /)
    expect(await raw('If-Match: "\u00e9"')).toMatch(/^HTTP\/1.1 412 /)
    expect(await raw('If-Match: W/"2"\r\nIF-MATCH: "3"')).toMatch(/^HTTP\/1.1 200 /)
  })
})

const keyedTargets: Readonly<Record<string, (shop: Shop) => Promise<Served>>> = {
  express: (shop) => serve(expressApp(shop, [idempotentExpress(instance(), keyed)])),
  fetch: (shop) =>
    serve(getRequestListener(idempotentFetch(instance(), keyed, (request) => handleFetch(shop, request)))),
}

describe.each(Object.entries(keyedTargets))('with an idempotency key, %s', (_, open) => {
  test('a retry gets the first answer, whatever became of the version', async () => {
    const shop = new Shop()
    const { origin } = await open(shop)
    const fields = { 'If-Match': '"3"', 'Idempotency-Key': 'first' }
    const first = await put(origin, 'new', fields)
    expect(first).toMatchObject(applied('"4"'))
    expect(await put(origin, 'new', fields)).toMatchObject({ ...applied('"4"'), replayed: true })
    // Without a key this very retry is a conflict.
    expect(await put(origin, 'newer', { 'If-Match': '"4"' })).toMatchObject(applied('"5"'))
    expect(await put(origin, 'new', { 'If-Match': '"3"' })).toMatchObject(refused(412))
    const late = await put(origin, 'new', fields)
    expect(late).toMatchObject({ ...applied('"4"'), replayed: true, body: first.body })
    expect(shop.cart()).toEqual({ address: 'newer', version: 5 })
  })

  test('a 412 is kept under its key, and another version needs another key', async () => {
    const shop = new Shop()
    const { origin } = await open(shop)
    const first = await put(origin, 'new', { 'If-Match': '"2"', 'Idempotency-Key': 'a' })
    expect(first).toMatchObject(refused(412))
    const again = await put(origin, 'new', { 'If-Match': '"2"', 'Idempotency-Key': 'a' })
    expect(again).toMatchObject({ ...refused(412), replayed: true, body: first.body })
    // If-Match is no part of the comparison of requests.
    const other = await put(origin, 'new', { 'If-Match': '"3"', 'Idempotency-Key': 'a' })
    expect(other).toMatchObject({ ...refused(412), replayed: true })
    expect(shop.cart()).toEqual({ address: 'old', version: 3 })
    const fresh = await put(origin, 'new', { 'If-Match': '"3"', 'Idempotency-Key': 'b' })
    expect(fresh).toMatchObject(applied('"4"'))
  })

  test('a 428 releases its key', async () => {
    const { origin } = await open(new Shop())
    expect(await put(origin, 'new', { 'Idempotency-Key': 'a' })).toMatchObject(refused(428))
    const fields = { 'If-Match': '"3"', 'Idempotency-Key': 'a' }
    expect(await put(origin, 'new', fields)).toMatchObject(applied('"4"'))
  })
})
