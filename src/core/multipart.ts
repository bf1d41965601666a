/**
 * The parts of a `multipart/form-data` body (RFC 7578), so that a retry under a new boundary compares equal.
 *
 * Only what every parser reads alike is taken apart. Whatever is unusual (a preamble, a folded or repeated part
 * header, a part without a name, a transfer encoding) is `undefined`, and the caller compares octets.
 */
import { parseFieldWithParameters, parseMediaType } from './media-type.ts'

export interface MultipartPart {
  /** As it stands between the quotes, escapes included. */
  readonly name: string
  /** `undefined` for a plain field; a file without a name has `''`. */
  readonly filename: string | undefined
  /** The part's Content-Type as sent, `''` where it has none. */
  readonly type: string
  readonly content: Uint8Array
}

const partsMax = 10_000
const partHeadBytesMax = 8 * 1024
const boundaryPattern = /^[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]$/
const carriageReturn = 0x0d
const lineFeed = 0x0a
const dash = 0x2d
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * The boundary of a `multipart/form-data` Content-Type, or `undefined` for any other value.
 *
 * @example
 * boundaryOf('multipart/form-data; boundary=x7') // 'x7'
 */
export function boundaryOf(contentType: string): string | undefined {
  const mediaType = parseMediaType(contentType)
  if (mediaType?.essence !== 'multipart/form-data') return undefined
  const boundary = mediaType.parameters.get('boundary')
  return boundary !== undefined && boundaryPattern.test(boundary) ? boundary : undefined
}

/**
 * Takes a body apart at its boundary, in linear time. `undefined` where it is not well formed in the narrow
 * sense above, or has more than 10,000 parts.
 *
 * @example
 * multipartParts(body, boundary)?.map((part) => part.name)
 */
export function multipartParts(body: Uint8Array, boundary: string): readonly MultipartPart[] | undefined {
  const delimiter = Uint8Array.from(`\r\n--${boundary}`, (character) => character.charCodeAt(0))
  // The first delimiter stands at the start of the body, without the line end that belongs to it.
  if (!matchesAt(body, 0, delimiter.subarray(2))) return undefined
  const parts: MultipartPart[] = []
  let at = delimiter.length - 2
  while (!isEnd(body, at)) {
    const start = endOfLine(body, at)
    if (start === undefined || parts.length === partsMax) return undefined
    const end = find(body, delimiter, start)
    if (end === undefined) return undefined
    const part = readPart(body.subarray(start, end))
    if (part === undefined) return undefined
    parts.push(part)
    at = end + delimiter.length
  }
  return parts
}

/** The closing delimiter's two dashes, and nothing but a line end after them. */
function isEnd(body: Uint8Array, at: number): boolean {
  if (body[at] !== dash || body[at + 1] !== dash) return false
  const rest = body.length - at - 2
  return rest === 0 || (rest === 2 && body[at + 2] === carriageReturn && body[at + 3] === lineFeed)
}

function endOfLine(body: Uint8Array, at: number): number | undefined {
  return body[at] === carriageReturn && body[at + 1] === lineFeed ? at + 2 : undefined
}

/**
 * Linear: a boundary holds no carriage return, so that comparisons that start at different ones never look at
 * the same octets.
 */
function find(body: Uint8Array, delimiter: Uint8Array, from: number): number | undefined {
  let at = body.indexOf(carriageReturn, from)
  while (at !== -1) {
    if (matchesAt(body, at, delimiter)) return at
    at = body.indexOf(carriageReturn, at + 1)
  }
  return undefined
}

function matchesAt(body: Uint8Array, at: number, octets: Uint8Array): boolean {
  if (at + octets.length > body.length) return false
  for (let index = 0; index < octets.length; index += 1) {
    if (body[at + index] !== octets[index]) return false
  }
  return true
}

const emptyLine = Uint8Array.of(carriageReturn, lineFeed, carriageReturn, lineFeed)

function readPart(part: Uint8Array): MultipartPart | undefined {
  const headEnd = find(part.subarray(0, partHeadBytesMax), emptyLine, 0)
  if (headEnd === undefined) return undefined
  const fields = readPartHead(part.subarray(0, headEnd))
  if (fields === undefined || fields.has('content-transfer-encoding')) return undefined
  const disposition = readDisposition(fields.get('content-disposition') ?? '')
  if (disposition === undefined) return undefined
  return {
    ...disposition,
    type: fields.get('content-type') ?? '',
    content: part.subarray(headEnd + emptyLine.length),
  }
}

function readPartHead(head: Uint8Array): Map<string, string> | undefined {
  let text: string
  try {
    text = utf8.decode(head)
  } catch {
    return undefined
  }
  const fields = new Map<string, string>()
  for (const line of text.split('\r\n')) {
    const separator = line.indexOf(':')
    const name = line.slice(0, Math.max(separator, 0)).toLowerCase()
    // A folded line starts with white space, which no name holds.
    if (!/^[a-z0-9-]+$/.test(name) || fields.has(name) || /[\r\n\0]/.test(line)) return undefined
    fields.set(name, line.slice(separator + 1).trim())
  }
  return fields
}

function readDisposition(value: string): { name: string; filename: string | undefined } | undefined {
  const field = parseFieldWithParameters(value)
  if (field?.head.toLowerCase() !== 'form-data') return undefined
  const parameters = new Map(field.parameters)
  if (parameters.size !== field.parameters.length) return undefined
  const name = parameters.get('name')
  const filename = parameters.get('filename')
  const known = (name === undefined ? 0 : 1) + (filename === undefined ? 0 : 1)
  return name === undefined || known !== parameters.size ? undefined : { name, filename }
}
