/** Our own rules, and that a patched document breaks none of them. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { isIdempotencyError } from '../../src/index.ts'
import { isSame } from '../../src/openapi/json.ts'
import { type LintFinding, lintDocument } from '../../src/openapi/lint.ts'
import { patchDocument } from '../../src/openapi/patch.ts'
import { valueAt } from '../../src/openapi/references.ts'
import { yamlText } from '../../src/openapi/yaml-text.ts'
import { badDocuments, goodDocuments } from './documents.ts'

function shown({ code, method, path, level }: LintFinding): string {
  return `${code} ${method === undefined ? '' : `${method} `}${path}${level === 'note' ? ' note' : ''}`
}

describe('lintDocument', () => {
  test.each(Object.entries(goodDocuments))('has nothing against: %s', (_, document) => {
    expect(lintDocument(document)).toEqual([])
  })

  test.each(Object.entries(badDocuments))('finds: %s', (_, { document, findings }) => {
    const found = lintDocument(document)
    expect(found.map(shown).toSorted()).toEqual([...findings].toSorted())
    for (const { at, message, fix } of found) {
      expect(valueAt(document, at)).toBeDefined()
      expect(`${message} ${fix}`).not.toMatch(/undefined|\[object/)
    }
  })

  test('reads the header that is named to it', () => {
    const parameter = { name: 'X-Request-Key', in: 'header', schema: { type: 'string', maxLength: 64 } }
    const paths = { '/charges': { post: { parameters: [parameter] } } }
    const codes = (header?: string): string[] =>
      lintDocument({ openapi: '3.0.3', paths }, header === undefined ? {} : { header }).map(
        ({ code }) => code,
      )
    expect(codes()).toEqual(['key-undeclared'])
    expect(codes('x-request-key')).toContain('retention-missing')
  })

  test('looks into shared path items once, and into Swagger 2.0', () => {
    const paths = {
      '/a': { $ref: '#/components/pathItems/One' },
      '/b': { $ref: '#/components/pathItems/One' },
    }
    const components = { pathItems: { One: { post: { responses: {} } } } }
    expect(lintDocument({ openapi: '3.1.0', paths, components }).map(shown)).toEqual([
      'key-undeclared POST /a',
    ])
    const old = { swagger: '2.0', paths: { '/a': { post: { responses: { 200: { description: 'Yes.' } } } } } }
    expect(lintDocument(old).map(shown)).toEqual(['key-undeclared POST /a'])
    expect(lintDocument(patchDocument(old))).toEqual([])
  })

  test.each([{}, { openapi: '4.0.0' }, [], { swagger: '1.2' }, { openapi: 3.1 }])(
    'refuses %j',
    (document) => {
      for (const call of [lintDocument, patchDocument]) {
        try {
          call(document)
          expect.unreachable()
        } catch (error) {
          expect(isIdempotencyError(error, 'option-invalid')).toBe(true)
        }
      }
    },
  )
})

describe('patchDocument', () => {
  test('changes the chosen operations, by the options', () => {
    const document = { openapi: '3.1.0', paths: { '/a': { post: {}, put: {} }, '/b': { post: {} } } }
    const told = patchDocument(document, {
      operations: ['post /a', 'PUT /a'],
      required: true,
      retention: '7d',
      tombstone: '30d',
      scope: 'endpoint',
      header: 'X-Key',
      keyLengthMax: 64,
      marker: false,
    })
    expect(valueAt(told, ['paths', '/b', 'post'])).toEqual({})
    expect(valueAt(told, ['paths', '/a', 'put', 'x-idempotency'])).toEqual({
      required: true,
      retention: 'PT168H',
      scope: 'endpoint',
      header: 'X-Key',
      marker: false,
    })
    expect(valueAt(told, ['components', 'parameters', 'IdempotencyKey'])).toMatchObject({
      name: 'X-Key',
      schema: { maxLength: 64 },
    })
    expect(JSON.stringify(told)).toContain('key-expired')
  })

  test('uses a component of the author, and takes another name where one is taken', () => {
    const own = {
      name: 'Idempotency-Key',
      in: 'header',
      required: false,
      schema: { type: 'string', maxLength: 40 },
    }
    const told = patchDocument({
      openapi: '3.0.3',
      paths: { '/a': { post: {} } },
      components: { parameters: { Own: own }, schemas: { IdempotencyProblem: { type: 'string' } } },
    })
    expect(valueAt(told, ['paths', '/a', 'post', 'parameters'])).toEqual([
      { $ref: '#/components/parameters/Own' },
    ])
    expect(valueAt(told, ['components', 'schemas', 'IdempotencyProblem'])).toEqual({ type: 'string' })
    expect(valueAt(told, ['components', 'schemas', 'IdempotencyProblem2'])).toMatchObject({ type: 'object' })
  })

  test.each([
    [{ operations: ['POST /nowhere'] }, /POST \/nowhere/],
    [{ operations: ['GET /a'] }, /must begin with POST/],
    [{ retention: 'long' }, /retention/],
    [{ keyLengthMax: 256 }, /keyLengthMax/],
    [{ header: 'a b' }, /header/],
    [{ requird: true }, /Did you mean required/],
  ])('refuses %j', (options, message) => {
    const document = { openapi: '3.1.0', paths: { '/a': { post: {}, get: {} } } }
    expect(() => patchDocument(document, options as object)).toThrow(message)
  })

  const text = fc.constantFrom('', 'One.', 'Two\nlines.', 'colon: #no', "it's")
  const response = fc.oneof(
    fc.record({ description: text }),
    fc.record({ description: text, content: fc.constant({ 'application/json': {} }) }),
    fc.record({
      description: text,
      headers: fc.constantFrom({ 'idempotent-replayed': {} }, { Location: {} }),
      content: fc.constant({ 'application/problem+json': { schema: {} } }),
    }),
    fc.constant({ $ref: '#/components/responses/Shared' }),
  )
  const status = fc.constantFrom(
    '200',
    '201',
    '2XX',
    '303',
    '400',
    '401',
    '404',
    '409',
    '413',
    '422',
    '4XX',
    '503',
    'default',
  )
  const parameter = fc.constantFrom<object>(
    { name: 'id', in: 'path', required: true },
    { name: 'IDEMPOTENCY-KEY', in: 'header', schema: { type: 'string', maxLength: 9 } },
    { $ref: '#/components/parameters/Key' },
    { $ref: '#/components/parameters/Trace' },
  )
  const operation = fc.record(
    {
      summary: text,
      parameters: fc.uniqueArray(parameter, { maxLength: 2 }),
      responses: fc.dictionary(status, response, { maxKeys: 5 }),
      'x-idempotency': fc.constantFrom<unknown>(
        false,
        { required: false },
        { required: false, statuses: { mismatch: 409 } },
      ),
    },
    { requiredKeys: [] },
  )
  const item = fc.record(
    {
      parameters: fc.constant([{ name: 'id', in: 'path', required: true }]),
      get: fc.constant({}),
      post: operation,
      patch: operation,
      put: fc.constant({}),
    },
    { requiredKeys: [] },
  )
  const documents = fc.record({
    openapi: fc.constantFrom('3.0.3', '3.1.1', '3.2.0'),
    paths: fc.dictionary(fc.constantFrom('/a', '/b/{id}', '/c~/d'), item, { maxKeys: 3 }),
    components: fc.constant({
      parameters: {
        Key: { name: 'Idempotency-Key', in: 'header', schema: { type: 'string', format: 'uuid' } },
        Trace: { name: 'X-Trace', in: 'header', schema: { type: 'string' } },
      },
      responses: { Shared: { description: 'Shared.' } },
    }),
  })

  test('mends all but what stands in parts that are shared or contradicts itself, and is done once', () => {
    fc.assert(
      fc.property(documents, fc.boolean(), (document, required) => {
        const before = structuredClone(document)
        const once = patchDocument(document, { required })
        expect(document).toEqual(before)
        expect(isSame(patchDocument(once, { required }), once)).toBe(true)
        const left = lintDocument(once).filter(
          ({ level, code }) => level === 'error' && code !== 'required-differs',
        )
        expect(left).toEqual([])
        const contradictions = lintDocument(once).filter(({ code }) => code === 'required-differs')
        expect(
          contradictions.every(({ at }) =>
            isSame(valueAt(once, [...at.slice(0, 3), 'x-idempotency']), false),
          ),
        ).toBe(true)
      }),
      { numRuns: 150 },
    )
  })

  test('writes YAML that is read as the same document', () => {
    fc.assert(
      fc.property(fc.oneof(documents, fc.jsonValue()), (value) => {
        expect(isSame(parse(yamlText(value)), JSON.parse(JSON.stringify(value)))).toBe(true)
      }),
      { numRuns: 250 },
    )
    const hard = [
      '',
      ' ',
      'a\n',
      'a\n\nb',
      '- x',
      'a: b',
      '#',
      'null',
      'Yes',
      '1e3',
      '0x1f',
      '~',
      '\u2028',
      '\u0085',
      '\t',
      'a\r\nb',
      '🙂\nb',
      '---',
      '%x',
      'x\n y',
      'no',
    ]
    for (const one of hard)
      expect(parse(yamlText({ [one]: [one, { one }], list: [[one], []] }))).toEqual({
        [one]: [one, { one }],
        list: [[one], []],
      })
  })
})
