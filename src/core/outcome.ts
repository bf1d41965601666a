/**
 * The stored form of an outcome: one versioned envelope for values, responses with their octets, and errors.
 *
 *   octet 0      version, 1
 *   octet 1      kind: 1 value, 2 response, 3 error, 4 marker (the value could not be stored), 5 value that a
 *                database wrote as plain JSON
 *   octets 2..5  length of the head, big-endian
 *   head         JSON, UTF-8
 *   rest         the response's body, untouched
 *
 * Reading checks everything again: a record may have been written by a newer release or changed by hand. What
 * does not pass is `UnreadableOutcomeError`, never "absent".
 */
import { roomFor, textBytes, utf8Length, writeText } from './bytes.ts'
import { UnreadableOutcomeError, UnstorableOutcomeError } from './errors.ts'
import { decodeValue, encodeValue } from './outcome-value.ts'

/** A name and a value as they were written; one entry for each field line, in order. */
export type HeaderLine = readonly [name: string, value: string]

export interface ValueOutcome {
  readonly kind: 'value'
  readonly value: unknown
}

export interface ResponseOutcome {
  readonly kind: 'response'
  /** 200 to 599. */
  readonly status: number
  readonly headers: readonly HeaderLine[]
  /** `omitted`: it was over the size limit, or an event stream, and only the head is kept. */
  readonly body: Uint8Array | 'omitted'
}

export interface ErrorOutcome {
  readonly kind: 'error'
  readonly name: string
  readonly message: string
  readonly code: string | undefined
}

/** The effect took place; its value was no plain data and is not kept. */
export interface MarkerOutcome {
  readonly kind: 'unstorable'
  readonly reason: string
}

/** What a completed record holds. */
export type Outcome = ValueOutcome | ResponseOutcome | ErrorOutcome | MarkerOutcome

const version = 1
const headAt = 6
const kindOctets = { value: 1, response: 2, error: 3, unstorable: 4, json: 5 } as const
const headBytesMax = 256 * 1024

/**
 * The first two octets of an outcome whose head is plain JSON and nothing else, for a database that writes one
 * itself. The length of the head (32 bits, big-endian) and the head follow. A member that looks like a tag of
 * `encodeValue` is data there.
 */
export const jsonOutcomePrefix: readonly [version: number, kind: number] = [version, kindOctets.json]
const messageCharactersMax = 4096
/** Up to here to count octets takes less time than to allocate them twice. */
const shortHeadCharacters = 512

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const noBody = new Uint8Array(0)

/**
 * Writes an outcome.
 *
 * @throws UnstorableOutcomeError when a value is no plain data, or a response breaks the rules of HTTP
 */
export function encodeOutcome(outcome: Outcome): Uint8Array {
  switch (outcome.kind) {
    case 'value':
      return envelope(kindOctets.value, encodeValue(outcome.value), noBody)
    case 'response': {
      const invalid = invalidResponse(outcome.status, outcome.headers)
      if (invalid !== undefined) throw new UnstorableOutcomeError(invalid)
      const omitted = outcome.body === 'omitted'
      const head = JSON.stringify({ s: outcome.status, h: outcome.headers, ...(omitted ? { o: 1 } : {}) })
      return envelope(kindOctets.response, head, outcome.body === 'omitted' ? noBody : outcome.body)
    }
    case 'error': {
      const { name, message, code } = outcome
      return envelope(
        kindOctets.error,
        JSON.stringify({ n: name, m: message.slice(0, messageCharactersMax), c: code }),
        noBody,
      )
    }
    case 'unstorable':
      return envelope(kindOctets.unstorable, JSON.stringify({ r: outcome.reason }), noBody)
    default:
      return outcome satisfies never
  }
}

/**
 * Reads an outcome back.
 *
 * @throws UnreadableOutcomeError when it is damaged, of a newer version, or breaks a rule of what it holds
 */
