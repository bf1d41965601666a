/**
 * What is an idempotency key and what is malformed. Every reader here is one pass over its input.
 *
 * The rules are sentences for people. None holds the key, which may be a secret.
 */

/**
 * How the HTTP field is read, always after optional white space around it is taken away.
 *
 * - `lenient` (default): a structured-field string (RFC 9651, section 3.3.3; its parameters are ignored), or bare
 *   visible ASCII without `"`, `,` and `;`. `"k1"` and `k1` are one key. What is a structured field of another
 *   type (`:aGk=:`, `?1`, `@1700000000`, `(a b)`) is malformed; integers and tokens are bare keys.
 * - `strict`: a structured-field string and nothing else, as the draft on the Idempotency-Key field demands.
 * - `raw`: the field value as it stands, visible ASCII and inner spaces; quotes and escapes are part of the key.
 *   A comma before a space is malformed, because two field lines joined into one look like that.
 */
export type KeySyntax = 'lenient' | 'strict' | 'raw'

export type ParsedKey =
  | { readonly kind: 'key'; readonly key: string }
  | { readonly kind: 'malformed'; readonly rule: string }

/** Characters of the key itself, after decoding; both ends count. */
export interface KeyLimits {
  readonly lengthMin: number
  readonly lengthMax: number
}

const quote = 0x22
const backslash = 0x5c

/**
 * Reads the value of an Idempotency-Key field.
 *
 * @example
 * parseKeyField('"8e03978e"', 'lenient', { lengthMin: 1, lengthMax: 255 }) // { kind: 'key', key: '8e03978e' }
 */
export function parseKeyField(value: string, syntax: KeySyntax, limits: KeyLimits): ParsedKey {
  const text = trimOptionalSpace(value)
  if (text === '') return malformed('It is empty.')
  if (!isPrintableAscii(text)) return malformed('It holds an octet outside visible ASCII.')
  switch (syntax) {
    case 'lenient':
      return text.charCodeAt(0) === quote ? parseString(text, limits) : parseBare(text, limits)
    case 'strict':
      return text.charCodeAt(0) === quote ? parseString(text, limits) : malformed(notQuoted)
    case 'raw':
      return text.includes(', ') ? malformed(severalValues) : withinLimits(text, limits)
    default:
      return syntax satisfies never
  }
}

/**
 * Reads the field lines of one request. A request that names two keys names none: more than one line is
 * malformed, even when they are equal. A missing field is the caller's to tell apart.
 *
 * @example
 * parseKeyLines(request.headersDistinct['idempotency-key'] ?? [], 'lenient', limits)
 */
export function parseKeyLines(lines: readonly string[], syntax: KeySyntax, limits: KeyLimits): ParsedKey {
  const [line] = lines
  if (line === undefined) return malformed('There is no such field.')
  return lines.length === 1 ? parseKeyField(line, syntax, limits) : malformed(severalValues)
}

/**
 * Checks a key that a program passes. Any well-formed text may be a key; nothing is trimmed, folded or
 * normalised, and nothing else is turned into a string. Length is counted in UTF-16 code units.
 *
 * @example
 * checkKey(message.id, { lengthMin: 1, lengthMax: 255 })
 */
export function checkKey(key: unknown, limits: KeyLimits): ParsedKey {
  if (typeof key !== 'string') return malformed('It is not a string.')
  if (key === '') return malformed('It is empty.')
  const checked = withinLimits(key, limits)
  if (checked.kind === 'key' && !key.isWellFormed()) return malformed('It is not well-formed Unicode.')
  return checked
}

const notQuoted = 'It is not a quoted string (RFC 9651, section 3.3.3).'
const severalValues = 'There is more than one value.'

function malformed(rule: string): ParsedKey {
  return { kind: 'malformed', rule }
}

