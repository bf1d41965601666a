/** A document as YAML, for places where no YAML library may be loaded. */
import { isObject } from './json.ts'

/**
 * JSON values as YAML 1.2 in block style. Strings are written plain only where no reader can take them for anything
 * else; all others are quoted as in JSON, which YAML reads alike.
 */
export function yamlText(value: unknown): string {
  return `${block(value, 0).trimStart()}\n`
}

/** A value that follows `key:` or `-`: on the same line, or on lines of its own with this indent. */
function block(value: unknown, indent: number): string {
  const margin = `\n${'  '.repeat(indent)}`
  if (Array.isArray(value) && value.length > 0) {
    return value.map((item) => `${margin}-${nested(item, indent)}`).join('')
  }
  if (isObject(value)) {
    const members = Object.entries(value).filter(([, member]) => isWritten(member))
    if (members.length > 0) {
      return members.map(([name, member]) => `${margin}${text(name)}:${block(member, indent + 1)}`).join('')
    }
  }
  return ` ${flat(value)}`
}

/** An item of a list: its first member stands on the line of its dash. */
function nested(item: unknown, indent: number): string {
  return block(item, indent + 1).replace(/^\n\s*/, ' ')
}

function isWritten(value: unknown): boolean {
  return value !== undefined && typeof value !== 'function' && typeof value !== 'symbol'
}

function flat(value: unknown): string {
  if (typeof value === 'string') return text(value)
  if (Array.isArray(value)) return '[]'
  if (isObject(value)) return '{}'
  return isWritten(value) ? (JSON.stringify(value) ?? 'null') : 'null'
}

/** Words that begin with a letter, have nothing of YAML's own in them, and are no constant of any YAML version. */
const plain = /^(?!(?:null|true|false|yes|no|on|off|y|n|nan|inf)$)[A-Za-z][\w./-]*(?: [\w./()-]+)*$/i

function text(value: string): string {
  // What JSON leaves as it is, and YAML takes for the end of a line.
  return plain.test(value)
    ? value
    : JSON.stringify(value).replaceAll(/[\u007f-\u009f\u2028\u2029\ufeff]/g, escaped)
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}
