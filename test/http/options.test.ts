/** Every wrong option is refused at construction, by name, and before any request. */
import Fastify from 'fastify'
import { describe, expect, test } from 'vitest'
import { InvalidOptionError } from '../../src/core/errors.ts'
import { idempotent as idempotentExpress } from '../../src/http/express.ts'
import { idempotency } from '../../src/http/fastify.ts'
import { idempotent as idempotentFetch } from '../../src/http/fetch.ts'
import { idempotent as idempotentHono } from '../../src/http/hono.ts'
import { idempotent as idempotentNode } from '../../src/http/node.ts'
import { instance } from './serving.ts'

type Given = Record<string, unknown>

function refusalOf(make: () => unknown): { option: string; message: string } {
  try {
    make()
  } catch (error) {
    if (!(error instanceof InvalidOptionError)) throw error
    return { option: error.option, message: error.message }
  }
  throw new Error('nothing was refused')
}

function express(given: unknown): unknown {
  return idempotentExpress(instance(), given as never)
}

const wrong: readonly (readonly [option: string, given: Given])[] = [
  ['principal', { principal: undefined }],
  ['principal', { principal: null }],
  ['principal', { principal: '' }],
  ['principal', { principal: 'tenant-1' }],
  ['principal', { principal: {} }],
  ['required', { required: 'yes' }],
  ['required', { required: 1 }],
  ['required', { required: null }],
  ['preset', { preset: 'cash' }],
  ['preset', { preset: 'toString' }],
  ['preset', { preset: null }],
  ['methods', { methods: [] }],
  ['methods', { methods: 'POST' }],
  ['methods', { methods: ['GET'] }],
  ['methods', { methods: ['POST', 'HEAD'] }],
  ['methods', { methods: ['post'] }],
  ['methods', { methods: [1] }],
  ['scope', { scope: 'global' }],
  ['header', { header: '' }],
  ['header', { header: 'a b' }],
  ['header', { header: 'a:b' }],
  ['header', { header: 'x\r\ny' }],
  ['header', { header: 'é' }],
  ['header', { header: 'x'.repeat(65) }],
  ['header', { header: 7 }],
  ['keySyntax', { keySyntax: 'loose' }],
  ['keyLengthMin', { keyLengthMin: 0 }],
  ['keyLengthMin', { keyLengthMin: 1.5 }],
  ['keyLengthMin', { keyLengthMin: 11, keyLengthMax: 10 }],
  ['keyLengthMax', { keyLengthMax: 0 }],
  ['keyLengthMax', { keyLengthMax: 256 }],
  ['keyLengthMax', { keyLengthMax: '10' }],
  ['keyLengthMax', { keyLengthMax: Number.NaN }],
  ['bodyCompare', { bodyCompare: 'json' }],
  ['requestBytesMax', { requestBytesMax: -1 }],
  ['requestBytesMax', { requestBytesMax: '1mb' }],
  ['requestBytesMax', { requestBytesMax: Number.POSITIVE_INFINITY }],
  ['requestBytesMax', { requestBytesMax: 2 ** 40 }],
  ['responseBytesMax', { responseBytesMax: 0.5 }],
  ['responseBytesMax', { responseBytesMax: -1 }],
  ['statuses.mismatch', { statuses: { mismatch: 200 } }],
  ['statuses.inProgress', { statuses: { inProgress: 500 } }],
  ['statuses.unknown', { statuses: { unknown: '409' } }],
  ['statuses.expired', { statuses: { expired: 404 } }],
  ['statuses.missing', { statuses: { missing: 400 } }],
  ['marker', { marker: true }],
  ['marker', { marker: '' }],
  ['marker', { marker: 'X Replay' }],
  ['marker', { marker: 'X:\r\nSet-Cookie' }],
  ['result', { result: 'keep' }],
  ['result', { result: { 500: 'keep' } }],
  ['onStoreError', { onStoreError: 'ignore' }],
  ['onStoreError', { onStoreError: 'run', required: true }],
  ['onStoreError', { onStoreError: 'run', preset: 'money' }],
  ['store', { transaction: true }],
  ['transaction', { transaction: 'yes' }],
  ['transaction', { transaction: null }],
  ['transaction', { transaction: { transaction: () => {} } }],
  ['onStoreError', { transaction: true, onStoreError: 'run' }],
  ['result', { transaction: true, preset: 'stripe' }],
  ['result', { transaction: true, result: () => 'keep' }],
  ['documentation', { documentation: 'errors.md' }],
  ['documentation', { documentation: 'https://a.example/errors#there' }],
  ['documentation', { documentation: 'https://a.example/\r\nX: y' }],
  ['documentation', { documentation: 'https://a.example/>;<' }],
  ['documentation', { documentation: 'https://a.example/\u{1f600}' }],
  ['documentation', { documentation: 5 }],
  ['retention', { retention: 0 }],
  ['retention', { retention: -1 }],
  ['retention', { retention: 'a day' }],
  ['lease', { lease: 0 }],
  ['lease', { lease: 99 }],
  ['lease', { lease: Number.NaN }],
  ['lease', { lease: Number.POSITIVE_INFINITY }],
  ['lease', { lease: 1e12 }],
  ['lease', { lease: '1m', retention: '1m' }],
  ['timeout', { timeout: 0 }],
  ['timeout', { timeout: '10' }],
  ['tombstone', { tombstone: -1 }],
  ['releaseMarker', { releaseMarker: -1 }],
  ['wait', { wait: -1 }],
  ['wait', { wait: '11m' }],
  ['onUnknown', { onUnknown: 'retry' }],
  ['onUnknown', { onUnknown: 'reconcile' }],
]

