/** Text of a history may come from anywhere: it is made harmless and short before anybody sees it. */

/** Whether a terminal or a reader's eye would obey the character: C0, C1, DEL, line ends, turned direction. */
function isObeyed(code: number): boolean {
  return (
    code < 0x20 ||
    (code >= 0x7f && code <= 0x9f) ||
    code === 0x061c ||
    (code >= 0x200b && code <= 0x200f) ||
    (code >= 0x2028 && code <= 0x202e) ||
    (code >= 0x2060 && code <= 0x2069)
  )
}

/** Text with a visible mark for each character that is not to be shown but obeyed. */
export function printable(text: string): string {
  let shown = ''
  for (const character of text.toWellFormed()) {
    shown += isObeyed(character.codePointAt(0) ?? 0) ? '\u{fffd}' : character
  }
  return shown
}

/** Printable text of at most so many characters. */
export function short(text: string, most: number): string {
  // No character takes more than two units, so that what lies further on need not be looked at.
  const characters = [...printable(text.slice(0, 2 * (most + 1)))]
  return characters.length <= most ? characters.join('') : `${characters.slice(0, most - 1).join('')}…`
}

/** Columns that text takes where every character is equally wide; at most, since that differs between fonts. */
export function columnsOf(text: string): number {
  let columns = 0
  for (const character of text) columns += (character.codePointAt(0) ?? 0) < 0x300 ? 1 : 2
  return columns
}

/** Printable text that takes at most so many columns. */
export function fitted(text: string, columns: number): string {
  const shown = short(text, columns)
  if (columnsOf(shown) <= columns) return shown
  let kept = ''
  let left = columns - columnsOf('…')
  for (const character of shown) {
    left -= columnsOf(character)
    if (left < 0) break
    kept += character
  }
  return `${kept}…`
}

/** Lines of at most so many columns, broken between words. */
export function wrapped(words: readonly string[], columns: number): readonly string[] {
  const lines: string[] = []
  for (const word of words.map((one) => fitted(one, columns))) {
    const last = lines.at(-1)
    const longer = `${last} ${word}`
    if (last !== undefined && columnsOf(longer) <= columns) lines[lines.length - 1] = longer
    else lines.push(word)
  }
  return lines
}

const decimal = new Intl.NumberFormat('en', { maximumFractionDigits: 1 })

export function numeral(value: number): string {
  return decimal.format(value)
}

/** `1 key`, `2 keys`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${numeral(count)} ${count === 1 ? one : many}`
}
