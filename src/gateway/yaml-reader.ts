/** Reads a YAML document by position, so that every complaint names its line, and all are given at once. */
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml'
import { isControl, printable, suggestion } from './text.ts'

/** A value with the place it stands at. */
export interface Place {
  /** As people write it: `routes[0].lease`; `''` for the whole document. */
  readonly path: string
  readonly line: number
  readonly node: Node | null
}

export interface YamlReader {
  readonly root: Place
  /** Notes that the value at `place` breaks a rule: `must be ..`; shows the value where it is a single one. */
  complain(place: Place, rule: string): void
  /** The members of a map by name; unknown names are complained of, with a suggestion. */
  members(place: Place, known: readonly string[]): ReadonlyMap<string, Place>
  items(place: Place): readonly Place[]
  /** The scalar, with `${NAME}` taken from the environment; `undefined` after a complaint. */
  scalar(place: Place): string | number | boolean | undefined
  /** All complaints so far, in the order of their lines. */
  problems(): string[]
}

const variable = /\$\{([^}]*)\}/g
const variableName = /^[A-Za-z_][A-Za-z0-9_]*$/
const shownCharactersMax = 40

/** @param name how messages call the document, such as `gateway.yaml` */
export function readYaml(
  name: string,
  text: string,
  environment: Readonly<Record<string, string | undefined>>,
): YamlReader {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, schema: 'core' })
  const found: { line: number; text: string }[] = []
  const lineOf = (node: Node | null): number => lines.linePos(node?.range?.[0] ?? 0).line || 1
  const note = (line: number, complaint: string): void => {
    found.push({ line, text: `${name}:${line}: ${complaint}` })
  }
  for (const error of document.errors) {
    note(lines.linePos(error.pos[0]).line || 1, error.message.split('\n', 1)[0] ?? error.message)
  }

  function resolved(place: Place): Node | null {
    return isAlias(place.node) ? (place.node.resolve(document) ?? null) : place.node
  }

  function complain(place: Place, rule: string): void {
    note(place.line, `${place.path === '' ? 'The document' : place.path} ${rule}${got(resolved(place))}`)
  }

  function substituted(place: Place, text: string): string | undefined {
    let failed = false
    const value = text.replace(variable, (_, name: string) => {
      const set = variableName.test(name) ? environment[name] : undefined
      if (set === undefined) {
        failed = true
        note(
          place.line,
          variableName.test(name)
            ? `${place.path} needs the environment variable ${name}, which is not set`
            : `${place.path} must name environment variables as \${NAME}`,
        )
      }
      return set ?? ''
    })
    if (failed) return undefined
    if (isControl(value)) {
      note(place.line, `${place.path} must not hold control characters or line ends`)
      return undefined
    }
    return value
  }

  return {
    root: { path: '', line: lineOf(document.contents), node: document.contents },
    complain,
    members(place, known) {
      const members = new Map<string, Place>()
      const node = resolved(place)
      if (node === null) return members
      if (!isMap(node)) {
        complain(place, 'must be a map of names and values')
        return members
      }
      for (const { key, value } of node.items) {
        const member = isScalar(key) ? String(key.value) : '?'
        const path = place.path === '' ? member : `${place.path}.${member}`
        const line = lineOf(key as Node)
        if (known.includes(member)) members.set(member, { path, line, node: value as Node | null })
        else note(line, `${printable(path)} is not known${suggestion(member, known)}`)
      }
      return members
    },
    items(place) {
      const node = resolved(place)
      if (node === null) return []
      if (!isSeq(node)) {
        complain(place, 'must be a list')
        return []
      }
      return node.items.map((item, index) => ({
        path: `${place.path}[${index}]`,
        line: lineOf(item as Node),
        node: item as Node,
      }))
    },
    scalar(place) {
      const node = resolved(place)
      const value: unknown = isScalar(node) ? node.value : undefined
      if (typeof value === 'string') return substituted(place, value)
      if (typeof value === 'number' || typeof value === 'boolean') return value
      complain(place, 'must be one value')
      return undefined
    },
    problems: () => found.toSorted((one, other) => one.line - other.line).map(({ text }) => text),
  }
}

/** What stands there, as it is written; never a value from the environment, nor an address with a password. */
function got(node: Node | null): string {
  if (node === null) return ', got nothing'
  if (isMap(node)) return ', got a map'
  if (isSeq(node)) return ', got a list'
  if (!isScalar(node)) return ''
  if (typeof node.value !== 'string')
    return `, got ${node.value === null ? 'nothing' : printable(String(node.value))}`
  if (/[@?]/.test(node.value)) return ''
  const shown = printable(node.value)
  return `, got ${JSON.stringify(shown.length > shownCharactersMax ? `${shown.slice(0, shownCharactersMax)}..` : shown)}`
}