describe('a wrong value is refused at construction', () => {
  test.each(wrong)('%s in %j', (option, given) => {
    const refusal = refusalOf(() => express({ principal: 'anonymous', ...given }))
    expect(refusal.option).toBe(option)
    expect(refusal.message).toContain(`Option ${option} `)
  })

  test.each([[undefined], [null], ['anonymous'], [5]])('options that are no object: %s', (given) => {
    expect(refusalOf(() => express(given)).option).toBe('options')
  })
})

describe('a right value is taken', () => {
  test.each<[Given]>([
    [{ principal: () => 'a', required: true, preset: 'money' }],
    [{ preset: 'ietf' }],
    [{ preset: 'stripe', result: () => 'keep' }],
    [{ methods: ['POST', 'PATCH', 'PUT', 'DELETE'] }],
    [{ scope: 'endpoint', header: 'X-Idempotency-Key', keySyntax: 'raw' }],
    [{ keyLengthMin: 255, keyLengthMax: 255 }],
    [{ requestBytesMax: 0, responseBytesMax: 0 }],
    [{ statuses: { mismatch: 409, inProgress: 425, unknown: 503, expired: 410 } }],
    [{ marker: false, onStoreError: 'run', documentation: 'https://a.example/errors' }],
    [{ retention: '7d', lease: 100, timeout: '1m', tombstone: 0, releaseMarker: 0, wait: '10m' }],
    [{ onUnknown: 'rerun' }],
    // What is given as undefined is not given.
    [{ required: undefined, methods: undefined, statuses: undefined, marker: undefined, lease: undefined }],
  ])('%j', (given) => {
    expect(express({ principal: 'anonymous', ...given })).toBeTypeOf('function')
  })
})

describe('an unknown option is refused with the nearest known name', () => {
  test.each([
    ['responseByteMax', 'responseBytesMax'],
    ['requird', 'required'],
    ['princpial', 'principal'],
    ['keysyntax', 'keySyntax'],
    ['Lease', 'lease'],
    ['method', 'methods'],
    ['onstoreerror', 'onStoreError'],
  ])('%s: did you mean %s?', (given, meant) => {
    const { option, message } = refusalOf(() => express({ principal: 'anonymous', [given]: 1 }))
    expect(option).toBe(`idempotent.${given}`)
    expect(message).toContain(`Did you mean ${meant}?`)
  })

  test('what is near to none gets the list', () => {
    const { message } = refusalOf(() => express({ principal: 'anonymous', zzz: 1 }))
    expect(message).toContain('Known: principal, required')
  })

  test('__proto__ in options made from JSON is an unknown option', () => {
    const given: unknown = JSON.parse('{"principal":"anonymous","__proto__":{"required":true}}')
    expect(refusalOf(() => express(given)).option).toBe('idempotent.__proto__')
  })
})

describe('every adapter refuses at construction', () => {
  const bad = { principal: 'anonymous', lease: 0 } as const

  test.each<[string, () => unknown]>([
    ['express', () => idempotentExpress(instance(), bad)],
    ['hono', () => idempotentHono(instance(), bad)],
    ['fetch', () => idempotentFetch(instance(), bad, () => new Response())],
    ['node', () => idempotentNode(instance(), bad, () => {})],
  ])('%s', (_, make) => {
    expect(refusalOf(make).option).toBe('lease')
  })

  test('fastify, when the plugin is registered', async () => {
    const app = Fastify()
    app.register(idempotency, { idem: instance(), ...bad })
    await expect(app.ready()).rejects.toMatchObject({ code: 'option-invalid', option: 'lease' })
  })

  test('fastify, when a route is added', async () => {
    const app = Fastify()
    await app.register(idempotency, { idem: instance(), principal: 'anonymous' })
    expect(() => app.post('/x', { config: { idempotency: { lease: 0 } } }, async () => ({}))).toThrowError(
      /Option lease /,
    )
  })
})
