/** Documents with what is right and wrong in them, for our own rules and for Spectral's. */

const problem = {
  description: 'Refused.',
  content: { 'application/problem+json': { schema: { type: 'object' } } },
}
const made = { description: 'Made.', headers: { 'Idempotent-Replayed': { schema: { type: 'string' } } } }
const key = {
  name: 'Idempotency-Key',
  in: 'header',
  required: true,
  schema: { type: 'string', maxLength: 255 },
}
const extension = { required: true, retention: 'PT24H', scope: 'principal', header: 'Idempotency-Key' }
const good = {
  'x-idempotency': extension,
  parameters: [key],
  responses: { '201': made, '400': problem, '409': problem, '422': problem },
}

function documentOf(paths: object, more: object = {}): object {
  return { openapi: '3.1.0', info: { title: 'Shop', version: '1' }, paths, ...more }
}

function withPost(changes: object): object {
  return documentOf({ '/charges': { post: { ...good, ...changes } } })
}

function without(name: keyof typeof good): object {
  return documentOf({
    '/charges': { post: Object.fromEntries(Object.entries(good).filter(([own]) => own !== name)) },
  })
}

export const goodDocuments: Readonly<Record<string, object>> = {
  'an operation with a key': withPost({}),
  'operations that say no': documentOf({
    '/hooks': { post: { 'x-idempotency': false, responses: {} }, patch: { 'x-idempotency': false } },
  }),
  'other methods that say nothing': documentOf({
    '/charges': { get: { responses: {} }, put: {}, delete: {}, head: {} },
  }),
  'parts behind references': documentOf(
    {
      '/charges': {
        patch: {
          ...good,
          parameters: [{ $ref: '#/components/parameters/Key' }],
          responses: {
            '200': { $ref: '#/components/responses/Made' },
            '400': { $ref: '#/components/responses/Problem' },
            '409': { $ref: '#/components/responses/Problem' },
            '422': { $ref: '#/components/responses/Problem' },
          },
        },
      },
    },
    { components: { parameters: { Key: key }, responses: { Made: made, Problem: problem } } },
  ),
  'a range of statuses': withPost({ responses: { '2XX': made, '4XX': problem } }),
  'a key that is a UUID': withPost({ parameters: [{ ...key, schema: { type: 'string', format: 'uuid' } }] }),
  'another marker': withPost({
    'x-idempotency': { ...extension, marker: 'X-Replayed' },
    responses: { ...good.responses, '201': { description: 'Made.', headers: { 'x-replayed': {} } } },
  }),
  'a deletion with a key': documentOf({ '/charges/{id}': { delete: good } }),
}

export interface BadDocument {
  readonly document: object
  /** Code and operation of each finding; `note` where it is one. */
  readonly findings: readonly string[]
  /** `false`: Spectral cannot see it. Default `true`. */
  readonly isShared?: false
  /** `patchDocument` mends all of it. */
  readonly patchable?: true
}

export const badDocuments: Readonly<Record<string, BadDocument>> = {
  'a POST that says nothing': {
    document: documentOf({ '/charges': { post: { responses: {} } } }),
    findings: ['key-undeclared POST /charges'],
    patchable: true,
  },
  'operations that say nothing below other parameters': {
    document: documentOf({
      '/charges/{id}': { parameters: [{ name: 'id', in: 'path', required: true }], post: {}, patch: good },
    }),
    findings: ['key-undeclared POST /charges/{id}'],
    patchable: true,
  },
  'a header without the rest': {
    document: documentOf({
      '/charges': { post: { parameters: [key], responses: { '201': { description: 'Made.' } } } },
    }),
    findings: [
      'replay-header-missing POST /charges',
      'response-missing POST /charges',
      'response-missing POST /charges',
      'response-missing POST /charges',
      'retention-missing POST /charges',
    ],
    patchable: true,
  },
  'an extension without the header': {
    document: without('parameters'),
    findings: ['header-missing POST /charges'],
    patchable: true,
  },
  'refusals of another media type': {
    document: withPost({
      responses: { ...good.responses, '409': { description: 'No.', content: { 'application/json': {} } } },
    }),
    findings: ['problem-media-type POST /charges'],
    patchable: true,
  },
  'shared parts that lack something': {
    document: documentOf(
      {
        '/charges': {
          post: {
            ...good,
            responses: {
              ...good.responses,
              '201': { $ref: '#/components/responses/Plain' },
              '409': { $ref: '#/components/responses/Plain' },
            },
          },
        },
      },
      { components: { responses: { Plain: { description: 'Plain.' } } } },
    ),
    findings: ['problem-media-type POST /charges note', 'replay-header-missing POST /charges note'],
  },
  'an extension of another kind': {
    document: withPost({
      'x-idempotency': { ...extension, required: 'yes', retention: '24h', scope: 'global' },
    }),
    findings: [
      'extension-malformed POST /charges',
      'extension-malformed POST /charges',
      'extension-malformed POST /charges',
    ],
  },
  'a key of any length': {
    document: withPost({ parameters: [{ ...key, schema: { type: 'string', maxLength: 300 } }] }),
    findings: ['header-schema POST /charges'],
  },
  'a key that is a number': {
    document: withPost({ parameters: [{ ...key, schema: { type: 'integer', maxLength: 9 } }] }),
    findings: ['header-schema POST /charges'],
  },
  'a key in the query too': {
    document: withPost({
      parameters: [key, { name: 'idempotency_key', in: 'query', schema: { type: 'string' } }],
    }),
    findings: ['key-misplaced POST /charges'],
  },
  'a key in the body': {
    document: withPost({
      requestBody: {
        content: { 'application/json': { schema: { properties: { idempotency_key: { type: 'string' } } } } },
      },
    }),
    findings: ['key-misplaced POST /charges'],
    isShared: false,
  },
  'two answers to whether it is required': {
    document: withPost({ 'x-idempotency': { ...extension, required: false } }),
    findings: ['required-differs POST /charges'],
  },
  'a header on an operation that takes none': {
    document: withPost({ 'x-idempotency': false }),
    findings: ['required-differs POST /charges'],
  },
  'a GET with a key': {
    document: documentOf({ '/charges': { get: { parameters: [key], responses: {} } } }),
    findings: ['safe-method-key GET /charges'],
  },
  'two names': {
    document: documentOf({
      '/charges': { post: good },
      '/refunds': { post: { ...good, parameters: [{ ...key, name: 'X-Idempotency-Key' }] } },
    }),
    findings: ['header-name-differs POST /refunds'],
    isShared: false,
  },
  'references that lead out or nowhere': {
    document: documentOf({
      '/charges': { post: { ...good, parameters: [key, { $ref: 'common.yaml#/Trace' }] } },
      '/refunds': {
        post: { ...good, responses: { ...good.responses, '404': { $ref: '#/components/responses/No' } } },
      },
      '/items': { $ref: 'items.yaml' },
    }),
    findings: [
      'reference-broken POST /refunds',
      'reference-not-followed /items note',
      'reference-not-followed POST /charges note',
    ],
    isShared: false,
  },
}
