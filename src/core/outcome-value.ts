/**
 * Values as text, so that the replayed value equals the first one: JSON, and for what JSON cannot carry a
 * one-member object `{"$retrysafe": [type, ..]}`. A value that already has that member name is wrapped, so data can never
 * pass for a tag. Values with a prototype of their own are refused: they would come back as something else.
 */
import { UnreadableOutcomeError, UnstorableOutcomeError } from './errors.ts'
import { fromBase64Url, toBase64Url } from './bytes.ts'

const tag = '$retrysafe'
const depthMax = 200

/**
 * Writes a value as text.
 *
 * @throws UnstorableOutcomeError for functions, symbols, cycles, class instances and depth over 200
 */
export function encodeValue(value: unknown): string {
  return JSON.stringify(toJson(value, 0))
}

/** @throws UnreadableOutcomeError when the text is not one that `encodeValue` writes */
export function decodeValue(text: string): unknown {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    throw new UnreadableOutcomeError('its value is not JSON')
  }
  return fromJson(parsed, 0)
}

function toJson(value: unknown, depth: number): unknown {
  if (depth > depthMax)
    throw new UnstorableOutcomeError(`it is nested deeper than ${depthMax}, or holds itself`)
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value
    case 'number':
      return Number.isFinite(value) && !Object.is(value, -0) ? value : tagged('number', numberText(value))
    case 'undefined':
      return tagged('undefined')
    case 'bigint':
      return tagged('bigint', value.toString())
    case 'object':
      return objectToJson(value, depth)
    default:
      throw new UnstorableOutcomeError(`it holds a ${typeof value}`)
  }
}

function objectToJson(value: object | null, depth: number): unknown {
  if (value === null) return null
  if (Array.isArray(value)) return Array.from(value, (item) => toJson(item, depth + 1))
  if (value instanceof Date) return tagged('date', Number.isNaN(value.getTime()) ? null : value.getTime())
  if (value instanceof Uint8Array) return tagged('bytes', toBase64Url(value))
  if (value instanceof Map) {
    return tagged(
      'map',
      Array.from(value, ([key, item]) => [toJson(key, depth + 1), toJson(item, depth + 1)]),
    )
  }
  if (value instanceof Set)
    return tagged(
      'set',
      Array.from(value, (item) => toJson(item, depth + 1)),
    )

  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) {
    throw new UnstorableOutcomeError(`it holds an instance of ${prototypeName(prototype)}`)
  }
  const copy = new Members()
  for (const name of Object.keys(value)) {
    copy[name] = toJson((value as Record<string, unknown>)[name], depth + 1)
  }
  return tag in copy ? tagged('object', copy) : copy
}

/**
 * An object that inherits nothing, so that every name is a member of its own and no `toJSON` is found. One made by
 * `Object.create(null)` would be a hash table, which takes several times as long to fill and to write.
 */
const Members = function () {} as unknown as new () => Record<string, unknown>
Members.prototype = Object.create(null)

function tagged(type: string, content?: unknown): Record<string, unknown> {
  return { [tag]: content === undefined ? [type] : [type, content] }
}

/** Puts values in the place of tags, inside what JSON.parse just made: nobody else has seen that. */
function fromJson(json: unknown, depth: number): unknown {
  if (typeof json !== 'object' || json === null) return json
  if (depth > 2 * depthMax) throw new UnreadableOutcomeError('its value is nested too deep')
  if (Array.isArray(json)) {
    for (let at = 0; at < json.length; at++) json[at] = fromJson(json[at], depth + 1)
    return json
  }
  const members = json as Record<string, unknown>
  if (Object.hasOwn(members, tag)) return untag(members[tag], depth)
  return membersFromJson(members, depth)
}

function membersFromJson(members: Record<string, unknown>, depth: number): Record<string, unknown> {
  // All of them are own members, so that this also sets the one that is named __proto__.
  for (const name of Object.keys(members)) {
    const member = members[name]
    if (typeof member === 'object') members[name] = fromJson(member, depth + 1)
  }
  return members
}

function untag(content: unknown, depth: number): unknown {
  if (!Array.isArray(content)) throw new UnreadableOutcomeError('a tagged value is damaged')
  const [type, data] = content as [unknown, unknown]
  if (type === 'undefined') return undefined
  if (type === 'date') return new Date(typeof data === 'number' ? data : Number.NaN)
  if (type === 'number' && typeof data === 'string') return Number(data)
  if (type === 'bigint' && typeof data === 'string' && /^-?\d+$/.test(data)) return BigInt(data)
  if (type === 'bytes' && typeof data === 'string') return fromBase64Url(data)
  if (type === 'object' && typeof data === 'object' && data !== null) {
    return membersFromJson(data as Record<string, unknown>, depth + 1)
  }
  if (type === 'set' && Array.isArray(data)) return new Set(data.map((item) => fromJson(item, depth + 1)))
  if (type === 'map' && Array.isArray(data)) {
    return new Map(
      data.map((pair: unknown) => {
        if (!Array.isArray(pair)) throw new UnreadableOutcomeError('a tagged value is damaged')
        return [fromJson(pair[0], depth + 1), fromJson(pair[1], depth + 1)]
      }),
    )
  }
  throw new UnreadableOutcomeError('a tagged value is of an unknown type')
}

function numberText(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value)
}

function prototypeName(prototype: unknown): string {
  const { constructor } = prototype as { constructor?: { name?: unknown } }
  return typeof constructor?.name === 'string' ? constructor.name : 'a class'
}
