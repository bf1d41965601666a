/**
 * Preconditions that carry a version (RFC 9110, sections 8.8.3, 13.1.1, 13.1.2 and 13.2.2; RFC 6585, section 3).
 * A write that names the version it is based on takes effect at most once, with no idempotency key and no record:
 * the first one moves the version on, and every repetition names a version that is gone.
 *
 *   versionFrom        the one version of If-Match, for an UPDATE that compares and sets; free of races
 *   checkPrecondition  If-Match and If-None-Match against a version that was read and is locked
 *
 * Both are for methods that change something; a GET would be answered 304 where these answer 412.
 */
import { InvalidOptionError } from '../core/errors.ts'
import { fieldLines } from './node-request.ts'
import { errorsPage, problemDocument, type ProtocolAnswer } from './problem.ts'

export type { ProtocolAnswer } from './problem.ts'

/** A version of a resource: a whole number from 0 to 2^63 - 1, or text that an entity tag can hold. */
export type Version = number | bigint | string

/** An entity tag (RFC 9110, section 8.8.3). */
export interface EntityTag {
  readonly weak: boolean
  /** What stands between the quotes. It has no escapes. */
  readonly opaque: string
}

/** What a field of entity tags says. If-Match and If-None-Match have one grammar. */
export type ParsedTags =
  /** There is no such field. */
  | { readonly kind: 'absent' }
  /** `*` */
  | { readonly kind: 'any' }
  /** At least one. */
  | { readonly kind: 'tags'; readonly tags: readonly EntityTag[] }
  /** `rule` is a sentence for people and holds nothing of the field. */
  | { readonly kind: 'malformed'; readonly rule: string }

const fieldCharactersMax = 8_192
const tagsMax = 100
const versionCharactersMax = 255
/** The largest that a signed column of 64 bits holds: a larger one would be an error of the database. */
const integerMax = 2n ** 63n - 1n
const integerText = /^(?:0|[1-9]\d{0,18})$/

/** `etagc` of RFC 9110, section 8.8.3: visible octets but the quote, and obs-text. Also `\` and `,`. */
const opaqueText = /^[\x21\x23-\x7e\x80-\xff]*$/

/**
 * The value of an ETag field for a version. `weak`: for a representation that is equal in meaning only; such a tag
 * never matches in If-Match. Default `false`.
 *
 * @throws InvalidOptionError for a version that no entity tag can hold
 * @example
 * response.setHeader('ETag', entityTag(7)) // "7", with the quotes
 */
export function entityTag(version: Version, { weak = false }: { readonly weak?: boolean } = {}): string {
  return `${weak ? 'W/' : ''}"${opaqueOf('version', version)}"`
}

function opaqueOf(option: string, version: Version): string {
  if (typeof version === 'string') {
    if (version.length <= versionCharactersMax && opaqueText.test(version)) return version
    const rule = `must be at most ${versionCharactersMax} visible characters of one octet, without a double quote`
    throw new InvalidOptionError(option, rule)
  }
  const whole = typeof version === 'bigint' || Number.isSafeInteger(version)
  if (whole && version >= 0 && version <= integerMax) return String(version)
  throw new InvalidOptionError(option, 'must be a whole number from 0 to 2^63 - 1, or text')
}

/**
 * Reads If-Match, or If-None-Match: several lines are one list, and empty elements of it do not count. Takes time
 * in proportion to the length, which is at most 8,192 characters with 100 tags, and never throws.
 *
 * @example
 * parseIfMatch(['"7", W/"8"']) // { kind: 'tags', tags: [{ weak: false, opaque: '7' }, { weak: true, opaque: '8' }] }
 */
export function parseIfMatch(lines: readonly string[]): ParsedTags {
  const [line] = lines
  if (line === undefined) return { kind: 'absent' }
  const characters = lines.reduce((sum, each) => sum + each.length + 1, -1)
  if (characters > fieldCharactersMax) return malformed(`It is longer than ${fieldCharactersMax} characters.`)
  if (lines.length === 1 && isAny(line)) return { kind: 'any' }
  const tags: EntityTag[] = []
  for (const each of lines) {
    // Each line by itself: a quote that opens in one must not close in the next.
    const rule = readTags(each, tags)
    if (rule !== undefined) return malformed(rule)
  }
  // The grammar has lists of nothing. Whoever sends one has lost a tag, and must not be taken at that word.
  return tags.length === 0 ? malformed('It names no entity tag.') : { kind: 'tags', tags }
}

function malformed(rule: string): ParsedTags {
  return { kind: 'malformed', rule }
}

