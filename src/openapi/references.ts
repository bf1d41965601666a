/** `$ref`s, followed inside one document. */
import { isObject, type JsonObject } from './json.ts'

/** Where a value stands: the names and indices that lead to it. */
export type Path = readonly (string | number)[]

export type Resolved =
  | { readonly kind: 'value'; readonly value: unknown; readonly path: Path }
  /** Into another document. */
  | { readonly kind: 'external'; readonly reference: string }
  /** Leads nowhere, or in a circle. */
  | { readonly kind: 'broken'; readonly reference: string }

const stepsMax = 32

/** Follows references until a value that is none. Without a document every reference counts as external. */
export function resolve(document: JsonObject | undefined, value: unknown, path: Path = []): Resolved {
  let found = value
  let at = path
  for (let step = 0; step < stepsMax; step++) {
    if (!isObject(found) || typeof found['$ref'] !== 'string')
      return { kind: 'value', value: found, path: at }
    const reference = found['$ref']
    const names = pointerNames(reference)
    if (names === undefined || document === undefined) return { kind: 'external', reference }
    const target = valueAt(document, names)
    if (target === undefined) return { kind: 'broken', reference }
    found = target
    at = names
  }
  return { kind: 'broken', reference: String((found as JsonObject)['$ref']) }
}

/** The names of a pointer into the same document (RFC 6901 in a fragment), `undefined` for any other reference. */
function pointerNames(reference: string): readonly string[] | undefined {
  if (reference === '#') return []
  if (!reference.startsWith('#/')) return undefined
  try {
    return reference
      .slice(2)
      .split('/')
      .map((name) => decodeURIComponent(name).replaceAll('~1', '/').replaceAll('~0', '~'))
  } catch {
    return undefined
  }
}

/** A reference to a place of the same document. */
export function referenceTo(...names: readonly string[]): JsonObject {
  const pointer = names.map((name) =>
    encodeURIComponent(name.replaceAll('~', '~0').replaceAll('/', '~1')).replaceAll('%24', '$'),
  )
  return { $ref: `#/${pointer.join('/')}` }
}

/** What stands at a place, `undefined` where nothing does. */
export function valueAt(document: unknown, path: Path): unknown {
  let found: unknown = document
  for (const name of path) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, name)) return undefined
    found = (found as Record<string | number, unknown>)[name]
  }
  return found
}
