/** Documents that were written by hand, told which operations take a key. */
import { InvalidOptionError } from '../core/errors.ts'
import { type Duration, toMilliseconds } from '../core/duration.ts'
import { refuseUnknownOptions } from '../core/options.ts'
import { documentedBy } from './document.ts'
import { isObject, type JsonObject } from './json.ts'
import { keyUseOf } from './key-use.ts'
import { type FoundOperation, operationsOf } from './operations.ts'
import type { ProtectedOperation } from './protected-operation.ts'
import { usualHeader, usualMarker, usualStatuses } from './terms.ts'
import { versionOf } from './version.ts'

/** What the operations promise. Where an operation says something itself, that holds. */
export interface PatchOptions {
  /** Such as `'POST /charges/{id}'`. Default: every POST and PATCH but those with `x-idempotency: false`. */
  readonly operations?: readonly string[]
  /** Requests without a key are refused. Default `false`. */
  readonly required?: boolean
  /** How long an outcome is replayed. Default `'24h'`. */
  readonly retention?: Duration
  /** How long after that the key is refused. Default 0: it runs as new. */
  readonly tombstone?: Duration
  /** Default `'principal'`. */
  readonly scope?: 'principal' | 'endpoint'
  /** Default `'Idempotency-Key'`. */
  readonly header?: string
  /** Largest number of characters. Default 255. */
  readonly keyLengthMax?: number
  /** Default `'Idempotent-Replayed'`; `false` for none. */
  readonly marker?: string | false
}

const optionNames: readonly string[] = [
  'operations',
  'required',
  'retention',
  'tombstone',
  'scope',
  'header',
  'keyLengthMax',
  'marker',
] satisfies (keyof PatchOptions)[]

const guardable: ReadonlySet<string> = new Set(['POST', 'PATCH', 'PUT', 'DELETE'])
const fieldName = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}$/

/**
 * The document with its operations telling of the key: header parameter, refusals, replay marker, `x-idempotency`.
 * What is there stays; done twice, it changes nothing more.
 *
 * @param document it is not changed
 * @throws InvalidOptionError for a document of another kind, an unknown operation, or an option that breaks a rule
 * @example
 * const told = patchDocument(document, { operations: ['POST /charges'], required: true, retention: '24h' })
 */
export function patchDocument<Document extends object>(
  document: Document,
  options: PatchOptions = {},
): Document {
  const root = document as unknown as JsonObject
  if (!isObject(root) || versionOf(root) === undefined) {
    throw new InvalidOptionError('document', 'must be an OpenAPI document of version 2.0, 3.0, 3.1 or 3.2')
  }
  refuseUnknownOptions('patchDocument', options, optionNames)
  const base = protectionFrom(options)
  const isChosen = choiceOf(root, options.operations)
  return documentedBy(root, (found) =>
    isChosen(found) ? asDeclared(root, found, base) : undefined,
  ) as unknown as Document
}

function protectionFrom(options: PatchOptions): ProtectedOperation {
  const {
    required = false,
    retention = '24h',
    tombstone = 0,
    scope = 'principal',
    keyLengthMax = 255,
  } = options
  const { header = usualHeader, marker = usualMarker } = options
  if (typeof required !== 'boolean')
    throw new InvalidOptionError('required', 'must be true or false', required)
  if (scope !== 'principal' && scope !== 'endpoint') {
    throw new InvalidOptionError('scope', "must be 'principal' or 'endpoint'", scope)
  }
  for (const [name, value] of [
    ['header', header],
    ['marker', marker],
  ] as const) {
    if (value === false && name === 'marker') continue
    if (typeof value === 'string' && fieldName.test(value)) continue
    throw new InvalidOptionError(name, 'must be a field name of at most 64 characters', value)
  }
  if (!Number.isInteger(keyLengthMax) || keyLengthMax < 1 || keyLengthMax > 255) {
    throw new InvalidOptionError('keyLengthMax', 'must be a whole number from 1 to 255', keyLengthMax)
  }
  const { mismatch, inProgress } = usualStatuses
  return {
    methods: [...guardable],
    required,
    header,
    keyLengthMin: 1,
    keyLengthMax,
    scope,
    anonymous: false,
    transaction: false,
    retentionMs: toMilliseconds('retention', retention, { min: '1ms' }),
    tombstoneMs: toMilliseconds('tombstone', tombstone),
    statuses: { mismatch, inProgress, unknown: 409, expired: 422 },
    marker,
    documentation: '',
  }
}

function choiceOf(
  document: JsonObject,
  names: readonly string[] | undefined,
): (found: FoundOperation) => boolean {
  if (names === undefined) return ({ method }) => method === 'POST' || method === 'PATCH'
  const known = operationsOf(document).operations.map(nameOf)
  const chosen = new Set(
    names.map((name) => name.trim().replace(/^(\S+)\s+/, (_, method: string) => `${method.toUpperCase()} `)),
  )
  for (const name of chosen) {
    const [method = ''] = name.split(' ')
    if (!guardable.has(method)) {
      throw new InvalidOptionError('operations', `must begin with ${[...guardable].join(', ')}`, name)
    }
    if (!known.includes(name)) throw new InvalidOptionError('operations', 'must be in the document', name)
  }
  return (found) => chosen.has(nameOf(found))
}

function nameOf({ method, path }: FoundOperation): string {
  return `${method} ${path}`
}

/** What an operation says of itself comes before the options. */
function asDeclared(
  document: JsonObject,
  found: FoundOperation,
  base: ProtectedOperation,
): ProtectedOperation {
  const { extension, parameter } = keyUseOf(document, found, base.header)
  const own = isObject(extension) ? extension : {}
  const { mismatch, inProgress } = isObject(own['statuses']) ? own['statuses'] : ({} as JsonObject)
  const { name, required } = parameter?.value ?? ({} as JsonObject)
  const marker = own['marker']
  return {
    ...base,
    required:
      firstOf('boolean', own['required'], parameter === undefined ? undefined : (required ?? false)) ??
      base.required,
    header: firstOf('string', name, own['header']) ?? base.header,
    scope: own['scope'] === 'endpoint' || own['scope'] === 'principal' ? own['scope'] : base.scope,
    marker: marker === false ? false : (firstOf('string', marker) ?? base.marker),
    statuses: {
      ...base.statuses,
      ...(typeof mismatch === 'number' ? { mismatch } : {}),
      ...(typeof inProgress === 'number' ? { inProgress } : {}),
    },
  }
}

interface Kinds {
  readonly boolean: boolean
  readonly string: string
}

function firstOf<Kind extends keyof Kinds>(
  kind: Kind,
  ...values: readonly unknown[]
): Kinds[Kind] | undefined {
  return values.find((value): value is Kinds[Kind] => typeof value === kind)
}
