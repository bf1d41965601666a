/** The operations of a document, each with its place. */
import { isObject, type JsonObject, listAt, objectAt } from './json.ts'
import { type Path, resolve } from './references.ts'

/** One operation of a document. */
export interface FoundOperation {
  /** In upper case. */
  readonly method: string
  /** The path template that leads to it. */
  readonly path: string
  /** Where it stands, which is elsewhere for a path item that is a `$ref`. */
  readonly at: Path
  readonly operation: JsonObject
  /** Parameters of its path item. */
  readonly inherited: readonly unknown[]
  /** Where those stand. */
  readonly inheritedAt: Path
}

/** A path item that cannot be looked into. */
export interface UnfollowedItem {
  readonly path: string
  readonly at: Path
  readonly kind: 'external' | 'broken'
  readonly reference: string
}

const fixedMethods: ReadonlySet<string> = new Set([
  'get',
  'put',
  'post',
  'delete',
  'options',
  'head',
  'patch',
  'trace',
  'query',
])

/** Every operation below `paths`, in the order of the document; one that several paths share comes once. */
export function operationsOf(document: JsonObject): {
  readonly operations: readonly FoundOperation[]
  readonly unfollowed: readonly UnfollowedItem[]
} {
  const operations: FoundOperation[] = []
  const unfollowed: UnfollowedItem[] = []
  const seen = new Set<string>()
  for (const [path, value] of Object.entries(objectAt(document, 'paths'))) {
    if (!path.startsWith('/') || !isObject(value)) continue
    const at = ['paths', path]
    operations.push(...operationsOfItem(path, value, at).filter((found) => isFirst(seen, found.at)))
    const resolved = resolve(document, value, at)
    if (resolved.kind !== 'value') {
      unfollowed.push({ path, at, kind: resolved.kind, reference: resolved.reference })
    } else if (isObject(resolved.value) && resolved.value !== value) {
      const shared = operationsOfItem(path, resolved.value, resolved.path)
      operations.push(...shared.filter((found) => isFirst(seen, found.at)))
    }
  }
  return { operations, unfollowed }
}

function isFirst(seen: Set<string>, at: Path): boolean {
  const place = JSON.stringify(at)
  if (seen.has(place)) return false
  seen.add(place)
  return true
}

function operationsOfItem(path: string, item: JsonObject, at: Path): FoundOperation[] {
  const inherited = listAt(item, 'parameters')
  const inheritedAt = [...at, 'parameters']
  const additional = objectAt(item, 'additionalOperations')
  const members: readonly (readonly [string, Path, unknown])[] = [
    ...Object.keys(item)
      .filter((name) => fixedMethods.has(name))
      .map((name) => [name.toUpperCase(), [...at, name], item[name]] as const),
    ...Object.keys(additional).map(
      (name) => [name, [...at, 'additionalOperations', name], additional[name]] as const,
    ),
  ]
  return members.flatMap(([method, place, operation]) =>
    isObject(operation) ? [{ method, path, at: place, operation, inherited, inheritedAt }] : [],
  )
}
