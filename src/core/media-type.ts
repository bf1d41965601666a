/** Media types and the parameters behind them (RFC 9110, sections 5.6.6 and 8.3.1). */

export interface MediaType {
  /** `type/subtype` in lower case. */
  readonly essence: string
  /** By lower-case name. Values are unquoted, and `charset` is in lower case. */
  readonly parameters: ReadonlyMap<string, string>
}

/** Text with parameters, as in `form-data; name="a"`. */
export interface FieldWithParameters {
  /** What stands before the first semicolon. */
  readonly head: string
  readonly parameters: readonly (readonly [name: string, value: string])[]
}

const parametersMax = 32
const essencePattern = /^[!#$%&'*+\-.^_`|~0-9a-z]+\/[!#$%&'*+\-.^_`|~0-9a-z]+$/
const token = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y
const optionalSpace = /[ \t]*/y

/**
 * Reads the value of a Content-Type field, or `undefined` where it is none: bad syntax or a repeated parameter.
 *
 * @example
 * parseMediaType('Application/JSON; Charset="UTF-8"')?.essence // 'application/json'
 */
export function parseMediaType(text: string): MediaType | undefined {
  const field = parseFieldWithParameters(text)
  if (field === undefined) return undefined
  const essence = field.head.toLowerCase()
  if (!essencePattern.test(essence)) return undefined
  const parameters = new Map<string, string>()
  for (const [name, quoted] of field.parameters) {
    if (parameters.has(name)) return undefined
    const value = quoted.replace(/\\(.)/gs, '$1')
    parameters.set(name, name === 'charset' ? normalCharset(value) : value)
  }
  return { essence, parameters }
}

/** One spelling of a media type: lower case, parameters sorted, every value quoted. */
export function mediaTypeText(mediaType: MediaType): string {
  if (mediaType.parameters.size === 0) return mediaType.essence
  const parameters = Array.from(mediaType.parameters, ([name, value]) => `;${name}=${JSON.stringify(value)}`)
  return mediaType.essence + parameters.sort().join('')
}

/** `application/json` and every type with the suffix `+json` (RFC 6839). */
export function isJson(mediaType: MediaType): boolean {
  return mediaType.essence === 'application/json' || mediaType.essence.endsWith('+json')
}

/** Whether the text is UTF-8 as far as the media type says. */
export function isUtf8(mediaType: MediaType): boolean {
  return (mediaType.parameters.get('charset') ?? 'utf-8') === 'utf-8'
}

function normalCharset(charset: string): string {
  const lower = charset.toLowerCase()
  return lower === 'utf8' ? 'utf-8' : lower
}

/**
 * Splits a field at its semicolons. Names come in lower case; quoted values come without their quotes but with
 * their escapes, so that different spellings stay different. `undefined` where the syntax is broken.
 */
export function parseFieldWithParameters(text: string): FieldWithParameters | undefined {
  const firstSemicolon = text.indexOf(';')
  const headEnd = firstSemicolon === -1 ? text.length : firstSemicolon
  const parameters: [name: string, value: string][] = []
  let at = headEnd
  while (at < text.length) {
    if (text[at] !== ';' || parameters.length === parametersMax) return undefined
    at = endOf(optionalSpace, text, at + 1)
    const nameEnd = endOf(token, text, at)
    // RFC 9110 lets a list of parameters end with a semicolon or have empty places.
    if (nameEnd === at && (at === text.length || text[at] === ';')) continue
    if (nameEnd === at || text[nameEnd] !== '=') return undefined
    const name = text.slice(at, nameEnd).toLowerCase()
    const quoted = text[nameEnd + 1] === '"'
    const valueEnd = quoted ? endOfQuoted(text, nameEnd + 1) : endOf(token, text, nameEnd + 1)
    if (valueEnd === undefined || valueEnd === nameEnd + 1) return undefined
    parameters.push([
      name,
      quoted ? text.slice(nameEnd + 2, valueEnd - 1) : text.slice(nameEnd + 1, valueEnd),
    ])
    at = endOf(optionalSpace, text, valueEnd)
  }
  return { head: text.slice(0, headEnd).trim(), parameters }
}

function endOfQuoted(text: string, start: number): number | undefined {
  for (let at = start + 1; at < text.length; at += 1) {
    if (text[at] === '"') return at + 1
    if (text[at] === '\\') at += 1
  }
  return undefined
}

function endOf(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at
  return pattern.test(text) ? pattern.lastIndex : at
}
