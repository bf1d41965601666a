/**
 * Changes a YAML or JSON file where two values differ, and nowhere else: comments, order, quotes and line ends of
 * all other lines stay as they are.
 */
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isSeq,
  type Node,
  parseDocument,
  visit,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml'
import { isObject, isSame, type JsonObject } from '../../openapi/json.ts'
import type { Path } from '../../openapi/references.ts'
import { yamlAfterColon, yamlKey } from '../../openapi/yaml-text.ts'
import { failure } from '../failure.ts'
import { memberOf, readSource, type Source } from './source.ts'

interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** Where a value stands in the text. */
interface Context {
  /** Inside brackets, where text is written as in JSON. */
  readonly isFlow: boolean
  /** What the lines below the value's key begin with. */
  readonly margin: string
}

/**
 * The text with what differs between the source's value and another one.
 *
 * @throws CommandError where the file cannot be changed so
 */
export function editedText(source: Source, after: object): string {
  if (isSame(source.value, after)) return source.text
  const edited = new Editor(source).edited(after)
  if (isSame(reread(edited), after)) return edited
  // What an anchor names would have changed for its aliases too, so each gets its own copy.
  const expanded = expandedText(source, after)
  if (isSame(reread(expanded), after)) return expanded
  throw failure(
    'The file is written in a way that cannot be changed safely: replace its aliases by what they name.',
  )
}

function reread(text: string): unknown {
  try {
    return readSource('', text).value
  } catch {
    return undefined
  }
}

class Editor {
  readonly #text: string
  readonly #root: Document
  readonly #before: unknown
  readonly #step: string
  readonly #edits: Edit[] = []

  constructor({ text, root, value }: Source) {
    this.#text = text
    this.#root = root
    this.#before = value
    this.#step = /^(?:[^\n]*\n)*?( {2,8}|\t)\S/.exec(text)?.[1] ?? '  '
  }

  edited(after: unknown): string {
    this.#compare(this.#root.contents, this.#before, after, { isFlow: false, margin: '' })
    const eol = this.#text.includes('\r\n') ? '\r\n' : '\n'
    let text = this.#text
    // From the end to the start; at one place the inner change, which was noted first, comes first in the text.
    const ordered = this.#edits.map((edit, order) => ({ ...edit, order }))
    for (const edit of ordered.toSorted((one, other) => other.start - one.start || other.order - one.order)) {
      text = `${text.slice(0, edit.start)}${edit.text.replaceAll('\n', eol)}${text.slice(edit.end)}`
    }
    return text
  }

