/**
 * One text for all spellings of a JSON value, so that a retry which was serialised again compares equal.
 *
 * It reads the text itself and never builds the value: `JSON.parse` would merge integers beyond 2^53, `-0` and
 * `0`, repeated names and `1e400`. One pass, without recursion; where it cannot say that two texts mean the
 * same, it gives up and the caller compares octets.
 */

/** Where canonical form is given up, so that a hostile body costs no more than an honest one. */
export interface CanonicalJsonLimits {
  /** Arrays and objects inside each other. */
  readonly depthMax: number
  /** Values in the whole text. */
  readonly nodesMax: number
}

const defaultLimits: CanonicalJsonLimits = { depthMax: 64, nodesMax: 20_000 }

/**
 * The canonical text of a JSON text, or `undefined` where octets must be compared instead: invalid JSON, a byte
 * order mark, a repeated member name, an exponent of more than nine digits, or more depth or values than the
 * limits allow.
 *
 * Members are sorted, white space and escapes do not matter, numbers are equal when their decimal values are
 * equal (`1.0`, `1`, `10e-1`); `0` and `-0` differ, `null` is not absence, arrays keep their order, and Unicode
 * is not normalised.
 *
 * @example
 * canonicalJson('{ "b": 1.0, "a": "\\u0041" }') // '{"a":"A","b":1}'
 */
export function canonicalJson(text: string, limits: CanonicalJsonLimits = defaultLimits): string | undefined {
  const scanner = new Scanner(text)
  const open: Container[] = []
  let nodes = 0

  for (;;) {
    nodes += 1
    if (nodes > limits.nodesMax) return undefined
    const opening = scanner.opening()
    let done: string | undefined
    if (opening === undefined) {
      done = scanner.scalar()
    } else if (scanner.takes(opening === 'object' ? closeBrace : closeBracket)) {
      if (open.length >= limits.depthMax) return undefined
      done = opening === 'object' ? '{}' : '[]'
    } else {
      if (open.length >= limits.depthMax) return undefined
      const container = opening === 'object' ? new ObjectText() : new ArrayText()
      if (!container.begin(scanner)) return undefined
      open.push(container)
      continue
    }

    // The value is complete; so may be the containers that it ends.
    for (;;) {
      if (done === undefined) return undefined
      const container = open.at(-1)
      if (container === undefined) return scanner.atEnd() ? done : undefined
      container.add(done)
      if (scanner.takes(comma)) {
        if (!container.begin(scanner)) return undefined
        break
      }
      if (!scanner.takes(container.close)) return undefined
      done = container.text()
      open.pop()
    }
  }
}

const comma = 0x2c
const colon = 0x3a
const quote = 0x22
const backslash = 0x5c
const openBracket = 0x5b
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d
const minus = 0x2d

interface Container {
  readonly close: number
  /** Reads what stands before a value: a name in an object, nothing in an array. */
  begin(scanner: Scanner): boolean
  add(value: string): void
  /** The canonical text, or `undefined` when a name repeats. */
  text(): string | undefined
}

class ArrayText implements Container {
  readonly close = closeBracket
  #items = ''

  begin(): boolean {
    return true
  }

  add(value: string): void {
    this.#items = this.#items === '' ? value : `${this.#items},${value}`
  }

  text(): string {
    return `[${this.#items}]`
  }
}

class ObjectText implements Container {
  readonly close = closeBrace
  readonly #members: [name: string, value: string][] = []
  #name = ''
  #sorted = true

