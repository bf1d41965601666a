/** Rules for documents of APIs that take idempotency keys. */
import { InvalidOptionError } from '../core/errors.ts'
import { isProblemMediaType } from './document-operation.ts'
import { isObject, type JsonObject, objectAt } from './json.ts'
import { isKeyName, type KeyUse, keyUseOf, type Part } from './key-use.ts'
import { type FoundOperation, operationsOf } from './operations.ts'
import { type Path, resolve } from './references.ts'
import { extensionName, usualMarker, usualStatuses } from './terms.ts'
import { type OpenApiVersion, versionOf } from './version.ts'

/** Rules of `lintDocument`. They are stable. */
export type LintCode =
  | 'key-undeclared'
  | 'extension-malformed'
  | 'header-missing'
  | 'header-schema'
  | 'header-name-differs'
  | 'key-misplaced'
  | 'required-differs'
  | 'response-missing'
  | 'problem-media-type'
  | 'replay-header-missing'
  | 'retention-missing'
  | 'safe-method-key'
  | 'reference-broken'
  | 'reference-not-followed'

/** One thing that a document says wrongly, or does not say. */
export interface LintFinding {
  readonly code: LintCode
  /** `note`: it could not be checked, or stands in a part that other operations share. */
  readonly level: 'error' | 'note'
  readonly message: string
  readonly fix: string
  /** In upper case. */
  readonly method?: string
  readonly path?: string
  /** Names and indices that lead to the place in the document. */
  readonly at: Path
}

export interface LintOptions {
  /** Name of the field that carries the key, where `x-idempotency` does not name it. Default `'Idempotency-Key'`. */
  readonly header?: string
}

/** Largest number of characters that a key may have (`keyLengthMax` of every adapter). */
const keyLengthMax = 255
const writingMethods: ReadonlySet<string> = new Set(['POST', 'PATCH'])
const safeMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'QUERY'])

type Report = (finding: Omit<LintFinding, 'method' | 'path' | 'level'> & { level?: 'note' }) => void

/**
 * Checks a document: every POST and PATCH says whether it takes a key, and an operation that takes one says how.
 * `$ref`s are followed inside the document; others are noted.
 *
 * @param document OpenAPI 3.0, 3.1, 3.2 or Swagger 2.0, parsed
 * @returns findings in the order of the document; none where all is well
 * @throws InvalidOptionError where the document is none of these
 * @example
 * const wrong = lintDocument(document).filter(({ level }) => level === 'error')
 */
export function lintDocument(document: object, options: LintOptions = {}): LintFinding[] {
  const root = document as JsonObject
  const version = isObject(root) ? versionOf(root) : undefined
  if (version === undefined) {
    throw new InvalidOptionError('document', 'must be an OpenAPI document of version 2.0, 3.0, 3.1 or 3.2')
  }
  const findings: LintFinding[] = []
  const { operations, unfollowed } = operationsOf(root)
  for (const { path, at, kind, reference } of unfollowed)
    findings.push({ ...referenceFinding(kind, reference, at), path })
  const headers = new Map<string, string>()
  for (const found of operations) {
    const { method, path } = found
    const use = keyUseOf(root, found, options.header)
    lintOperation({ document: root, version, found, use, headers }, (finding) => {
      findings.push({ level: 'error', method, path, ...finding })
    })
  }
  return findings
}

function referenceFinding(kind: 'external' | 'broken', reference: string, at: Path): LintFinding {
  const to = JSON.stringify(reference)
  return kind === 'broken'
    ? {
        code: 'reference-broken',
        level: 'error',
        at,
        message: `${to} leads nowhere.`,
        fix: 'Mend the reference.',
      }
    : {
        code: 'reference-not-followed',
        level: 'note',
        at,
        message: `${to} leads out of this document and is not followed.`,
        fix: 'Bundle the document into one file and check that.',
      }
}

interface Subject {
  readonly document: JsonObject
  readonly version: OpenApiVersion
  readonly found: FoundOperation
  readonly use: KeyUse
  /** Names of key headers so far, by their lower case. */
  readonly headers: Map<string, string>
}