  #compare(node: unknown, before: unknown, after: unknown, context: Context): void {
    if (isSame(before, after)) return
    if (isMap(node) && isObject(before) && isObject(after)) {
      const inner = this.#insideOf(node, context)
      const added: [string, unknown][] = []
      for (const [name, value] of Object.entries(after)) {
        const pair = memberOf(node.items, name)
        if (pair === undefined) {
          // A member that comes by `<<` is overridden by an own one.
          if (!isSame(before[name], value)) added.push([name, value])
        } else {
          this.#compare(pair.value, before[name], value, {
            ...inner,
            margin: this.#marginOf(pair.key) + this.#step,
          })
        }
      }
      if (added.length > 0) this.#addMembers(node, added, inner, after)
    } else if (
      isSeq(node) &&
      Array.isArray(before) &&
      Array.isArray(after) &&
      after.length >= before.length
    ) {
      const inner = this.#insideOf(node, context)
      for (const [at, value] of before.entries()) this.#compare(node.items[at], value, after[at], inner)
      if (after.length > before.length) this.#addItems(node, after.slice(before.length), inner, after)
    } else {
      this.#replace(node, after, context)
    }
  }

  #insideOf(node: YAMLMap | YAMLSeq, context: Context): Context {
    return node.flow === true ? { ...context, isFlow: true } : context
  }

  #addMembers(node: YAMLMap, added: readonly [string, unknown][], context: Context, after: JsonObject): void {
    const [first] = node.items
    if (first === undefined) return this.#replaceEmpty(node, after, context)
    if (node.flow === true) {
      return this.#addFlow(
        node,
        first.key,
        added.map(([name, value]) => [`${JSON.stringify(name)}:`, value]),
      )
    }
    const margin = this.#marginOf(first.key)
    const lines = added.map(
      ([name, value]) =>
        `${margin}${yamlKey(name)}:${yamlAfterColon(value, margin + this.#step, this.#step)}`,
    )
    this.#addLines(node, margin, lines)
  }

  #addItems(node: YAMLSeq, added: readonly unknown[], context: Context, after: readonly unknown[]): void {
    const [first] = node.items
    if (first === undefined) return this.#replaceEmpty(node, after, context)
    if (node.flow === true)
      return this.#addFlow(
        node,
        first,
        added.map((value) => ['', value]),
      )
    const margin = ' '.repeat(this.#columnOf(node.range?.[0] ?? 0))
    this.#addLines(node, margin, [yamlAfterColon(added, margin, this.#step).slice(1)])
  }

  #addLines(node: YAMLMap | YAMLSeq, margin: string, lines: readonly string[]): void {
    const end = this.#endOf(node)
    // A literal ends with its line.
    const lineEnd = this.#text[end - 1] === '\n' ? end - 1 : this.#lineEnd(end)
    const start = this.#afterComments(lineEnd, margin)
    if (start > lineEnd || lineEnd >= end) {
      this.#edits.push({ start, end: start, text: lines.map((line) => `\n${line}`).join('') })
    } else {
      this.#edits.push({ start: end, end, text: lines.map((line) => `${line}\n`).join('') })
    }
  }

  #addFlow(node: YAMLMap | YAMLSeq, first: unknown, added: readonly (readonly [string, unknown])[]): void {
    const start = this.#endOf(node, true)
    const open = node.range?.[0] ?? 0
    const firstStart = isNode(first) ? (first.range?.[0] ?? open) : open
    const before = this.#text.slice(open + 1, firstStart)
    if (before.includes('\n')) {
      const margin = before.slice(before.lastIndexOf('\n') + 1)
      const text = added
        .map(([key, value]) => `,\n${margin}${withKey(key, this.#json(value, margin))}`)
        .join('')
      this.#edits.push({ start, end: start, text })
      return
    }
    const isDense = !/[:,] /.test(this.#text.slice(open, node.range?.[1]))
    const text = added.map(([key, value]) => {
      return isDense ? `,${key}${JSON.stringify(value)}` : `, ${withKey(key, JSON.stringify(value))}`
    })
    this.#edits.push({ start, end: start, text: text.join('') })
  }

  /** `{}` and `[]` become blocks where they stand among blocks. */
  #replaceEmpty(node: Node, after: unknown, context: Context): void {
    const isJson =
      this.#root.contents === null || (isMap(this.#root.contents) && this.#root.contents.flow === true)
    this.#replace(node, after, { ...context, isFlow: isJson || (context.isFlow && this.#isWithinFlow(node)) })
  }

  #isWithinFlow(node: Node): boolean {
    let within = false
    visit(this.#root, {
      Collection: (_, one) => {
        const [start = 0, end = 0] = one.range ?? []
        const [at = 0] = node.range ?? []
        if (one !== node && one.flow === true && start < at && at < end) within = true
      },
    })
    return within
  }

  #replace(node: unknown, after: unknown, { isFlow, margin }: Context): void {
    const range = isNode(node) ? node.range : undefined
    if (range === undefined || range === null) throw failure('The file has a value whose place is not known.')
    const [start, end] = range
    const rest = this.#text.slice(end, this.#lineEnd(end)).trim()
    const isBlockScalar = end > start && this.#text[end - 1] === '\n'
    if (isFlow) {
      const line = this.#text.slice(this.#text.lastIndexOf('\n', start - 1) + 1)
      const outer = /^[ \t]*/.exec(line)?.[0] ?? ''
      this.#edits.push({ start, end, text: this.#json(after, outer) })
    } else if (rest !== '' && !isBlockScalar) {
      // A comment follows, which a block would take in.
      this.#edits.push({
        start,
        end,
        text: ` ${JSON.stringify(after)}`.slice(this.#text[start - 1] === ' ' ? 1 : 0),
      })
    } else {
      let from = start
      while (this.#text[from - 1] === ' ') from--
      const text = yamlAfterColon(after, margin, this.#step)
      this.#edits.push({ start: from, end, text: isBlockScalar ? `${text}\n` : text })
    }
  }

  /** Where the last content of a node ends, comments left out. */
  #endOf(node: unknown, isFlow = false): number {
    if ((isMap(node) || isSeq(node)) && node.items.length > 0 && (node.flow !== true || isFlow)) {
      const last: unknown = node.items.at(-1)
      if (isMap(node)) {
        const { key, value } = last as { key: unknown; value: unknown }
        return Math.max(this.#endOf(value), isNode(key) ? (key.range?.[1] ?? 0) : 0)
      }
      return this.#endOf(last)
    }
    return isNode(node) ? (node.range?.[1] ?? 0) : 0
  }

  #lineEnd(from: number): number {
    const newline = this.#text.indexOf('\n', from)
    if (newline < 0) return this.#text.length
    return this.#text[newline - 1] === '\r' ? newline - 1 : newline
  }

  /** Comments that are indented like the members belong to them. */
  #afterComments(from: number, margin: string): number {
    if (margin === '') return from
    const comments = new RegExp(`^(?:\\r?\\n${margin} *#[^\\r\\n]*)*`)
    return from + (comments.exec(this.#text.slice(from))?.[0].length ?? 0)
  }

  #json(value: unknown, margin: string): string {
    // A file of one line stays one.
    if (!this.#text.trimEnd().includes('\n')) return JSON.stringify(value)
    return JSON.stringify(value, null, this.#step).replaceAll('\n', `\n${margin}`)
  }

  #marginOf(key: unknown): string {
    return ' '.repeat(isNode(key) ? this.#columnOf(key.range?.[0] ?? 0) : 0)
  }

  #columnOf(position: number): number {
    return position - (this.#text.lastIndexOf('\n', position - 1) + 1)
  }
}

function withKey(key: string, json: string): string {
  return key === '' ? json : `${key} ${json}`
}

/** The whole file written anew, with a copy for each alias and the changes in it. */
function expandedText(source: Source, after: object): string {
  const root = parseDocument(source.text, { schema: 'core', merge: true })
  visit(root, {
    Alias: (_, alias) => (alias.resolve(root) as Node | undefined)?.clone() as Node,
  })
  visit(root, {
    Node: (_, node) => {
      if (!isAlias(node)) delete (node as { anchor?: string }).anchor
    },
  })
  for (const [path, value] of differences(source.value, after, [])) setAt(root, path, value)
  return root.toString({ lineWidth: 0 })
}

function setAt(root: Document, path: Path, value: unknown): void {
  let node: unknown = root.contents
  for (const [depth, name] of path.entries()) {
    const isLast = depth === path.length - 1
    if (!isMap(node)) throw failure('The file has a value whose place is not known.')
    const pair = memberOf(node.items, name)
    if (pair !== undefined && isLast) pair.value = root.createNode(value)
    else if (pair === undefined)
      node.add(
        root.createPair(
          name,
          path.slice(depth + 1).reduceRight((inner, one) => ({ [one]: inner }), value),
        ),
      )
    if (pair === undefined) return
    node = pair.value
  }
}

function differences(before: unknown, after: unknown, path: Path): [Path, unknown][] {
  if (isSame(before, after)) return []
  if (isObject(before) && isObject(after)) {
    return Object.entries(after).flatMap(([name, value]) => differences(before[name], value, [...path, name]))
  }
  return [[path, after]]
}
