/** One operation object: what is added, and what its author wrote. */
import { describe, expect, test } from 'vitest'
import { createIdempotency, memoryStore } from '../../src/index.ts'
import { mount } from '../../src/http/mount.ts'
import { documentOperation } from '../../src/openapi/document-operation.ts'
import { protection } from './protection.ts'

interface Response {
  readonly $ref?: string
  readonly description: string
  readonly schema?: object
  readonly headers?: Record<string, object>
  readonly content?: Record<string, { readonly schema: Record<string, unknown> }>
}

interface Operation {
  readonly operationId?: string
  readonly parameters?: readonly Record<string, unknown>[]
  readonly responses?: Record<string, Response>
  readonly 'x-idempotency'?: unknown
}

describe('what a layer says', () => {
  const plain: Operation = { responses: { '201': { description: 'Made.' } } }

  test('stands in the operation: parameter, refusals, marker, extension', () => {
    const made = documentOperation(plain, protection({ required: true }), '3.1')
    expect(made.parameters).toEqual([
      expect.objectContaining({
        name: 'Idempotency-Key',
        in: 'header',
        required: true,
        schema: { type: 'string', minLength: 1, maxLength: 255 },
      }),
    ])
    expect(Object.keys(made.responses ?? {})).toEqual(['201', '400', '409', '413', '422', '503'])
    expect(made.responses?.['201']?.headers).toEqual({ 'Idempotent-Replayed': expect.anything() })
    expect(made['x-idempotency']).toEqual({
      required: true,
      retention: 'PT24H',
      scope: 'principal',
      header: 'Idempotency-Key',
    })
    for (const status of ['400', '409', '413', '422', '503']) {
      expect(made.responses?.[status]?.content).toEqual({ 'application/problem+json': expect.anything() })
    }
  })

  test('names the codes of each status, and Retry-After where it is sent', () => {
    const { responses = {} } = documentOperation(plain, protection({ required: true, tombstoneMs: 1000 }))
    const codes = (status: string): string[] =>
      [...(responses[status]?.description.matchAll(/- `([a-z-]+)`/g) ?? [])].map(([, code]) => String(code))
    expect(codes('400')).toEqual(['key-missing', 'key-malformed'])
    expect(codes('409')).toEqual(['in-progress', 'outcome-unknown'])
    expect(codes('413')).toEqual(['request-too-large'])
    expect(codes('422')).toEqual(['key-reused', 'key-expired'])
    expect(codes('503')).toEqual(['store-unavailable', 'outcome-unknown', 'outcome-unreadable', 'closed'])
    const withRetryAfter = Object.keys(responses).filter(
      (status) => 'Retry-After' in (responses[status]?.headers ?? {}),
    )
    expect(withRetryAfter).toEqual(['409', '503'])
  })

  test('follows the options of the layer', () => {
    const idem = createIdempotency({ store: memoryStore(), retention: '90m' })
    const { operation } = mount(idem, {
      principal: 'anonymous',
      header: 'X-Request-Key',
      keyLengthMin: 16,
      keyLengthMax: 64,
      scope: 'endpoint',
      marker: 'X-Replayed',
      tombstone: '7d',
      statuses: { mismatch: 400, inProgress: 423, unknown: 503, expired: 410 },
    })
    const made = documentOperation(plain, operation)
    expect(Object.keys(made.responses ?? {})).toEqual(['201', '400', '410', '413', '423', '503'])
    expect(made.parameters?.[0]).toMatchObject({
      name: 'x-request-key',
      required: false,
      schema: { minLength: 16, maxLength: 64 },
    })
    expect(Object.keys(made.responses?.['201']?.headers ?? {})).toEqual(['X-Replayed'])
    expect(made['x-idempotency']).toEqual({
      required: false,
      retention: 'PT90M',
      scope: 'endpoint',
      header: 'x-request-key',
      statuses: { mismatch: 400, inProgress: 423 },
      marker: 'X-Replayed',
    })
    expect(String(made.parameters?.[0]?.['description'])).toMatch(/refused with 400.*423.*90 minutes.*410/s)
  })

  test('in Swagger 2.0 uses its own words', () => {
    const made = documentOperation(plain, protection(), '2.0')
    expect(made.parameters?.[0]).toMatchObject({ in: 'header', type: 'string', minLength: 1, maxLength: 255 })
    expect(made.parameters?.[0]).not.toHaveProperty('schema')
    expect(made.responses?.['409']).toMatchObject({ schema: { type: 'object' } })
    expect(made.responses?.['409']).not.toHaveProperty('content')
    expect(made.responses?.['201']?.headers?.['Idempotent-Replayed']).toMatchObject({ type: 'string' })
  })
})

