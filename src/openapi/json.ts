/** OpenAPI documents as what they are: plain JSON, read with care and never changed in place. */

/** An object of a document. */
export type JsonObject = Readonly<Record<string, unknown>>

/** Whether a value is an object with members, and no list. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** An own member that is an object, an empty object where there is none. */
export function objectAt(parent: JsonObject, name: string): JsonObject {
  const value = Object.hasOwn(parent, name) ? parent[name] : undefined
  return isObject(value) ? value : {}
}

/** An own member that is a list, an empty list where there is none. */
export function listAt(parent: JsonObject, name: string): readonly unknown[] {
  const value = Object.hasOwn(parent, name) ? parent[name] : undefined
  return Array.isArray(value) ? (value as readonly unknown[]) : []
}

/** The object with one member set; the same object where nothing changes. */
export function withMember(parent: JsonObject, name: string, value: unknown): JsonObject {
  if (Object.hasOwn(parent, name) && parent[name] === value) return parent
  // A name such as `__proto__` in a document is a name like any other.
  const made: Record<string, unknown> = { ...parent }
  Object.defineProperty(made, name, { value, enumerable: true, configurable: true, writable: true })
  return made
}

/** The object without one member. */
export function withoutMember(parent: JsonObject, name: string): JsonObject {
  return Object.fromEntries(Object.entries(parent).filter(([own]) => own !== name))
}

/** Whether two values say the same, whatever the order of their members. */
export function isSame(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true
  if (Array.isArray(one) && Array.isArray(other)) {
    return one.length === other.length && one.every((item, at) => isSame(item, other[at]))
  }
  if (!isObject(one) || !isObject(other)) return false
  const names = Object.keys(one)
  return (
    names.length === Object.keys(other).length &&
    names.every((name) => Object.hasOwn(other, name) && isSame(one[name], other[name]))
  )
}