  begin(scanner: Scanner): boolean {
    const name = scanner.string()
    if (name === undefined || !scanner.takes(colon)) return false
    if (this.#members.length > 0 && name <= this.#name) this.#sorted = false
    this.#name = name
    return true
  }

  add(value: string): void {
    this.#members.push([this.#name, value])
  }

  text(): string | undefined {
    const members = this.#members
    if (!this.#sorted) members.sort(([left], [right]) => (left < right ? -1 : left === right ? 0 : 1))
    let text = '{'
    let previous: string | undefined
    for (const [name, value] of members) {
      if (name === previous) return undefined
      text += previous === undefined ? `${name}:${value}` : `,${name}:${value}`
      previous = name
    }
    return `${text}}`
  }
}

class Scanner {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  /** Skips white space and takes one character if it is the next. */
  takes(code: number): boolean {
    this.#skipSpace()
    if (this.#text.charCodeAt(this.#at) !== code) return false
    this.#at += 1
    return true
  }

  atEnd(): boolean {
    this.#skipSpace()
    return this.#at === this.#text.length
  }

  opening(): 'array' | 'object' | undefined {
    if (this.takes(openBrace)) return 'object'
    return this.takes(openBracket) ? 'array' : undefined
  }

  /** Reads a value without members, as canonical text. */
  scalar(): string | undefined {
    const text = this.#text
    const code = text.charCodeAt(this.#at)
    if (code === quote) return this.string()
    if (code === minus || isDigit(code)) return this.#number()
    for (const word of ['true', 'false', 'null']) {
      if (text.startsWith(word, this.#at)) {
        this.#at += word.length
        return word
      }
    }
    return undefined
  }

  /** Reads a string, as the canonical text of that string, quotes included. */
  string(): string | undefined {
    this.#skipSpace()
    const text = this.#text
    const start = this.#at
    if (text.charCodeAt(start) !== quote) return undefined
    let plain = true
    let at = start + 1
    for (;;) {
      const code = text.charCodeAt(at)
      if (code === quote) break
      // The end of the text reads as NaN, which is no character.
      if (!(code >= 0x20)) return undefined
      if (code === backslash) {
        plain = false
        at += 1
      } else if (code >= 0xd800 && code <= 0xdfff) plain = false
      at += 1
    }
    this.#at = at + 1
    const lexeme = text.slice(start, at + 1)
    return plain ? lexeme : respelled(lexeme)
  }

  #number(): string | undefined {
    numberLexeme.lastIndex = this.#at
    const [lexeme, sign = '', whole = '', fraction = '', exponent = ''] = numberLexeme.exec(this.#text) ?? []
    if (lexeme === undefined) return undefined
    this.#at += lexeme.length
    return canonicalNumber(sign, whole, fraction, exponent)
  }

  #skipSpace(): void {
    const text = this.#text
    for (;;) {
      const code = text.charCodeAt(this.#at)
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return
      this.#at += 1
    }
  }
}

const numberLexeme = /(-?)(0|[1-9]\d*)(?:\.(\d+))?(?:[eE]([+-]?\d+))?/y
const exponentDigitsMax = 9

/** Digits without zeros at either end, and the power of ten where it is not 0: `-2500.0` is `-25e2`. */
function canonicalNumber(
  sign: string,
  whole: string,
  fraction: string,
  exponent: string,
): string | undefined {
  if (fraction === '' && exponent === '' && !whole.endsWith('0')) return sign + whole
  const power = exponent === '' ? 0 : boundedExponent(exponent)
  if (power === undefined) return undefined
  const digits = whole + fraction
  const start = skipZeros(digits)
  if (start === digits.length) return `${sign}0`
  let end = digits.length
  while (digits.charCodeAt(end - 1) === zero) end -= 1
  const places = power - fraction.length + (digits.length - end)
  const significant = sign + digits.slice(start, end)
  return places === 0 ? significant : `${significant}e${places}`
}

const zero = 0x30

function boundedExponent(exponent: string): number | undefined {
  const digits = /\d/.test(exponent[0] as string) ? exponent : exponent.slice(1)
  const significant = digits.slice(skipZeros(digits))
  if (significant.length > exponentDigitsMax) return undefined
  return exponent.startsWith('-') ? -Number(significant) : Number(significant)
}

function skipZeros(digits: string): number {
  let at = 0
  while (digits.charCodeAt(at) === zero) at += 1
  return at
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39
}

/** One spelling for a string with escapes: `JSON.stringify` escapes lone surrogates and keeps pairs. */
function respelled(lexeme: string): string | undefined {
  try {
    return JSON.stringify(JSON.parse(lexeme))
  } catch {
    return undefined
  }
}