function lintOperation(subject: Subject, report: Report): void {
  const { found, use } = subject
  const { method, at } = found
  const { extension, parameter, hasOutsideKey } = use
  for (const { kind, reference, at: place } of use.unfollowed) report(referenceReport(kind, reference, place))
  const takesKey = isObject(extension) || parameter !== undefined || hasOutsideKey

  if (safeMethods.has(method)) {
    if (takesKey) {
      report({
        code: 'safe-method-key',
        at: parameter?.at ?? at,
        message: `${method} has no effect to protect, so a key on it is ignored.`,
        fix: 'Remove the header parameter and x-idempotency from this operation.',
      })
    }
    return
  }
  if (extension !== undefined && extension !== false) lintExtension(extension, at, report)
  lintPlaces(subject, report)
  if (extension === false) {
    if (parameter !== undefined) {
      report({
        code: 'required-differs',
        at: parameter.at,
        message: 'x-idempotency is false, but there is a header parameter for the key.',
        fix: 'Remove the one that is wrong.',
      })
    }
    return
  }
  if (takesKey) {
    lintParameter(subject, report)
    lintAnswers(subject, report)
  } else if (
    writingMethods.has(method) &&
    extension === undefined &&
    !use.unfollowed.some(isOutsideParameter)
  ) {
    report({
      code: 'key-undeclared',
      at,
      message: `${method} does not say whether it takes an idempotency key.`,
      fix: 'Add the header parameter and x-idempotency (retrysafe openapi patch), or `x-idempotency: false`.',
    })
  }
}

function referenceReport(kind: 'external' | 'broken', reference: string, at: Path): Parameters<Report>[0] {
  const { level, ...finding } = referenceFinding(kind, reference, at)
  return level === 'note' ? { ...finding, level } : finding
}

/** What cannot be followed might be the key. */
function isOutsideParameter({ kind, at }: KeyUse['unfollowed'][number]): boolean {
  return kind === 'external' && at.at(-2) === 'parameters'
}

/** ISO 8601, as `P1D`, `PT24H` or `P1DT12H`. */
const isoDuration =
  /^P(?=.)(?:\d+W|(?:\d+Y)?(?:\d+M)?(?:\d+D)?(?:T(?=\d)(?:\d+H)?(?:\d+M)?(?:\d+(?:\.\d+)?S)?)?)$/

function lintExtension(extension: unknown, operationAt: Path, report: Report): void {
  const at = [...operationAt, extensionName]
  const wrong = (message: string, ...member: string[]): void =>
    report({
      code: 'extension-malformed',
      at: [...at, ...member],
      message,
      fix: 'Write `false`, or `{ required, retention, scope, header }`.',
    })
  if (!isObject(extension)) return wrong('x-idempotency must be an object or false.')
  const { required, retention, scope } = extension
  if (typeof required !== 'boolean') wrong('x-idempotency.required must be true or false.', 'required')
  if (retention !== undefined && !(typeof retention === 'string' && isoDuration.test(retention))) {
    wrong('x-idempotency.retention must be an ISO 8601 duration, such as PT24H.', 'retention')
  }
  if (scope !== undefined && scope !== 'principal' && scope !== 'endpoint') {
    wrong("x-idempotency.scope must be 'principal' or 'endpoint'.", 'scope')
  }
}

/** The key belongs into the header alone, where proxies and layers find it without reading a body. */
function lintPlaces({ document, version, found, use }: Subject, report: Report): void {
  const fix = 'Take the key from the header.'
  for (const { value, at } of use.misplaced) {
    report({
      code: 'key-misplaced',
      at,
      message: `The key is a parameter in ${String(value['in'])}, where logs and caches keep it.`,
      fix,
    })
  }
  if (version === '2.0') return
  const bodyAt = [...found.at, 'requestBody']
  const body = resolve(document, found.operation['requestBody'], bodyAt)
  if (body.kind !== 'value' || !isObject(body.value)) return
  for (const [mediaType, media] of Object.entries(objectAt(body.value, 'content'))) {
    if (!isObject(media)) continue
    const schema = resolve(document, media['schema'])
    if (schema.kind !== 'value' || !isObject(schema.value)) continue
    const name = Object.keys(objectAt(schema.value, 'properties')).find((property) => isKeyName(property))
    if (name === undefined) continue
    report({
      code: 'key-misplaced',
      at: bodyAt,
      message: `The key is a member of the body (${name} in ${mediaType}), so it is part of what is compared.`,
      fix,
    })
  }
}