function isAny(line: string): boolean {
  const at = afterSpace(line, 0)
  return line[at] === '*' && afterSpace(line, at + 1) === line.length
}

/** Adds the tags of one line. Returns the rule that it breaks, if any. Every turn of the loop moves on. */
function readTags(line: string, tags: EntityTag[]): string | undefined {
  let at = afterSpace(line, 0)
  while (at < line.length) {
    if (line[at] === ',') {
      at = afterSpace(line, at + 1)
      continue
    }
    if (line[at] === '*') return '* must stand alone.'
    const weak = line.startsWith('W/', at)
    const opening = weak ? at + 2 : at
    if (line[opening] !== '"') return 'An entity tag must be quoted, with nothing but W/ before it.'
    const closing = line.indexOf('"', opening + 1)
    if (closing === -1) return 'A quote has no end.'
    const opaque = line.slice(opening + 1, closing)
    if (!opaqueText.test(opaque)) return 'An entity tag holds a space or another octet that it must not.'
    if (tags.length === tagsMax) return `It names more than ${tagsMax} entity tags.`
    tags.push({ weak, opaque })
    at = afterSpace(line, closing + 1)
    if (at < line.length && line[at] !== ',') return 'Entity tags must be separated by commas.'
  }
  return undefined
}

/** Where the space and tabs (RFC 9110, section 5.6.3) from `at` on end. */
function afterSpace(line: string, at: number): number {
  let end = at
  while (line[end] === ' ' || line[end] === '\t') end += 1
  return end
}

export type FoundVersion<Seen> =
  | { readonly kind: 'version'; readonly version: Seen }
  /** Send it: no version was named, or none that a resource can have. */
  | { readonly kind: 'answer'; readonly answer: ProtocolAnswer }

/**
 * The one version that If-Match names, as `entityTag` wrote it for a whole number. The comparison is left to the
 * database (`UPDATE .. WHERE version = ..`, or `updateVersion` of `retrysafe/writes`), so that nobody comes between
 * it and the write; where no row matches, answer `preconditionFailed()`.
 *
 * An answer otherwise: 428 without the field, and for `*` or several versions, which name no version to compare;
 * 412 for tags that are weak or were never given out; 400 for a malformed field.
 *
 * @example
 * const seen = versionFrom(ifMatchLines(req))
 * if (seen.kind === 'answer') return sendAnswer(res, seen.answer)
 * const end = await updateVersion(db, { table: 'carts', key: { id }, version: seen.version, set })
 */
export function versionFrom(ifMatch: readonly string[]): FoundVersion<bigint> {
  const found = versionTextFrom(ifMatch)
  if (found.kind === 'answer') return found
  const integer = integerText.test(found.version) ? BigInt(found.version) : undefined
  if (integer === undefined || integer > integerMax) return { kind: 'answer', answer: preconditionFailed() }
  return { kind: 'version', version: integer }
}

/**
 * As `versionFrom`, for versions that are text, such as a hash or a UUID. The text is the client's: any characters
 * that an entity tag may hold.
 *
 * @example
 * const seen = versionTextFrom(ifMatchLines(request))
 */
export function versionTextFrom(ifMatch: readonly string[]): FoundVersion<string> {
  const parsed = parseIfMatch(ifMatch)
  switch (parsed.kind) {
    case 'malformed':
      return { kind: 'answer', answer: malformedPrecondition('If-Match', parsed.rule) }
    case 'absent':
    case 'any':
      return { kind: 'answer', answer: preconditionRequired(oneVersion) }
    case 'tags': {
      const [version, another] = new Set(parsed.tags.filter(({ weak }) => !weak).map(({ opaque }) => opaque))
      if (version === undefined) return { kind: 'answer', answer: preconditionFailed() }
      if (another !== undefined) return { kind: 'answer', answer: preconditionRequired(oneVersion) }
      return { kind: 'version', version }
    }
    default:
      return parsed satisfies never
  }
}

export interface PreconditionCheck {
  /** Lines of If-Match. Default none. */
  readonly ifMatch?: readonly string[]
  /** Lines of If-None-Match. Default none. */
  readonly ifNoneMatch?: readonly string[]
  /** The version that the resource has now; `undefined`: there is no such resource. */
  readonly current: Version | undefined
  /** Refuse a request without If-Match or `If-None-Match: *`. Default `false`. */
  readonly required?: boolean
}

export type PreconditionVerdict =
  | { readonly kind: 'pass' }
  | { readonly kind: 'answer'; readonly answer: ProtocolAnswer }

