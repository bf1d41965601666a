/** What an operation says about the key, as far as it can be read. */
import { isObject, type JsonObject, listAt, objectAt } from './json.ts'
import type { FoundOperation } from './operations.ts'
import { type Path, resolve } from './references.ts'
import { extensionName, usualHeader } from './terms.ts'

/** A `$ref` that leads out of the document, or nowhere. */
export interface Unfollowed {
  readonly kind: 'external' | 'broken'
  readonly reference: string
  readonly at: Path
}

/** A part of an operation, with where it is used. */
export interface Part {
  readonly value: JsonObject
  /** Where the operation names it. */
  readonly at: Path
  /** It stands elsewhere, for other operations too, and is named by a `$ref`. */
  readonly isShared: boolean
}

export interface KeyUse {
  /** The value of `x-idempotency`, as it is. */
  readonly extension: unknown
  /** The header parameter that carries the key. */
  readonly parameter: Part | undefined
  /** Parameters of that name that are no headers. */
  readonly misplaced: readonly Part[]
  readonly responses: ReadonlyMap<string, Part>
  readonly unfollowed: readonly Unfollowed[]
  /** An outside parameter by whose name it is the key. */
  readonly hasOutsideKey: boolean
}

const namesOfKey = /^(?:x-)?idempotency[-_]?key$/i
const referenceToKey = /idempotency[-_]?key[^/]*$/i

/** Whether a parameter or a member of a body is a key by its name. */
export function isKeyName(name: unknown, header: string = usualHeader): boolean {
  return typeof name === 'string' && (namesOfKey.test(name) || name.toLowerCase() === header.toLowerCase())
}

/** Whether a reference that cannot be followed names a key. */
export function isReferenceToKey(reference: string): boolean {
  return referenceToKey.test(reference)
}

/**
 * Reads one operation.
 *
 * @param header name of the field, beside the usual ones and what `x-idempotency` says
 */
export function keyUseOf(document: JsonObject, found: FoundOperation, header?: string): KeyUse {
  const { operation } = found
  const extension = operation[extensionName]
  const declared = isObject(extension) ? extension['header'] : undefined
  const name = typeof declared === 'string' ? declared : (header ?? usualHeader)
  const unfollowed: Unfollowed[] = []
  const follow = (value: unknown, at: Path): Part | undefined => {
    const resolved = resolve(document, value, at)
    if (resolved.kind !== 'value') {
      unfollowed.push({ kind: resolved.kind, reference: resolved.reference, at })
      return undefined
    }
    const isShared = resolved.value !== value
    return isObject(resolved.value) ? { value: resolved.value, at, isShared } : undefined
  }
  const parameters = [
    ...listAt(operation, 'parameters').map((one, index) => follow(one, [...found.at, 'parameters', index])),
    ...found.inherited.map((one, index) => follow(one, [...found.inheritedAt, index])),
  ].filter((part) => part !== undefined)
  const hasOutsideKey = unfollowed.some(
    ({ kind, reference }) => kind === 'external' && isReferenceToKey(reference),
  )
  const named = parameters.filter(({ value }) => isKeyName(value['name'], name))
  const responses = new Map<string, Part>()
  for (const [status, response] of Object.entries(objectAt(operation, 'responses'))) {
    const part = follow(response, [...found.at, 'responses', status])
    if (part !== undefined) responses.set(status, part)
  }
  return {
    extension,
    parameter: named.find(({ value }) => value['in'] === 'header'),
    misplaced: named.filter(({ value }) => value['in'] !== 'header'),
    responses,
    unfollowed,
    hasOutsideKey,
  }
}