function withinLimits(key: string, limits: KeyLimits): ParsedKey {
  if (key.length > limits.lengthMax) return malformed(`It is longer than ${limits.lengthMax} characters.`)
  if (key.trim() === '') return malformed('It is blank.')
  if (key.length < limits.lengthMin) return malformed(`It is shorter than ${limits.lengthMin} characters.`)
  return { kind: 'key', key }
}

/** Space and tab (RFC 9110, section 5.6.3), by index: a pattern anchored at the end is not linear. */
function trimOptionalSpace(value: string): string {
  let start = 0
  let end = value.length
  while (start < end && isOptionalSpace(value.charCodeAt(start))) start += 1
  while (end > start && isOptionalSpace(value.charCodeAt(end - 1))) end -= 1
  return value.slice(start, end)
}

function isOptionalSpace(code: number): boolean {
  return code === 0x20 || code === 0x09
}

function isPrintableAscii(text: string): boolean {
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code < 0x20 || code > 0x7e) return false
  }
  return true
}

const otherFieldTypes = /^(?::[A-Za-z0-9+/=]*:|\?[01]|@-?\d{1,15}|\(.*\))$/

function parseBare(text: string, limits: KeyLimits): ParsedKey {
  for (let at = 0; at < text.length; at += 1) {
    switch (text[at]) {
      case ',':
        return malformed('It holds a comma outside a quoted string.')
      case '"':
      case ';':
        return malformed('It holds a quote or a semicolon outside a quoted string.')
      case ' ':
        return malformed('It holds a space outside a quoted string.')
      default:
    }
  }
  if (otherFieldTypes.test(text)) return malformed('It is a structured field of another type than string.')
  return withinLimits(text, limits)
}

function parseString(text: string, limits: KeyLimits): ParsedKey {
  const end = endOfString(text, 0)
  if (end === undefined) return malformed('Its quoted string has a bad escape or no end.')
  if (endOfParameters(text, end) !== text.length) return malformed('It goes on after its quoted string.')
  const quoted = text.slice(1, end - 1)
  return withinLimits(quoted.includes('\\') ? quoted.replace(/\\(.)/g, '$1') : quoted, limits)
}

/** Where the string that opens at `start` ends, or `undefined`. */
function endOfString(text: string, start: number): number | undefined {
  for (let at = start + 1; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code === quote) return at + 1
    if (code !== backslash) continue
    at += 1
    const escaped = text.charCodeAt(at)
    if (escaped !== quote && escaped !== backslash) return undefined
  }
  return undefined
}

const parameterName = /[a-z*][a-z0-9_\-.*]*/y
const number = /-?(?:\d{1,12}\.\d{1,3}|\d{1,15})/y
const token = /[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*/y
const octets = /:[A-Za-z0-9+/=]*:/y
const boolean = /\?[01]/y
const date = /@-?\d{1,15}/y
const displayString = /%"(?:[^"%]|%[0-9a-f]{2})*"/y

/** Where the parameters from `start` on end (RFC 9651, section 3.1.2). They are read only to be passed over. */
function endOfParameters(text: string, start: number): number | undefined {
  let at: number | undefined = start
  while (text[at] === ';') {
    at += 1
    while (text[at] === ' ') at += 1
    at = endOfMatch(parameterName, text, at)
    if (at === undefined) return undefined
    if (text[at] === '=') at = endOfBareItem(text, at + 1)
    if (at === undefined) return undefined
  }
  return at
}

function endOfBareItem(text: string, at: number): number | undefined {
  switch (text[at]) {
    case '"':
      return endOfString(text, at)
    case ':':
      return endOfMatch(octets, text, at)
    case '?':
      return endOfMatch(boolean, text, at)
    case '@':
      return endOfMatch(date, text, at)
    case '%':
      return endOfMatch(displayString, text, at)
    default:
      return endOfMatch(number, text, at) ?? endOfMatch(token, text, at)
  }
}

function endOfMatch(pattern: RegExp, text: string, at: number): number | undefined {
  pattern.lastIndex = at
  return pattern.test(text) ? pattern.lastIndex : undefined
}