/**
 * Compares the preconditions of a write with the version that was read, in the order of RFC 9110, section 13.2.2.
 * Between this and the write nobody else may write: lock what was read, or use `versionFrom` instead.
 *
 * If-Match compares strongly: a weak tag never matches, and `*` needs a resource. `If-None-Match: *` is for
 * requests that only create. Answers 412, 428 where one is required, and 400 for a malformed field.
 *
 * @throws InvalidOptionError for a current version that no entity tag can hold
 * @example
 * const verdict = checkPrecondition({ ifNoneMatch: ifNoneMatchLines(req), current: cart?.version })
 * if (verdict.kind === 'answer') return sendAnswer(res, verdict.answer)
 */
export function checkPrecondition(check: PreconditionCheck): PreconditionVerdict {
  const { current, required = false } = check
  const opaque = current === undefined ? undefined : opaqueOf('current', current)
  const match = parseIfMatch(check.ifMatch ?? [])
  const noneMatch = parseIfMatch(check.ifNoneMatch ?? [])
  if (match.kind === 'malformed') return answered(malformedPrecondition('If-Match', match.rule))
  if (noneMatch.kind === 'malformed') return answered(malformedPrecondition('If-None-Match', noneMatch.rule))
  // A list in If-None-Match lets every version pass but those that it names: nothing is protected by it.
  if (required && match.kind === 'absent' && noneMatch.kind !== 'any') return answered(preconditionRequired())
  const fails =
    (match.kind !== 'absent' && !names(match, opaque, 'strong')) ||
    (noneMatch.kind !== 'absent' && names(noneMatch, opaque, 'weak'))
  return fails ? answered(preconditionFailed()) : { kind: 'pass' }
}

function answered(answer: ProtocolAnswer): PreconditionVerdict {
  return { kind: 'answer', answer }
}

/** Whether the field names what is there, by the comparison functions of RFC 9110, section 8.8.3.2. */
function names(
  parsed: Extract<ParsedTags, { kind: 'any' | 'tags' }>,
  current: string | undefined,
  comparison: 'strong' | 'weak',
): boolean {
  if (current === undefined) return false
  if (parsed.kind === 'any') return true
  return parsed.tags.some(({ weak, opaque }) => opaque === current && (comparison === 'weak' || !weak))
}

/**
 * 412 `precondition-failed`: for a write that found no row of its version.
 *
 * @example
 * if (end.kind === 'conflict') return toResponse(preconditionFailed())
 */
export function preconditionFailed(): ProtocolAnswer {
  return problemDocument(errorsPage, {
    status: 412,
    title: 'Precondition failed',
    detail: 'The resource is not at the version that the request names. Read it again and decide anew.',
    code: 'precondition-failed',
  })
}

const oneVersion = 'This operation requires If-Match with the one ETag that was read.'

function preconditionRequired(
  detail = 'This operation requires If-Match with the ETag that was read, or If-None-Match: * to create.',
): ProtocolAnswer {
  return problemDocument(errorsPage, {
    status: 428,
    title: 'Precondition required',
    detail,
    code: 'precondition-required',
  })
}

function malformedPrecondition(field: 'If-Match' | 'If-None-Match', rule: string): ProtocolAnswer {
  return problemDocument(errorsPage, {
    status: 400,
    title: 'Precondition malformed',
    detail: `${field} is malformed: ${rule}`,
    code: 'malformed-precondition',
  })
}

/** A request of fetch, of Node or Express, or what holds one as `raw`: the requests of Hono and Fastify. */
export type PreconditionRequest = PlainRequest | { readonly raw: PlainRequest }

type PlainRequest =
  | { readonly rawHeaders: string[] }
  | { readonly headers: { get(name: string): string | null } }

/**
 * The lines of If-Match of a request of any framework.
 *
 * @example
 * versionFrom(ifMatchLines(c.req)) // Hono; elsewhere: the request itself
 */
export function ifMatchLines(request: PreconditionRequest): readonly string[] {
  return linesOf(request, 'if-match')
}

/** The lines of If-None-Match of a request of any framework. */
export function ifNoneMatchLines(request: PreconditionRequest): readonly string[] {
  return linesOf(request, 'if-none-match')
}

function linesOf(request: PreconditionRequest, lowerCaseName: string): readonly string[] {
  const plain = 'raw' in request ? request.raw : request
  if ('rawHeaders' in plain) return fieldLines(plain, lowerCaseName)
  // `Headers` has joined the lines of a list with commas, which changes nothing.
  const value = plain.headers.get(lowerCaseName)
  return value === null ? [] : [value]
}
