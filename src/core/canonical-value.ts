/**
 * One text for all equal values that a program passes as input. Types stay apart (`1`, `'1'`, `1n`), every piece of
 * varying length follows its length, so that different values give different texts.
 */
import { toBase64Url } from './bytes.ts'

/** Where the value holds something that cannot be compared, as a path such as `$.items[3].price`. */
export interface UnsupportedValue {
  readonly unsupported: string
}

const depthMax = 64
const nodesMax = 1_000_000
const pathNameCharactersMax = 40

/**
 * The canonical text of a value.
 *
 * Compared: null, undefined, booleans, numbers (NaN, the infinities and -0 are values of their own), bigints,
 * strings (no Unicode normalisation), dates, `Uint8Array` and `ArrayBuffer`, arrays (in order), maps, sets and
 * plain objects (in any order). A member that is undefined counts as absent, as in JSON; members named by
 * symbols are not looked at. An object of another class is compared by what its `toJSON` returns.
 *
 * Unsupported: functions, symbols, instances of classes without `toJSON`, cycles and depth over 64, and more
 * than a million values. Getters and `toJSON` are the caller's code: what they throw is thrown on.
 *
 * @example
 * canonicalValue({ b: 1, a: [2] }) // the text of canonicalValue({ a: [2], b: 1 })
 */
export function canonicalValue(value: unknown): string | UnsupportedValue {
  const written = new Writer().value(value, 0)
  return typeof written === 'string' ? written : { unsupported: `$${written.reverse().join('')}` }
}

/** Steps from the unsupported value up to the root. */
type Unsupported = string[]

class Writer {
  #nodes = 0

  value(value: unknown, depth: number): string | Unsupported {
    this.#nodes += 1
    if (depth > depthMax || this.#nodes > nodesMax) return []
    switch (typeof value) {
      case 'undefined':
        return 'u'
      case 'boolean':
        return value ? 't' : 'f'
      case 'number':
        return Object.is(value, -0) ? 'd-0;' : `d${value};`
      case 'bigint':
        return `i${value};`
      case 'string':
        return lengthFirst('s', value)
      case 'object':
        return value === null ? 'n' : this.#object(value, depth)
      default:
        return []
    }
  }

  #object(value: object, depth: number): string | Unsupported {
    if (Array.isArray(value)) return this.#list('a', value, depth)
    if (value instanceof Uint8Array) return lengthFirst('b', toBase64Url(value))
    if (value instanceof ArrayBuffer) return lengthFirst('b', toBase64Url(new Uint8Array(value)))
    if (value instanceof Date) return `D${value.getTime()};`
    if (value instanceof Map) return this.#map(value, depth)
    if (value instanceof Set) return this.#set(value, depth)
    if ('toJSON' in value && typeof value.toJSON === 'function') {
      const json: unknown = value.toJSON('')
      return json === value ? this.#members(value, depth) : this.value(json, depth + 1)
    }
    return isPlain(value) ? this.#members(value, depth) : []
  }

  #list(type: string, items: readonly unknown[], depth: number): string | Unsupported {
    let text = `${type}${items.length}:`
    for (let index = 0; index < items.length; index += 1) {
      const item = this.value(items[index], depth + 1)
      if (typeof item !== 'string') return within(item, `[${index}]`)
      text += item
    }
    return text
  }

  #members(value: object, depth: number): string | Unsupported {
    const names = Object.keys(value).sort()
    let text = ''
    let count = 0
    for (const name of names) {
      const member = (value as Record<string, unknown>)[name]
      if (member === undefined) continue
      const written = this.value(member, depth + 1)
      if (typeof written !== 'string') return within(written, nameStep(name))
      text += lengthFirst('', name) + written
      count += 1
    }
    return `o${count}:${text}`
  }

  #set(items: ReadonlySet<unknown>, depth: number): string | Unsupported {
    const texts: string[] = []
    for (const item of items) {
      const text = this.value(item, depth + 1)
      if (typeof text !== 'string') return within(text, `[${texts.length}]`)
      texts.push(text)
    }
    return `S${texts.length}:${texts.sort().join('')}`
  }

  #map(entries: ReadonlyMap<unknown, unknown>, depth: number): string | Unsupported {
    const texts: string[] = []
    for (const [key, value] of entries) {
      const keyText = this.value(key, depth + 1)
      const valueText = typeof keyText === 'string' ? this.value(value, depth + 1) : keyText
      if (typeof keyText !== 'string' || typeof valueText !== 'string') {
        return within(valueText as Unsupported, `[${texts.length}]`)
      }
      texts.push(keyText + valueText)
    }
    return `M${texts.length}:${texts.sort().join('')}`
  }
}

function lengthFirst(type: string, text: string): string {
  return `${type}${text.length}:${text}`
}

/** Also true for plain objects of another realm, whose `Object.prototype` is not ours. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function within(unsupported: Unsupported, step: string): Unsupported {
  unsupported.push(step)
  return unsupported
}

function nameStep(name: string): string {
  const shown = name.length > pathNameCharactersMax ? `${name.slice(0, pathNameCharactersMax)}..` : name
  return /^[A-Za-z_$][A-Za-z0-9_$]*$/.test(shown) ? `.${shown}` : `[${JSON.stringify(shown)}]`
}
