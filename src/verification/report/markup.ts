/** Markup that data cannot break out of: only a template is markup, and whatever is put into one is escaped. */
import { printable } from './text.ts'

class Markup {
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

  toString(): string {
    return this.#text
  }
}

export type { Markup }

/** Nothing is put for `undefined`. */
export type Content = string | number | Markup | undefined | readonly Content[]

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** HTML or SVG. Values belong into text or into attributes in quotes, and nowhere else. */
export function html(literals: TemplateStringsArray, ...values: readonly Content[]): Markup {
  return new Markup(literals.map((literal, at) => literal + escaped(values[at])).join(''))
}

function escaped(content: Content): string {
  if (content === undefined) return ''
  if (content instanceof Markup) return content.toString()
  if (typeof content === 'object') return content.map(escaped).join('')
  return printable(String(content)).replaceAll(/[&<>"']/g, (character) => entities[character] ?? '')
}
