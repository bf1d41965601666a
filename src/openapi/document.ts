/** A whole document: each protected operation told what its layer does, with the common parts as components. */
import { documentedOperation, isHeaderNamed, type Shelf } from './document-operation.ts'
import { isObject, isSame, type JsonObject, objectAt, withMember } from './json.ts'
import { type FoundOperation, operationsOf } from './operations.ts'
import type { ProtectedOperation } from './protected-operation.ts'
import { type Path, referenceTo } from './references.ts'
import { type OpenApiVersion, versionOf } from './version.ts'

/** Says which layer stands in front of an operation, `undefined` for none. */
export type FindProtection = (found: FoundOperation) => ProtectedOperation | undefined

/**
 * The document with every operation documented for which there is a protection. What does not change is the same
 * object as before. A document of an unknown version is returned as it is.
 */
export function documentedBy(document: JsonObject, protectionOf: FindProtection): JsonObject {
  const version = versionOf(document)
  if (version === undefined) return document
  const components = new Components(document, version)
  let made = document
  for (const found of operationsOf(document).operations) {
    const protection = protectionOf(found)
    if (protection === undefined) continue
    const { operation, inherited, at } = found
    const place = { version, document, inherited, shelf: components }
    made = withValueAt(made, at, documentedOperation(operation, protection, place))
  }
  return made === document ? document : components.addedTo(made)
}

/** A document with another value at a place; the objects on the way to it are copied. */
export function withValueAt(parent: JsonObject, path: Path, value: unknown): JsonObject {
  const [name, ...rest] = path
  if (name === undefined) return value as JsonObject
  const child = parent[name]
  if (rest.length === 0) return withMember(parent, String(name), value)
  return withMember(parent, String(name), withValueAt(isObject(child) ? child : {}, rest, value))
}

type Section = 'parameters' | 'responses' | 'headers' | 'schemas'

const sectionOf2: Readonly<Partial<Record<Section, string>>> = {
  parameters: 'parameters',
  responses: 'responses',
  schemas: 'definitions',
}

/** The parts that operations share, and the names under which they are referred to. */
class Components implements Shelf {
  readonly #document: JsonObject
  readonly #version: OpenApiVersion
  readonly #added = new Map<Section, Map<string, JsonObject>>()

  constructor(document: JsonObject, version: OpenApiVersion) {
    this.#document = document
    this.#version = version
  }

  parameter(parameter: JsonObject): JsonObject {
    const { name, required } = parameter
    // The author's own component of this header is as good as ours.
    for (const [component, value] of Object.entries(objectAt(...this.#parent('parameters')))) {
      if (!isHeaderNamed(this.#document, value, String(name))) continue
      if (isObject(value) && (value['required'] ?? false) === required)
        return this.#reference('parameters', component)
    }
    return this.#place('parameters', 'IdempotencyKey', parameter)
  }

  response(status: string, response: JsonObject): JsonObject {
    return this.#place('responses', `IdempotencyRefusal${status}`, response)
  }

  header(name: string, header: JsonObject): JsonObject {
    return this.#place('headers', name.replaceAll(/[^A-Za-z0-9._-]/g, '_'), header)
  }

  problemSchema(schema: JsonObject): JsonObject {
    return this.#place('schemas', 'IdempotencyProblem', schema)
  }

  addedTo(document: JsonObject): JsonObject {
    let made = document
    for (const [section, parts] of this.#added) {
      const path = this.#path(section) as Path
      for (const [name, part] of parts) made = withValueAt(made, [...path, name], part)
    }
    return made
  }

  /** Takes the first free name, or the one under which the same part stands already. */
  #place(section: Section, name: string, part: JsonObject): JsonObject {
    if (this.#path(section) === undefined) return part
    const there = objectAt(...this.#parent(section))
    const added = this.#added.get(section) ?? new Map<string, JsonObject>()
    for (let number = 1; ; number++) {
      const candidate = number === 1 ? name : `${name}${number}`
      const known = Object.hasOwn(there, candidate) ? there[candidate] : added.get(candidate)
      if (known !== undefined && !isSame(known, part)) continue
      if (known === undefined) this.#added.set(section, added.set(candidate, part))
      return this.#reference(section, candidate)
    }
  }

  #reference(section: Section, name: string): JsonObject {
    return referenceTo(...((this.#path(section) ?? []) as string[]), name)
  }

  #path(section: Section): Path | undefined {
    if (this.#version !== '2.0') return ['components', section]
    const name = sectionOf2[section]
    return name === undefined ? undefined : [name]
  }

  /** The object that holds a section, and the section's name in it. */
  #parent(section: Section): [JsonObject, string] {
    if (this.#version !== '2.0') return [objectAt(this.#document, 'components'), section]
    return [this.#document, sectionOf2[section] ?? section]
  }
}
