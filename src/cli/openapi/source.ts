/** An OpenAPI document as its author wrote it: YAML or JSON, with the line of each place. */
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseDocument,
} from 'yaml'
import type { Path } from '../../openapi/references.ts'
import { usageError } from '../failure.ts'

export interface Source {
  readonly text: string
  readonly root: Document
  /** The document as a value. */
  readonly value: object
  /** Line of a place, or of the nearest one around it. */
  lineOf(path: Path): number
}

const aliasesMax = 1_000

/**
 * Reads a document. JSON is YAML too, so both come this way.
 *
 * @throws CommandError naming each line that cannot be read
 */
export function readSource(name: string, text: string): Source {
  const lines = new LineCounter()
  const root = parseDocument(text, { lineCounter: lines, prettyErrors: false, schema: 'core', merge: true })
  if (root.errors.length > 0) {
    const shown = root.errors.map(({ pos, message }) => {
      return `${name}:${lines.linePos(pos[0]).line || 1}: ${message.split('\n', 1)[0]}`
    })
    throw usageError(...shown)
  }
  return {
    text,
    root,
    value: valueOf(name, root),
    lineOf: (path) => lines.linePos(positionOf(root, path)).line || 1,
  }
}

function valueOf(name: string, root: Document): object {
  let value: unknown
  try {
    value = root.toJS({ maxAliasCount: aliasesMax })
  } catch (error) {
    throw usageError(`${name}: ${(error as Error).message}`)
  }
  if (typeof value !== 'object' || value === null) throw usageError(`${name} is no OpenAPI document.`)
  return value
}

function positionOf(root: Document, path: Path): number {
  let node: unknown = root.contents
  let position = 0
  for (const name of path) {
    if (isAlias(node)) node = node.resolve(root)
    if (isMap(node)) {
      const pair = memberOf(node.items, name)
      if (pair === undefined) return position
      if (isNode(pair.key)) position = pair.key.range?.[0] ?? position
      node = pair.value
    } else if (isSeq(node)) {
      node = node.items[Number(name)]
      if (isNode(node)) position = node.range?.[0] ?? position
    } else {
      return position
    }
  }
  return position
}

/** The member of a map by its name; names that are numbers, such as statuses, are read as text. */
export function memberOf(items: readonly Pair[], name: string | number): Pair | undefined {
  return items.find(({ key }) => String(isScalar(key) ? key.value : key) === String(name))
}