export function decodeOutcome(bytes: Uint8Array): Outcome {
  if (bytes.length < headAt) throw new UnreadableOutcomeError('it is cut off')
  if (bytes[0] !== version) throw new UnreadableOutcomeError('its version is not known to this release')
  const bodyAt = headAt + headBytesOf(bytes)
  if (bodyAt > bytes.length) throw new UnreadableOutcomeError('it is cut off')
  const kind = bytes[1]
  const head = readText(bytes.subarray(headAt, bodyAt))
  if (kind !== kindOctets.response && bodyAt < bytes.length)
    throw new UnreadableOutcomeError('it has extra octets')

  switch (kind) {
    case kindOctets.value:
      return { kind: 'value', value: decodeValue(head) }
    case kindOctets.json:
      return { kind: 'value', value: readJson(head) }
    case kindOctets.response:
      return readResponse(readObject(head), bytes.subarray(bodyAt))
    case kindOctets.error:
      return readError(readObject(head))
    case kindOctets.unstorable: {
      const { r } = readObject(head)
      if (typeof r !== 'string') throw new UnreadableOutcomeError('its marker is damaged')
      return { kind: 'unstorable', reason: r }
    }
    default:
      throw new UnreadableOutcomeError('its kind is not known to this release')
  }
}

/** The rule of HTTP that a status or a header breaks, or `undefined`. */
export function invalidResponse(status: number, headers: readonly HeaderLine[]): string | undefined {
  if (!Number.isInteger(status) || status < 200 || status > 599) return 'its status is not 200 to 599'
  for (const [name, value] of headers) {
    if (!fieldName.test(name)) return 'a header name is not a token (RFC 9110, section 5.1)'
    if (forbiddenInValue.test(value)) return 'a header value holds a forbidden octet (RFC 9110, section 5.5)'
  }
  return undefined
}

/** token of RFC 9110, section 5.6.2. */
const fieldName = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
/** Everything but TAB, visible ASCII, space and obs-text, which is what a field value may hold. */
const forbiddenInValue = /[^\t\x20-\x7e\x80-\xff]/

function envelope(kind: number, head: string, body: Uint8Array): Uint8Array {
  const octets = head.length > shortHeadCharacters ? textBytes(head) : undefined
  const headBytes = octets?.length ?? utf8Length(head)
  if (headBytes > headBytesMax && kind === kindOctets.response) {
    throw new UnstorableOutcomeError(`its headers are over ${headBytesMax} bytes`)
  }
  const bytes = roomFor(headAt + headBytes + body.length)
  bytes[0] = version
  bytes[1] = kind
  bytes[2] = headBytes >>> 24
  bytes[3] = headBytes >>> 16
  bytes[4] = headBytes >>> 8
  bytes[5] = headBytes
  if (octets === undefined) writeText(head, bytes, headAt)
  else bytes.set(octets, headAt)
  if (body.length > 0) bytes.set(body, headAt + headBytes)
  return bytes
}

/** 32 bits, big-endian; a DataView for them takes longer than all else of a short outcome. */
function headBytesOf(bytes: Uint8Array): number {
  const high = ((bytes[2] as number) << 8) | (bytes[3] as number)
  const low = ((bytes[4] as number) << 8) | (bytes[5] as number)
  return high * 0x10000 + low
}

function readText(octets: Uint8Array): string {
  try {
    return strictUtf8.decode(octets)
  } catch {
    throw new UnreadableOutcomeError('its head is not UTF-8')
  }
}

function readJson(head: string): unknown {
  try {
    return JSON.parse(head)
  } catch {
    throw new UnreadableOutcomeError('its head is not JSON')
  }
}

function readObject(head: string): Record<string, unknown> {
  const parsed = readJson(head)
  if (typeof parsed !== 'object' || parsed === null) throw new UnreadableOutcomeError('its head is no object')
  return parsed as Record<string, unknown>
}

function readResponse(head: Record<string, unknown>, body: Uint8Array): ResponseOutcome {
  const { s: status, h: headers, o: omitted } = head
  if (typeof status !== 'number' || !isHeaderLines(headers)) {
    throw new UnreadableOutcomeError('its response is damaged')
  }
  const invalid = invalidResponse(status, headers)
  if (invalid !== undefined) throw new UnreadableOutcomeError(invalid)
  return { kind: 'response', status, headers, body: omitted === 1 ? 'omitted' : body }
}

function isHeaderLines(value: unknown): value is HeaderLine[] {
  return (
    Array.isArray(value) &&
    value.every(
      (line) =>
        Array.isArray(line) &&
        line.length === 2 &&
        typeof line[0] === 'string' &&
        typeof line[1] === 'string',
    )
  )
}

function readError(head: Record<string, unknown>): ErrorOutcome {
  const { n: name, m: message, c: code } = head
  if (typeof name !== 'string' || typeof message !== 'string') {
    throw new UnreadableOutcomeError('its error is damaged')
  }
  return { kind: 'error', name, message, code: typeof code === 'string' ? code : undefined }
}
