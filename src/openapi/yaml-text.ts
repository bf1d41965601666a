/** JSON values as YAML 1.2 text, for places where no YAML library may be loaded or may rewrite a file. */
import { isObject } from './json.ts'

const usualStep = '  '

/**
 * A whole document in block style. Strings are written plain only where no reader can take them for anything else;
 * strings of several lines become literal blocks, and all others are quoted as in JSON, which YAML reads alike.
 */
export function yamlText(value: unknown): string {
  return `${yamlAfterColon(value, '').trimStart()}\n`
}

/**
 * A value as it follows `key:` or `-`: on the same line, or on lines of its own.
 *
 * @param margin what those lines begin with
 * @param step what each level adds to it
 */
export function yamlAfterColon(value: unknown, margin: string, step: string = usualStep): string {
  const line = `\n${margin}`
  if (Array.isArray(value) && value.length > 0) {
    return value.map((item) => `${line}-${afterDash(item, margin, step)}`).join('')
  }
  if (isObject(value)) {
    const members = Object.entries(value).filter(([, member]) => isWritten(member))
    if (members.length > 0) {
      return members
        .map(([name, member]) => `${line}${yamlKey(name)}:${yamlAfterColon(member, margin + step, step)}`)
        .join('')
    }
  }
  if (typeof value === 'string' && isLiteral(value)) {
    // Below a document's own margin a literal is indented too.
    const inner = margin === '' ? step : margin
    return ` |-${value
      .split('\n')
      .map((one) => (one === '' ? '\n' : `\n${inner}${one}`))
      .join('')}`
  }
  return ` ${flat(value)}`
}

/** The first member of an item stands on the line of its dash, which is two characters wide. */
function afterDash(item: unknown, margin: string, step: string): string {
  const inner = `${margin}  `
  const isNested = (Array.isArray(item) && item.length > 0) || isObject(item)
  const text = yamlAfterColon(item, inner, step)
  return isNested ? text.replace(/^\n\s*/, ' ') : text
}

/** A name of a member. */
export function yamlKey(name: string): string {
  return scalar(name)
}

function isWritten(value: unknown): boolean {
  return value !== undefined && typeof value !== 'function' && typeof value !== 'symbol'
}

function flat(value: unknown): string {
  if (typeof value === 'string') return scalar(value)
  if (Array.isArray(value)) return '[]'
  if (isObject(value)) return '{}'
  return isWritten(value) ? (JSON.stringify(value) ?? 'null') : 'null'
}

/** Several lines that can be read in one way only: printable, none empty at an end, none with outer blanks. */
function isLiteral(value: string): boolean {
  const isPrintable = /^[\n -~\u00a1-\u2027\u2030-\ud7ff]*$/.test(value)
  return value.includes('\n') && isPrintable && !/^[\s]|[\s]$|\n | \n/.test(value)
}

/** Words that begin with a letter, have nothing of YAML's own in them, and are no constant of any YAML version. */
const plain = /^(?!(?:null|true|false|yes|no|on|off|y|n|nan|inf)$)\$?[A-Za-z][\w./+-]*(?: [\w./()-]+)*$/i

function scalar(value: string): string {
  if (plain.test(value)) return value
  // What JSON leaves as it is, and YAML does not allow or takes for the end of a line.
  return JSON.stringify(value).replaceAll(/[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g, escaped)
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}