describe('what its author wrote', () => {
  const conflict = {
    description: 'The charge exists.',
    content: { 'application/json': { schema: { type: 'object' } } },
  }

  test('an own response of the same status is joined, not replaced', () => {
    const made = documentOperation<Operation>({ responses: { '409': conflict } }, protection())
    const { description = '', content = {}, headers = {} } = made.responses?.['409'] ?? {}
    expect(description).toMatch(/^The charge exists\.\n\nRefused because/)
    expect(content['application/json']).toEqual({ schema: { type: 'object' } })
    expect(Object.keys(content)).toEqual(['application/json', 'application/problem+json'])
    // The handler's own 409 is kept and replayed.
    expect(Object.keys(headers)).toEqual(['Idempotent-Replayed', 'Retry-After'])
  })

  test('an own problem schema stays', () => {
    const own = {
      description: 'Own.',
      content: { 'application/problem+json; charset=utf-8': { schema: { title: 'Own' } } },
    }
    const made = documentOperation<Operation>({ responses: { '409': own } }, protection())
    expect(made.responses?.['409']?.content).toEqual(own.content)
  })

  test('an own header parameter wins, in any case of letters and behind a reference', () => {
    const own = { name: 'idempotency-key', in: 'header', schema: { type: 'string', format: 'uuid' } }
    expect(documentOperation<Operation>({ parameters: [own] }, protection()).parameters).toEqual([own])
    const reference = { $ref: '#/components/parameters/Key' }
    const document = { openapi: '3.1.0', components: { parameters: { Key: own } } }
    const made = documentOperation<Operation>({ parameters: [reference] }, protection(), '3.1', document)
    expect(made.parameters).toEqual([reference])
  })

  test('a query parameter of the same name is another one', () => {
    const own = { name: 'Idempotency-Key', in: 'query', schema: { type: 'string' } }
    expect(documentOperation<Operation>({ parameters: [own] }, protection()).parameters).toHaveLength(2)
  })

  test('what a reference names is left alone', () => {
    const shared = {
      '201': { $ref: '#/components/responses/Made' },
      '409': { $ref: '#/components/responses/Conflict' },
    }
    const made = documentOperation({ responses: shared }, protection())
    expect(made.responses).toMatchObject(shared)
  })

  test('answers that are never stored have no marker', () => {
    const responses = {
      '401': { description: 'Who?' },
      '429': { description: 'Slow.' },
      '500': { description: 'Oh.' },
      '404': { description: 'No.' },
      '3XX': { description: 'There.' },
    }
    const made = documentOperation<Operation>({ responses }, protection())
    const marked = Object.keys(made.responses ?? {}).filter(
      (status) => 'Idempotent-Replayed' in (made.responses?.[status]?.headers ?? {}),
    )
    expect(marked.toSorted()).toEqual(['3XX', '404'])
  })

  test('own members of x-idempotency win, and false leaves the operation alone', () => {
    const own = { 'x-idempotency': { retention: 'PT48H', note: 'ours' } }
    expect(documentOperation<Operation>(own, protection())['x-idempotency']).toMatchObject({
      retention: 'PT48H',
      note: 'ours',
      required: false,
    })
    const silent: Operation = { 'x-idempotency': false, responses: {} }
    expect(documentOperation(silent, protection())).toBe(silent)
  })

  test('is not changed itself, and the second time changes nothing', () => {
    const operation: Operation = {
      operationId: 'pay',
      responses: { '201': { description: 'Made.' }, '409': conflict },
    }
    const before = structuredClone(operation)
    for (const version of ['2.0', '3.0', '3.1', '3.2'] as const) {
      const once = documentOperation(operation, protection({ tombstoneMs: 5 }), version)
      expect(documentOperation(once, protection({ tombstoneMs: 5 }), version)).toEqual(once)
    }
    expect(operation).toEqual(before)
  })
})