function lintParameter(subject: Subject, report: Report): void {
  const { document, version, found, use, headers } = subject
  const { extension, parameter, hasOutsideKey } = use
  if (parameter === undefined) {
    if (hasOutsideKey) return
    report({
      code: 'header-missing',
      at: found.at,
      message: 'x-idempotency says that the operation takes a key, but there is no header parameter for it.',
      fix: 'Add the header parameter.',
    })
    return
  }
  const { value, at } = parameter
  const schema = version === '2.0' ? value : schemaOf(document, value)
  if (schema !== undefined && !isBoundedString(schema)) {
    report({
      code: 'header-schema',
      at,
      message: `The key must be a string of at most ${keyLengthMax} characters.`,
      fix: `Give its schema \`type: string\` and \`maxLength: ${keyLengthMax}\`, or less.`,
    })
  }
  const name = String(value['name'])
  const [first] = headers.values()
  if (first !== undefined && first.toLowerCase() !== name.toLowerCase()) {
    report({
      code: 'header-name-differs',
      at,
      message: `The key is in ${name} here and in ${first} elsewhere.`,
      fix: 'Use one header for all operations.',
    })
  }
  headers.set(name.toLowerCase(), name)
  const required = isObject(extension) ? extension['required'] : undefined
  if (typeof required === 'boolean' && required !== (value['required'] ?? false)) {
    report({
      code: 'required-differs',
      at,
      message: `x-idempotency says that the key is ${required ? 'required' : 'optional'}, the header parameter says the opposite.`,
      fix: 'Make both say the same.',
    })
  }
}

/** The schema of a parameter; an empty one where it has none, `undefined` where it is outside. */
function schemaOf(document: JsonObject, parameter: JsonObject): JsonObject | undefined {
  const schema = resolve(document, parameter['schema'])
  if (schema.kind === 'external') return undefined
  return schema.kind === 'value' && isObject(schema.value) ? schema.value : {}
}

function isBoundedString({ type, maxLength, format }: JsonObject): boolean {
  const isString = type === 'string' || (Array.isArray(type) && type.length === 1 && type[0] === 'string')
  return isString && (format === 'uuid' || (typeof maxLength === 'number' && maxLength <= keyLengthMax))
}

function lintAnswers({ version, found, use }: Subject, report: Report): void {
  const { extension, responses } = use
  const { statuses, marker, retention } = isObject(extension) ? extension : ({} as JsonObject)
  const refused = { ...usualStatuses, ...(isObject(statuses) ? statuses : {}) }
  const refusals = new Map([
    [String(refused.malformed), 'a key is malformed or missing'],
    [String(refused.inProgress), 'the first request with a key is still running'],
    [String(refused.mismatch), 'a key is reused for another request'],
  ])
  for (const [status, when] of refusals) {
    const range = `${status[0]}XX`
    const response = responses.get(status) ?? responses.get(range)
    if (response !== undefined) {
      if (version !== '2.0' && !Object.keys(objectAt(response.value, 'content')).some(isProblemMediaType)) {
        reportPart(report, response, {
          code: 'problem-media-type',
          message: `The ${status} is sent as application/problem+json.`,
          fix: 'Add application/problem+json to its content.',
        })
      }
    } else if (!isOutside(use, status) && !isOutside(use, range)) {
      report({
        code: 'response-missing',
        at: found.at,
        message: `There is no ${status}, which is sent when ${when}.`,
        fix: `Add the response ${status}.`,
      })
    }
  }
  const header = typeof marker === 'string' ? marker : usualMarker
  for (const [status, response] of marker === false ? [] : responses) {
    if (!/^2(?:\d\d|XX)$/.test(status)) continue
    const names = Object.keys(objectAt(response.value, 'headers'))
    if (names.some((name) => name.toLowerCase() === header.toLowerCase())) continue
    reportPart(report, response, {
      code: 'replay-header-missing',
      message: `The ${status} may be a replay, but it does not tell of ${header}.`,
      fix: `Add the response header ${header}.`,
    })
  }
  if (retention === undefined) {
    report({
      code: 'retention-missing',
      at: isObject(extension) ? [...found.at, extensionName] : found.at,
      message: 'It is not said how long the answer of a key is kept.',
      fix: 'Add x-idempotency with `retention`, such as PT24H.',
    })
  }
}

/** A part that is shared is no error of the operation that names it. */
function reportPart(
  report: Report,
  part: Part,
  finding: Pick<LintFinding, 'code' | 'message' | 'fix'>,
): void {
  report({ ...finding, at: part.at, ...(part.isShared ? { level: 'note' } : {}) })
}

function isOutside(use: KeyUse, status: string): boolean {
  return use.unfollowed.some(({ at }) => at.at(-2) === 'responses' && at.at(-1) === status)
}
